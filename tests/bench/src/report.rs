//! What is printed at the end, and written into the documentation: Markdown.

use std::fmt::Write as _;

use anyhow::{Context as _, Result};

use crate::figures::Figures;
use crate::rounds::Contestant;

/// Between these lines the text is ours; the rest of the file is somebody's prose.
fn begin(sessions: usize) -> String {
    format!("<!-- begin: {sessions} sessions, written by `cargo xtask bench --write` -->\n")
}
const END: &str = "<!-- end -->\n";

/// A figure that has an aim.
#[derive(Debug)]
pub(crate) struct Aimed {
    pub(crate) what: String,
    pub(crate) aim: f64,
    pub(crate) figures: Figures,
}

impl Aimed {
    fn verdict(&self) -> &'static str {
        if self.figures.median() >= self.aim { "hit" } else { "**miss**" }
    }
}

/// The fractions against their aims.
pub(crate) fn fractions(rows: &[Aimed]) -> String {
    let mut text = "| | aim | figure | |\n|---|---|---|---|\n".to_owned();
    for row in rows {
        let Aimed { what, aim, figures } = row;
        let _written = writeln!(text, "| {what} | {aim:.2} | {figures:.2} | {} |", row.verdict());
    }
    text
}

/// The figures behind the fractions.
pub(crate) fn absolutes(contestants: &[(&str, &Contestant)], hashes: &Figures) -> String {
    let mut text = "| | a second | p50, ms | p99, ms |\n|---|---|---|---|\n".to_owned();
    for (what, contestant) in contestants {
        let (p50, p99) = (contestant.figures(|run| run.p50), contestant.figures(|run| run.p99));
        let (name, rates) = (contestant.name, contestant.rates());
        let _written = writeln!(text, "| {what}: {name} | {rates:.0} | {p50:.1} | {p99:.1} |");
    }
    let _written = writeln!(text, "| hashes: argon2id alone | {hashes:.1} | | |");
    text
}

/// The file with its generated part replaced.
pub(crate) fn replaced(file: &str, sessions: usize, text: &str) -> Result<String> {
    let begin = begin(sessions);
    let (before, rest) =
        file.split_once(&begin).context("the file has no line that begins ours")?;
    let (_, after) = rest.split_once(END).context("the file has no line that ends ours")?;
    Ok(format!("{before}{begin}\n{text}\n{END}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_around_the_figures_remains() {
        let (one, other) = (begin(1), begin(2));
        let file = format!("# Title\n{one}old\n{END}Prose.\n{other}old\n{END}");
        let new = replaced(&file, 1, "new\n").unwrap();
        assert_eq!(new, format!("# Title\n{one}\nnew\n\n{END}Prose.\n{other}old\n{END}"));
        assert_eq!(replaced(&new, 1, "new\n").unwrap(), new);
        assert!(replaced("# Title\n", 1, "new\n").is_err());
        assert!(replaced(&one, 1, "new\n").is_err());
    }

    #[test]
    fn a_figure_below_its_aim_is_a_miss() {
        let row = |figure: f64| Aimed {
            what: "checks".to_owned(),
            aim: 0.4,
            figures: Figures::from_iter([figure]),
        };
        let table = fractions(&[row(0.5), row(0.3)]);
        assert_eq!(
            table,
            "| | aim | figure | |\n|---|---|---|---|\n\
             | checks | 0.40 | 0.50 (0.50 to 0.50) | hit |\n\
             | checks | 0.40 | 0.30 (0.30 to 0.30) | **miss** |\n"
        );
    }
}

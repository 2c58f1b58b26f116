//! What is printed at the end, and written into the documentation: Markdown.

use std::fmt::Write as _;
use std::path::PathBuf;

use anyhow::{Context as _, Result};

use crate::figures::Figures;
use crate::rounds::Contestant;

const END: &str = "<!-- end -->\n";

/// Between this line and the end the text is ours; the rest of the file is somebody's prose.
fn begin(name: &str) -> String {
    format!("<!-- begin: {name}, written by `cargo xtask bench {name} --write` -->\n")
}

/// A figure that has an aim.
#[derive(Debug)]
pub(crate) struct Aimed {
    what: String,
    aim: Aim,
    figures: Figures,
}

#[derive(Debug, Clone, Copy)]
enum Aim {
    AtLeast(f64),
    AtMost(f64),
    /// None: to be known.
    Open,
}

impl Aimed {
    /// What the one's rate is of the other's.
    pub(crate) fn fraction(all: &[Contestant], name: &str, whole: &str, aim: f64) -> Self {
        let figures = Contestant::rates_of(all, name).of(&Contestant::rates_of(all, whole));
        Self::at_least(format!("{name}, of {whole}"), aim, figures)
    }

    pub(crate) fn at_least(what: impl Into<String>, aim: f64, figures: Figures) -> Self {
        Self { what: what.into(), aim: Aim::AtLeast(aim), figures }
    }

    pub(crate) fn at_most(what: impl Into<String>, aim: f64, figures: Figures) -> Self {
        Self { what: what.into(), aim: Aim::AtMost(aim), figures }
    }

    pub(crate) fn open(what: impl Into<String>, figures: Figures) -> Self {
        Self { what: what.into(), aim: Aim::Open, figures }
    }

    fn row(&self) -> String {
        let Self { what, aim, figures } = self;
        let verdict = |hit| if hit { "hit" } else { "**miss**" };
        match *aim {
            Aim::AtLeast(aim) => {
                let verdict = verdict(figures.median() >= aim);
                format!("| {what} | at least {aim:.2} | {figures:.2} | {verdict} |")
            }
            Aim::AtMost(aim) => {
                let verdict = verdict(figures.median() <= aim);
                format!("| {what} | at most {aim:.2} | {figures:.2} | {verdict} |")
            }
            Aim::Open => format!("| {what} | | {figures:.2} | |"),
        }
    }
}

/// What a subject found.
#[derive(Debug, Default)]
pub(crate) struct Section {
    aimed: Vec<Aimed>,
    note: String,
    more: String,
    pub(crate) plot: Option<String>,
}

impl Section {
    pub(crate) fn new(aimed: impl IntoIterator<Item = Aimed>) -> Self {
        Self { aimed: aimed.into_iter().collect(), ..Self::default() }
    }

    /// What was measured on.
    pub(crate) fn note(self, note: impl Into<String>) -> Self {
        Self { note: note.into(), ..self }
    }

    /// The rates behind the fractions.
    pub(crate) fn contestants(self, all: &[Contestant]) -> Self {
        self.more(&Self::table(all))
    }

    /// More tables.
    pub(crate) fn more(mut self, more: &str) -> Self {
        self.more += more;
        self
    }

    pub(crate) fn plot(self, svg: String) -> Self {
        Self { plot: Some(svg), ..self }
    }

    pub(crate) fn table(all: &[Contestant]) -> String {
        let mut text = "| | a second | p50, ms | p99, ms |\n|---|---|---|---|\n".to_owned();
        for one in all {
            let (p50, p99) = (one.figures(|run| run.p50), one.figures(|run| run.p99));
            let (name, rates) = (one.name, one.rates());
            let _written = writeln!(text, "| {name} | {rates:.0} | {p50:.1} | {p99:.1} |");
        }
        text
    }

    /// All of it.
    pub(crate) fn text(&self, head: &str) -> String {
        let Self { aimed, note, more, .. } = self;
        let mut text = format!("{head} {note}\n\n| | aim | figure | |\n|---|---|---|---|\n");
        for row in aimed {
            let _written = writeln!(text, "{}", row.row());
        }
        format!("{text}\n{more}")
    }
}

/// Where the figures stand.
pub(crate) fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/benchmarks")
}

/// Writes a subject's figures into its place.
pub(crate) fn write(name: &str, text: &str) -> Result<()> {
    let file = folder().join("README.md");
    let new = replaced(&std::fs::read_to_string(&file)?, name, text)?;
    Ok(std::fs::write(&file, new)?)
}

/// The file with its generated part replaced.
fn replaced(file: &str, name: &str, text: &str) -> Result<String> {
    let begin = begin(name);
    let lines = || format!("docs/benchmarks/README.md has no line `{}`", begin.trim_end());
    let (before, rest) = file.split_once(&begin).with_context(lines)?;
    let (_, after) = rest.split_once(END).context("the file has no line that ends ours")?;
    Ok(format!("{before}{begin}\n{text}\n{END}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_around_the_figures_remains() {
        let (one, other) = (begin("one"), begin("other"));
        let file = format!("# Title\n{one}old\n{END}Prose.\n{other}old\n{END}");
        let new = replaced(&file, "one", "new\n").unwrap();
        assert_eq!(new, format!("# Title\n{one}\nnew\n\n{END}Prose.\n{other}old\n{END}"));
        assert_eq!(replaced(&new, "one", "new\n").unwrap(), new);
        assert!(replaced("# Title\n", "one", "new\n").is_err());
        assert!(replaced(&one, "one", "new\n").is_err());
    }

    #[test]
    fn a_figure_beyond_its_aim_is_a_miss() {
        let figures = |figure: f64| Figures::from_iter([figure]);
        for (aimed, end) in [
            (
                Aimed::at_least("a", 0.4, figures(0.5)),
                "at least 0.40 | 0.50 (0.50 to 0.50) | hit |",
            ),
            (
                Aimed::at_least("a", 0.4, figures(0.3)),
                "at least 0.40 | 0.30 (0.30 to 0.30) | **miss** |",
            ),
            (Aimed::at_most("a", 5.0, figures(4.0)), "at most 5.00 | 4.00 (4.00 to 4.00) | hit |"),
            (
                Aimed::at_most("a", 5.0, figures(f64::NAN)),
                "at most 5.00 | NaN (NaN to NaN) | **miss** |",
            ),
            (Aimed::open("a", figures(1.0)), "| | 1.00 (1.00 to 1.00) | |"),
        ] {
            assert!(aimed.row().ends_with(end), "{}", aimed.row());
        }
    }
}

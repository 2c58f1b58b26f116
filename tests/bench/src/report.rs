//! The result as Markdown: printed at the end, and written into the documentation.

use std::fmt::Write as _;
use std::path::PathBuf;

use anyhow::{Context as _, Result};

use crate::figures::Figures;
use crate::rounds::Candidate;

const END_MARKER: &str = "<!-- end -->\n";

/// The line that begins the generated part; the rest of the file is written by hand.
fn begin_marker(name: &str) -> String {
    format!("<!-- begin: {name}, written by `cargo xtask bench {name} --write` -->\n")
}

/// A figure with its aim.
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
    /// None: the figure is for information.
    Open,
}

impl Aimed {
    /// The rate of a contestant as a fraction of another's rate.
    pub(crate) fn fraction(all: &[Candidate], name: &str, whole: &str, aim: f64) -> Self {
        let figures = Candidate::rates_of(all, name).relative_to(&Candidate::rates_of(all, whole));
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

/// The result of a subject.
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

    /// Adds a note on the measured setup.
    pub(crate) fn note(self, note: impl Into<String>) -> Self {
        Self { note: note.into(), ..self }
    }

    /// Adds the rates behind the fractions.
    pub(crate) fn candidates(self, all: &[Candidate]) -> Self {
        self.more(&Self::table(all))
    }

    /// Adds more tables.
    pub(crate) fn more(mut self, more: &str) -> Self {
        self.more += more;
        self
    }

    pub(crate) fn plot(self, svg: String) -> Self {
        Self { plot: Some(svg), ..self }
    }

    pub(crate) fn table(all: &[Candidate]) -> String {
        let mut text = "| | a second | p50, ms | p99, ms |\n|---|---|---|---|\n".to_owned();
        for one in all {
            let (p50, p99) = (one.figures(|run| run.p50), one.figures(|run| run.p99));
            let (name, rates) = (one.name, one.rates());
            let _written = writeln!(text, "| {name} | {rates:.0} | {p50:.1} | {p99:.1} |");
        }
        text
    }

    /// The whole section.
    pub(crate) fn text(&self, head: &str) -> String {
        let Self { aimed, note, more, .. } = self;
        let mut text = format!("{head} {note}\n\n| | aim | figure | |\n|---|---|---|---|\n");
        for row in aimed {
            let _written = writeln!(text, "{}", row.row());
        }
        format!("{text}\n{more}")
    }
}

/// The folder of the published figures.
pub(crate) fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/benchmarks")
}

/// Writes the figures of a subject into the generated part.
pub(crate) fn write(name: &str, text: &str) -> Result<()> {
    let file = folder().join("README.md");
    let new = replace_section(&std::fs::read_to_string(&file)?, name, text)?;
    Ok(std::fs::write(&file, new)?)
}

/// The file with its generated part replaced.
fn replace_section(file: &str, name: &str, text: &str) -> Result<String> {
    let begin = begin_marker(name);
    let lines = || format!("docs/benchmarks/README.md has no line `{}`", begin.trim_end());
    let (before, rest) = file.split_once(&begin).with_context(lines)?;
    let (_, after) =
        rest.split_once(END_MARKER).context("the file has no end line after that begin line")?;
    Ok(format!("{before}{begin}\n{text}\n{END_MARKER}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_around_the_figures_is_kept() {
        let (one, other) = (begin_marker("one"), begin_marker("other"));
        let file = format!("# Title\n{one}old\n{END_MARKER}Prose.\n{other}old\n{END_MARKER}");
        let new = replace_section(&file, "one", "new\n").unwrap();
        assert_eq!(
            new,
            format!("# Title\n{one}\nnew\n\n{END_MARKER}Prose.\n{other}old\n{END_MARKER}")
        );
        assert_eq!(replace_section(&new, "one", "new\n").unwrap(), new);
        assert!(replace_section("# Title\n", "one", "new\n").is_err());
        assert!(replace_section(&one, "one", "new\n").is_err());
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

//! What a run has found: as text, as JSON, as `JUnit` XML.

use std::fmt::{self, Write as _};

use serde::Serialize;

/// What became of a step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase", tag = "outcome", content = "why")]
pub enum Outcome {
    /// The answer was as it should be.
    Passed,
    /// It was not: expected and found.
    Failed(String),
    /// It was not run, for this reason.
    Skipped(String),
}

/// A step that was run or skipped.
#[derive(Debug, Clone, Serialize)]
pub struct StepReport {
    /// The line of the file where it begins.
    pub line: usize,
    /// The statements that it shows.
    pub source: Vec<String>,
    /// The decisions that it shows.
    pub decision: Vec<String>,
    /// What became of it.
    #[serde(flatten)]
    pub outcome: Outcome,
}

/// A file.
#[derive(Debug, Clone, Serialize)]
pub struct FileReport {
    /// The dialect.
    pub dialect: String,
    /// The file: `cluster-api/login.toml`.
    pub file: String,
    /// What it shows.
    pub title: String,
    /// Its steps.
    pub steps: Vec<StepReport>,
}

/// Steps, counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// As they should be.
    pub passed: usize,
    /// Not as they should be.
    pub failed: usize,
    /// Not run.
    pub skipped: usize,
}

/// A run.
#[derive(Debug, Clone, Default)]
pub struct Report {
    dialects: Vec<String>,
    files: Vec<FileReport>,
}

impl Counts {
    fn add(&mut self, outcome: &Outcome) {
        match outcome {
            Outcome::Passed => self.passed += 1,
            Outcome::Failed(_) => self.failed += 1,
            Outcome::Skipped(_) => self.skipped += 1,
        }
    }

    fn of<'s>(steps: impl IntoIterator<Item = &'s StepReport>) -> Self {
        let mut counts = Self::default();
        steps.into_iter().for_each(|step| counts.add(&step.outcome));
        counts
    }

    fn run(self) -> usize {
        self.passed + self.failed
    }
}

impl Report {
    /// A report on these dialects, in which nothing has run yet.
    #[must_use]
    pub fn new(dialects: Vec<String>) -> Self {
        Self { dialects, files: Vec::new() }
    }

    /// Adds a file.
    pub fn add(&mut self, file: FileReport) {
        self.files.push(file);
    }

    /// The files.
    #[must_use]
    pub fn files(&self) -> &[FileReport] {
        &self.files
    }

    /// The steps of one dialect, counted.
    #[must_use]
    pub fn counts(&self, dialect: &str) -> Counts {
        let files = self.files.iter().filter(|file| file.dialect == dialect);
        Counts::of(files.flat_map(|file| &file.steps))
    }

    /// All steps, counted.
    #[must_use]
    pub fn total(&self) -> Counts {
        Counts::of(self.files.iter().flat_map(|file| &file.steps))
    }

    /// The dialects of which no step ran: a run that shows nothing has not succeeded.
    #[must_use]
    pub fn silent(&self) -> Vec<&str> {
        let silent = self.dialects.iter().filter(|dialect| self.counts(dialect).run() == 0);
        silent.map(String::as_str).collect()
    }

    /// Whether something ran of each dialect, and nothing failed.
    #[must_use]
    pub fn is_success(&self) -> bool {
        let total = self.total();
        total.failed == 0 && total.run() > 0 && self.silent().is_empty()
    }

    /// The report as a JSON object.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        let dialects: Vec<_> = self
            .dialects
            .iter()
            .map(|name| serde_json::json!({ "dialect": name, "counts": self.counts(name) }))
            .collect();
        let (success, total, silent) = (self.is_success(), self.total(), self.silent());
        serde_json::json!({
            "success": success, "total": total, "dialects": dialects, "no_vector_run": silent, "files": self.files,
        })
    }

    /// The report as `JUnit` XML: a suite for each dialect, a case for each step.
    #[must_use]
    pub fn to_junit(&self) -> String {
        let mut xml = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
        let total = self.total();
        let tests = total.run() + total.skipped;
        let (failed, silent) = (total.failed + self.silent().len(), self.silent());
        let _ = writeln!(
            xml,
            "<testsuites name=\"parlance conformance\" tests=\"{}\" failures=\"{failed}\" skipped=\"{}\">",
            tests + silent.len(),
            total.skipped,
        );
        for dialect in &self.dialects {
            self.suite(dialect, silent.contains(&dialect.as_str()), &mut xml);
        }
        xml.push_str("</testsuites>\n");
        xml
    }

    fn suite(&self, dialect: &str, silent: bool, xml: &mut String) {
        let counts = self.counts(dialect);
        let (tests, failed) = (counts.run() + counts.skipped, counts.failed);
        let _ = writeln!(
            xml,
            "  <testsuite name=\"{}\" tests=\"{}\" failures=\"{}\" skipped=\"{}\">",
            Escaped(dialect),
            tests + usize::from(silent),
            failed + usize::from(silent),
            counts.skipped,
        );
        for file in self.files.iter().filter(|file| file.dialect == dialect) {
            for (at, step) in file.steps.iter().enumerate() {
                let _ = write!(
                    xml,
                    "    <testcase classname=\"{}\" name=\"{}, step {}\" file=\"{}\" line=\"{}\"",
                    Escaped(dialect),
                    Escaped(&file.title),
                    at + 1,
                    Escaped(&file.file),
                    step.line,
                );
                let _ = match &step.outcome {
                    Outcome::Passed => writeln!(xml, "/>"),
                    Outcome::Failed(why) => {
                        let first = why.lines().next().unwrap_or_default();
                        let (first, why) = (Escaped(first), Escaped(why));
                        writeln!(xml, "><failure message=\"{first}\">{why}</failure></testcase>")
                    }
                    Outcome::Skipped(why) => {
                        writeln!(xml, "><skipped message=\"{}\"/></testcase>", Escaped(why))
                    }
                };
            }
        }
        if silent {
            let _ = writeln!(
                xml,
                "    <testcase classname=\"{0}\" name=\"vectors\"><failure message=\"no vector run\"/></testcase>",
                Escaped(dialect),
            );
        }
        xml.push_str("  </testsuite>\n");
    }
}

/// The report as text. It shows no password and no token.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for file in &self.files {
            let mut last = None;
            for (at, step) in file.steps.iter().enumerate() {
                match &step.outcome {
                    Outcome::Passed => {}
                    Outcome::Failed(why) => {
                        writeln!(f, "FAILED {}:{}, step {}", file.file, step.line, at + 1)?;
                        writeln!(f, "  {}", file.title)?;
                        why.lines().try_for_each(|line| writeln!(f, "    {line}"))?;
                        let decisions =
                            step.decision.iter().map(|number| format!("decision {number}"));
                        let sources: Vec<_> =
                            step.source.iter().cloned().chain(decisions).collect();
                        writeln!(f, "    from {}", sources.join(", "))?;
                    }
                    Outcome::Skipped(why) if last != Some(why) => {
                        let (count, from) = (file.steps.len() - at, at + 1);
                        writeln!(f, "skipped {} from step {from} ({count}): {why}", file.file)?;
                        last = Some(why);
                    }
                    Outcome::Skipped(_) => {}
                }
            }
        }
        let width = self.dialects.iter().map(String::len).max().unwrap_or(0).max("dialect".len());
        let mut line = |name: &str, c: [String; 3]| {
            let [passed, failed, skipped] = c;
            writeln!(f, "{name:width$}  {passed:>7}  {failed:>7}  {skipped:>7}")
        };
        let row = |counts: Counts| {
            [counts.passed.to_string(), counts.failed.to_string(), counts.skipped.to_string()]
        };
        line("dialect", ["passed", "failed", "skipped"].map(str::to_owned))?;
        self.dialects.iter().try_for_each(|dialect| line(dialect, row(self.counts(dialect))))?;
        let total = self.total();
        line("total", row(total))?;
        for dialect in self.silent() {
            writeln!(f, "FAILED: no vector run of {dialect}")?;
        }
        match (self.is_success(), total.run()) {
            (true, _) => writeln!(f, "ok"),
            (false, 0) if self.dialects.is_empty() => writeln!(f, "FAILED: no vector run"),
            (false, _) if total.failed > 0 => {
                writeln!(f, "FAILED: {} of {} steps", total.failed, total.run())
            }
            (false, _) => Ok(()),
        }
    }
}

/// A text within XML. What XML 1.0 cannot hold becomes U+FFFD.
struct Escaped<'t>(&'t str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|c| match c {
            '<' => f.write_str("&lt;"),
            '>' => f.write_str("&gt;"),
            '&' => f.write_str("&amp;"),
            '"' => f.write_str("&quot;"),
            '\t' | '\n' | '\r' => f.write_char(c),
            '\0'..='\u{1f}' | '\u{fffe}' | '\u{ffff}' => f.write_char(char::REPLACEMENT_CHARACTER),
            _ => f.write_char(c),
        })
    }
}

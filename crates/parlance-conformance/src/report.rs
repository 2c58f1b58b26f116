//! The result of a run: as text, as JSON, as `JUnit` XML.

use std::fmt::{self, Write as _};

use serde::Serialize;

/// The outcome of a step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase", tag = "outcome", content = "why")]
pub enum StepOutcome {
    /// The answer met every expectation.
    Passed,
    /// The answer did not: expected and found values.
    Failed(String),
    /// The step did not run, for this reason.
    Skipped(String),
}

/// A step that was run or skipped.
#[derive(Debug, Clone, Serialize)]
pub struct StepReport {
    /// The line of the file where the step begins.
    pub line: usize,
    /// The statements that the step shows.
    pub source: Vec<String>,
    /// The decisions that the step shows.
    pub decision: Vec<String>,
    /// The outcome.
    #[serde(flatten)]
    pub outcome: StepOutcome,
}

/// A file.
#[derive(Debug, Clone, Serialize)]
pub struct FileReport {
    /// The dialect.
    pub dialect: String,
    /// The file: `cluster-api/login.toml`.
    pub file: String,
    /// The claim that the file shows.
    pub title: String,
    /// Its steps.
    pub steps: Vec<StepReport>,
}

/// Numbers of steps by outcome.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Steps with the expected answer.
    pub passed: usize,
    /// Steps with another answer, or none.
    pub failed: usize,
    /// Steps that did not run.
    pub skipped: usize,
}

/// A run.
#[derive(Debug, Clone, Default)]
pub struct Report {
    dialects: Vec<String>,
    files: Vec<FileReport>,
}

impl Counts {
    fn add(&mut self, outcome: &StepOutcome) {
        match outcome {
            StepOutcome::Passed => self.passed += 1,
            StepOutcome::Failed(_) => self.failed += 1,
            StepOutcome::Skipped(_) => self.skipped += 1,
        }
    }

    fn of<'s>(steps: impl IntoIterator<Item = &'s StepReport>) -> Self {
        let mut counts = Self::default();
        steps.into_iter().for_each(|step| counts.add(&step.outcome));
        counts
    }

    fn executed(self) -> usize {
        self.passed + self.failed
    }
}

impl Report {
    /// A report on these dialects, without files.
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

    /// Counts the steps of one dialect.
    #[must_use]
    pub fn counts(&self, dialect: &str) -> Counts {
        let files = self.files.iter().filter(|file| file.dialect == dialect);
        Counts::of(files.flat_map(|file| &file.steps))
    }

    /// Counts all steps.
    #[must_use]
    pub fn total(&self) -> Counts {
        Counts::of(self.files.iter().flat_map(|file| &file.steps))
    }

    /// The dialects without a step that ran: a run that shows nothing is no success.
    #[must_use]
    pub fn dialects_without_steps(&self) -> Vec<&str> {
        let silent = self.dialects.iter().filter(|dialect| self.counts(dialect).executed() == 0);
        silent.map(String::as_str).collect()
    }

    /// Whether steps of each dialect ran, and none failed.
    #[must_use]
    pub fn is_success(&self) -> bool {
        let total = self.total();
        total.failed == 0 && total.executed() > 0 && self.dialects_without_steps().is_empty()
    }

    /// The report as a JSON object.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        let dialects: Vec<_> = self
            .dialects
            .iter()
            .map(|name| serde_json::json!({ "dialect": name, "counts": self.counts(name) }))
            .collect();
        let (success, total, silent) =
            (self.is_success(), self.total(), self.dialects_without_steps());
        serde_json::json!({
            "success": success, "total": total, "dialects": dialects, "no_vector_run": silent, "files": self.files,
        })
    }

    /// The report as `JUnit` XML: a suite for each dialect, a case for each step.
    #[must_use]
    pub fn to_junit(&self) -> String {
        let mut xml = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
        let total = self.total();
        let tests = total.executed() + total.skipped;
        let (failed, silent) =
            (total.failed + self.dialects_without_steps().len(), self.dialects_without_steps());
        let _ = writeln!(
            xml,
            "<testsuites name=\"parlance conformance\" tests=\"{}\" failures=\"{failed}\" skipped=\"{}\">",
            tests + silent.len(),
            total.skipped,
        );
        for dialect in &self.dialects {
            self.write_suite(dialect, silent.contains(&dialect.as_str()), &mut xml);
        }
        xml.push_str("</testsuites>\n");
        xml
    }

    fn write_suite(&self, dialect: &str, silent: bool, xml: &mut String) {
        let counts = self.counts(dialect);
        let (tests, failed) = (counts.executed() + counts.skipped, counts.failed);
        let _ = writeln!(
            xml,
            "  <testsuite name=\"{}\" tests=\"{}\" failures=\"{}\" skipped=\"{}\">",
            XmlEscaped(dialect),
            tests + usize::from(silent),
            failed + usize::from(silent),
            counts.skipped,
        );
        for file in self.files.iter().filter(|file| file.dialect == dialect) {
            for (at, step) in file.steps.iter().enumerate() {
                let _ = write!(
                    xml,
                    "    <testcase classname=\"{}\" name=\"{}, step {}\" file=\"{}\" line=\"{}\"",
                    XmlEscaped(dialect),
                    XmlEscaped(&file.title),
                    at + 1,
                    XmlEscaped(&file.file),
                    step.line,
                );
                let _ = match &step.outcome {
                    StepOutcome::Passed => writeln!(xml, "/>"),
                    StepOutcome::Failed(why) => {
                        let first = why.lines().next().unwrap_or_default();
                        let (first, why) = (XmlEscaped(first), XmlEscaped(why));
                        writeln!(xml, "><failure message=\"{first}\">{why}</failure></testcase>")
                    }
                    StepOutcome::Skipped(why) => {
                        writeln!(xml, "><skipped message=\"{}\"/></testcase>", XmlEscaped(why))
                    }
                };
            }
        }
        if silent {
            let _ = writeln!(
                xml,
                "    <testcase classname=\"{0}\" name=\"vectors\"><failure message=\"no vector run\"/></testcase>",
                XmlEscaped(dialect),
            );
        }
        xml.push_str("  </testsuite>\n");
    }
}

/// The report as text, without passwords and tokens.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for file in &self.files {
            let mut last = None;
            for (at, step) in file.steps.iter().enumerate() {
                match &step.outcome {
                    StepOutcome::Passed => {}
                    StepOutcome::Failed(why) => {
                        writeln!(f, "FAILED {}:{}, step {}", file.file, step.line, at + 1)?;
                        writeln!(f, "  {}", file.title)?;
                        why.lines().try_for_each(|line| writeln!(f, "    {line}"))?;
                        let decisions = step.decision.iter().map(|name| format!("decision {name}"));
                        let sources: Vec<_> =
                            step.source.iter().cloned().chain(decisions).collect();
                        writeln!(f, "    from {}", sources.join(", "))?;
                    }
                    StepOutcome::Skipped(why) if last != Some(why) => {
                        let (count, from) = (file.steps.len() - at, at + 1);
                        writeln!(f, "skipped {} from step {from} ({count}): {why}", file.file)?;
                        last = Some(why);
                    }
                    StepOutcome::Skipped(_) => {}
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
        for dialect in self.dialects_without_steps() {
            writeln!(f, "FAILED: no vector run of {dialect}")?;
        }
        match (self.is_success(), total.executed()) {
            (true, _) => writeln!(f, "ok"),
            (false, 0) if self.dialects.is_empty() => writeln!(f, "FAILED: no vector run"),
            (false, _) if total.failed > 0 => {
                writeln!(f, "FAILED: {} of {} steps", total.failed, total.executed())
            }
            (false, _) => Ok(()),
        }
    }
}

/// A text escaped for XML. A character that XML 1.0 forbids becomes U+FFFD.
struct XmlEscaped<'t>(&'t str);

impl fmt::Display for XmlEscaped<'_> {
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

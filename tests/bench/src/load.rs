//! Load: wrk, and what it says.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

/// The script, which wrk wants as a file.
const SCRIPT: &str = include_str!("load.lua");

/// Requests to be sent, over connections that are kept.
#[derive(Debug, Clone)]
pub(crate) struct Load {
    what: &'static str,
    path: &'static str,
    script: PathBuf,
    lines: PathBuf,
    threads: usize,
    connections: usize,
}

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Run {
    /// Whole answers.
    pub(crate) answers: u64,
    /// Answers a second.
    pub(crate) rate: f64,
    /// Answers that say so, and requests that had none.
    pub(crate) errors: u64,
    /// The median latency, in milliseconds.
    pub(crate) p50: f64,
    /// What one request in a hundred exceeds, in milliseconds.
    pub(crate) p99: f64,
}

impl Load {
    /// Checks of these tokens.
    pub(crate) fn checks(folder: &Path, tokens: &[String], connections: usize) -> Result<Self> {
        // Two, so that the generator is never the one that everybody waits for.
        Self::new("check", folder, tokens, 2, connections)
    }

    /// The same requests, to another path.
    pub(crate) fn at(&self, path: &'static str) -> Self {
        Self { path, ..self.clone() }
    }

    /// Logins with these forms.
    pub(crate) fn logins(folder: &Path, forms: &[String], connections: usize) -> Result<Self> {
        Self::new("login", folder, forms, 1, connections)
    }

    fn new(
        what: &'static str,
        folder: &Path,
        lines: &[String],
        threads: usize,
        connections: usize,
    ) -> Result<Self> {
        let script = folder.join("load.lua");
        std::fs::write(&script, SCRIPT)?;
        let file = folder.join(format!("{what}s"));
        std::fs::write(&file, lines.join("\n"))?;
        Ok(Self { what, path: "/login", script, lines: file, threads, connections })
    }

    /// Sends it for so long.
    pub(crate) fn run(&self, to: SocketAddr, seconds: u32) -> Result<Run> {
        let output = Command::new("wrk")
            .args([format!("-t{}", self.threads), format!("-c{}", self.connections)])
            .args([format!("-d{seconds}s"), "-s".to_owned()])
            .arg(&self.script)
            .args([&format!("http://{to}"), "--", self.what])
            .arg(&self.lines)
            .arg(self.path)
            .stdin(Stdio::null())
            .output()
            .context("cannot run wrk")?;
        let said = String::from_utf8_lossy(&output.stdout);
        match parse(&said) {
            Some(run) if output.status.success() => Ok(run),
            _ => bail!("wrk failed: {said}{}", String::from_utf8_lossy(&output.stderr)),
        }
    }
}

/// Reads the line that the script writes at the end.
fn parse(said: &str) -> Option<Run> {
    let line = said.lines().find_map(|line| line.strip_prefix("figures "))?;
    let numbers: Option<Vec<f64>> = line.split(' ').map(|word| word.parse().ok()).collect();
    let [answers, micros, refused, lost, p50, p99] = numbers?.try_into().ok()?;
    // wrk's scripts count in doubles.
    let count = |number: f64| number as u64;
    Some(Run {
        answers: count(answers),
        rate: answers / (micros / 1e6),
        errors: count(refused + lost),
        p50: p50 / 1e3,
        p99: p99 / 1e3,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_figures_are_read_from_among_what_wrk_prints() {
        let said = "Running 2s test\n  Requests/sec: 500.00\nfigures 1000 2000000 3 4 1500 9000\n";
        let run = Run { answers: 1000, rate: 500.0, errors: 7, p50: 1.5, p99: 9.0 };
        assert_eq!(parse(said), Some(run));
        assert_eq!(parse("Running 2s test\n"), None);
        assert_eq!(parse("figures 1 2 3\n"), None);
    }
}

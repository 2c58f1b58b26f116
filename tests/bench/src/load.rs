//! Load: wrk, and what it says.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{BufWriter, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};
use parlance::dialect::Shown;

/// The script, which wrk wants as a file.
const SCRIPT: &str = include_str!("load.lua");

/// A request as it goes over the wire.
#[derive(Debug, Clone)]
pub(crate) struct Request(String);

impl Request {
    /// One without a body.
    pub(crate) fn new(method: &str, path: &str, headers: &[(&str, &str)]) -> Self {
        Self::with_body(method, path, headers, "")
    }

    /// One with a body of this length.
    pub(crate) fn with_body(
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Self {
        let mut text = format!("{method} {path} HTTP/1.1\r\nHost: bench\r\n");
        for (name, value) in headers {
            let _written = write!(text, "{name}: {value}\r\n");
        }
        if !body.is_empty() {
            let _written = write!(text, "Content-Length: {}\r\n", body.len());
        }
        Self(text + "\r\n" + body)
    }

    /// An urlencoded form.
    pub(crate) fn form(path: &str, headers: &[(&str, &str)], body: &str) -> Self {
        let kind = ("Content-Type", "application/x-www-form-urlencoded");
        Self::with_body("POST", path, &[&[kind], headers].concat(), body)
    }

    /// A guarded request that shows this credential.
    pub(crate) fn showing(path: &str, shown: &Shown) -> Self {
        let headers: Vec<_> =
            shown.headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let method = if shown.body.is_empty() { "GET" } else { "POST" };
        Self::with_body(method, path, &headers, &shown.body)
    }

    /// What is answered to it, over a connection of its own.
    pub(crate) fn answer(&self, to: SocketAddr) -> Result<String> {
        let Self(text) = self;
        let mut stream = TcpStream::connect(to)?;
        stream.write_all(text.replacen("\r\n", "\r\nConnection: close\r\n", 1).as_bytes())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }
}

/// Requests to be sent, over connections that are kept.
#[derive(Debug, Clone)]
pub(crate) struct Load {
    script: PathBuf,
    lines: PathBuf,
    threads: usize,
    connections: usize,
    once: bool,
    pause: u32,
    patience: u32,
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
    /// These requests, in random order, again and again.
    pub(crate) fn new(
        folder: &Path,
        name: &str,
        requests: impl IntoIterator<Item = Request>,
        connections: usize,
    ) -> Result<Self> {
        let script = folder.join("load.lua");
        std::fs::write(&script, SCRIPT)?;
        let lines = folder.join(format!("{name}.requests"));
        let mut file = BufWriter::new(File::create(&lines)?);
        for Request(text) in requests {
            writeln!(file, "{}", text.replace("\r\n", "\u{1}"))?;
        }
        file.flush()?;
        // Two, so that the generator is never the one that everybody waits for.
        Ok(Self { script, lines, threads: 2, connections, once: false, pause: 0, patience: 2 })
    }

    /// The same over so many connections.
    pub(crate) fn over(&self, connections: usize) -> Self {
        Self { connections, threads: connections.min(2), ..self.clone() }
    }

    /// The same in the order of the file, each once before any comes again.
    pub(crate) fn once(self) -> Self {
        Self { once: true, ..self }
    }

    /// The same with a pause of so many milliseconds on average before each request of a connection.
    pub(crate) fn pausing(&self, pause: u32) -> Self {
        Self { pause, ..self.clone() }
    }

    /// The same for those who may take so many seconds for an answer.
    pub(crate) fn patient(self, patience: u32) -> Self {
        Self { patience, ..self }
    }

    /// Sends it for so long.
    pub(crate) fn run(&self, to: SocketAddr, seconds: u32) -> Result<Run> {
        let order = if self.once { "once" } else { "random" };
        // Made by the script when the last thread has its requests.
        let started = self.lines.with_extension("started");
        if started.exists() {
            std::fs::remove_file(&started)?;
        }
        let output = Command::new("wrk")
            .args([format!("-t{}", self.threads), format!("-c{}", self.connections)])
            .args([format!("-d{seconds}s"), format!("--timeout={}s", self.patience)])
            .arg("-s")
            .arg(&self.script)
            .args([&format!("http://{to}"), "--"])
            .arg(&self.lines)
            .args([&self.threads.to_string(), order, &self.pause.to_string()])
            .arg(&started)
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

    #[test]
    fn a_request_says_how_long_its_body_is_if_it_has_one() {
        let Request(form) = Request::form("/login", &[("A", "b")], "c=d");
        assert_eq!(
            form,
            "POST /login HTTP/1.1\r\nHost: bench\r\nContent-Type: application/x-www-form-urlencoded\r\nA: b\r\nContent-Length: 3\r\n\r\nc=d"
        );
        assert_eq!(Request::new("GET", "/", &[]).0, "GET / HTTP/1.1\r\nHost: bench\r\n\r\n");
    }
}

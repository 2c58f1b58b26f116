//! Load: runs wrk and reads its figures.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{BufWriter, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};
use parlance::dialect::RequestCredential;

/// The Lua script of wrk, which needs a file.
const SCRIPT: &str = include_str!("load.lua");

/// A request as the bytes on the wire.
#[derive(Debug, Clone)]
pub(crate) struct Request(String);

impl Request {
    /// A request without a body.
    pub(crate) fn new(method: &str, path: &str, headers: &[(&str, &str)]) -> Self {
        Self::with_body(method, path, headers, "")
    }

    /// A request with this body and its `Content-Length`.
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

    /// A POST of an urlencoded form.
    pub(crate) fn form(path: &str, headers: &[(&str, &str)], body: &str) -> Self {
        let kind = ("Content-Type", "application/x-www-form-urlencoded");
        Self::with_body("POST", path, &[&[kind], headers].concat(), body)
    }

    /// A guarded request with this credential.
    pub(crate) fn with_credential(path: &str, shown: &RequestCredential) -> Self {
        let headers: Vec<_> =
            shown.headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let method = if shown.body.is_empty() { "GET" } else { "POST" };
        Self::with_body(method, path, &headers, &shown.body)
    }

    /// Sends the request over a connection of its own and returns the answer.
    pub(crate) fn send(&self, to: SocketAddr) -> Result<String> {
        let Self(text) = self;
        let mut stream = TcpStream::connect(to)?;
        stream.write_all(text.replacen("\r\n", "\r\nConnection: close\r\n", 1).as_bytes())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }
}

/// Requests that are sent over kept connections.
#[derive(Debug, Clone)]
pub(crate) struct Load {
    script: PathBuf,
    lines: PathBuf,
    threads: usize,
    connections: usize,
    once: bool,
    pause: u32,
    timeout_seconds: u32,
}

/// The result of a run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Run {
    /// Number of complete answers.
    pub(crate) answers: u64,
    /// Answers a second.
    pub(crate) rate: f64,
    /// Number of error answers and of requests without an answer.
    pub(crate) errors: u64,
    /// The median latency, in milliseconds.
    pub(crate) p50: f64,
    /// The 99th percentile of the latency, in milliseconds.
    pub(crate) p99: f64,
}

impl Load {
    /// These requests, repeated in random order.
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
        // Two threads, so that the generator never becomes the bottleneck.
        Ok(Self {
            script,
            lines,
            threads: 2,
            connections,
            once: false,
            pause: 0,
            timeout_seconds: 2,
        })
    }

    /// The same load over this number of connections.
    pub(crate) fn with_connections(&self, connections: usize) -> Self {
        Self { connections, threads: connections.min(2), ..self.clone() }
    }

    /// The same load in the order of the file, each request once before any repeats.
    pub(crate) fn once(self) -> Self {
        Self { once: true, ..self }
    }

    /// The same load with a pause of this many milliseconds on average before each request of a connection.
    pub(crate) fn with_pause(&self, pause: u32) -> Self {
        Self { pause, ..self.clone() }
    }

    /// The same load with a timeout of this many seconds for an answer.
    pub(crate) fn with_timeout(self, timeout_seconds: u32) -> Self {
        Self { timeout_seconds, ..self }
    }

    /// Sends the load for this many seconds.
    pub(crate) fn run(&self, to: SocketAddr, seconds: u32) -> Result<Run> {
        let order = if self.once { "once" } else { "random" };
        // The script creates this file when the last thread has read its requests.
        let started = self.lines.with_extension("started");
        if started.exists() {
            std::fs::remove_file(&started)?;
        }
        let output = Command::new("wrk")
            .args([format!("-t{}", self.threads), format!("-c{}", self.connections)])
            .args([format!("-d{seconds}s"), format!("--timeout={}s", self.timeout_seconds)])
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

/// Reads the line of figures that the script prints at the end.
fn parse(said: &str) -> Option<Run> {
    let line = said.lines().find_map(|line| line.strip_prefix("figures "))?;
    let numbers: Option<Vec<f64>> = line.split(' ').map(|word| word.parse().ok()).collect();
    let [answers, micros, refused, lost, p50, p99] = numbers?.try_into().ok()?;
    // The numbers of a wrk script are doubles.
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
    fn the_figures_are_parsed_from_the_output_of_wrk() {
        let said = "Running 2s test\n  Requests/sec: 500.00\nfigures 1000 2000000 3 4 1500 9000\n";
        let run = Run { answers: 1000, rate: 500.0, errors: 7, p50: 1.5, p99: 9.0 };
        assert_eq!(parse(said), Some(run));
        assert_eq!(parse("Running 2s test\n"), None);
        assert_eq!(parse("figures 1 2 3\n"), None);
    }

    #[test]
    fn a_request_has_a_content_length_only_with_a_body() {
        let Request(form) = Request::form("/login", &[("A", "b")], "c=d");
        assert_eq!(
            form,
            "POST /login HTTP/1.1\r\nHost: bench\r\nContent-Type: application/x-www-form-urlencoded\r\nA: b\r\nContent-Length: 3\r\n\r\nc=d"
        );
        assert_eq!(Request::new("GET", "/", &[]).0, "GET / HTTP/1.1\r\nHost: bench\r\n\r\n");
    }
}

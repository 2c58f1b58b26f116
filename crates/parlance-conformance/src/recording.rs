//! The exact bytes of every exchange as text, for snapshots. It holds secrets: for targets in this process.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use crate::Operation;
use crate::target::{Received, Sent, Target, Unanswered};

/// From how many equal bytes in a row on they are counted instead of written.
const RUN: usize = 64;

/// A target whose exchanges are written down.
#[derive(Debug)]
pub struct Recording<T> {
    target: T,
    text: String,
    exchanges: usize,
}

impl<T: Target> Recording<T> {
    /// Begins to write down what this target is sent.
    #[must_use]
    pub fn new(target: T) -> Self {
        Self { target, text: String::new(), exchanges: 0 }
    }

    /// What has been written down.
    #[must_use]
    pub fn into_text(self) -> String {
        self.text
    }

    fn note(&mut self, line: &str) {
        self.text.push_str(line);
        self.text.push('\n');
    }

    fn message(&mut self, first: &str, headers: &[(String, String)], body: &[u8]) {
        self.note(first);
        headers
            .iter()
            .for_each(|(name, value)| self.note(&printable(format!("{name}: {value}").as_bytes())));
        if !body.is_empty() {
            let text = printable(body);
            self.note(&format!("\n{text}"));
        }
    }
}

impl<T: Target> Target for Recording<T> {
    fn send(&mut self, request: &Sent) -> Result<Received, Unanswered> {
        self.exchanges += 1;
        let number = self.exchanges;
        self.note(&format!("---- {number} ----"));
        if let Some(peer) = request.peer {
            self.note(&format!("(from {peer})"));
        }
        if request.secure {
            self.note("(over TLS)");
        }
        self.message(
            &format!("{} {}", request.method, request.target),
            &request.headers,
            &request.body,
        );
        let answer = self.target.send(request)?;
        self.note("");
        self.message(&answer.status.to_string(), &answer.headers, &answer.body);
        self.note("");
        Ok(answer)
    }

    fn now(&self) -> DateTime<Utc> {
        self.target.now()
    }

    fn tolerance(&self) -> TimeDelta {
        self.target.tolerance()
    }

    fn advance(&mut self, by: Duration) -> bool {
        let done = self.target.advance(by);
        if done {
            let now = self.target.now().format("%Y-%m-%dT%H:%M:%S%.fZ").to_string();
            self.note(&format!("(the clock moves to {now})"));
        }
        done
    }

    fn operate(&mut self, operation: Operation) -> bool {
        let done = self.target.operate(operation);
        if done {
            self.note(&format!("(an operator: {})", operation.words()));
        }
        done
    }

    fn reaches_from(&self, peer: IpAddr) -> bool {
        self.target.reaches_from(peer)
    }

    fn is_secure(&self) -> bool {
        self.target.is_secure()
    }
}

/// Bytes as text: what is not UTF-8 or not visible as `\xNN`, a long run of one byte counted.
fn printable(bytes: &[u8]) -> String {
    let (mut text, mut pending) = (String::new(), Vec::new());
    for run in bytes.chunk_by(|one, next| one == next) {
        match run.first() {
            Some(byte) if run.len() >= RUN => {
                text.push_str(&visible(&pending));
                pending.clear();
                let _ = write!(text, "({} x {:?})", run.len(), char::from(*byte));
            }
            Some(_) | None => pending.extend_from_slice(run),
        }
    }
    text + &visible(&pending)
}

fn visible(bytes: &[u8]) -> String {
    let mut text = String::new();
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            if c.is_control() && c != '\n' {
                let _ = write!(text, "\\x{:02x}", u32::from(c));
            } else {
                text.push(c);
            }
        }
        for byte in chunk.invalid() {
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
    text
}

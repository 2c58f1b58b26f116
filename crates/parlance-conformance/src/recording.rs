//! Records the exact bytes of each exchange as text, for snapshots. The text holds secrets: only for targets in this
//! process.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use crate::Operation;
use crate::target::{ReceivedResponse, SendError, SentRequest, Target};

/// The shortest run of equal bytes that is written as a count.
const MIN_COUNTED_RUN: usize = 64;

/// A target that records its exchanges.
#[derive(Debug)]
pub struct RecordingTarget<T> {
    target: T,
    text: String,
    exchanges: usize,
}

impl<T: Target> RecordingTarget<T> {
    /// Records the exchanges with this target.
    #[must_use]
    pub fn new(target: T) -> Self {
        Self { target, text: String::new(), exchanges: 0 }
    }

    /// The recorded text.
    #[must_use]
    pub fn into_text(self) -> String {
        self.text
    }

    fn write_line(&mut self, line: &str) {
        self.text.push_str(line);
        self.text.push('\n');
    }

    fn write_message(&mut self, first: &str, headers: &[(String, String)], body: &[u8]) {
        self.write_line(first);
        headers.iter().for_each(|(name, value)| {
            self.write_line(&printable(format!("{name}: {value}").as_bytes()))
        });
        if !body.is_empty() {
            let text = printable(body);
            self.write_line(&format!("\n{text}"));
        }
    }
}

impl<T: Target> Target for RecordingTarget<T> {
    fn send(&mut self, request: &SentRequest) -> Result<ReceivedResponse, SendError> {
        self.exchanges += 1;
        let number = self.exchanges;
        self.write_line(&format!("---- {number} ----"));
        if let Some(peer) = request.peer {
            self.write_line(&format!("(from {peer})"));
        }
        if request.secure {
            self.write_line("(over TLS)");
        }
        self.write_message(
            &format!("{} {}", request.method, request.target),
            &request.headers,
            &request.body,
        );
        let answer = self.target.send(request)?;
        self.write_line("");
        self.write_message(&answer.status.to_string(), &answer.headers, &answer.body);
        self.write_line("");
        Ok(answer)
    }

    fn now(&self) -> DateTime<Utc> {
        self.target.now()
    }

    fn date_tolerance(&self) -> TimeDelta {
        self.target.date_tolerance()
    }

    fn advance(&mut self, by: Duration) -> bool {
        let done = self.target.advance(by);
        if done {
            let now = self.target.now().format("%Y-%m-%dT%H:%M:%S%.fZ").to_string();
            self.write_line(&format!("(the clock moves to {now})"));
        }
        done
    }

    fn perform(&mut self, operation: Operation) -> bool {
        let done = self.target.perform(operation);
        if done {
            self.write_line(&format!("(an operator: {})", operation.description()));
        }
        done
    }

    fn can_send_from(&self, peer: IpAddr) -> bool {
        self.target.can_send_from(peer)
    }

    fn can_send_over_tls(&self) -> bool {
        self.target.can_send_over_tls()
    }
}

/// Bytes as text: invalid UTF-8 and control characters as `\xNN`, a long run of one byte as a count.
fn printable(bytes: &[u8]) -> String {
    let (mut text, mut pending) = (String::new(), Vec::new());
    for run in bytes.chunk_by(|one, next| one == next) {
        match run.first() {
            Some(byte) if run.len() >= MIN_COUNTED_RUN => {
                text.push_str(&escape_control(&pending));
                pending.clear();
                let _ = write!(text, "({} x {:?})", run.len(), char::from(*byte));
            }
            Some(_) | None => pending.extend_from_slice(run),
        }
    }
    text + &escape_control(&pending)
}

fn escape_control(bytes: &[u8]) -> String {
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

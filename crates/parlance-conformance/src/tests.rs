//! Claims about the format, the runner and the reports.

#![expect(
    clippy::needless_pass_by_value,
    reason = "an expectation belongs to the check it is given to"
)]

mod format;
#[cfg(feature = "http")]
mod http;
mod report;
mod runner;

use std::collections::VecDeque;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use crate::target::Unanswered;
use crate::{Operation, Received, Sent, Target, Users, Vector, parse_vector};

const JSON: &[(&str, &str)] = &[("content-type", "application/json")];

fn vector(steps: &str) -> Vector {
    parse_vector("wire/file.toml", &format!("title = \"t\"\n{steps}")).unwrap()
}

fn step(lines: &str) -> String {
    let request = "request = { method = \"GET\", path = \"/\" }";
    format!("[[step]]\nsource = [\"a.b\"]\n{request}\n{lines}\n")
}

/// A target that says what it was told to say, and remembers what it was sent.
#[derive(Debug)]
struct Scripted {
    answers: VecDeque<Received>,
    sent: Vec<Sent>,
    now: DateTime<Utc>,
    can: bool,
}

impl Scripted {
    fn saying(answers: impl IntoIterator<Item = Received>) -> Self {
        let now = DateTime::from_timestamp(1_651_406_400, 0).unwrap();
        Self { answers: answers.into_iter().collect(), sent: Vec::new(), now, can: true }
    }
}

impl Target for Scripted {
    fn send(&mut self, request: &Sent) -> Result<Received, Unanswered> {
        self.sent.push(request.clone());
        self.answers.pop_front().ok_or_else(|| Unanswered("the script is over".to_owned()))
    }

    fn now(&self) -> DateTime<Utc> {
        self.now
    }

    fn advance(&mut self, by: Duration) -> bool {
        self.now += TimeDelta::from_std(by).unwrap();
        self.can
    }

    fn operate(&mut self, _operation: Operation) -> bool {
        self.can
    }
}

fn answer(status: u16, headers: &[(&str, &str)], body: &str) -> Received {
    let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Received { status, headers: headers.collect(), body: body.as_bytes().to_vec() }
}

fn users() -> Users {
    Users::one("csmith", "XXX").and("jdoe", "YYY")
}

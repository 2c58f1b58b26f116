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

use crate::target::SendError;
use crate::{Operation, ReceivedResponse, SentRequest, Target, TestUsers, Vector, parse_vector};

const JSON: &[(&str, &str)] = &[("content-type", "application/json")];

fn vector(steps: &str) -> Vector {
    parse_vector("wire/file.toml", &format!("title = \"t\"\n{steps}")).unwrap()
}

fn step(lines: &str) -> String {
    let request = "request = { method = \"GET\", path = \"/\" }";
    format!("[[step]]\nsource = [\"a.b\"]\n{request}\n{lines}\n")
}

/// A target that gives prepared answers and records the requests.
#[derive(Debug)]
struct ScriptedTarget {
    answers: VecDeque<ReceivedResponse>,
    sent: Vec<SentRequest>,
    now: DateTime<Utc>,
    supports_operations: bool,
}

impl ScriptedTarget {
    fn with_answers(answers: impl IntoIterator<Item = ReceivedResponse>) -> Self {
        let now = DateTime::from_timestamp(1_651_406_400, 0).unwrap();
        Self {
            answers: answers.into_iter().collect(),
            sent: Vec::new(),
            now,
            supports_operations: true,
        }
    }
}

impl Target for ScriptedTarget {
    fn send(&mut self, request: &SentRequest) -> Result<ReceivedResponse, SendError> {
        self.sent.push(request.clone());
        self.answers.pop_front().ok_or_else(|| SendError("the script is over".to_owned()))
    }

    fn now(&self) -> DateTime<Utc> {
        self.now
    }

    fn advance(&mut self, by: Duration) -> bool {
        self.now += TimeDelta::from_std(by).unwrap();
        self.supports_operations
    }

    fn perform(&mut self, _operation: Operation) -> bool {
        self.supports_operations
    }
}

fn answer(status: u16, headers: &[(&str, &str)], body: &str) -> ReceivedResponse {
    let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    ReceivedResponse { status, headers: headers.collect(), body: body.as_bytes().to_vec() }
}

fn users() -> TestUsers {
    TestUsers::single("csmith", "XXX").with_other("jdoe", "YYY")
}

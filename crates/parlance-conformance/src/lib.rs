//! Conformance vectors for login dialects.
//!
//! A vector is data: requests, and the answers that the dialect's document demands. Each step names the statement of
//! the document behind its expectation. This crate holds the format ([`Vector`]), the vectors themselves ([`embedded`];
//! others: [`load`]), a runner ([`run`]) that drives any [`Target`], and a [`Report`].
//!
//! A target is a server behind a base URL ([`http`]) or a dialect in this process ([`process`]), where the clock can be
//! moved and an operator can act. A step beyond the abilities of the target ends its file there and counts as skipped,
//! with the reason. A run in which no step ran at all is a failure.

mod format;
#[cfg(feature = "http")]
pub mod http;
mod load;
mod matcher;
#[cfg(feature = "process")]
pub mod process;
mod recording;
mod redact;
mod report;
mod runner;
mod statements;
mod target;
#[cfg(test)]
mod tests;
mod variables;

pub use format::{Operation, Pairs, RequestTemplate, Step, Vector};
pub use load::{FormatError, embedded, load, parse_statements, parse_vector};
pub use matcher::{Matcher, TimeSpan};
pub use recording::RecordingTarget;
pub use report::{Counts, FileReport, Report, StepOutcome, StepReport};
pub use runner::{TestUsers, UnknownDialect, run, run_file, select_dialects};
pub use statements::{Statement, Statements, VectorFolder};
pub use target::{ReceivedResponse, SendError, SentRequest, Target};

//! Conformance vectors for login dialects.
//!
//! A vector is data: requests, and what the dialect's document says of their answers, each step with the statement that it comes
//! from. This crate holds the format ([`Vector`]), the vectors themselves ([`embedded`]; other ones: [`load`]), a runner ([`run`]) that
//! drives any [`Target`], and a [`Report`].
//!
//! A target is a server behind a base URL ([`http`]) or a dialect in this process ([`process`]), where the clock can be moved and an
//! operator can act. What a target cannot do ends the file there, and is counted as skipped with its reason; that no step ran at all is
//! a failure.

mod document;
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
mod target;
#[cfg(test)]
mod tests;
mod variables;

pub use document::{Folder, Statement, Statements};
pub use format::{Operation, Pairs, Step, Vector, WireRequest};
pub use load::{FormatError, embedded, load, parse_statements, parse_vector};
pub use matcher::{Matcher, Span};
pub use recording::Recording;
pub use report::{Counts, FileReport, Outcome, Report, StepReport};
pub use runner::{UnknownDialect, Users, run, run_file, select};
pub use target::{Received, Sent, Target, Unanswered};

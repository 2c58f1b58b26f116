//! The program's output for people and scripts: data on standard output, the rest on standard error.
//!
//! A reader of standard output that has gone (`| head`) is no failure; any other error of a write ends the command with
//! a sentence and exit code 1. A change made before stays made. `serve` does not start without a written ready line: a
//! program that waits for the line would wait for ever.
//!
//! With `--json` an act answers one object, so that a script learns the act and its extent. `done` is the command with
//! a dot (`user.disable`). Beside `done` stand the names of the objects (`user` and `id`, `session`, `client`, `kid`,
//! `file`) and counts (`sessions_ended`, counted before the act, so that a login in between is ended and not counted;
//! `added`). An error prints no object, and the exit code says that nothing was done, except where standard output
//! cannot be written after the act, which the sentence says.

use std::io::{self, Write as _};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::cli::CommandError;
pub(crate) use crate::escape::escape_for_terminal;

/// Longest wait for a stalled reader of the output before the program goes on, or ends.
pub(crate) const STALL_TIMEOUT: Duration = Duration::from_secs(2);

/// Writes to standard output. `false` if the reader has gone.
///
/// # Errors
/// The write fails, for another reason than that the reader has gone.
pub(crate) fn try_print(text: &str) -> Result<bool, CommandError> {
    let mut out = io::stdout().lock();
    write_outcome(out.write_all(text.as_bytes()).and_then(|()| out.flush()))
}

fn write_outcome(done: io::Result<()>) -> Result<bool, CommandError> {
    match done {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => {
            Err(CommandError::refused(format!("cannot write to standard output: {error}")))
        }
    }
}

/// Writes to standard output.
///
/// # Errors
/// As [`try_print`].
pub(crate) fn print(text: &str) -> Result<(), CommandError> {
    try_print(text).map(drop)
}

/// Writes a secret that is shown once and stored nowhere. A reader that has gone is an error here: nothing else would
/// tell of the loss.
///
/// # Errors
/// The secret was not written.
pub(crate) fn print_once(text: &str) -> Result<(), CommandError> {
    if try_print(text)? {
        Ok(())
    } else {
        Err(CommandError::refused(
            "cannot write to standard output: its reader has gone; nothing was changed",
        ))
    }
}

/// Writes the help, or the version.
///
/// # Errors
/// As [`try_print`].
pub(crate) fn print_help(help: &clap::Error) -> Result<(), CommandError> {
    write_outcome(help.print().and_then(|()| io::stdout().flush())).map(drop)
}

/// Writes JSON to standard output, indented.
///
/// # Errors
/// As [`try_print`].
pub(crate) fn print_json(value: &Value) -> Result<(), CommandError> {
    print(&format!("{value:#}\n"))
}

/// Adds a member to a JSON object.
pub(crate) fn with_member(mut object: Value, key: &str, value: impl Into<Value>) -> Value {
    if let Some(members) = object.as_object_mut() {
        members.insert(key.to_owned(), value.into());
    }
    object
}

/// Reports a completed act: a sentence, or as JSON an object whose `done` names the act, as in `user.disable`, beside
/// the objects and the counts of the act.
///
/// # Errors
/// As [`try_print`]; the act stays done, and the error says so.
pub(crate) fn print_done(
    as_json: bool,
    act: &str,
    sentence: &str,
    what: Value,
) -> Result<(), CommandError> {
    let text = if as_json {
        format!("{:#}\n", with_member(what, "done", act))
    } else {
        format!("{sentence}\n")
    };
    print(&text)
        .map_err(|error| CommandError::refused(format!("{error}; {act} is done nevertheless")))
}

/// Writes rows under a heading, in columns.
///
/// # Errors
/// As [`try_print`].
pub(crate) fn print_table(heading: &[&str], rows: &[Vec<String>]) -> Result<(), CommandError> {
    let mut listing = Listing::new(false, heading);
    listing.page(rows, |_| Value::Null, Clone::clone).map(drop)
}

/// A list that is written page by page: an array in JSON, otherwise columns under a heading, which may grow wider from
/// page to page.
pub(crate) struct Listing<'h> {
    json: bool,
    heading: &'h [&'h str],
    widths: Vec<usize>,
    shown: u64,
    begun: bool,
}

impl<'h> Listing<'h> {
    pub(crate) fn new(json: bool, heading: &'h [&'h str]) -> Self {
        Self { json, heading, widths: vec![0; heading.len()], shown: 0, begun: false }
    }

    /// Writes a page. `false` if the reader has gone.
    ///
    /// # Errors
    /// As [`try_print`].
    pub(crate) fn page<T>(
        &mut self,
        items: &[T],
        json: impl Fn(&T) -> Value,
        row: impl Fn(&T) -> Vec<String>,
    ) -> Result<bool, CommandError> {
        let mut text = String::new();
        if self.json {
            for item in items {
                text.push_str(if self.shown == 0 { "[\n  " } else { ",\n  " });
                text.push_str(&format!("{:#}", json(item)).replace('\n', "\n  "));
                self.shown += 1;
            }
        } else {
            let mut lines: Vec<Vec<String>> = Vec::new();
            if !std::mem::replace(&mut self.begun, true) {
                lines.push(self.heading.iter().map(|&name| name.to_owned()).collect());
            }
            let cells = |item| row(item).iter().map(|cell| escape_for_terminal(cell)).collect();
            lines.extend(items.iter().map(cells));
            for line in &lines {
                for (width, cell) in self.widths.iter_mut().zip(line) {
                    *width = cell.chars().count().max(*width);
                }
            }
            for line in lines {
                let cells = line.iter().zip(&self.widths);
                let cells: Vec<_> = cells.map(|(cell, width)| format!("{cell:width$}")).collect();
                text.push_str(cells.join("  ").trim_end());
                text.push('\n');
            }
        }
        try_print(&text)
    }

    /// Writes the end of the list: the closing bracket in JSON, otherwise this sentence.
    ///
    /// # Errors
    /// As [`try_print`].
    pub(crate) fn end(self, counts: &str) -> Result<(), CommandError> {
        match (self.json, self.shown) {
            (true, 0) => print("[]\n"),
            (true, _) => print("\n]\n"),
            (false, _) => print(&format!("{counts}\n")),
        }
    }
}

/// Writes a line for people to standard error. `eprintln!` would panic on a failed write, and change the exit code.
pub(crate) fn write_stderr(line: &str) {
    let _nobody_hears = writeln!(io::stderr().lock(), "{line}");
}

/// Writes the program's last line for people. A stalled reader delays the end for at most [`STALL_TIMEOUT`].
pub(crate) fn write_stderr_with_timeout(line: &str) {
    let own = line.to_owned();
    if run_with_timeout(move || write_stderr(&own)).is_err() {
        write_stderr(line);
    }
}

/// Runs a write on its own thread. `None` if the write takes longer than [`STALL_TIMEOUT`]: the reader has stalled.
///
/// # Errors
/// The thread does not start, and nothing is written.
pub(crate) fn run_with_timeout<T: Send + 'static>(
    write: impl FnOnce() -> T + Send + 'static,
) -> io::Result<Option<T>> {
    let (done, is_done) = mpsc::channel();
    thread::Builder::new().name("output".to_owned()).spawn(move || drop(done.send(write())))?;
    Ok(is_done.recv_timeout(STALL_TIMEOUT).ok())
}

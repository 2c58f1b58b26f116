//! What the program writes for people and scripts: data on standard output, the rest on standard error.
//!
//! A reader of standard output that has gone (`| head`) is no failure; any other error of a write is, and ends the command with a sentence.

use std::io::{self, Write as _};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::cli::Failed;
pub(crate) use crate::escape::plain;

/// How long the program waits for a reader of what it writes before it goes on, or ends.
pub(crate) const STALL_TIMEOUT: Duration = Duration::from_secs(2);

/// Writes to standard output, and says whether anybody still reads it.
///
/// # Errors
/// It cannot be written, for another reason than that its reader has gone.
pub(crate) fn print_more(text: &str) -> Result<bool, Failed> {
    let mut out = io::stdout().lock();
    written(out.write_all(text.as_bytes()).and_then(|()| out.flush()))
}

fn written(done: io::Result<()>) -> Result<bool, Failed> {
    match done {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(Failed::refused(format!("cannot write to standard output: {error}"))),
    }
}

/// Writes to standard output.
///
/// # Errors
/// As [`print_more`].
pub(crate) fn print(text: &str) -> Result<(), Failed> {
    print_more(text).map(drop)
}

/// Writes what is shown once and kept nowhere. That its reader has gone is an error here: nothing else would tell of the loss.
///
/// # Errors
/// It was not written.
pub(crate) fn print_once(text: &str) -> Result<(), Failed> {
    if print_more(text)? {
        Ok(())
    } else {
        Err(Failed::refused(
            "cannot write to standard output: its reader has gone; nothing was changed",
        ))
    }
}

/// Writes the help, or the version.
///
/// # Errors
/// As [`print_more`].
pub(crate) fn print_help(help: &clap::Error) -> Result<(), Failed> {
    written(help.print().and_then(|()| io::stdout().flush())).map(drop)
}

/// Writes JSON to standard output, indented.
///
/// # Errors
/// As [`print_more`].
pub(crate) fn print_json(value: &Value) -> Result<(), Failed> {
    print(&format!("{value:#}\n"))
}

/// A JSON object with one member more.
pub(crate) fn with(mut object: Value, key: &str, value: impl Into<Value>) -> Value {
    if let Some(members) = object.as_object_mut() {
        members.insert(key.to_owned(), value.into());
    }
    object
}

/// Says that an act is done: a sentence, or as JSON an object whose `done` names the act, as in `user.disable`, beside what it was done to and
/// how many.
///
/// # Errors
/// As [`print_more`]; the act stays done, and the error says so.
pub(crate) fn print_done(
    as_json: bool,
    act: &str,
    sentence: &str,
    what: Value,
) -> Result<(), Failed> {
    let text =
        if as_json { format!("{:#}\n", with(what, "done", act)) } else { format!("{sentence}\n") };
    print(&text).map_err(|error| Failed::refused(format!("{error}; {act} is done all the same")))
}

/// Writes rows under a heading, in columns.
///
/// # Errors
/// As [`print_more`].
pub(crate) fn print_table(heading: &[&str], rows: &[Vec<String>]) -> Result<(), Failed> {
    let mut listing = Listing::new(false, heading);
    listing.page(rows, |_| Value::Null, Clone::clone).map(drop)
}

/// A list that is written a page at a time: an array in JSON, otherwise columns under a heading, which may grow wider from page to page.
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

    /// Writes some more, and says whether anybody still reads.
    ///
    /// # Errors
    /// As [`print_more`].
    pub(crate) fn page<T>(
        &mut self,
        items: &[T],
        json: impl Fn(&T) -> Value,
        row: impl Fn(&T) -> Vec<String>,
    ) -> Result<bool, Failed> {
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
            let cells = |item| row(item).iter().map(|cell| plain(cell)).collect();
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
        print_more(&text)
    }

    /// Writes the end: of a list in columns this sentence.
    ///
    /// # Errors
    /// As [`print_more`].
    pub(crate) fn end(self, counts: &str) -> Result<(), Failed> {
        match (self.json, self.shown) {
            (true, 0) => print("[]\n"),
            (true, _) => print("\n]\n"),
            (false, _) => print(&format!("{counts}\n")),
        }
    }
}

/// Writes a line for people to standard error. `eprintln!` would panic where that cannot be written, and change how the program ends.
pub(crate) fn tell(line: &str) {
    let _nobody_hears = writeln!(io::stderr().lock(), "{line}");
}

/// A program's last line for people. Whoever does not read it holds up the end for no longer than [`STALL_TIMEOUT`].
pub(crate) fn tell_last(line: &str) {
    let own = line.to_owned();
    if in_time(move || tell(&own)).is_err() {
        tell(line);
    }
}

/// Does this, a write, on a thread of its own. `None` if it is not done within [`STALL_TIMEOUT`]: whoever reads has stalled.
///
/// # Errors
/// The thread does not start, and nothing is done.
pub(crate) fn in_time<T: Send + 'static>(
    write: impl FnOnce() -> T + Send + 'static,
) -> io::Result<Option<T>> {
    let (done, is_done) = mpsc::channel();
    thread::Builder::new().name("output".to_owned()).spawn(move || drop(done.send(write())))?;
    Ok(is_done.recv_timeout(STALL_TIMEOUT).ok())
}

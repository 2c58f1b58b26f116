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

/// Writes rows under a heading, in columns.
///
/// # Errors
/// As [`print_more`].
pub(crate) fn print_table(heading: &[&str], rows: &[Vec<String>]) -> Result<(), Failed> {
    let heading: Vec<String> = heading.iter().map(|&name| name.to_owned()).collect();
    let lines: Vec<&Vec<String>> = std::iter::once(&heading).chain(rows).collect();
    let columns = heading.len();
    let width = |column: usize| {
        lines
            .iter()
            .filter_map(|line| line.get(column))
            .map(|cell| plain(cell).chars().count())
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for line in lines {
        let cells: Vec<String> = line
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{:width$}", plain(cell)))
            .collect();
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
    }
    print(&text)
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

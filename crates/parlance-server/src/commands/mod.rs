//! What an operator types.

pub(crate) mod client;
pub(crate) mod config;
pub(crate) mod conformance;
pub(crate) mod dialect;
pub(crate) mod key;
pub(crate) mod session;
pub(crate) mod user;

use std::future::Future;
use std::io::{IsTerminal as _, Read as _, Write as _};
use std::sync::mpsc;

use parlance::core::{Secret, Timestamp};
use parlance::dialect::moment;
use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};
use serde_json::Value;

use crate::cli::Failed;
use crate::serve::Signals;

/// How a program ends that SIGINT has ended, for the shell.
const INTERRUPTED: i32 = 130;

/// Writes to standard output; a reader that has gone is no failure.
pub(crate) fn print(text: &str) {
    let mut out = std::io::stdout().lock();
    let _gone = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// Writes JSON to standard output, indented.
pub(crate) fn print_json(value: &Value) {
    print(&format!("{value:#}\n"));
}

/// Writes rows under a heading, in columns.
pub(crate) fn print_table(heading: &[&str], rows: &[Vec<String>]) {
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
    print(&text);
}

/// A text for a terminal: what would colour it, turn its direction or hide in it is written as an escape.
pub(crate) fn plain(text: &str) -> String {
    let hidden = |c: char| {
        c.is_control()
            || matches!(
                c,
                '\u{61c}' | '\u{180e}' | '\u{feff}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            )
    };
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if hidden(c) {
            shown.extend(c.escape_unicode());
        } else {
            shown.push(c);
        }
    }
    shown
}

/// A moment in RFC 3339, UTC.
pub(crate) fn date(at: Timestamp) -> String {
    moment(at).format("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Waits for the store's answer.
pub(crate) fn wait<F: Future>(future: F) -> F::Output {
    actix_web::rt::System::new().block_on(future)
}

/// A password: the bytes of standard input up to one final newline, or what is typed twice, unseen.
pub(crate) fn password(from_stdin: bool, new: bool) -> Result<Secret, Failed> {
    if from_stdin {
        let mut bytes = Vec::new();
        std::io::stdin()
            .read_to_end(&mut bytes)
            .map_err(|error| Failed::refused(format!("cannot read the password: {error}")))?;
        let text =
            String::from_utf8(bytes).map_err(|_| Failed::refused("the password is not UTF-8"))?;
        return Ok(Secret::new(text.strip_suffix('\n').unwrap_or(&text).to_owned()));
    }
    if !std::io::stdin().is_terminal() {
        return Err(Failed::Usage(
            "there is no terminal to ask for the password: give it with --password-stdin"
                .to_owned(),
        ));
    }
    echo_again_if_ended()?;
    let ask = |prompt: &str| {
        rpassword::prompt_password(prompt)
            .map_err(|error| Failed::refused(format!("cannot ask for the password: {error}")))
    };
    let password = ask("Password: ")?;
    if new && ask("Password again: ")? != password {
        return Err(Failed::refused("the two passwords differ; nothing was changed"));
    }
    Ok(Secret::new(password))
}

/// Lets a signal that ends the program while a password is typed, unseen, give the terminal its echo back first.
fn echo_again_if_ended() -> Result<(), Failed> {
    let failed =
        |error: std::io::Error| Failed::refused(format!("cannot ask for the password: {error}"));
    let before = tcgetattr(std::io::stdin()).map_err(|error| failed(error.into()))?;
    let (ready, is_ready) = mpsc::channel();
    std::thread::spawn(move || -> std::io::Result<()> {
        actix_web::rt::Runtime::new()?.block_on(async {
            let mut signals = Signals::new()?;
            let _asked = ready.send(());
            signals.next().await;
            let _gone = tcsetattr(std::io::stdin(), OptionalActions::Now, &before);
            eprintln!();
            std::process::exit(INTERRUPTED)
        })
    });
    is_ready
        .recv()
        .map_err(|_| Failed::refused("cannot ask for the password: no signal can be waited for"))
}

//! The commands of operators.

pub(crate) mod backup;
pub(crate) mod client;
pub(crate) mod config;
pub(crate) mod conformance;
pub(crate) mod dialect;
pub(crate) mod import;
pub(crate) mod key;
pub(crate) mod session;
pub(crate) mod user;
pub(crate) mod user_list;

use std::future::Future;
use std::io::{IsTerminal as _, Read as _};
use std::sync::mpsc;

use parlance::core::{Secret, Timestamp};
use parlance::dialect::to_date_time;
use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};

use crate::cli::CommandError;
pub(crate) use crate::output::{
    Listing, escape_for_terminal, print, print_done, print_json, print_once, print_table,
    with_member, write_stderr,
};
use crate::serve::TerminationSignals;

/// The exit code after SIGINT, as shells expect.
const EXIT_INTERRUPTED: i32 = 130;

/// Formats a moment in RFC 3339, UTC.
pub(crate) fn format_timestamp(at: Timestamp) -> String {
    to_date_time(at).format("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Parses a moment in RFC 3339.
pub(crate) fn parse_timestamp(text: &str) -> Option<Timestamp> {
    let date = chrono::DateTime::parse_from_rfc3339(text).ok()?;
    Some(Timestamp::from_millis(date.timestamp_millis()))
}

/// Blocks until the store has answered.
pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    actix_web::rt::System::new().block_on(future)
}

/// Reads a password: standard input up to one final newline, or a prompt without echo, twice for a new password.
pub(crate) fn read_password(from_stdin: bool, new: bool) -> Result<Secret, CommandError> {
    if from_stdin {
        let mut bytes = Vec::new();
        std::io::stdin()
            .read_to_end(&mut bytes)
            .map_err(|error| CommandError::refused(format!("cannot read the password: {error}")))?;
        let text = String::from_utf8(bytes)
            .map_err(|_| CommandError::refused("the password is not UTF-8"))?;
        return Ok(Secret::new(text.strip_suffix('\n').unwrap_or(&text).to_owned()));
    }
    if !std::io::stdin().is_terminal() {
        return Err(CommandError::Usage(
            "there is no terminal to ask for the password: give it with --password-stdin"
                .to_owned(),
        ));
    }
    restore_echo_on_termination()?;
    let ask = |prompt: &str| {
        rpassword::prompt_password(prompt)
            .map_err(|error| CommandError::refused(format!("cannot ask for the password: {error}")))
    };
    let password = ask("Password: ")?;
    if new && ask("Password again: ")? != password {
        return Err(CommandError::refused("the two passwords differ; nothing was changed"));
    }
    Ok(Secret::new(password))
}

/// Restores the terminal's echo if a signal ends the program at the password prompt.
fn restore_echo_on_termination() -> Result<(), CommandError> {
    let failed = |error: std::io::Error| {
        CommandError::refused(format!("cannot ask for the password: {error}"))
    };
    let before = tcgetattr(std::io::stdin()).map_err(|error| failed(error.into()))?;
    on_termination(move || {
        let _gone = tcsetattr(std::io::stdin(), OptionalActions::Now, &before);
        write_stderr("");
    })
}

/// Runs `first` before a signal ends the program.
pub(crate) fn on_termination(first: impl FnOnce() + Send + 'static) -> Result<(), CommandError> {
    let (ready, is_ready) = mpsc::channel();
    std::thread::spawn(move || -> std::io::Result<()> {
        actix_web::rt::Runtime::new()?.block_on(async {
            let mut signals = TerminationSignals::new()?;
            let _asked = ready.send(());
            signals.next().await;
            first();
            std::process::exit(EXIT_INTERRUPTED)
        })
    });
    is_ready.recv().map_err(|_| CommandError::refused("cannot wait for signals; try again"))
}

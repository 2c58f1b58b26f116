//! What an operator types.

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
use parlance::dialect::moment;
use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};

use crate::cli::Failed;
pub(crate) use crate::output::{
    Listing, plain, print, print_done, print_json, print_once, print_table, tell, with,
};
use crate::serve::Signals;

/// How a program ends that SIGINT has ended, for the shell.
const INTERRUPTED: i32 = 130;

/// A moment in RFC 3339, UTC.
pub(crate) fn date(at: Timestamp) -> String {
    moment(at).format("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// The moment that a text in RFC 3339 names.
pub(crate) fn moment_of(text: &str) -> Option<Timestamp> {
    let date = chrono::DateTime::parse_from_rfc3339(text).ok()?;
    Some(Timestamp::from_millis(date.timestamp_millis()))
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
    if_ended(move || {
        let _gone = tcsetattr(std::io::stdin(), OptionalActions::Now, &before);
        tell("");
    })
}

/// Has something put right before a signal ends the program.
pub(crate) fn if_ended(first: impl FnOnce() + Send + 'static) -> Result<(), Failed> {
    let (ready, is_ready) = mpsc::channel();
    std::thread::spawn(move || -> std::io::Result<()> {
        actix_web::rt::Runtime::new()?.block_on(async {
            let mut signals = Signals::new()?;
            let _asked = ready.send(());
            signals.next().await;
            first();
            std::process::exit(INTERRUPTED)
        })
    });
    is_ready.recv().map_err(|_| Failed::refused("no signal can be waited for; try again"))
}

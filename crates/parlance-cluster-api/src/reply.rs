//! What the core says, to bytes: one envelope for everything.

use parlance_core::{Failure, Outcome};
use parlance_dialect::{RETRY_AFTER, Response};
use serde::Serialize;
use serde_json::ser::{PrettyFormatter, Serializer};

use crate::Call;

pub(crate) const DOUBLED: &str = "A parameter is given twice.";
const UNKNOWN_USER: &str = "Username not found, please log in.";
const WRONG_PASSWORD: &str = "Wrong password.";
const UNKNOWN_TOKEN: &str = "Token not found, please log in.";
const FOREIGN_ADDRESS: &str = "The token is not important for this IP address, please log in.";
/// Without a comma, as the document prints it.
const ENDED_TOKEN: &str = "Token expired please log in.";
const WRONG_PATH: &str = "Wrong API path";
const AWAY: &str = "Service unavailable, please try again.";

/// The keys in the order in which the document prints them.
#[derive(Serialize)]
struct Envelope<'e> {
    msg: Message<'e>,
    status: &'e str,
    error: &'e str,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Message<'e> {
    Token { access_token: &'e str },
    Nothing {},
    Text(&'e str),
}

/// Words an outcome.
pub(crate) fn done(call: &Call, outcome: &Outcome) -> Response {
    match (call, outcome) {
        (Call::Login { .. }, Outcome::Opened(_, _, secret)) => {
            success(Message::Token { access_token: secret.expose() })
        }
        (Call::Login { .. }, Outcome::Standing(..)) => success(Message::Nothing {}),
        (Call::Logout(_), Outcome::Closed) => success(Message::Text("")),
        (Call::Other(_), Outcome::Standing(..)) => error(WRONG_PATH),
        // The core answers a command with its own outcome; no other pair can come.
        (
            Call::Login { .. } | Call::Logout(_) | Call::Other(_),
            Outcome::Opened(..)
            | Outcome::Standing(..)
            | Outcome::Renewed(..)
            | Outcome::Closed
            | Outcome::Bumped(_)
            | Outcome::Users(_)
            | Outcome::Named(_),
        ) => refused(Failure::Unavailable),
    }
}

/// Words the refusal of a call: a login that shows a dead token and no name has named nobody.
pub(crate) fn call_refused(call: &Call, why: Failure) -> Response {
    match (call, why) {
        (Call::Login { .. }, Failure::UnknownCredential) => refused(Failure::UnknownUser),
        (Call::Login { .. } | Call::Logout(_) | Call::Other(_), _) => refused(why),
    }
}

/// Words a refusal.
pub(crate) fn refused(why: Failure) -> Response {
    match why {
        // Neither a wait nor a throttle has a word of its own: every answer is 200, and a locked name hears what it heard before.
        Failure::UnknownUser | Failure::Locked { known: false } => error(UNKNOWN_USER),
        Failure::WrongPassword
        | Failure::UserDisabled
        | Failure::PasswordExpired
        | Failure::OuterCredential
        | Failure::UnservedCall
        | Failure::Locked { known: true }
        | Failure::Throttled => error(WRONG_PASSWORD),
        Failure::NoCredential | Failure::UnknownCredential | Failure::ForeignUser => {
            error(UNKNOWN_TOKEN)
        }
        Failure::ForeignAddress => error(FOREIGN_ADDRESS),
        Failure::EndedSession => error(ENDED_TOKEN),
        // Not 200: a client must not take it for the end of its token (decision 0106).
        Failure::Busy | Failure::Unavailable => {
            envelope(503, Message::Nothing {}, "error", AWAY).header("retry-after", RETRY_AFTER)
        }
    }
}

/// An error in a sentence.
pub(crate) fn error(sentence: &str) -> Response {
    envelope(200, Message::Nothing {}, "error", sentence)
}

fn success(msg: Message<'_>) -> Response {
    envelope(200, msg, "success", "")
}

fn envelope(http: u16, msg: Message<'_>, status: &str, error: &str) -> Response {
    let mut body = Vec::new();
    let mut printer = Serializer::with_formatter(&mut body, PrettyFormatter::with_indent(b" "));
    // Strings into memory: this cannot fail.
    let _ = Envelope { msg, status, error }.serialize(&mut printer);
    Response::with_body(http, "application/json; charset=utf-8", body)
}

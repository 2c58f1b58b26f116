//! Response encoding: an [`Outcome`] or [`Failure`] of the core to bytes, in one envelope for all answers.

use parlance_core::{Failure, Outcome};
use parlance_dialect::{RETRY_AFTER, Response};
use serde::Serialize;
use serde_json::ser::{PrettyFormatter, Serializer};

use crate::Call;

pub(crate) const DUPLICATE_PARAMETER: &str = "A parameter is given twice.";
const UNKNOWN_USER: &str = "Username not found, please log in.";
const WRONG_PASSWORD: &str = "Wrong password.";
const UNKNOWN_TOKEN: &str = "Token not found, please log in.";
const UNEXPECTED_ADDRESS: &str = "The token is not important for this IP address, please log in.";
/// Without a comma, as the document prints it.
const EXPIRED_TOKEN: &str = "Token expired please log in.";
const WRONG_PATH: &str = "Wrong API path";
const UNAVAILABLE: &str = "Service unavailable, please try again.";

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
    Empty {},
    Text(&'e str),
}

/// Encodes an outcome.
pub(crate) fn encode_outcome(call: &Call, outcome: &Outcome) -> Response {
    match (call, outcome) {
        (Call::Login { .. }, Outcome::LoggedIn(_, _, secret)) => {
            success(Message::Token { access_token: secret.expose() })
        }
        (Call::Login { .. }, Outcome::Active(..)) => success(Message::Empty {}),
        (Call::Logout(_), Outcome::LoggedOut) => success(Message::Text("")),
        (Call::Other(_), Outcome::Active(..)) => error(WRONG_PATH),
        // The core answers each command with its own outcome, so no other pair occurs.
        (
            Call::Login { .. } | Call::Logout(_) | Call::Other(_),
            Outcome::LoggedIn(..)
            | Outcome::Active(..)
            | Outcome::Renewed(..)
            | Outcome::LoggedOut
            | Outcome::LoginRecorded(_)
            | Outcome::Users(_)
            | Outcome::User(_),
        ) => encode_failure(Failure::Unavailable),
    }
}

/// Encodes the refusal of a call. A login with a dead token and without a name counts as the login of an unknown user.
pub(crate) fn encode_call_failure(call: &Call, why: Failure) -> Response {
    match (call, why) {
        (Call::Login { .. }, Failure::UnknownCredential) => encode_failure(Failure::UnknownUser),
        (Call::Login { .. } | Call::Logout(_) | Call::Other(_), _) => encode_failure(why),
    }
}

/// Encodes a refusal.
pub(crate) fn encode_failure(why: Failure) -> Response {
    match why {
        // Account lock-out and rate limit have no sentence of their own: every answer is 200, and a locked name gets the sentence of before.
        Failure::UnknownUser | Failure::Locked { user_exists: false } => error(UNKNOWN_USER),
        Failure::WrongPassword
        | Failure::UserDisabled
        | Failure::PasswordExpired
        | Failure::OuterCredential
        | Failure::UnservedCall
        | Failure::Locked { user_exists: true }
        | Failure::RateLimited => error(WRONG_PASSWORD),
        Failure::NoCredential | Failure::UnknownCredential | Failure::UnexpectedUser => {
            error(UNKNOWN_TOKEN)
        }
        Failure::UnexpectedAddress => error(UNEXPECTED_ADDRESS),
        Failure::RevokedOrExpired => error(EXPIRED_TOKEN),
        // Not 200: a client must not take the answer for the end of its token (decisions.md#an-unavailable-store-is-503-and-not-200).
        Failure::Busy | Failure::Unavailable => {
            envelope(503, Message::Empty {}, "error", UNAVAILABLE)
                .header("retry-after", RETRY_AFTER)
        }
    }
}

/// Encodes an error with its sentence.
pub(crate) fn error(sentence: &str) -> Response {
    envelope(200, Message::Empty {}, "error", sentence)
}

fn success(msg: Message<'_>) -> Response {
    envelope(200, msg, "success", "")
}

fn envelope(http: u16, msg: Message<'_>, status: &str, error: &str) -> Response {
    let mut body = Vec::new();
    let mut printer = Serializer::with_formatter(&mut body, PrettyFormatter::with_indent(b" "));
    // Writing strings to memory cannot fail.
    let _ = Envelope { msg, status, error }.serialize(&mut printer);
    Response::with_body(http, "application/json; charset=utf-8", body)
}

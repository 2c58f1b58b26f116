//! What the core says, to bytes.

use std::io;

use parlance_core::{Failure, Outcome};
use parlance_dialect::{RETRY_AFTER, RETRY_AFTER_THROTTLED, Response};
use serde::Serialize;
use serde_json::ser::{Formatter, Serializer};

use crate::{Call, cookie};

pub(crate) const DOUBLED: &str = "A parameter is given twice.";

/// The keys in the order in which the document prints them.
#[derive(Serialize)]
struct Opened<'o> {
    uid: &'o str,
    sid: &'o str,
    epw: &'o str,
}

#[derive(Serialize)]
struct LoggedOut {
    rc: &'static str,
    msg: &'static str,
}

#[derive(Serialize)]
struct Refusal<'r> {
    error: &'r str,
}

/// Words an outcome.
pub(crate) fn done(call: &Call, outcome: &Outcome) -> Response {
    match (call, outcome) {
        (Call::Login { secure, .. }, Outcome::Opened(session, user, secret)) => {
            let (uid, sid, epw) =
                (user.name.as_str(), session.sid.as_deref().unwrap_or_default(), secret.expose());
            json(200, &Opened { uid, sid, epw })
                .header("set-cookie", cookie::print(uid, sid, epw, *secure))
        }
        (Call::Logout(_), Outcome::Closed) => json(200, &LoggedOut { rc: "0", msg: "Logged out" }),
        (Call::Other(_), Outcome::Standing(..)) => error(404, "No such call."),
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

/// Words a refusal.
pub(crate) fn refused(why: Failure) -> Response {
    match why {
        Failure::UnknownUser
        | Failure::WrongPassword
        | Failure::UserDisabled
        | Failure::OuterCredential
        | Failure::UnservedCall
        | Failure::Locked { .. } => {
            error(401, "Access denied. The user id and/or password are incorrect.")
        }
        Failure::Throttled => error(429, "Too many failed logins. Please try again later.")
            .header("retry-after", RETRY_AFTER_THROTTLED),
        Failure::PasswordExpired => error(
            403,
            "Forbidden. The user id and password combination has expired. Please try logging in again.",
        ),
        Failure::NoCredential
        | Failure::UnknownCredential
        | Failure::EndedSession
        | Failure::ForeignAddress
        | Failure::ForeignUser => {
            error(401, "Access denied. There is no such session. Please log in.")
        }
        Failure::Busy | Failure::Unavailable => {
            error(503, "Service unavailable. Please try again.").header("retry-after", RETRY_AFTER)
        }
    }
}

/// An error: clients look for the key `error`, whatever the status.
pub(crate) fn error(status: u16, sentence: &str) -> Response {
    json(status, &Refusal { error: sentence })
}

fn json(status: u16, value: &impl Serialize) -> Response {
    let mut body = Vec::new();
    // Strings into memory: this cannot fail.
    let _ = value.serialize(&mut Serializer::with_formatter(&mut body, Spaced));
    Response::with_body(status, "application/json; charset=utf-8", body)
}

/// JSON on one line with a blank after each comma and colon, as the document prints it.
struct Spaced;

impl Formatter for Spaced {
    fn begin_object_key<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        writer.write_all(b": ")
    }
}

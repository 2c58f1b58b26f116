//! Response encoding: an [`Outcome`] or [`Failure`] of the core to bytes.

use std::io;

use parlance_core::{Failure, Outcome};
use parlance_dialect::{RETRY_AFTER, RETRY_AFTER_THROTTLED, Response};
use serde::Serialize;
use serde_json::ser::{Formatter, Serializer};

use crate::{Call, cookie};

pub(crate) const DUPLICATE_PARAMETER: &str = "A parameter is given twice.";

/// The keys in the order in which the document prints them.
#[derive(Serialize)]
struct LoginBody<'o> {
    uid: &'o str,
    sid: &'o str,
    epw: &'o str,
}

#[derive(Serialize)]
struct LogoutBody {
    rc: &'static str,
    msg: &'static str,
}

#[derive(Serialize)]
struct ErrorBody<'r> {
    error: &'r str,
}

/// Encodes an outcome.
pub(crate) fn encode_outcome(call: &Call, outcome: &Outcome) -> Response {
    match (call, outcome) {
        (Call::Login { secure, .. }, Outcome::LoggedIn(session, user, secret)) => {
            let (uid, sid, epw) = (
                user.name.as_str(),
                session.public_id.as_deref().unwrap_or_default(),
                secret.expose(),
            );
            json(200, &LoginBody { uid, sid, epw })
                .header("set-cookie", cookie::set_cookie_value(uid, sid, epw, *secure))
        }
        (Call::Logout(_), Outcome::LoggedOut) => {
            json(200, &LogoutBody { rc: "0", msg: "Logged out" })
        }
        (Call::Other(_), Outcome::Active(..)) => error(404, "No such call."),
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

/// Encodes a refusal.
pub(crate) fn encode_failure(why: Failure) -> Response {
    match why {
        Failure::UnknownUser
        | Failure::WrongPassword
        | Failure::UserDisabled
        | Failure::OuterCredential
        | Failure::UnservedCall
        | Failure::Locked { .. } => {
            error(401, "Access denied. The user id and/or password are incorrect.")
        }
        Failure::RateLimited => error(429, "Too many failed logins. Please try again later.")
            .header("retry-after", RETRY_AFTER_THROTTLED),
        Failure::PasswordExpired => error(
            403,
            "Forbidden. The user id and password combination has expired. Please try logging in again.",
        ),
        Failure::NoCredential
        | Failure::UnknownCredential
        | Failure::RevokedOrExpired
        | Failure::UnexpectedAddress
        | Failure::UnexpectedUser => {
            error(401, "Access denied. There is no such session. Please log in.")
        }
        Failure::Busy | Failure::Unavailable => {
            error(503, "Service unavailable. Please try again.").header("retry-after", RETRY_AFTER)
        }
    }
}

/// Encodes an error. Clients look for the key `error` under every status.
pub(crate) fn error(status: u16, sentence: &str) -> Response {
    json(status, &ErrorBody { error: sentence })
}

fn json(status: u16, value: &impl Serialize) -> Response {
    let mut body = Vec::new();
    // Writing strings to memory cannot fail.
    let _ = value.serialize(&mut Serializer::with_formatter(&mut body, SpacedFormatter));
    Response::with_body(status, "application/json; charset=utf-8", body)
}

/// Prints JSON on one line with a space after each comma and colon, as the document does.
struct SpacedFormatter;

impl Formatter for SpacedFormatter {
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

//! Response encoding: [`Outcome`] or [`Failure`] to bytes, in one exhaustive table.

use chrono_tz::Tz;
use parlance_core::{Failure, Outcome, Secret, Session, Timestamp, User};
use parlance_dialect::{RETRY_AFTER, RETRY_AFTER_THROTTLED, Response, format_rfc3339};
use serde::Serialize;

use crate::Call;

const JSON: &str = "application/json; charset=utf-8";

/// The answer of POST, GET and PUT, in the document's order.
#[derive(Serialize)]
struct TokenBody<'t> {
    token: &'t str,
    #[serde(rename = "validTo")]
    valid_to: String,
    user: &'t str,
}

#[derive(Serialize)]
struct ErrorBody<'e> {
    error: &'e str,
}

/// Encodes an outcome.
pub(crate) fn encode_outcome(call: &Call, outcome: &Outcome, zone: Tz) -> Response {
    match (outcome, call) {
        (Outcome::LoggedIn(session, user, secret) | Outcome::Renewed(session, user, secret), _) => {
            token(session, user, secret, zone)
        }
        (
            Outcome::Active(session, user),
            Call::Peek(shown) | Call::Renew(shown, _) | Call::Logout(shown),
        ) => token(session, user, &shown.secret, zone),
        (Outcome::LoggedOut, _) => Response::new(204),
        // The core answers each command with its own outcome, so no other pair occurs.
        (Outcome::Active(..), Call::Login(..))
        | (Outcome::LoginRecorded(_) | Outcome::Users(_) | Outcome::User(_), _) => {
            encode_failure(Failure::Unavailable)
        }
    }
}

/// Encodes a refusal of `/login`.
pub(crate) fn encode_failure(why: Failure) -> Response {
    match why {
        Failure::UnknownUser
        | Failure::WrongPassword
        | Failure::UserDisabled
        | Failure::PasswordExpired
        | Failure::OuterCredential
        | Failure::UnservedCall
        | Failure::Locked { .. } => error(401, "Wrong login or password."),
        Failure::RateLimited => error(429, "Too many failed logins, please try again later.")
            .header("retry-after", RETRY_AFTER_THROTTLED),
        Failure::NoCredential
        | Failure::UnknownCredential
        | Failure::RevokedOrExpired
        | Failure::UnexpectedAddress
        | Failure::UnexpectedUser => not_found(),
        Failure::Busy | Failure::Unavailable => unavailable(),
    }
}

/// Encodes the refusal of a guarded request.
pub(crate) fn encode_challenge(why: Failure) -> Response {
    match why {
        Failure::UnknownUser
        | Failure::WrongPassword
        | Failure::UserDisabled
        | Failure::PasswordExpired
        | Failure::OuterCredential
        | Failure::UnservedCall
        | Failure::Locked { .. }
        | Failure::RateLimited
        | Failure::NoCredential
        | Failure::UnknownCredential
        | Failure::RevokedOrExpired
        | Failure::UnexpectedAddress
        | Failure::UnexpectedUser => error(401, "No valid token in X-Auth-Bearer, please log in."),
        Failure::Busy | Failure::Unavailable => unavailable(),
    }
}

/// A token that is missing, unknown, revoked or expired: one and the same answer.
pub(crate) fn not_found() -> Response {
    error(404, "Token not found or expired.")
}

/// Two tokens that differ, or a token twice.
pub(crate) fn conflicting_tokens() -> Response {
    malformed("Show one token, once.")
}

/// A request that breaks the rules of its format.
pub(crate) fn malformed(why: &str) -> Response {
    error(400, why)
}

/// A method outside the document.
pub(crate) fn method_not_allowed() -> Response {
    error(405, "Method not allowed.").header("allow", "GET, POST, PUT, DELETE")
}

/// A body in another format than the method's.
pub(crate) fn unsupported_media_type(read: &str) -> Response {
    error(415, &format!("Content-Type must be {read}."))
}

/// Any refusal.
pub(crate) fn error(status: u16, error: &str) -> Response {
    json(status, &ErrorBody { error })
}

fn unavailable() -> Response {
    error(503, "Service unavailable, please try again.").header("retry-after", RETRY_AFTER)
}

fn token(session: &Session, user: &User, secret: &Secret, zone: Tz) -> Response {
    // Every session of this wire expires: its lifetime is `Fixed`.
    let valid_to = format_rfc3339(session.expires.unwrap_or(Timestamp::MAX), zone);
    json(200, &TokenBody { token: secret.expose(), valid_to, user: &user.name })
}

fn json(status: u16, body: &impl Serialize) -> Response {
    // Writing structs of strings to memory cannot fail.
    Response::with_body(status, JSON, serde_json::to_vec(body).unwrap_or_default())
}

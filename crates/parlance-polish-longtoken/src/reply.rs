//! [`Outcome`] or [`Failure`] to bytes: the exhaustive table.

use chrono_tz::Tz;
use parlance_core::{Failure, Outcome, Secret, Session, Timestamp, User};
use parlance_dialect::{RETRY_AFTER, RETRY_AFTER_THROTTLED, Response, calendar_date};
use serde::Serialize;

use crate::Call;

const JSON: &str = "application/json; charset=utf-8";

/// The answer of POST, GET and PUT, in the document's order.
#[derive(Serialize)]
struct Token<'t> {
    token: &'t str,
    #[serde(rename = "validTo")]
    valid_to: String,
    user: &'t str,
}

#[derive(Serialize)]
struct Error<'e> {
    error: &'e str,
}

/// Words what was done.
pub(crate) fn done(call: &Call, outcome: &Outcome, zone: Tz) -> Response {
    match (outcome, call) {
        (Outcome::Opened(session, user, secret) | Outcome::Renewed(session, user, secret), _) => {
            token(session, user, secret, zone)
        }
        (
            Outcome::Standing(session, user),
            Call::Look(shown) | Call::Renew(shown, _) | Call::End(shown),
        ) => token(session, user, &shown.secret, zone),
        (Outcome::Closed, _) => Response::new(204),
        // Never the outcome of a command of ours.
        (Outcome::Standing(..), Call::Login(..))
        | (Outcome::Bumped(_) | Outcome::Users(_) | Outcome::Named(_), _) => {
            refused(Failure::Unavailable)
        }
    }
}

/// How `/login` words a refusal.
pub(crate) fn refused(why: Failure) -> Response {
    match why {
        Failure::UnknownUser
        | Failure::WrongPassword
        | Failure::UserDisabled
        | Failure::PasswordExpired
        | Failure::OuterCredential
        | Failure::UnservedCall
        | Failure::Locked { .. } => error(401, "Wrong login or password."),
        Failure::Throttled => error(429, "Too many failed logins, please try again later.")
            .header("retry-after", RETRY_AFTER_THROTTLED),
        Failure::NoCredential
        | Failure::UnknownCredential
        | Failure::EndedSession
        | Failure::ForeignAddress
        | Failure::ForeignUser => not_found(),
        Failure::Busy | Failure::Unavailable => unavailable(),
    }
}

/// How a guarded request is refused.
pub(crate) fn denied(why: Failure) -> Response {
    match why {
        Failure::UnknownUser
        | Failure::WrongPassword
        | Failure::UserDisabled
        | Failure::PasswordExpired
        | Failure::OuterCredential
        | Failure::UnservedCall
        | Failure::Locked { .. }
        | Failure::Throttled
        | Failure::NoCredential
        | Failure::UnknownCredential
        | Failure::EndedSession
        | Failure::ForeignAddress
        | Failure::ForeignUser => error(401, "No valid token in X-Auth-Bearer, please log in."),
        Failure::Busy | Failure::Unavailable => unavailable(),
    }
}

/// A token that is missing, unknown or ended: one and the same answer.
pub(crate) fn not_found() -> Response {
    error(404, "Token not found or expired.")
}

/// Two tokens that disagree, or one shown twice.
pub(crate) fn contradiction() -> Response {
    malformed("Show one token, once.")
}

/// A request that breaks the rules of its format.
pub(crate) fn malformed(why: &str) -> Response {
    error(400, why)
}

/// A method that the document does not have.
pub(crate) fn wrong_method() -> Response {
    error(405, "Method not allowed.").header("allow", "GET, POST, PUT, DELETE")
}

/// A body in another format than the method's.
pub(crate) fn wrong_media_type(read: &str) -> Response {
    error(415, &format!("Content-Type must be {read}."))
}

/// Any refusal.
pub(crate) fn error(status: u16, error: &str) -> Response {
    json(status, &Error { error })
}

fn unavailable() -> Response {
    error(503, "Service unavailable, please try again.").header("retry-after", RETRY_AFTER)
}

fn token(session: &Session, user: &User, secret: &Secret, zone: Tz) -> Response {
    // Every session of this wire has an end: its terms are `Fixed`.
    let valid_to = calendar_date(session.expires.unwrap_or(Timestamp::MAX), zone);
    json(200, &Token { token: secret.expose(), valid_to, user: &user.name })
}

fn json(status: u16, body: &impl Serialize) -> Response {
    // Structs of strings: writing them cannot fail.
    Response::with_body(status, JSON, serde_json::to_vec(body).unwrap_or_default())
}

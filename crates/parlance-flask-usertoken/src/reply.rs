//! Response encoding: [`Outcome`] or [`Failure`] to bytes, in one exhaustive table.

use chrono_tz::Tz;
use parlance_core::ports::UserPage;
use parlance_core::{Failure, Outcome, Secret, Session, User};
use parlance_dialect::{RETRY_AFTER, Response, format_rfc3339};
use serde::Serialize;

use crate::call::{Call, Page};

const JSON: &str = "application/json";
/// Challenge for a name and a password. Browsers ask their user for both, over any page that is shown.
pub(crate) const BASIC_CHALLENGE: &str = r#"Basic realm="parlance", charset="UTF-8""#;
/// Challenge for a token. Browsers ignore an unknown scheme.
pub(crate) const TOKEN_CHALLENGE: &str = r#"X-Auth-Token realm="parlance""#;

// The keys of every object stand in alphabetical order, and unset fields are left out.

/// The document's object model `UserToken`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct UserToken<'t> {
    creation_time: String,
    enabled: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    expiration_time: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_usage_time: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<&'t str>,
    token: &'t str,
    version: i64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct LastLoginBody {
    last_login_time: String,
}

#[derive(Serialize)]
struct SuccessBody {
    success: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct UserBody<'u> {
    creation_time: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_login_time: Option<String>,
    name: &'u str,
    role: &'static str,
    version: i64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct UserPageBody<'u> {
    count: usize,
    items: Vec<UserBody<'u>>,
    last_page: u64,
    page: u32,
    total_count: u64,
}

#[derive(Serialize)]
struct MessageBody<'m> {
    message: &'m str,
}

/// Encodes an outcome.
pub(crate) fn encode_outcome(call: &Call, outcome: &Outcome, zone: Tz) -> Response {
    match (outcome, call) {
        (Outcome::LoggedIn(session, _, secret), _) => json(200, &user_token(session, secret, zone)),
        (Outcome::LoginRecorded(at), _) => {
            json(200, &LastLoginBody { last_login_time: format_rfc3339(*at, zone) })
        }
        (Outcome::LoggedOut, _) => json(200, &SuccessBody { success: true }),
        (Outcome::Users(users), Call::Users(_, page)) => user_page(users, *page, zone),
        (Outcome::User(Some(user)), _) => json(200, &user_body(user, zone)),
        (Outcome::User(None), _) => not_found(),
        (Outcome::Active(..), Call::InvalidPage(_)) => {
            message(400, "page counts from 1, perPage is 1 to 100, each at most once")
        }
        // The core answers each command with its own outcome, so no other pair occurs.
        (Outcome::Active(..) | Outcome::Renewed(..) | Outcome::Users(_), _) => {
            encode_failure(Failure::Unavailable, TOKEN_CHALLENGE)
        }
    }
}

/// Encodes a refusal, of a call here or of a guarded request.
pub(crate) fn encode_failure(why: Failure, challenge: &str) -> Response {
    match why {
        Failure::UnknownUser
        | Failure::WrongPassword
        | Failure::UserDisabled
        | Failure::PasswordExpired
        | Failure::OuterCredential
        | Failure::UnservedCall
        // 401 is the one failure code of the document.
        | Failure::Locked { .. }
        | Failure::RateLimited
        | Failure::NoCredential
        | Failure::UnknownCredential
        | Failure::RevokedOrExpired
        | Failure::UnexpectedAddress
        | Failure::UnexpectedUser => unauthorized(challenge),
        Failure::Busy | Failure::Unavailable => {
            message(503, "Service unavailable").header("retry-after", RETRY_AFTER)
        }
    }
}

/// The document's one failure code.
pub(crate) fn unauthorized(challenge: &str) -> Response {
    message(401, "Authorization failed").header("www-authenticate", challenge)
}

/// A page or a user that does not exist.
pub(crate) fn not_found() -> Response {
    message(404, "Not found")
}

/// A method outside the document.
pub(crate) fn method_not_allowed(allowed: &'static str) -> Response {
    message(405, "Method not allowed").header("allow", allowed)
}

/// A client that accepts no JSON.
pub(crate) fn not_acceptable() -> Response {
    message(406, "Only application/json is to be had")
}

/// Any refusal.
pub(crate) fn message(status: u16, message: &str) -> Response {
    json(status, &MessageBody { message })
}

fn user_token<'t>(session: &'t Session, secret: &'t Secret, zone: Tz) -> UserToken<'t> {
    UserToken {
        creation_time: format_rfc3339(session.created, zone),
        enabled: session.enabled,
        expiration_time: session.expires.map(|at| format_rfc3339(at, zone)),
        last_usage_time: session.last_used.map(|at| format_rfc3339(at, zone)),
        note: session.note.as_deref(),
        token: secret.expose(),
        version: session.version,
    }
}

fn user_body(user: &User, zone: Tz) -> UserBody<'_> {
    UserBody {
        creation_time: format_rfc3339(user.created, zone),
        last_login_time: user.last_login.map(|at| format_rfc3339(at, zone)),
        name: &user.name,
        role: if user.unrestricted { "ADMIN" } else { "USER" },
        version: user.version,
    }
}

fn user_page(users: &UserPage, page: Page, zone: Tz) -> Response {
    let last_page = users.total.div_ceil(u64::from(page.size).max(1)).max(1);
    if u64::from(page.number) > last_page {
        return not_found();
    }
    let items: Vec<_> = users.items.iter().map(|user| user_body(user, zone)).collect();
    json(
        200,
        &UserPageBody {
            count: items.len(),
            items,
            last_page,
            page: page.number,
            total_count: users.total,
        },
    )
}

fn json(status: u16, body: &impl Serialize) -> Response {
    // Writing structs of strings and numbers to memory cannot fail.
    Response::with_body(status, JSON, serde_json::to_vec(body).unwrap_or_default())
        .header("vary", "Accept")
}

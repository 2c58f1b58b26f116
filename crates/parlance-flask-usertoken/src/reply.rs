//! [`Outcome`] or [`Failure`] to bytes: the exhaustive table.

use chrono_tz::Tz;
use parlance_core::ports::UserPage;
use parlance_core::{Failure, Outcome, Secret, Session, User};
use parlance_dialect::{RETRY_AFTER, Response, calendar_date};
use serde::Serialize;

use crate::call::{Call, Page};

const JSON: &str = "application/json";
/// What asks for a name and a password. Browsers ask their user for both, over whatever page is shown.
pub(crate) const BASIC_CHALLENGE: &str = r#"Basic realm="parlance", charset="UTF-8""#;
/// What asks for a token. Browsers pass over a scheme that they do not know.
pub(crate) const TOKEN_CHALLENGE: &str = r#"X-Auth-Token realm="parlance""#;

// The keys of every object stand in alphabetical order, and what is unset is left out.

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
struct Bumped {
    last_login_time: String,
}

#[derive(Serialize)]
struct Done {
    success: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ShownUser<'u> {
    creation_time: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_login_time: Option<String>,
    name: &'u str,
    role: &'static str,
    version: i64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Listing<'u> {
    count: usize,
    items: Vec<ShownUser<'u>>,
    last_page: u64,
    page: u32,
    total_count: u64,
}

#[derive(Serialize)]
struct Message<'m> {
    message: &'m str,
}

/// Words what was done.
pub(crate) fn done(call: &Call, outcome: &Outcome, zone: Tz) -> Response {
    match (outcome, call) {
        (Outcome::Opened(session, _, secret), _) => json(200, &user_token(session, secret, zone)),
        (Outcome::Bumped(at), _) => {
            json(200, &Bumped { last_login_time: calendar_date(*at, zone) })
        }
        (Outcome::Closed, _) => json(200, &Done { success: true }),
        (Outcome::Users(users), Call::Users(_, page)) => listing(users, *page, zone),
        (Outcome::Named(Some(user)), _) => json(200, &shown_user(user, zone)),
        (Outcome::Named(None), _) => not_found(),
        (Outcome::Standing(..), Call::BadPage(_)) => {
            message(400, "page counts from 1, perPage is 1 to 100, each at most once")
        }
        // Never the outcome of a command of ours.
        (Outcome::Standing(..) | Outcome::Renewed(..) | Outcome::Users(_), _) => {
            refused(Failure::Unavailable, TOKEN_CHALLENGE)
        }
    }
}

/// How a refusal is worded, here and on a guarded request.
pub(crate) fn refused(why: Failure, challenge: &str) -> Response {
    match why {
        Failure::UnknownUser
        | Failure::WrongPassword
        | Failure::UserDisabled
        | Failure::PasswordExpired
        | Failure::OuterCredential
        | Failure::UnservedCall
        // 401 is the one failure code of the document.
        | Failure::Locked { .. }
        | Failure::Throttled
        | Failure::NoCredential
        | Failure::UnknownCredential
        | Failure::EndedSession
        | Failure::ForeignAddress
        | Failure::ForeignUser => unauthorized(challenge),
        Failure::Busy | Failure::Unavailable => {
            message(503, "Service unavailable").header("retry-after", RETRY_AFTER)
        }
    }
}

/// The document's one failure code.
pub(crate) fn unauthorized(challenge: &str) -> Response {
    message(401, "Authorization failed").header("www-authenticate", challenge)
}

/// A page or a user that is not there.
pub(crate) fn not_found() -> Response {
    message(404, "Not found")
}

/// A method that the document does not have.
pub(crate) fn wrong_method(allowed: &'static str) -> Response {
    message(405, "Method not allowed").header("allow", allowed)
}

/// A client that takes no JSON.
pub(crate) fn not_acceptable() -> Response {
    message(406, "Only application/json is to be had")
}

/// Any refusal.
pub(crate) fn message(status: u16, message: &str) -> Response {
    json(status, &Message { message })
}

fn user_token<'t>(session: &'t Session, secret: &'t Secret, zone: Tz) -> UserToken<'t> {
    UserToken {
        creation_time: calendar_date(session.created, zone),
        enabled: session.enabled,
        expiration_time: session.expires.map(|at| calendar_date(at, zone)),
        last_usage_time: session.last_used.map(|at| calendar_date(at, zone)),
        note: session.note.as_deref(),
        token: secret.expose(),
        version: session.version,
    }
}

fn shown_user(user: &User, zone: Tz) -> ShownUser<'_> {
    ShownUser {
        creation_time: calendar_date(user.created, zone),
        last_login_time: user.last_login.map(|at| calendar_date(at, zone)),
        name: &user.name,
        role: if user.unrestricted { "ADMIN" } else { "USER" },
        version: user.version,
    }
}

fn listing(users: &UserPage, page: Page, zone: Tz) -> Response {
    let last_page = users.total.div_ceil(u64::from(page.size).max(1)).max(1);
    if u64::from(page.number) > last_page {
        return not_found();
    }
    let items: Vec<_> = users.items.iter().map(|user| shown_user(user, zone)).collect();
    json(
        200,
        &Listing {
            count: items.len(),
            items,
            last_page,
            page: page.number,
            total_count: users.total,
        },
    )
}

fn json(status: u16, body: &impl Serialize) -> Response {
    // Structs of strings and numbers: writing them cannot fail.
    Response::with_body(status, JSON, serde_json::to_vec(body).unwrap_or_default())
        .header("vary", "Accept")
}

//! [`Outcome`] or [`Failure`] to bytes: the exhaustive table.

use std::fmt;

use parlance_core::{Failure, Outcome, Secret, Session, Timestamp, User};
use parlance_dialect::{RETRY_AFTER, RETRY_AFTER_THROTTLED, Response, moment};
use serde::Serialize;
use serde_json::ser::{PrettyFormatter, Serializer};
use uuid::Uuid;

use crate::{Call, Endpoint, KeyRing};

const JSON: &str = "application/json; charset=utf-8";
const BASIC: &str = "Basic realm=\"parlance\", charset=\"UTF-8\"";
const BEARER: &str = "Bearer";
const BEARER_INVALID: &str = "Bearer error=\"invalid_token\"";
/// How long the public keys may be kept, as they change seldom and are no secret.
const JWKS_CACHE: &str = "public, max-age=300";

const OK: &str = "AUTHENTICATE_CODE_OK";
const GENERAL_ERROR: &str = "AUTHENTICATE_CODE_GENERAL_ERROR";
const WRONG_CREDENTIALS: &str = "AUTHENTICATE_CODE_WRONG_CREDENTIALS";
const USER_LOCKED: &str = "AUTHENTICATE_CODE_USER_LOCKED";
const IP_BLOCKED: &str = "AUTHENTICATE_CODE_IP_BLOCKED";
const CLOSE_OK: &str = "OK";
const CLOSE_GENERAL_ERROR: &str = "GENERAL_ERROR";

/// What a token calls itself: the name under which gRPC's metadata carry it.
pub const TOKEN_NAME: &str = "auth_token";

/// What a login or a renewal brings, in the document's order. Its `Debug` does not show the token.
#[derive(Serialize)]
pub struct Token<'t> {
    /// Always [`TOKEN_NAME`].
    pub token_name: &'static str,
    /// The JWT.
    pub token_value: &'t str,
    /// Its `exp`, UTC: `20201112T144147`.
    pub expires_at: String,
    /// In how many seconds that is, where the answer says so: see [`Self::with_expires_in`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_in: Option<i64>,
    /// Whether the user may do everything.
    pub is_unrestricted: bool,
    /// The user's id.
    pub user_id: String,
    /// The ids of his roles.
    pub roles_ids: Vec<String>,
}

/// `AuthenticateResponse` and `AuthenticateResponseEx`.
#[derive(Serialize)]
struct Opened<'t> {
    #[serde(flatten)]
    token: Token<'t>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error_code: Option<&'static str>,
}

#[derive(Serialize)]
struct Code {
    error_code: &'static str,
}

/// Words what was done.
pub(crate) fn done(call: &Call, outcome: &Outcome, now: Timestamp) -> Response {
    let token = |session, user, secret, endpoint, error_code| {
        let token = Token::new(session, user, secret);
        let token = match endpoint {
            Endpoint::Grpc => token,
            Endpoint::Rest => token.with_expires_in(session, now),
        };
        Response::with_body(200, JSON, pretty(&Opened { token, error_code }))
    };
    match (call, outcome) {
        (Call::Login { asked, .. }, Outcome::Opened(session, user, secret)) => {
            token(session, user, secret, asked.endpoint, asked.ex.then_some(OK))
        }
        (Call::Renew(_, endpoint), Outcome::Renewed(session, user, secret)) => {
            token(session, user, secret, *endpoint, Some(OK))
        }
        (Call::Close(_), Outcome::Closed) => code(200, CLOSE_OK),
        // Never the outcome of a command of ours.
        (
            Call::Login { .. } | Call::Refused { .. } | Call::Renew(..) | Call::Close(_),
            Outcome::Opened(..)
            | Outcome::Standing(..)
            | Outcome::Renewed(..)
            | Outcome::Closed
            | Outcome::Bumped(_)
            | Outcome::Users(_)
            | Outcome::Named(_),
        ) => refused(call, Failure::Unavailable),
    }
}

/// Words a refusal.
pub(crate) fn refused(call: &Call, why: Failure) -> Response {
    match call {
        Call::Login { asked, .. } => login_refused(asked.by_basic, why),
        Call::Refused { answer, .. } => match why {
            Failure::OuterCredential => basic_wanted(),
            Failure::Locked { .. } => locked(true),
            Failure::Throttled => throttled(true),
            Failure::Busy | Failure::Unavailable => away(GENERAL_ERROR),
            Failure::UnservedCall
            | Failure::UnknownUser
            | Failure::WrongPassword
            | Failure::UserDisabled
            | Failure::PasswordExpired
            | Failure::NoCredential
            | Failure::UnknownCredential
            | Failure::EndedSession
            | Failure::ForeignAddress
            | Failure::ForeignUser => answer.clone(),
        },
        Call::Renew(..) => denied(why),
        Call::Close(_) => close_denied(why),
    }
}

/// "`AuthenticateEx` never raises": wrong data is an `error_code`. Wrong Basic is a 401, as an anonymous request is.
fn login_refused(by_basic: bool, why: Failure) -> Response {
    match why {
        Failure::UnknownUser
        | Failure::WrongPassword
        | Failure::UserDisabled
        | Failure::PasswordExpired => {
            if by_basic {
                basic_wanted()
            } else {
                wrong_data()
            }
        }
        Failure::OuterCredential => basic_wanted(),
        Failure::Locked { .. } => locked(by_basic),
        Failure::Throttled => throttled(by_basic),
        // A login is served, and shows no token.
        Failure::UnservedCall
        | Failure::NoCredential
        | Failure::UnknownCredential
        | Failure::EndedSession
        | Failure::ForeignAddress
        | Failure::ForeignUser => code(200, GENERAL_ERROR),
        Failure::Busy | Failure::Unavailable => away(GENERAL_ERROR),
    }
}

/// How a guarded request and a renewal are refused.
pub(crate) fn denied(why: Failure) -> Response {
    bearer_refused(why, WRONG_CREDENTIALS, GENERAL_ERROR)
}

/// How `CloseSession` is refused, which has codes of its own.
pub(crate) fn close_denied(why: Failure) -> Response {
    bearer_refused(why, CLOSE_GENERAL_ERROR, CLOSE_GENERAL_ERROR)
}

fn bearer_refused(why: Failure, wrong: &'static str, unable: &'static str) -> Response {
    match why {
        // RFC 6750, 3.1: no error for a request that shows no token.
        Failure::NoCredential => code(401, wrong).header("www-authenticate", BEARER),
        Failure::UnknownCredential
        | Failure::EndedSession
        | Failure::ForeignAddress
        | Failure::ForeignUser
        // A token shows no password.
        | Failure::UnknownUser
        | Failure::WrongPassword
        | Failure::UserDisabled
        | Failure::PasswordExpired
        | Failure::OuterCredential
        | Failure::UnservedCall
        | Failure::Locked { .. }
        | Failure::Throttled => {
            code(401, wrong).header("www-authenticate", BEARER_INVALID)
        }
        Failure::Busy | Failure::Unavailable => away(unable),
    }
}

/// The account must wait. Names that nobody has hear it alike.
fn locked(by_basic: bool) -> Response {
    if by_basic {
        code(401, USER_LOCKED).header("www-authenticate", BASIC)
    } else {
        code(200, USER_LOCKED)
    }
}

/// Too many logins failed from the address.
fn throttled(by_basic: bool) -> Response {
    if by_basic {
        code(429, IP_BLOCKED).header("retry-after", RETRY_AFTER_THROTTLED)
    } else {
        code(200, IP_BLOCKED)
    }
}

/// What a login says that is not right, for whatever reason.
pub(crate) fn wrong_data() -> Response {
    code(200, WRONG_CREDENTIALS)
}

/// Asks for Basic.
pub(crate) fn basic_wanted() -> Response {
    code(401, WRONG_CREDENTIALS).header("www-authenticate", BASIC)
}

/// There is no such call.
pub(crate) fn not_found() -> Response {
    code(404, GENERAL_ERROR)
}

/// The path has another method.
pub(crate) fn method_not_allowed(only: &'static str) -> Response {
    code(405, GENERAL_ERROR).header("allow", only)
}

/// The body is not JSON by its own word.
pub(crate) fn media_type() -> Response {
    code(415, GENERAL_ERROR)
}

/// The request cannot be read.
pub(crate) fn unreadable(status: u16) -> Response {
    code(status, GENERAL_ERROR)
}

/// The public halves of the keys.
pub(crate) fn jwks(keys: &KeyRing) -> Response {
    Response::with_body(200, JSON, keys.jwks()).header("cache-control", JWKS_CACHE)
}

fn away(error_code: &'static str) -> Response {
    code(503, error_code).header("retry-after", RETRY_AFTER)
}

fn code(status: u16, error_code: &'static str) -> Response {
    Response::with_body(status, JSON, pretty(&Code { error_code }))
}

impl<'t> Token<'t> {
    /// The token of a session that was just opened or renewed.
    #[must_use]
    pub fn new(session: &Session, user: &User, secret: &'t Secret) -> Self {
        let expires = session.expires.unwrap_or(Timestamp::MAX);
        Self {
            token_name: TOKEN_NAME,
            token_value: secret.expose(),
            expires_at: moment(expires).format("%Y%m%dT%H%M%S").to_string(),
            expires_in: None,
            is_unrestricted: user.unrestricted,
            user_id: user.id.to_string(),
            roles_ids: user.roles.iter().map(Uuid::to_string).collect(),
        }
    }

    /// The same, with the whole seconds until it expires.
    #[must_use]
    pub fn with_expires_in(self, session: &Session, now: Timestamp) -> Self {
        let expires = session.expires.unwrap_or(Timestamp::MAX);
        Self { expires_in: Some(expires.millis().saturating_sub(now.millis()) / 1000), ..self }
    }
}

impl fmt::Debug for Token<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token")
            .field("expires_at", &self.expires_at)
            .field("user_id", &self.user_id)
            .finish_non_exhaustive()
    }
}

/// JSON as the document prints it: an indent of four blanks.
fn pretty(value: &impl Serialize) -> Vec<u8> {
    let mut json = Vec::new();
    let mut writer = Serializer::with_formatter(&mut json, PrettyFormatter::with_indent(b"    "));
    // Writing these structs into memory cannot fail.
    let _ = value.serialize(&mut writer);
    json
}

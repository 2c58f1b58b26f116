//! Response encoding: [`Outcome`] or [`Failure`] to bytes, in one exhaustive table.

use std::fmt;

use parlance_core::{Failure, Outcome, Secret, Session, Timestamp, User};
use parlance_dialect::{RETRY_AFTER, RETRY_AFTER_THROTTLED, Response, to_date_time};
use serde::Serialize;
use serde_json::ser::{PrettyFormatter, Serializer};
use uuid::Uuid;

use crate::{Call, Endpoint, RsaKeySet};

const JSON: &str = "application/json; charset=utf-8";
const BASIC: &str = "Basic realm=\"parlance\", charset=\"UTF-8\"";
const BEARER: &str = "Bearer";
const BEARER_INVALID: &str = "Bearer error=\"invalid_token\"";
/// Cache time of the public keys, which change seldom and are no secret.
const JWKS_CACHE: &str = "public, max-age=300";

const OK: &str = "AUTHENTICATE_CODE_OK";
const GENERAL_ERROR: &str = "AUTHENTICATE_CODE_GENERAL_ERROR";
const WRONG_CREDENTIALS: &str = "AUTHENTICATE_CODE_WRONG_CREDENTIALS";
const USER_LOCKED: &str = "AUTHENTICATE_CODE_USER_LOCKED";
const IP_BLOCKED: &str = "AUTHENTICATE_CODE_IP_BLOCKED";
const CLOSE_OK: &str = "OK";
const CLOSE_GENERAL_ERROR: &str = "GENERAL_ERROR";

/// Name of a token: its key in the metadata of gRPC.
pub const TOKEN_NAME: &str = "auth_token";

/// The token of a login or a renewal, in the document's order. `Debug` does not show the secret.
#[derive(Serialize)]
pub struct Token<'t> {
    /// Always [`TOKEN_NAME`].
    pub token_name: &'static str,
    /// The JWT.
    pub token_value: &'t str,
    /// The `exp`, UTC: `20201112T144147`.
    pub expires_at: String,
    /// The seconds from now to `expires_at`, where the answer has them: see [`Self::with_expires_in`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_in: Option<i64>,
    /// Whether the user may do everything.
    pub is_unrestricted: bool,
    /// The user's id.
    pub user_id: String,
    /// The ids of the user's roles.
    pub roles_ids: Vec<String>,
}

/// `AuthenticateResponse` and `AuthenticateResponseEx`.
#[derive(Serialize)]
struct LoginBody<'t> {
    #[serde(flatten)]
    token: Token<'t>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error_code: Option<&'static str>,
}

#[derive(Serialize)]
struct ErrorCodeBody {
    error_code: &'static str,
}

/// Encodes an outcome.
pub(crate) fn encode_outcome(call: &Call, outcome: &Outcome, now: Timestamp) -> Response {
    let token = |session, user, secret, endpoint, error_code| {
        let token = Token::new(session, user, secret);
        let token = match endpoint {
            Endpoint::Grpc => token,
            Endpoint::Rest => token.with_expires_in(session, now),
        };
        Response::with_body(200, JSON, pretty(&LoginBody { token, error_code }))
    };
    match (call, outcome) {
        (Call::Login { variant: asked, .. }, Outcome::LoggedIn(session, user, secret)) => {
            token(session, user, secret, asked.endpoint, asked.ex.then_some(OK))
        }
        (Call::Renew(_, endpoint), Outcome::Renewed(session, user, secret)) => {
            token(session, user, secret, *endpoint, Some(OK))
        }
        (Call::Close(_), Outcome::LoggedOut) => code(200, CLOSE_OK),
        // The core answers each command with its own outcome, so no other pair occurs.
        (
            Call::Login { .. } | Call::Rejected { .. } | Call::Renew(..) | Call::Close(_),
            Outcome::LoggedIn(..)
            | Outcome::Active(..)
            | Outcome::Renewed(..)
            | Outcome::LoggedOut
            | Outcome::LoginRecorded(_)
            | Outcome::Users(_)
            | Outcome::User(_),
        ) => encode_failure(call, Failure::Unavailable),
    }
}

/// Encodes a refusal.
pub(crate) fn encode_failure(call: &Call, why: Failure) -> Response {
    match call {
        Call::Login { variant: asked, .. } => encode_login_failure(asked.by_basic, why),
        Call::Rejected { response: answer, .. } => match why {
            Failure::OuterCredential => basic_challenge(),
            Failure::Locked { .. } => account_locked(true),
            Failure::RateLimited => rate_limited(true),
            Failure::Busy | Failure::Unavailable => unavailable(GENERAL_ERROR),
            Failure::UnservedCall
            | Failure::UnknownUser
            | Failure::WrongPassword
            | Failure::UserDisabled
            | Failure::PasswordExpired
            | Failure::NoCredential
            | Failure::UnknownCredential
            | Failure::RevokedOrExpired
            | Failure::UnexpectedAddress
            | Failure::UnexpectedUser => answer.clone(),
        },
        Call::Renew(..) => encode_challenge(why),
        Call::Close(_) => encode_close_failure(why),
    }
}

/// "`AuthenticateEx` never raises": wrong data is an `error_code`. A wrong Basic login is a 401, like an anonymous request.
fn encode_login_failure(by_basic: bool, why: Failure) -> Response {
    match why {
        Failure::UnknownUser
        | Failure::WrongPassword
        | Failure::UserDisabled
        | Failure::PasswordExpired => {
            if by_basic {
                basic_challenge()
            } else {
                wrong_credentials()
            }
        }
        Failure::OuterCredential => basic_challenge(),
        Failure::Locked { .. } => account_locked(by_basic),
        Failure::RateLimited => rate_limited(by_basic),
        // A login is a served call, and carries no token.
        Failure::UnservedCall
        | Failure::NoCredential
        | Failure::UnknownCredential
        | Failure::RevokedOrExpired
        | Failure::UnexpectedAddress
        | Failure::UnexpectedUser => code(200, GENERAL_ERROR),
        Failure::Busy | Failure::Unavailable => unavailable(GENERAL_ERROR),
    }
}

/// The refusal of a guarded request or a renewal.
pub(crate) fn encode_challenge(why: Failure) -> Response {
    encode_bearer_failure(why, WRONG_CREDENTIALS, GENERAL_ERROR)
}

/// The refusal of `CloseSession`, which has codes of its own.
pub(crate) fn encode_close_failure(why: Failure) -> Response {
    encode_bearer_failure(why, CLOSE_GENERAL_ERROR, CLOSE_GENERAL_ERROR)
}

fn encode_bearer_failure(why: Failure, wrong: &'static str, unable: &'static str) -> Response {
    match why {
        // RFC 6750, 3.1: no error code for a request without a token.
        Failure::NoCredential => code(401, wrong).header("www-authenticate", BEARER),
        Failure::UnknownCredential
        | Failure::RevokedOrExpired
        | Failure::UnexpectedAddress
        | Failure::UnexpectedUser
        // A token carries no password.
        | Failure::UnknownUser
        | Failure::WrongPassword
        | Failure::UserDisabled
        | Failure::PasswordExpired
        | Failure::OuterCredential
        | Failure::UnservedCall
        | Failure::Locked { .. }
        | Failure::RateLimited => {
            code(401, wrong).header("www-authenticate", BEARER_INVALID)
        }
        Failure::Busy | Failure::Unavailable => unavailable(unable),
    }
}

/// Account lock-out. An unknown name gets the same answer, against user enumeration.
fn account_locked(by_basic: bool) -> Response {
    if by_basic {
        code(401, USER_LOCKED).header("www-authenticate", BASIC)
    } else {
        code(200, USER_LOCKED)
    }
}

/// Rate limit: too many logins failed from the address.
fn rate_limited(by_basic: bool) -> Response {
    if by_basic {
        code(429, IP_BLOCKED).header("retry-after", RETRY_AFTER_THROTTLED)
    } else {
        code(200, IP_BLOCKED)
    }
}

/// The answer to wrong login data, the same for every reason.
pub(crate) fn wrong_credentials() -> Response {
    code(200, WRONG_CREDENTIALS)
}

/// Challenges the client to log in by Basic.
pub(crate) fn basic_challenge() -> Response {
    code(401, WRONG_CREDENTIALS).header("www-authenticate", BASIC)
}

/// The call does not exist.
pub(crate) fn not_found() -> Response {
    code(404, GENERAL_ERROR)
}

/// The path has another method.
pub(crate) fn method_not_allowed(only: &'static str) -> Response {
    code(405, GENERAL_ERROR).header("allow", only)
}

/// The `Content-Type` of the body is not JSON.
pub(crate) fn unsupported_media_type() -> Response {
    code(415, GENERAL_ERROR)
}

/// The request cannot be read.
pub(crate) fn general_error(status: u16) -> Response {
    code(status, GENERAL_ERROR)
}

/// The public halves of the keys.
pub(crate) fn jwks(keys: &RsaKeySet) -> Response {
    Response::with_body(200, JSON, keys.jwks()).header("cache-control", JWKS_CACHE)
}

fn unavailable(error_code: &'static str) -> Response {
    code(503, error_code).header("retry-after", RETRY_AFTER)
}

fn code(status: u16, error_code: &'static str) -> Response {
    Response::with_body(status, JSON, pretty(&ErrorCodeBody { error_code }))
}

impl<'t> Token<'t> {
    /// The token of a session that was just opened or renewed.
    #[must_use]
    pub fn new(session: &Session, user: &User, secret: &'t Secret) -> Self {
        let expires = session.expires.unwrap_or(Timestamp::MAX);
        Self {
            token_name: TOKEN_NAME,
            token_value: secret.expose(),
            expires_at: to_date_time(expires).format("%Y%m%dT%H%M%S").to_string(),
            expires_in: None,
            is_unrestricted: user.unrestricted,
            user_id: user.id.to_string(),
            roles_ids: user.roles.iter().map(Uuid::to_string).collect(),
        }
    }

    /// Adds the whole seconds until the token expires.
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

/// JSON as the document prints it: an indent of four spaces.
fn pretty(value: &impl Serialize) -> Vec<u8> {
    let mut json = Vec::new();
    let mut writer = Serializer::with_formatter(&mut json, PrettyFormatter::with_indent(b"    "));
    // Writing these structs to memory cannot fail.
    let _ = value.serialize(&mut writer);
    json
}

//! Request parsing: bytes to a [`Call`], as far as the document allows.

use parlance_core::ports::TurnedAway;
use parlance_core::{
    ConcurrentSessions, Credential, Failure, PasswordCredentials, Secret, canonical_name,
};
use parlance_dialect::{Fields, FormError, Rejection, Request, Response, StrictObject, from_json};
use serde::Deserialize;

use crate::{cookie, reply};

/// A name that no user has: a user name may not contain a NUL.
const IMPOSSIBLE_NAME: &str = "\0";

/// A parsed call.
#[derive(Debug)]
pub enum Call {
    /// `!login`.
    Login {
        /// The parameters `uid` and `pw`.
        login: PasswordCredentials,
        /// The parameter `kill`.
        concurrent_sessions: ConcurrentSessions,
        /// Whether the cookie may travel over TLS only (attribute `Secure`).
        secure: bool,
    },
    /// `!logout`.
    Logout(Credential),
    /// Any other call.
    Other(Credential),
}

/// The parameters of `!login`.
#[derive(Default, Deserialize)]
struct LoginParameters {
    uid: Option<String>,
    pw: Option<String>,
    kill: Option<String>,
}

/// The field of `!logout` that may repeat the cookie.
const COOKIES_FIELD: &str = "cookies";

/// The parameters of `!logout`.
#[derive(Deserialize)]
struct LogoutParameters {
    cookies: Option<String>,
}

/// Format of the parameters in a body.
enum BodyFormat {
    Form,
    Json,
}

/// Whether a path is `/{version}/api/!{name}`. Paths that begin with `/api/` belong to another wire
/// (decisions.md#undocumented-calls-of-a-documented-path-are-guarded).
pub(crate) fn claims(path: &str) -> bool {
    call_name(path).is_some()
}

/// The name of the call.
fn call_name(path: &str) -> Option<&str> {
    let (version, rest) = path.strip_prefix('/')?.split_once('/')?;
    let call = rest.strip_prefix("api/")?;
    let name = call.strip_prefix('!').or_else(|| call.strip_prefix("%21"))?;
    let own = !matches!(version, "" | "." | ".." | "api") && !name.contains('/');
    own.then_some(name)
}

/// Whether `name` is this call, with or without the suffix `:json`.
fn is_call(name: &str, call: &str) -> bool {
    name.strip_prefix(call)
        .is_some_and(|suffix| matches!(suffix, "" | ":json" | "%3Ajson" | "%3ajson"))
}

pub(crate) fn read(request: &Request<'_>) -> Result<Call, Rejection> {
    let name = call_name(request.path).unwrap_or_default();
    let (login, logout) = (is_call(name, "login"), is_call(name, "logout"));
    if (login || logout) && request.method != "POST" {
        let answer = reply::error(405, "Method not allowed. Use POST.").header("allow", "POST");
        return Err(answer.into());
    }
    if login {
        if is_cross_site(request) {
            let answer = reply::error(403, "Forbidden. A page of another site cannot log in here.");
            return Err(answer.into());
        }
        read_login(request)
    } else if logout {
        Ok(read_logout(request)?)
    } else {
        let shown = cookie::from_request(request);
        Ok(shown.map(Call::Other).ok_or_else(|| reply::encode_failure(Failure::NoCredential))?)
    }
}

/// Whether a browser reports a request from a page of another site (login CSRF). Such a page would set the session cookie of the page's
/// author for its visitor, and the visitor would go on under that name (decisions.md#a-page-of-another-site-logs-in-no-browser).
fn is_cross_site(request: &Request<'_>) -> bool {
    request
        .header_values("sec-fetch-site")
        .any(|site| site.trim_ascii().eq_ignore_ascii_case(b"cross-site"))
}

fn read_login(request: &Request<'_>) -> Result<Call, Rejection> {
    // To the client this is a failed login like any other.
    let failed = |why| Rejection::new(why, reply::encode_failure(Failure::UnknownUser));
    let parameters = login_parameters(request)?.ok_or_else(|| failed(TurnedAway::Malformed))?;
    let query = Fields::parse(request.query.unwrap_or_default().as_bytes()).unwrap_or_default();
    let in_body = [("uid", &parameters.uid), ("pw", &parameters.pw), ("kill", &parameters.kill)];
    if in_body.iter().any(|(name, own)| own.is_some() && query.get(name).is_some()) {
        return Err(reply::error(400, reply::DUPLICATE_PARAMETER).into());
    }
    let concurrent_sessions = match parameters.kill.as_deref() {
        None | Some("possess") => ConcurrentSessions::TakeOver,
        Some("yes") => ConcurrentSessions::EndOthers,
        Some(_) => {
            return Err(reply::error(400, "Unknown value of kill: use yes or possess.").into());
        }
    };
    let (Some(uid), Some(pw)) = (parameters.uid, parameters.pw) else {
        return Err(failed(TurnedAway::MissingField));
    };
    let user =
        Some(uid).filter(|uid| fits_cookie(uid)).unwrap_or_else(|| IMPOSSIBLE_NAME.to_owned());
    let login = PasswordCredentials { user, password: Secret::new(pw) };
    Ok(Call::Login { login, concurrent_sessions, secure: request.secure })
}

/// Whether a cookie can carry the name. A cookie with a `%` is refused, so a user with a `%` in the name would log in to an unusable
/// session (decisions.md#the-cookie-is-read-as-it-stands-and-only-once).
fn fits_cookie(uid: &str) -> bool {
    canonical_name(uid).is_none_or(|name| !name.as_str().contains('%'))
}

/// The cookie decides. The field `cookies` counts only where its text is one other session cookie: the curl command that the vendor prints
/// puts the whole cookie jar there.
fn read_logout(request: &Request<'_>) -> Result<Call, Response> {
    let repeated_cookie = cookies_field(request)?;
    let shown = cookie::from_request(request)
        .ok_or_else(|| reply::encode_failure(Failure::NoCredential))?;
    let other =
        repeated_cookie.and_then(|text| cookie::from_text(&text)).filter(|other| *other != shown);
    if other.is_some() {
        return Err(reply::error(400, "The field cookies and the session cookie disagree."));
    }
    Ok(Call::Logout(shown))
}

/// The field `cookies` of a logout. Clients write a cookie jar into a form without encoding, so the rest of the form is ignored: text after
/// a `&` in the jar is no field of the client.
fn cookies_field(request: &Request<'_>) -> Result<Option<String>, Response> {
    if request.body.trim_ascii().is_empty() {
        return Ok(None);
    }
    match body_format(request)? {
        BodyFormat::Form => {
            let pieces = request.body.split(|&byte| byte == b'&');
            let mut fields = pieces.filter(|piece| {
                let name = piece.split(|&byte| byte == b'=').next().unwrap_or_default();
                Fields::parse(name).is_ok_and(|fields| fields.get(COOKIES_FIELD).is_some())
            });
            let field = fields.next();
            if fields.next().is_some() {
                return Err(reply::error(400, reply::DUPLICATE_PARAMETER));
            }
            let field = field.and_then(|piece| Fields::parse(piece).ok());
            Ok(field.and_then(|fields| fields.get(COOKIES_FIELD).map(str::to_owned)))
        }
        BodyFormat::Json => {
            let read = from_json::<StrictObject<LogoutParameters>>(request.body)
                .map_err(|_| malformed_json())?;
            Ok(read.0.cookies)
        }
    }
}

/// The parameters of a login; `None` if the body holds bytes that are not text.
fn login_parameters(request: &Request<'_>) -> Result<Option<LoginParameters>, Response> {
    if request.body.trim_ascii().is_empty() {
        return Ok(Some(LoginParameters::default()));
    }
    match body_format(request)? {
        BodyFormat::Form => match Fields::parse(request.body) {
            Ok(fields) => {
                let own = |name| fields.get(name).map(str::to_owned);
                Ok(Some(LoginParameters { uid: own("uid"), pw: own("pw"), kill: own("kill") }))
            }
            Err(FormError::InvalidEncoding) => Ok(None),
            Err(FormError::Duplicate) => Err(reply::error(400, reply::DUPLICATE_PARAMETER)),
        },
        BodyFormat::Json => {
            if std::str::from_utf8(request.body).is_err() {
                return Ok(None);
            }
            from_json(request.body)
                .map(|StrictObject(read)| Some(read))
                .map_err(|_| malformed_json())
        }
    }
}

fn malformed_json() -> Response {
    reply::error(400, "Malformed JSON.")
}

/// A body without a type counts as a form, as in the document's first example (decisions.md#a-body-is-a-form-or-json-by-its-type).
fn body_format(request: &Request<'_>) -> Result<BodyFormat, Response> {
    if !request.has_header("content-type")
        || request.is_media_type("application/x-www-form-urlencoded")
    {
        Ok(BodyFormat::Form)
    } else if request.is_media_type("application/json") {
        Ok(BodyFormat::Json)
    } else {
        Err(reply::error(415, "Unsupported media type. Use a form or JSON."))
    }
}

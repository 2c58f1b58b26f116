//! Bytes to a [`Call`]: what the document lets a client say.

use parlance_core::ports::TurnedAway;
use parlance_core::{Credential, Failure, Login, Rivals, Secret, canonical_name};
use parlance_dialect::{Fields, FormError, Object, Rejection, Request, Response, from_json};
use serde::Deserialize;

use crate::{cookie, reply};

/// A name that no user has: none may hold a NUL.
const NOBODY: &str = "\0";

/// One call.
#[derive(Debug)]
pub enum Call {
    /// `!login`.
    Login {
        /// The parameters `uid` and `pw`.
        login: Login,
        /// The parameter `kill`.
        rivals: Rivals,
        /// Whether the cookie may travel over TLS only.
        secure: bool,
    },
    /// `!logout`.
    Logout(Credential),
    /// Any other call.
    Other(Credential),
}

/// The parameters of `!login`.
#[derive(Default, Deserialize)]
struct Parameters {
    uid: Option<String>,
    pw: Option<String>,
    kill: Option<String>,
}

/// The field of `!logout` that may repeat the cookie.
const COOKIES: &str = "cookies";

/// The parameters of `!logout`.
#[derive(Deserialize)]
struct Repeated {
    cookies: Option<String>,
}

/// How parameters are written.
enum Media {
    Form,
    Json,
}

/// `/{version}/api/!{name}`, but for what begins with `/api/`, which is another wire's (decision 0117).
pub(crate) fn claims(path: &str) -> bool {
    name(path).is_some()
}

/// The name of the call.
fn name(path: &str) -> Option<&str> {
    let (version, rest) = path.strip_prefix('/')?.split_once('/')?;
    let call = rest.strip_prefix("api/")?;
    let name = call.strip_prefix('!').or_else(|| call.strip_prefix("%21"))?;
    let own = !matches!(version, "" | "." | ".." | "api") && !name.contains('/');
    own.then_some(name)
}

/// Whether a call is this one, in either spelling.
fn is(name: &str, call: &str) -> bool {
    name.strip_prefix(call)
        .is_some_and(|suffix| matches!(suffix, "" | ":json" | "%3Ajson" | "%3ajson"))
}

pub(crate) fn read(request: &Request<'_>) -> Result<Call, Rejection> {
    let name = name(request.path).unwrap_or_default();
    let (login, logout) = (is(name, "login"), is(name, "logout"));
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
        let shown = cookie::session(request);
        Ok(shown.map(Call::Other).ok_or_else(|| reply::refused(Failure::NoCredential))?)
    }
}

/// Whether a browser says that a page of another site makes this request. Its visitor would get the session cookie of whoever wrote that
/// page, and go on under that name (decision 0450).
fn is_cross_site(request: &Request<'_>) -> bool {
    request
        .values("sec-fetch-site")
        .any(|site| site.trim_ascii().eq_ignore_ascii_case(b"cross-site"))
}

fn read_login(request: &Request<'_>) -> Result<Call, Rejection> {
    // A failed login like any other, to the client.
    let failed = |why| Rejection::new(why, reply::refused(Failure::UnknownUser));
    let shown = parameters(request)?.ok_or_else(|| failed(TurnedAway::Malformed))?;
    let query = Fields::parse(request.query.unwrap_or_default().as_bytes()).unwrap_or_default();
    let twice = [("uid", &shown.uid), ("pw", &shown.pw), ("kill", &shown.kill)];
    if twice.iter().any(|(name, own)| own.is_some() && query.get(name).is_some()) {
        return Err(reply::error(400, reply::DOUBLED).into());
    }
    let rivals = match shown.kill.as_deref() {
        None | Some("possess") => Rivals::Possess,
        Some("yes") => Rivals::Kill,
        Some(_) => {
            return Err(reply::error(400, "Unknown value of kill: use yes or possess.").into());
        }
    };
    let (Some(uid), Some(pw)) = (shown.uid, shown.pw) else {
        return Err(failed(TurnedAway::MissingField));
    };
    let user = Some(uid).filter(|uid| fits_cookie(uid)).unwrap_or_else(|| NOBODY.to_owned());
    let login = Login { user, password: Secret::new(pw) };
    Ok(Call::Login { login, rivals, secure: request.secure })
}

/// A cookie with a `%` is refused, so a user whose name has one would log in to a session that he cannot use (decision 0118).
fn fits_cookie(uid: &str) -> bool {
    canonical_name(uid).is_none_or(|name| !name.as_str().contains('%'))
}

/// The cookie decides. The field `cookies` is looked at only where it is itself one other cookie: the vendor's printed curl puts its whole
/// jar there.
fn read_logout(request: &Request<'_>) -> Result<Call, Response> {
    let repeated = repeated(request)?;
    let shown = cookie::session(request).ok_or_else(|| reply::refused(Failure::NoCredential))?;
    let other = repeated.and_then(|text| cookie::repeated(&text)).filter(|other| *other != shown);
    if other.is_some() {
        return Err(reply::error(400, "The field cookies and the session cookie disagree."));
    }
    Ok(Call::Logout(shown))
}

/// The field `cookies` of a logout. A jar is written into a form as it is, so nothing else of a form is looked at: what follows a `&` in
/// the jar is not the client's field.
fn repeated(request: &Request<'_>) -> Result<Option<String>, Response> {
    if request.body.trim_ascii().is_empty() {
        return Ok(None);
    }
    match media(request)? {
        Media::Form => {
            let pieces = request.body.split(|&byte| byte == b'&');
            let mut fields = pieces.filter(|piece| {
                let name = piece.split(|&byte| byte == b'=').next().unwrap_or_default();
                Fields::parse(name).is_ok_and(|fields| fields.get(COOKIES).is_some())
            });
            let field = fields.next();
            if fields.next().is_some() {
                return Err(reply::error(400, reply::DOUBLED));
            }
            let field = field.and_then(|piece| Fields::parse(piece).ok());
            Ok(field.and_then(|fields| fields.get(COOKIES).map(str::to_owned)))
        }
        Media::Json => {
            let read = from_json::<Object<Repeated>>(request.body).map_err(|_| malformed_json())?;
            Ok(read.0.cookies)
        }
    }
}

/// The parameters of a login; `None` if the body holds bytes that are not text.
fn parameters(request: &Request<'_>) -> Result<Option<Parameters>, Response> {
    if request.body.trim_ascii().is_empty() {
        return Ok(Some(Parameters::default()));
    }
    match media(request)? {
        Media::Form => match Fields::parse(request.body) {
            Ok(fields) => {
                let own = |name| fields.get(name).map(str::to_owned);
                Ok(Some(Parameters { uid: own("uid"), pw: own("pw"), kill: own("kill") }))
            }
            Err(FormError::Bytes) => Ok(None),
            Err(FormError::Doubled) => Err(reply::error(400, reply::DOUBLED)),
        },
        Media::Json => {
            if std::str::from_utf8(request.body).is_err() {
                return Ok(None);
            }
            from_json(request.body).map(|Object(read)| Some(read)).map_err(|_| malformed_json())
        }
    }
}

fn malformed_json() -> Response {
    reply::error(400, "Malformed JSON.")
}

/// A body without a type is taken for a form, which is what the document's first example sends (decision 0119).
fn media(request: &Request<'_>) -> Result<Media, Response> {
    if !request.has("content-type") || request.is_media_type("application/x-www-form-urlencoded") {
        Ok(Media::Form)
    } else if request.is_media_type("application/json") {
        Ok(Media::Json)
    } else {
        Err(reply::error(415, "Unsupported media type. Use a form or JSON."))
    }
}

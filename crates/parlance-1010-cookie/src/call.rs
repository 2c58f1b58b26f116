//! Bytes to a [`Call`]: what the document lets a client say.

use parlance_core::{Credential, Failure, Login, Rivals, Secret, canonical_name};
use parlance_dialect::{Fields, FormError, Object, Request, Response, from_json};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::{cookie, reply};

/// What stands for a name or a password that is missing or cannot be read. No user has it: neither may hold a NUL.
const UNREADABLE: &str = "\0";

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

/// The parameters of `!logout`.
#[derive(Default, Deserialize)]
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

pub(crate) fn read(request: &Request<'_>) -> Result<Call, Response> {
    let name = name(request.path).unwrap_or_default();
    let (login, logout) = (is(name, "login"), is(name, "logout"));
    if (login || logout) && request.method != "POST" {
        return Err(reply::error(405, "Method not allowed. Use POST.").header("allow", "POST"));
    }
    if login {
        read_login(request)
    } else if logout {
        read_logout(request)
    } else {
        cookie::session(request)
            .map(Call::Other)
            .ok_or_else(|| reply::refused(Failure::NoCredential))
    }
}

fn read_login(request: &Request<'_>) -> Result<Call, Response> {
    let secure = request.secure;
    let of_form = |fields: Fields| {
        let own = |name| fields.get(name).map(str::to_owned);
        Parameters { uid: own("uid"), pw: own("pw"), kill: own("kill") }
    };
    let Some(shown) = parameters(request, of_form)? else {
        return Ok(Call::Login { login: nobody(), rivals: Rivals::Possess, secure });
    };
    let query = Fields::parse(request.query.unwrap_or_default().as_bytes()).unwrap_or_default();
    let twice = [("uid", &shown.uid), ("pw", &shown.pw), ("kill", &shown.kill)];
    if twice.iter().any(|(name, own)| own.is_some() && query.get(name).is_some()) {
        return Err(reply::error(400, reply::DOUBLED));
    }
    let rivals = match shown.kill.as_deref() {
        None | Some("possess") => Rivals::Possess,
        Some("yes") => Rivals::Kill,
        Some(_) => return Err(reply::error(400, "Unknown value of kill: use yes or possess.")),
    };
    let user = shown.uid.filter(|uid| fits_cookie(uid)).unwrap_or_else(|| UNREADABLE.to_owned());
    let password = Secret::new(shown.pw.unwrap_or_else(|| UNREADABLE.to_owned()));
    let login = Login { user, password };
    Ok(Call::Login { login, rivals, secure })
}

/// A login that costs what any failed one does.
fn nobody() -> Login {
    Login { user: UNREADABLE.to_owned(), password: Secret::new(UNREADABLE.to_owned()) }
}

/// A cookie with a `%` is refused, so a user whose name has one would log in to a session that he cannot use (decision 0118).
fn fits_cookie(uid: &str) -> bool {
    canonical_name(uid).is_none_or(|name| !name.as_str().contains('%'))
}

fn read_logout(request: &Request<'_>) -> Result<Call, Response> {
    let of_form = |fields: Fields| Repeated { cookies: fields.get("cookies").map(str::to_owned) };
    let unequal = || reply::error(400, "The field cookies and the session cookie disagree.");
    let repeated = parameters(request, of_form)?.ok_or_else(unequal)?;
    let shown = cookie::session(request).ok_or_else(|| reply::refused(Failure::NoCredential))?;
    if repeated.cookies.is_some_and(|text| cookie::repeated(&text).as_ref() != Some(&shown)) {
        return Err(unequal());
    }
    Ok(Call::Logout(shown))
}

/// The parameters in the body; `None` if it holds bytes that are not text.
fn parameters<T: Default + DeserializeOwned>(
    request: &Request<'_>,
    of_form: impl FnOnce(Fields) -> T,
) -> Result<Option<T>, Response> {
    if request.body.trim_ascii().is_empty() {
        return Ok(Some(T::default()));
    }
    match media(request)? {
        Media::Form => match Fields::parse(request.body) {
            Ok(fields) => Ok(Some(of_form(fields))),
            Err(FormError::Bytes) => Ok(None),
            Err(FormError::Doubled) => Err(reply::error(400, reply::DOUBLED)),
        },
        Media::Json => {
            if std::str::from_utf8(request.body).is_err() {
                return Ok(None);
            }
            from_json(request.body)
                .map(|Object(read)| Some(read))
                .map_err(|_| reply::error(400, "Malformed JSON."))
        }
    }
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

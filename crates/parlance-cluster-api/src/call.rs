//! Bytes to a [`Call`]: what the document lets a client say.

use std::borrow::Cow;

use parlance_core::ports::TurnedAway;
use parlance_core::{Credential, Failure, Login, Secret};
use parlance_dialect::{BODY_LIMIT, Fields, FormError, Multipart, Rejection, Request};

use crate::{NAME, reply};

const USERNAME: &str = "username";
const PASSWORD: &str = "password";
pub(crate) const TOKEN: &str = "access_token";
const OWN: [&str; 3] = [USERNAME, PASSWORD, TOKEN];

/// Where a guarded request may show its token as well, if the operator says so.
pub(crate) const HEADER: &str = "x-access-token";

/// What stands for a name or a password that could not be read. No user has it: neither may hold a NUL.
const UNREADABLE: &str = "\0";

/// One call.
#[derive(Debug)]
pub enum Call {
    /// `/api/login`: a token that may still be good, and the credentials if it is not.
    Login {
        /// The field `access_token`.
        shown: Option<Credential>,
        /// The fields `username` and `password`; `None` without `username`.
        login: Option<Login>,
    },
    /// `/api/logout`.
    Logout(Credential),
    /// Any other path.
    Other(Credential),
}

/// The segments of a path. The original drops those that are empty, so a base URL that ends in a slash does no harm.
fn segments(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter(|segment| !segment.is_empty())
}

/// Everything at and below `/api` (decision 0102).
pub(crate) fn claims(path: &str) -> bool {
    path.starts_with('/') && segments(path).next() == Some("api")
}

pub(crate) fn read(request: &Request<'_>) -> Result<Call, Rejection> {
    let is = |name| segments(request.path).eq(["api", name]);
    let is_login = is("login");
    let found = form(request);
    let form = found.as_deref().unwrap_or_default();
    let query = request.query.unwrap_or_default().as_bytes();
    if OWN.iter().any(|name| count(form, name) > 0 && count(query, name) > 0) {
        return Err(doubled());
    }
    let fields = match Fields::parse(form) {
        Ok(fields) => fields,
        Err(FormError::Doubled) => return Err(doubled()),
        // A failed login like any other, with its work; elsewhere a token that nobody has.
        Err(FormError::Bytes) if is_login => {
            return Ok(Call::Login { shown: None, login: Some(unreadable(form)) });
        }
        Err(FormError::Bytes) => Fields::default(),
    };
    let shown = fields.secret(TOKEN).and_then(credential);
    if is_login {
        let login = fields.get(USERNAME).map(|user| Login {
            user: user.to_owned(),
            password: fields.secret(PASSWORD).unwrap_or_else(|| Secret::new(String::new())),
        });
        if shown.is_none() && login.is_none() {
            let why = why_nothing(request, found.is_none());
            return Err(Rejection::new(why, reply::refused(Failure::UnknownUser)));
        }
        return Ok(Call::Login { shown, login });
    }
    let shown = shown.ok_or_else(|| {
        Rejection::new(TurnedAway::NoCredential, reply::refused(Failure::NoCredential))
    })?;
    Ok(if is("logout") { Call::Logout(shown) } else { Call::Other(shown) })
}

fn doubled() -> Rejection {
    Rejection::new(TurnedAway::Malformed, reply::error(reply::DOUBLED))
}

/// What a client of a login must change that shows neither a token nor a name.
fn why_nothing(request: &Request<'_>, is_unreadable: bool) -> TurnedAway {
    if !has_body(request) || is_unreadable {
        TurnedAway::Malformed
    } else if request.body.is_empty() || is_urlencoded(request) || is_multipart(request) {
        TurnedAway::MissingField
    } else {
        TurnedAway::WrongMediaType
    }
}

/// The token of a guarded request, which may stand in the header as well if `by_header`. What else its form holds, and how often, is for the
/// handler behind the guard to judge.
pub(crate) fn token(request: &Request<'_>, by_header: bool) -> Option<Credential> {
    let form = form(request)?;
    let form = &*form;
    let (in_form, in_query) =
        (count(form, TOKEN), count(request.query.unwrap_or_default().as_bytes(), TOKEN));
    if in_form > 1 || in_query > 0 {
        return None;
    }
    let posted = || {
        pieces(form).find_map(|piece| Fields::parse(piece).ok()?.secret(TOKEN)).and_then(credential)
    };
    if !by_header || !request.has(HEADER) {
        return posted();
    }
    let shown = request.header(HEADER).map(str::to_owned).map(Secret::new).and_then(credential)?;
    // Two that disagree are none: whichever counted, something before us may have taken the other one for the client's.
    (in_form == 0 || posted().as_ref() == Some(&shown)).then_some(shown)
}

/// The form in the body, urlencoded whichever way it came, and empty where the body is none. `None` if it is multipart that cannot be
/// read, or has a file under the name of a field of ours.
fn form<'r>(request: &Request<'r>) -> Option<Cow<'r, [u8]>> {
    if !has_body(request) {
        return Some(Cow::Borrowed(&[]));
    }
    if is_multipart(request) && !request.body.is_empty() {
        let form = Multipart::parse(request.header("content-type")?, request.body)?;
        let is_odd = form.parts().any(|part| part.is_file && OWN.contains(&part.name.as_str()));
        return if is_odd { None } else { Some(form.urlencoded().into()) };
    }
    Some(Cow::Borrowed(if is_urlencoded(request) { request.body } else { &[] }))
}

/// Whether the token of a guarded request may stand in its body, as far as the head tells. A multipart form may be an upload of any size,
/// so one is looked into only where its head says that it is short.
pub(crate) fn may_hold_token(head: &Request<'_>) -> bool {
    let is_short = || {
        let length = head.header("content-length").and_then(|length| length.parse().ok());
        length.is_some_and(|length: usize| length <= BODY_LIMIT)
    };
    has_body(head) && (is_urlencoded(head) || (is_multipart(head) && is_short()))
}

/// Whether the method has a body with a meaning (RFC 9110, 9.3.1 and 9.3.2).
fn has_body(request: &Request<'_>) -> bool {
    !matches!(request.method, "GET" | "HEAD")
}

fn is_urlencoded(request: &Request<'_>) -> bool {
    request.is_media_type("application/x-www-form-urlencoded")
}

fn is_multipart(request: &Request<'_>) -> bool {
    request.is_media_type("multipart/form-data")
}

fn pieces(form: &[u8]) -> impl Iterator<Item = &[u8]> {
    form.split(|&byte| byte == b'&')
}

/// How often a field stands in a form or a query, whether its value can be read or not.
fn count(form: &[u8], name: &str) -> usize {
    let named = |piece: &&[u8]| {
        let own = piece.split(|&byte| byte == b'=').next().unwrap_or_default();
        Fields::parse(own).is_ok_and(|fields| fields.get(name).is_some())
    };
    pieces(form).filter(named).count()
}

pub(crate) fn credential(secret: Secret) -> Option<Credential> {
    (!secret.expose().is_empty()).then(|| Credential::new(NAME, secret))
}

/// The login of a form that holds bytes that are not text. It never succeeds; the name, if that is text, still tells which of the two
/// documented sentences is true.
fn unreadable(form: &[u8]) -> Login {
    let name =
        pieces(form).find_map(|piece| Fields::parse(piece).ok()?.get(USERNAME).map(str::to_owned));
    Login {
        user: name.unwrap_or_else(|| UNREADABLE.to_owned()),
        password: Secret::new(UNREADABLE.to_owned()),
    }
}

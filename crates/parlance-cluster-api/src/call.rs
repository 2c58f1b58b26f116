//! Bytes to a [`Call`]: what the document lets a client say.

use parlance_core::{Credential, Failure, Login, Secret};
use parlance_dialect::{Fields, FormError, Request, Response};

use crate::{NAME, reply};

const USERNAME: &str = "username";
const PASSWORD: &str = "password";
pub(crate) const TOKEN: &str = "access_token";

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

/// Everything at and below `/api` (decision 0102).
pub(crate) fn claims(path: &str) -> bool {
    path.strip_prefix("/api").is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

pub(crate) fn read(request: &Request<'_>) -> Result<Call, Response> {
    let is_login = matches!(request.path, "/api/login" | "/api/login/");
    let form = form(request);
    let query = request.query.unwrap_or_default().as_bytes();
    if [USERNAME, PASSWORD, TOKEN]
        .iter()
        .any(|name| count(form, name) > 0 && count(query, name) > 0)
    {
        return Err(reply::error(reply::DOUBLED));
    }
    let fields = match Fields::parse(form) {
        Ok(fields) => fields,
        Err(FormError::Doubled) => return Err(reply::error(reply::DOUBLED)),
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
        return Ok(Call::Login { shown, login });
    }
    let shown = shown.ok_or_else(|| reply::refused(Failure::NoCredential))?;
    Ok(match request.path {
        "/api/logout" | "/api/logout/" => Call::Logout(shown),
        _ => Call::Other(shown),
    })
}

/// The token of a guarded request, which may stand in the header as well if `by_header`. What else its form holds, and how often, is for the
/// handler behind the guard to judge.
pub(crate) fn token(request: &Request<'_>, by_header: bool) -> Option<Credential> {
    let form = form(request);
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

/// The body, where it is a form.
fn form<'r>(request: &Request<'r>) -> &'r [u8] {
    if has_form(request) { request.body } else { &[] }
}

/// Whether the body is a form: on any method that has a body with a meaning (RFC 9110, 9.3.1 and 9.3.2).
pub(crate) fn has_form(request: &Request<'_>) -> bool {
    request.is_media_type("application/x-www-form-urlencoded")
        && !matches!(request.method, "GET" | "HEAD")
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

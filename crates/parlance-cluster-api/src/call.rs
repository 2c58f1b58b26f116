//! Request parsing: bytes to a [`Call`], as far as the document allows.

use std::borrow::Cow;

use parlance_core::ports::TurnedAway;
use parlance_core::{Credential, Failure, PasswordCredentials, Secret};
use parlance_dialect::{Fields, FormError, MAX_BODY_BYTES, Multipart, Rejection, Request};

use crate::{NAME, reply};

const USERNAME: &str = "username";
const PASSWORD: &str = "password";
pub(crate) const ACCESS_TOKEN: &str = "access_token";
const FIELDS: [&str; 3] = [USERNAME, PASSWORD, ACCESS_TOKEN];

/// The header in which a guarded request may show its token as well, if the operator allows so.
pub(crate) const ACCESS_TOKEN_HEADER: &str = "x-access-token";

/// Placeholder for a name or a password that could not be read. No user has either, since neither may contain a NUL.
const IMPOSSIBLE_VALUE: &str = "\0";

/// A parsed call.
#[derive(Debug)]
pub enum Call {
    /// `/api/login`: a token that may still be good, and the credentials for the case that the token is not.
    Login {
        /// The field `access_token`.
        shown: Option<Credential>,
        /// The fields `username` and `password`; `None` without `username`.
        login: Option<PasswordCredentials>,
    },
    /// `/api/logout`.
    Logout(Credential),
    /// Any other path.
    Other(Credential),
}

/// The segments of a path. The original drops empty segments, so a base URL that ends in a slash does no harm.
fn segments(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter(|segment| !segment.is_empty())
}

/// Everything at and below `/api` (decisions.md#the-wire-owns-every-path-at-and-below-api).
pub(crate) fn claims(path: &str) -> bool {
    path.starts_with('/') && segments(path).next() == Some("api")
}

pub(crate) fn read(request: &Request<'_>) -> Result<Call, Rejection> {
    let is = |name| segments(request.path).eq(["api", name]);
    let is_login = is("login");
    let found = form_body(request);
    let form = found.as_deref().unwrap_or_default();
    let query = request.query.unwrap_or_default().as_bytes();
    if FIELDS.iter().any(|name| count_field(form, name) > 0 && count_field(query, name) > 0) {
        return Err(duplicate_parameter());
    }
    let fields = match Fields::parse(form) {
        Ok(fields) => fields,
        Err(FormError::Duplicate) => return Err(duplicate_parameter()),
        // A failed login like any other, with the work of one; elsewhere an unknown token.
        Err(FormError::InvalidEncoding) if is_login => {
            return Ok(Call::Login { shown: None, login: Some(undecodable_login(form)) });
        }
        Err(FormError::InvalidEncoding) => Fields::default(),
    };
    let shown = fields.secret(ACCESS_TOKEN).and_then(credential);
    if is_login {
        let login = fields.get(USERNAME).map(|user| PasswordCredentials {
            user: user.to_owned(),
            password: fields.secret(PASSWORD).unwrap_or_else(|| Secret::new(String::new())),
        });
        if shown.is_none() && login.is_none() {
            let why = missing_credential_reason(request, found.is_none());
            return Err(Rejection::new(why, reply::encode_failure(Failure::UnknownUser)));
        }
        return Ok(Call::Login { shown, login });
    }
    let shown = shown.ok_or_else(|| {
        Rejection::new(TurnedAway::NoCredential, reply::encode_failure(Failure::NoCredential))
    })?;
    Ok(if is("logout") { Call::Logout(shown) } else { Call::Other(shown) })
}

fn duplicate_parameter() -> Rejection {
    Rejection::new(TurnedAway::Malformed, reply::error(reply::DUPLICATE_PARAMETER))
}

/// The reason for the refusal of a login without a token and a name: the mistake that the client must correct.
fn missing_credential_reason(request: &Request<'_>, is_unreadable: bool) -> TurnedAway {
    if !has_body(request) || is_unreadable {
        TurnedAway::Malformed
    } else if request.body.is_empty() || is_urlencoded(request) || is_multipart(request) {
        TurnedAway::MissingField
    } else {
        TurnedAway::WrongMediaType
    }
}

/// The token of a guarded request, which may stand in the header as well if `by_header`. The handler behind the guard judges the other
/// fields of the form, and how often they occur.
pub(crate) fn guarded_token(request: &Request<'_>, by_header: bool) -> Option<Credential> {
    let form = form_body(request)?;
    let form = &*form;
    let (in_form, in_query) = (
        count_field(form, ACCESS_TOKEN),
        count_field(request.query.unwrap_or_default().as_bytes(), ACCESS_TOKEN),
    );
    if in_form > 1 || in_query > 0 {
        return None;
    }
    let posted = || {
        form_pairs(form)
            .find_map(|piece| Fields::parse(piece).ok()?.secret(ACCESS_TOKEN))
            .and_then(credential)
    };
    if !by_header || !request.has_header(ACCESS_TOKEN_HEADER) {
        return posted();
    }
    let shown = request
        .header(ACCESS_TOKEN_HEADER)
        .map(str::to_owned)
        .map(Secret::new)
        .and_then(credential)?;
    // Two tokens that differ count as none: if either one counted, a proxy in front may have taken the other one for the client's.
    (in_form == 0 || posted().as_ref() == Some(&shown)).then_some(shown)
}

/// The form in the body, urlencoded whichever way the client sent the form, and empty where the body is none. `None` for multipart that
/// cannot be read, or that has a file under the name of a field of this wire.
fn form_body<'r>(request: &Request<'r>) -> Option<Cow<'r, [u8]>> {
    if !has_body(request) {
        return Some(Cow::Borrowed(&[]));
    }
    if is_multipart(request) && !request.body.is_empty() {
        let form = Multipart::parse(request.header("content-type")?, request.body)?;
        let has_file_field =
            form.parts().any(|part| part.is_file && FIELDS.contains(&part.name.as_str()));
        return if has_file_field { None } else { Some(form.urlencoded().into()) };
    }
    Some(Cow::Borrowed(if is_urlencoded(request) { request.body } else { &[] }))
}

/// Whether the token of a guarded request may stand in the body, judged by the head alone. A multipart form may be an upload of any size,
/// so such a body is read only where its head declares a short length.
pub(crate) fn may_hold_token(head: &Request<'_>) -> bool {
    let is_short = || {
        let length = head.header("content-length").and_then(|length| length.parse().ok());
        length.is_some_and(|length: usize| length <= MAX_BODY_BYTES)
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

fn form_pairs(form: &[u8]) -> impl Iterator<Item = &[u8]> {
    form.split(|&byte| byte == b'&')
}

/// How often a field stands in a form or a query, with a readable value or not.
fn count_field(form: &[u8], name: &str) -> usize {
    let named = |piece: &&[u8]| {
        let own = piece.split(|&byte| byte == b'=').next().unwrap_or_default();
        Fields::parse(own).is_ok_and(|fields| fields.get(name).is_some())
    };
    form_pairs(form).filter(named).count()
}

pub(crate) fn credential(secret: Secret) -> Option<Credential> {
    (!secret.expose().is_empty()).then(|| Credential::new(NAME, secret))
}

/// The login of a form with bytes that are not text. This login never succeeds; the name, if that is text, still decides which of the two
/// documented sentences is true.
fn undecodable_login(form: &[u8]) -> PasswordCredentials {
    let name = form_pairs(form)
        .find_map(|piece| Fields::parse(piece).ok()?.get(USERNAME).map(str::to_owned));
    PasswordCredentials {
        user: name.unwrap_or_else(|| IMPOSSIBLE_VALUE.to_owned()),
        password: Secret::new(IMPOSSIBLE_VALUE.to_owned()),
    }
}

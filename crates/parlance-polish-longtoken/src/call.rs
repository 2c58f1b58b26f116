//! Bytes to [`Call`]: what the document lets a client say.

use parlance_core::ports::TurnedAway;
use parlance_core::{Credential, Failure, Login, Secret};
use parlance_dialect::{
    Dialect as _, Fields, FormError, Object, Rejection, Request, Response, from_json,
};
use serde::Deserialize;

use crate::{PolishLongtoken, RESOURCE, reply};

/// One parsed call.
#[derive(Debug)]
pub enum Call {
    /// `POST`: log in, for long or not.
    Login(Login, bool),
    /// `GET`: does this token live?
    Look(Credential),
    /// `PUT`: make it live from now on, for long or not.
    Renew(Credential, bool),
    /// `DELETE`: end it.
    End(Credential),
}

/// The body of `PUT`.
#[derive(Deserialize)]
struct Renewal {
    token: Option<String>,
    longtoken: Option<Flag>,
}

/// A boolean, or its name as a string: the document's form field is one, and clients send either in JSON.
#[derive(Deserialize)]
#[serde(untagged)]
enum Flag {
    Boolean(bool),
    Named(Named),
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Named {
    True,
    False,
}

impl Flag {
    fn is_set(&self) -> bool {
        matches!(self, Self::Boolean(true) | Self::Named(Named::True))
    }
}

impl Call {
    /// Reads a request; what cannot be read is answered already.
    pub(crate) fn read(request: &Request<'_>) -> Result<Self, Rejection> {
        match request.method {
            "POST" => login(request),
            "PUT" => renewal(request),
            "GET" => shown(request).map(Self::Look),
            "DELETE" => shown(request).map(Self::End),
            _ => Err(reply::wrong_method().into()),
        }
    }
}

/// What follows the resource's name in the path: nothing, or the query behind the `&` of `/login&token=...`. `None` is another path.
pub(crate) fn inline_query(path: &str) -> Option<&str> {
    let rest = path.strip_prefix(RESOURCE)?;
    if rest.is_empty() { Some(rest) } else { rest.strip_prefix('&') }
}

/// The bytes of the one `X-Auth-Bearer`. An empty one shows nothing.
///
/// # Errors
/// It stands there twice.
pub(crate) fn bearer<'r>(request: &Request<'r>) -> Result<Option<&'r [u8]>, Response> {
    let mut values = request.values("x-auth-bearer");
    let value = values.next();
    if values.next().is_some() {
        return Err(reply::contradiction());
    }
    Ok(value.filter(|value| !value.is_empty()))
}

/// A credential of what was shown, if it is text.
pub(crate) fn credential(shown: &[u8]) -> Option<Credential> {
    let token = std::str::from_utf8(shown).ok()?;
    Some(Credential::new(PolishLongtoken::NAME, Secret::new(token.to_owned())))
}

/// The query in both spellings as one, so that a parameter in each of them is a doubled one.
fn query(request: &Request<'_>) -> Result<Fields, FormError> {
    let inline = inline_query(request.path).unwrap_or_default();
    let joined: Vec<&str> = [inline, request.query.unwrap_or_default()]
        .into_iter()
        .filter(|part| !part.is_empty())
        .collect();
    Fields::parse(joined.join("&").as_bytes())
}

fn login(request: &Request<'_>) -> Result<Call, Rejection> {
    if !request.is_media_type("application/x-www-form-urlencoded") {
        return Err(reply::wrong_media_type("application/x-www-form-urlencoded").into());
    }
    // A failed login like any other, to the client.
    let failed = |why| Rejection::new(why, reply::refused(Failure::UnknownUser));
    let form = match Fields::parse(request.body) {
        Ok(form) => form,
        Err(FormError::Bytes) => return Err(failed(TurnedAway::Malformed)),
        Err(FormError::Doubled) => return Err(reply::malformed("A field stands twice.").into()),
    };
    refuse_clash(request, |name| form.get(name).is_some())?;
    let login = form.get("login").zip(form.secret("pass"));
    let (user, password) = login.ok_or_else(|| failed(TurnedAway::MissingField))?;
    let login = Login { user: user.to_owned(), password };
    Ok(Call::Login(login, form.get("longtoken") == Some("true")))
}

fn renewal(request: &Request<'_>) -> Result<Call, Rejection> {
    if !request.is_json() {
        return Err(reply::wrong_media_type("application/json").into());
    }
    let Object(Renewal { token, longtoken }) = from_json(request.body)
        .map_err(|_| reply::malformed("The body is not the JSON object that is read here."))?;
    refuse_clash(request, |name| match name {
        "token" => token.is_some(),
        "longtoken" => longtoken.is_some(),
        _ => false,
    })?;
    let token = token.filter(|token| !token.is_empty()).ok_or_else(not_shown)?;
    // The header is not read for a token here, but must not name another one.
    if bearer(request)?.is_some_and(|header| header != token.as_bytes()) {
        return Err(reply::contradiction().into());
    }
    let shown = Credential::new(PolishLongtoken::NAME, Secret::new(token));
    Ok(Call::Renew(shown, longtoken.is_some_and(|flag| flag.is_set())))
}

/// The token of GET and DELETE: from the header, or the query, or both alike.
fn shown(request: &Request<'_>) -> Result<Credential, Rejection> {
    let header = bearer(request)?;
    let query = match query(request) {
        Ok(query) => query,
        Err(FormError::Doubled) => return Err(reply::contradiction().into()),
        // Nobody's token, and so another one than a header's.
        Err(FormError::Bytes) if header.is_some() => return Err(reply::contradiction().into()),
        Err(FormError::Bytes) => return Err(not_shown()),
    };
    let parameter = query.get("token").filter(|token| !token.is_empty()).map(str::as_bytes);
    if header.zip(parameter).is_some_and(|(header, parameter)| header != parameter) {
        return Err(reply::contradiction().into());
    }
    header.or(parameter).and_then(credential).ok_or_else(not_shown)
}

/// A token that is missing or cannot be one is not found.
fn not_shown() -> Rejection {
    Rejection::new(TurnedAway::NoCredential, reply::not_found())
}

/// Refuses a field that stands in the query and in the body. One that stands in the query alone is not read.
fn refuse_clash(request: &Request<'_>, in_body: impl Fn(&str) -> bool) -> Result<(), Response> {
    let query = match query(request) {
        Ok(query) => query,
        Err(FormError::Doubled) => return Err(reply::malformed("A parameter stands twice.")),
        Err(FormError::Bytes) => return Ok(()),
    };
    let clash = ["login", "pass", "longtoken", "token"]
        .into_iter()
        .any(|name| in_body(name) && query.get(name).is_some());
    if clash {
        Err(reply::malformed("A field stands in the query and in the body."))
    } else {
        Ok(())
    }
}

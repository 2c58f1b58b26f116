//! Request parsing: bytes to a [`Call`], as far as the document allows.

use parlance_core::ports::TurnedAway;
use parlance_core::{Credential, Failure, PasswordCredentials, Secret};
use parlance_dialect::{
    Dialect as _, Fields, FormError, Rejection, Request, Response, StrictObject, from_json,
};
use serde::Deserialize;

use crate::{LOGIN_PATH, PolishLongtoken, reply};

/// One parsed call.
#[derive(Debug)]
pub enum Call {
    /// `POST`: log in, with the long lifetime or not.
    Login(PasswordCredentials, bool),
    /// `GET`: checks whether the token lives.
    Peek(Credential),
    /// `PUT`: renews the token from now on, with the long lifetime or not.
    Renew(Credential, bool),
    /// `DELETE`: logs the token out.
    Logout(Credential),
}

/// The body of `PUT`.
#[derive(Deserialize)]
struct Renewal {
    token: Option<String>,
    longtoken: Option<Flag>,
}

/// A boolean, or its name as a string: the document's form field is a string, and clients send either one in JSON.
#[derive(Deserialize)]
#[serde(untagged)]
enum Flag {
    Boolean(bool),
    Named(FlagName),
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum FlagName {
    True,
    False,
}

impl Flag {
    fn is_set(&self) -> bool {
        matches!(self, Self::Boolean(true) | Self::Named(FlagName::True))
    }
}

impl Call {
    /// Parses a request. An unreadable request has its answer already, in the error.
    pub(crate) fn read(request: &Request<'_>) -> Result<Self, Rejection> {
        match request.method {
            "POST" => read_login(request),
            "PUT" => read_renewal(request),
            "GET" => read_token(request).map(Self::Peek),
            "DELETE" => read_token(request).map(Self::Logout),
            _ => Err(reply::method_not_allowed().into()),
        }
    }
}

/// The rest of the path after the resource's name: nothing, or the query behind the `&` of `/login&token=...`. `None` is another path.
pub(crate) fn inline_query(path: &str) -> Option<&str> {
    let rest = path.strip_prefix(LOGIN_PATH)?;
    if rest.is_empty() { Some(rest) } else { rest.strip_prefix('&') }
}

/// The bytes of the one `X-Auth-Bearer`. An empty header counts as none.
///
/// # Errors
/// The header stands there twice.
pub(crate) fn bearer<'r>(request: &Request<'r>) -> Result<Option<&'r [u8]>, Response> {
    let mut values = request.header_values("x-auth-bearer");
    let value = values.next();
    if values.next().is_some() {
        return Err(reply::conflicting_tokens());
    }
    Ok(value.filter(|value| !value.is_empty()))
}

/// The credential of a token, if the bytes are text.
pub(crate) fn credential(shown: &[u8]) -> Option<Credential> {
    let token = std::str::from_utf8(shown).ok()?;
    Some(Credential::new(PolishLongtoken::NAME, Secret::new(token.to_owned())))
}

/// The query in both spellings as one, so that a parameter in each of them is a duplicate.
fn query(request: &Request<'_>) -> Result<Fields, FormError> {
    let inline = inline_query(request.path).unwrap_or_default();
    let joined: Vec<&str> = [inline, request.query.unwrap_or_default()]
        .into_iter()
        .filter(|part| !part.is_empty())
        .collect();
    Fields::parse(joined.join("&").as_bytes())
}

fn read_login(request: &Request<'_>) -> Result<Call, Rejection> {
    if !request.is_media_type("application/x-www-form-urlencoded") {
        return Err(reply::unsupported_media_type("application/x-www-form-urlencoded").into());
    }
    // To the client this is a failed login like any other.
    let failed = |why| Rejection::new(why, reply::encode_failure(Failure::UnknownUser));
    let form = match Fields::parse(request.body) {
        Ok(form) => form,
        Err(FormError::InvalidEncoding) => return Err(failed(TurnedAway::Malformed)),
        Err(FormError::Duplicate) => return Err(reply::malformed("A field stands twice.").into()),
    };
    reject_query_duplicates(request, |name| form.get(name).is_some())?;
    let login = form.get("login").zip(form.secret("pass"));
    let (user, password) = login.ok_or_else(|| failed(TurnedAway::MissingField))?;
    let login = PasswordCredentials { user: user.to_owned(), password };
    Ok(Call::Login(login, form.get("longtoken") == Some("true")))
}

fn read_renewal(request: &Request<'_>) -> Result<Call, Rejection> {
    if !request.is_json() {
        return Err(reply::unsupported_media_type("application/json").into());
    }
    let StrictObject(Renewal { token, longtoken }) = from_json(request.body)
        .map_err(|_| reply::malformed("The body is not the JSON object that is read here."))?;
    reject_query_duplicates(request, |name| match name {
        "token" => token.is_some(),
        "longtoken" => longtoken.is_some(),
        _ => false,
    })?;
    let token = token.filter(|token| !token.is_empty()).ok_or_else(no_credential)?;
    // The header is not read for a token here, but must not contain another token.
    if bearer(request)?.is_some_and(|header| header != token.as_bytes()) {
        return Err(reply::conflicting_tokens().into());
    }
    let shown = Credential::new(PolishLongtoken::NAME, Secret::new(token));
    Ok(Call::Renew(shown, longtoken.is_some_and(|flag| flag.is_set())))
}

/// The token of GET and DELETE: from the header, or the query, or from both if they are equal.
fn read_token(request: &Request<'_>) -> Result<Credential, Rejection> {
    let header = bearer(request)?;
    let query = match query(request) {
        Ok(query) => query,
        Err(FormError::Duplicate) => return Err(reply::conflicting_tokens().into()),
        // These bytes are no possible token, and so differ from the token of a header.
        Err(FormError::InvalidEncoding) if header.is_some() => {
            return Err(reply::conflicting_tokens().into());
        }
        Err(FormError::InvalidEncoding) => return Err(no_credential()),
    };
    let parameter = query.get("token").filter(|token| !token.is_empty()).map(str::as_bytes);
    if header.zip(parameter).is_some_and(|(header, parameter)| header != parameter) {
        return Err(reply::conflicting_tokens().into());
    }
    header.or(parameter).and_then(credential).ok_or_else(no_credential)
}

/// A missing or impossible token is not found.
fn no_credential() -> Rejection {
    Rejection::new(TurnedAway::NoCredential, reply::not_found())
}

/// Refuses a field that stands in the query and in the body. A field in the query alone is not read.
fn reject_query_duplicates(
    request: &Request<'_>,
    in_body: impl Fn(&str) -> bool,
) -> Result<(), Response> {
    let query = match query(request) {
        Ok(query) => query,
        Err(FormError::Duplicate) => return Err(reply::malformed("A parameter stands twice.")),
        Err(FormError::InvalidEncoding) => return Ok(()),
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

//! Which service asks: client authentication (RFC 6749, 2.3.1).

use actix_web::HttpRequest;
use actix_web::http::header::AUTHORIZATION;
use parlance::core::{Failure, Secret};
use parlance::dialect::{Fields, user_and_secret};
use uuid::Uuid;

use super::Desk;

/// Why a service is not heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused {
    /// It authenticates in two ways at once, or in half of one.
    Malformed,
    /// It does not authenticate, or not as a client that there is.
    Unknown,
    /// Whether it is one cannot be said now.
    Away,
}

/// Finds the client that a request authenticates as.
pub(super) async fn authenticate(
    desk: &Desk,
    request: &HttpRequest,
    fields: &Fields,
) -> Result<(), Refused> {
    let (id, secret) = shown(request, fields)?;
    // As it is printed: a UUID has other spellings, which are none of ours.
    let id = Uuid::try_parse(&id).ok().filter(|parsed| parsed.to_string() == id);
    let id = id.ok_or(Refused::Unknown)?;
    let found = desk.store.client(id).await.map_err(Failure::from);
    let known = found.map_err(|_| Refused::Away)?;
    let client = known.filter(|client| client.is_known_by(secret.expose()));
    client.map(|_| ()).ok_or(Refused::Unknown)
}

/// The id and the secret: in the one `Authorization: Basic`, or in the form.
fn shown(request: &HttpRequest, fields: &Fields) -> Result<(String, Secret), Refused> {
    let mut headers = request.headers().get_all(AUTHORIZATION);
    // A parameter without a value is none (RFC 6749, 3.1).
    let id = fields.get("client_id").filter(|id| !id.is_empty());
    let secret = fields.secret("client_secret").filter(|secret| !secret.expose().is_empty());
    let in_form = (id, secret);
    match (headers.next(), in_form) {
        (None, (Some(id), Some(secret))) => Ok((id.to_owned(), secret)),
        (None, _) => Err(Refused::Unknown),
        (Some(_), (_, Some(_))) => Err(Refused::Malformed),
        (Some(_), _) if headers.next().is_some() => Err(Refused::Malformed),
        (Some(header), (id, None)) => {
            let basic = header.to_str().ok().and_then(basic).ok_or(Refused::Unknown)?;
            // The id alone may be repeated in the form.
            if id.is_some_and(|id| id != basic.0) { Err(Refused::Malformed) } else { Ok(basic) }
        }
    }
}

fn basic(header: &str) -> Option<(String, Secret)> {
    let (scheme, encoded) = header.split_once(' ')?;
    let (id, secret) = user_and_secret(encoded.trim())?;
    let secret = Secret::new(decoded(secret.expose())?);
    scheme.eq_ignore_ascii_case("basic").then_some((decoded(&id)?, secret))
}

/// Within Basic both are form-urlencoded.
fn decoded(encoded: &str) -> Option<String> {
    if encoded.contains(['&', '=']) {
        return None;
    }
    Fields::parse(format!("v={encoded}").as_bytes()).ok()?.get("v").map(str::to_owned)
}

//! Client authentication of the services that introspect and revoke (RFC 6749, 2.3.1).

use actix_web::HttpRequest;
use actix_web::http::header::AUTHORIZATION;
use parlance::core::Secret;
use parlance::dialect::{Fields, decode_user_and_secret};
use uuid::Uuid;

use super::OperatorContext;

/// The reason that a service is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ClientAuthError {
    /// The request authenticates in two ways at once, or in half of one.
    InvalidRequest,
    /// The request does not authenticate, or names no known client.
    InvalidClient,
    /// The store is unavailable, so the client cannot be verified now.
    Unavailable,
}

pub(super) async fn authenticate(
    context: &OperatorContext,
    request: &HttpRequest,
    fields: &Fields,
) -> Result<(), ClientAuthError> {
    let (id, secret) = client_credentials(request, fields)?;
    // Only the spelling that `client add` prints: a UUID has other spellings, which are refused.
    let id = Uuid::try_parse(&id).ok().filter(|parsed| parsed.to_string() == id);
    let id = id.ok_or(ClientAuthError::InvalidClient)?;
    let known = context.store.client(id).await.map_err(|_| ClientAuthError::Unavailable)?;
    let client = known.filter(|client| client.has_secret(secret.expose()));
    client.map(|_| ()).ok_or(ClientAuthError::InvalidClient)
}

/// The id and the secret, from exactly one `Authorization: Basic` header or from the form.
fn client_credentials(
    request: &HttpRequest,
    fields: &Fields,
) -> Result<(String, Secret), ClientAuthError> {
    let mut headers = request.headers().get_all(AUTHORIZATION);
    // A parameter without a value counts as left out (RFC 6749, 3.1).
    let id = fields.get("client_id").filter(|id| !id.is_empty());
    let secret = fields.secret("client_secret").filter(|secret| !secret.expose().is_empty());
    let in_form = (id, secret);
    match (headers.next(), in_form) {
        (None, (Some(id), Some(secret))) => Ok((id.to_owned(), secret)),
        (None, _) => Err(ClientAuthError::InvalidClient),
        (Some(_), (_, Some(_))) => Err(ClientAuthError::InvalidRequest),
        (Some(_), _) if headers.next().is_some() => Err(ClientAuthError::InvalidRequest),
        (Some(header), (id, None)) => {
            let basic =
                header.to_str().ok().and_then(parse_basic).ok_or(ClientAuthError::InvalidClient)?;
            // Only the id may be repeated in the form.
            if id.is_some_and(|id| id != basic.0) {
                Err(ClientAuthError::InvalidRequest)
            } else {
                Ok(basic)
            }
        }
    }
}

fn parse_basic(header: &str) -> Option<(String, Secret)> {
    let (scheme, encoded) = header.split_once(' ')?;
    let (id, secret) = decode_user_and_secret(encoded.trim())?;
    let secret = Secret::new(form_decode(secret.expose())?);
    scheme.eq_ignore_ascii_case("basic").then_some((form_decode(&id)?, secret))
}

/// Decodes the id or the secret of Basic, which are both form-urlencoded.
fn form_decode(encoded: &str) -> Option<String> {
    if encoded.contains(['&', '=']) {
        return None;
    }
    Fields::parse(format!("v={encoded}").as_bytes()).ok()?.get("v").map(str::to_owned)
}

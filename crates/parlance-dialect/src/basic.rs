//! HTTP Basic authentication (RFC 7617): a name and a secret in Base64, in `Authorization: Basic` and similar headers.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use parlance_core::{PasswordCredentials, Secret};

use crate::Request;

/// The login in the only `Authorization: Basic` header of a request; `None` if there is none, more than one, or none that can be decoded.
#[must_use]
pub fn basic_credentials(request: &Request<'_>) -> Option<PasswordCredentials> {
    let (scheme, encoded) = request.header("authorization")?.split_once(' ')?;
    let (user, password) = decode_user_and_secret(encoded.trim())?;
    scheme.eq_ignore_ascii_case("basic").then_some(PasswordCredentials { user, password })
}

/// Decodes a Base64 text, and splits the result at the first colon (RFC 7617, section 2: a password may hold colons, a name cannot).
/// Control characters are refused after decoding, since later code would trust them.
///
/// The bytes are UTF-8. Bytes that are not valid UTF-8 are Latin-1, as Python's requests, old browsers and the JDK write Basic. Every text
/// has one reading, so one header is one login.
#[must_use]
pub fn decode_user_and_secret(encoded: &str) -> Option<(String, Secret)> {
    let decoded = String::from_utf8(STANDARD.decode(encoded).ok()?)
        .unwrap_or_else(|bytes| bytes.as_bytes().iter().copied().map(char::from).collect());
    let (user, secret) = decoded.split_once(':').filter(|_| !decoded.contains(char::is_control))?;
    Some((user.to_owned(), Secret::new(secret.to_owned())))
}

/// Encodes a name and a secret as [`decode_user_and_secret`] decodes them.
#[must_use]
pub fn encode_user_and_secret(user: &str, secret: &Secret) -> String {
    STANDARD.encode(format!("{user}:{}", secret.expose()))
}

//! A name and a secret in Base64: `Authorization: Basic` (RFC 7617), and headers like it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use parlance_core::{Login, Secret};

use crate::Request;

/// The login in the one `Authorization: Basic` header of a request; `None` if there is none that can be read.
#[must_use]
pub fn basic(request: &Request<'_>) -> Option<Login> {
    let (scheme, encoded) = request.header("authorization")?.split_once(' ')?;
    let (user, password) = user_and_secret(encoded.trim())?;
    scheme.eq_ignore_ascii_case("basic").then_some(Login { user, password })
}

/// What stands before and after the first colon of a Base64 text (RFC 7617, section 2: a password may hold colons, a name cannot).
/// Control characters are refused after decoding, where they would be believed.
///
/// The bytes are UTF-8. Where they cannot be, they are Latin-1, as Python's requests, old browsers and the JDK write Basic: every text is
/// read in one way alone, so one header is one login.
#[must_use]
pub fn user_and_secret(encoded: &str) -> Option<(String, Secret)> {
    let decoded = String::from_utf8(STANDARD.decode(encoded).ok()?)
        .unwrap_or_else(|bytes| bytes.as_bytes().iter().copied().map(char::from).collect());
    let (user, secret) = decoded.split_once(':').filter(|_| !decoded.contains(char::is_control))?;
    Some((user.to_owned(), Secret::new(secret.to_owned())))
}

/// What [`user_and_secret`] reads.
#[must_use]
pub fn encode_user_and_secret(user: &str, secret: &Secret) -> String {
    STANDARD.encode(format!("{user}:{}", secret.expose()))
}

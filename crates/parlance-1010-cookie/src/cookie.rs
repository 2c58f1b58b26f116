//! Session cookie `session=uid|sid|epw`, read from the raw header lines. Nothing is decoded: an escaped pipe is not a pipe.

use std::borrow::Cow;

use parlance_core::{Credential, Secret};
use parlance_dialect::Request;

use crate::NAME;

const COOKIE_NAME: &str = "session";

/// Maximum size of a cookie, name and value together, in bytes (RFC 6265bis, 5.6).
const MAX_COOKIE_BYTES: usize = 4096;

/// The session that a request names. A client may send any number of copies of the cookie, as long as all are equal. A cookie of this name
/// without the shape `uid|sid|epw` belongs to another application and does not count.
pub(crate) fn from_request(request: &Request<'_>) -> Option<Credential> {
    let pairs = request.header_values("cookie").flat_map(|line| line.split(|&byte| byte == b';'));
    let mut values = pairs.filter_map(|pair| {
        let pair = trim_spaces(pair);
        let at = pair.iter().position(|&byte| byte == b'=')?;
        let (name, value) = (pair.get(..at)?, unquoted(pair.get(at + 1..)?));
        (name == COOKIE_NAME.as_bytes() && has_three_parts(value)).then_some(value)
    });
    let value = values.next()?;
    if values.any(|other| other != value) {
        return None;
    }
    parse(value)
}

/// The cookie in the text of a client or a form, with or without its name. `None` if the text is anything but one such cookie.
pub(crate) fn from_text(text: &str) -> Option<Credential> {
    let value =
        text.strip_prefix(COOKIE_NAME).and_then(|rest| rest.strip_prefix('=')).unwrap_or(text);
    let value = unquoted(value.as_bytes());
    // A cookie's value ends at a semicolon.
    if value.contains(&b';') { None } else { parse(value) }
}

/// The cookie as sent by a client.
pub(crate) fn name_and_value(uid: &str, sid: &str, epw: &str) -> String {
    format!("{COOKIE_NAME}={uid}|{sid}|{epw}")
}

/// The value of the cookie that a login sets.
pub(crate) fn set_cookie_value(uid: &str, sid: &str, epw: &str, secure: bool) -> String {
    let secure = if secure { "; Secure" } else { "" };
    format!("{}; Path=/; HttpOnly; SameSite=Lax{secure}", name_and_value(uid, sid, epw))
}

/// Whether a value has three non-empty parts. [`parse`] judges their content.
fn has_three_parts(value: &[u8]) -> bool {
    let parts = || value.split(|&byte| byte == b'|');
    parts().count() == 3 && parts().all(|part| !part.is_empty())
}

/// Removes the one pair of quotes around a value. The quotes are no part of the value (RFC 6265, 4.1.1): some clients quote a value that
/// contains an `@`, a space or a parenthesis.
fn unquoted(value: &[u8]) -> &[u8] {
    let inner = value.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\""));
    inner.unwrap_or(value)
}

fn parse(value: &[u8]) -> Option<Credential> {
    if COOKIE_NAME.len() + value.len() > MAX_COOKIE_BYTES || !has_three_parts(value) {
        return None;
    }
    let text = decode_text(value);
    if text.contains(|c: char| c == '%' || c.is_control()) {
        return None;
    }
    let mut parts = text.split('|');
    let (uid, sid, epw) = (parts.next()?, parts.next()?, parts.next()?);
    let secret = Secret::new(epw.to_owned());
    Some(Credential {
        user: Some(uid.to_owned()),
        public_id: Some(sid.to_owned()),
        ..Credential::new(NAME, secret)
    })
}

/// Decodes a value: UTF-8, as the login sends the cookie, or Latin-1, as the document's own client writes a name that its user has typed
/// (decisions.md#the-cookie-is-read-as-it-stands-and-only-once).
fn decode_text(value: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(value) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => value.iter().copied().map(char::from).collect::<String>().into(),
    }
}

fn trim_spaces(mut pair: &[u8]) -> &[u8] {
    while let [b' ', rest @ ..] | [rest @ .., b' '] = pair {
        pair = rest;
    }
    pair
}

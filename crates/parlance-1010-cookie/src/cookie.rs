//! The cookie `session=uid|sid|epw`, read from the raw header lines. Nothing is decoded: an escaped pipe is not a pipe.

use std::borrow::Cow;

use parlance_core::{Credential, Secret};
use parlance_dialect::Request;

use crate::NAME;

const COOKIE: &str = "session";

/// The longest cookie, name and value together, in bytes (RFC 6265bis, 5.6).
const LONGEST: usize = 4096;

/// The session that a request names: in as many copies as its client likes, as long as all are alike. A cookie of this name without
/// the shape `uid|sid|epw` is another application's and does not count.
pub(crate) fn session(request: &Request<'_>) -> Option<Credential> {
    let pairs = request.values("cookie").flat_map(|line| line.split(|&byte| byte == b';'));
    let mut values = pairs.filter_map(|pair| {
        let pair = trim(pair);
        let at = pair.iter().position(|&byte| byte == b'=')?;
        let (name, value) = (pair.get(..at)?, unquoted(pair.get(at + 1..)?));
        (name == COOKIE.as_bytes() && has_shape(value)).then_some(value)
    });
    let value = values.next()?;
    if values.any(|other| other != value) {
        return None;
    }
    parse(value)
}

/// A cookie as a client holds it, or as a form repeats it: with its name, or without. `None` if the text is anything but one such cookie.
pub(crate) fn repeated(text: &str) -> Option<Credential> {
    let value = text.strip_prefix(COOKIE).and_then(|rest| rest.strip_prefix('=')).unwrap_or(text);
    let value = unquoted(value.as_bytes());
    // A cookie's value ends at a semicolon.
    if value.contains(&b';') { None } else { parse(value) }
}

/// The cookie as a client sends it.
pub(crate) fn pair(uid: &str, sid: &str, epw: &str) -> String {
    format!("{COOKIE}={uid}|{sid}|{epw}")
}

/// The value of the cookie that a login sets.
pub(crate) fn print(uid: &str, sid: &str, epw: &str, secure: bool) -> String {
    let secure = if secure { "; Secure" } else { "" };
    format!("{}; Path=/; HttpOnly; SameSite=Lax{secure}", pair(uid, sid, epw))
}

/// Whether a value has three parts: what is in them is for [`parse`] to judge.
fn has_shape(value: &[u8]) -> bool {
    let parts = || value.split(|&byte| byte == b'|');
    parts().count() == 3 && parts().all(|part| !part.is_empty())
}

/// A value without the one pair of quotes around it, which is no part of it (RFC 6265, 4.1.1): some clients quote what holds an `@`, a
/// blank or a parenthesis.
fn unquoted(value: &[u8]) -> &[u8] {
    let inner = value.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\""));
    inner.unwrap_or(value)
}

fn parse(value: &[u8]) -> Option<Credential> {
    if COOKIE.len() + value.len() > LONGEST || !has_shape(value) {
        return None;
    }
    let text = text(value);
    if text.contains(|c: char| c == '%' || c.is_control()) {
        return None;
    }
    let mut parts = text.split('|');
    let (uid, sid, epw) = (parts.next()?, parts.next()?, parts.next()?);
    let secret = Secret::new(epw.to_owned());
    Some(Credential {
        user: Some(uid.to_owned()),
        sid: Some(sid.to_owned()),
        ..Credential::new(NAME, secret)
    })
}

/// UTF-8, as the login sent it; or Latin-1, as the document's own client writes a name that its user has typed (decision 0118).
fn text(value: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(value) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => value.iter().copied().map(char::from).collect::<String>().into(),
    }
}

fn trim(mut pair: &[u8]) -> &[u8] {
    while let [b' ', rest @ ..] | [rest @ .., b' '] = pair {
        pair = rest;
    }
    pair
}

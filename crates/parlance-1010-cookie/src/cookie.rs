//! The cookie `session=uid|sid|epw`, read from the raw header lines. Nothing is decoded: an escaped pipe is not a pipe.

use std::borrow::Cow;

use parlance_core::{Credential, Secret};
use parlance_dialect::Request;

use crate::NAME;

const COOKIE: &str = "session";

/// The longest cookie, name and value together, in bytes (RFC 6265bis, 5.6).
const LONGEST: usize = 4096;

/// The session that the one `session` cookie of a request names.
pub(crate) fn session(request: &Request<'_>) -> Option<Credential> {
    let pairs = request.values("cookie").flat_map(|line| line.split(|&byte| byte == b';'));
    let mut values = pairs.filter_map(|pair| {
        let pair = trim(pair);
        let (name, value) = match pair.iter().position(|&byte| byte == b'=') {
            Some(at) => (pair.get(..at)?, pair.get(at + 1..)?),
            None => (pair, &[][..]),
        };
        (name == COOKIE.as_bytes()).then_some(value)
    });
    let value = values.next().filter(|_| values.next().is_none())?;
    parse(value)
}

/// A cookie as a form repeats it: with its name, or without.
pub(crate) fn repeated(text: &str) -> Option<Credential> {
    let value = text.strip_prefix(COOKIE).and_then(|rest| rest.strip_prefix('=')).unwrap_or(text);
    parse(value.as_bytes())
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

fn parse(value: &[u8]) -> Option<Credential> {
    if COOKIE.len() + value.len() > LONGEST {
        return None;
    }
    let text = text(value);
    if text.contains(|c: char| c == '%' || c.is_control()) {
        return None;
    }
    let mut parts = text.split('|').filter(|part| !part.is_empty());
    let (uid, sid, epw) = (parts.next()?, parts.next()?, parts.next()?);
    if text.matches('|').count() != 2 {
        return None;
    }
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

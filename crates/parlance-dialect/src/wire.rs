//! HTTP requests and responses as plain bytes.

use std::fmt;
use std::net::IpAddr;

use parlance_core::Timestamp;
use serde::de::IgnoredAny;

/// A header line: the name in any case, the value as received.
pub type Header<'r> = (&'r str, &'r [u8]);

/// A request. Every header line is kept, in order: a map that returns the first one would hide a duplicate that must be refused. `Debug`
/// shows no path, query, header value or body, since each may hold a credential.
#[derive(Clone, Copy)]
pub struct Request<'r> {
    /// `GET`, `POST`, ...
    pub method: &'r str,
    /// The path as it stands in the request line, percent-encoded, without the mount's prefix.
    pub path: &'r str,
    /// The text after the first `?`.
    pub query: Option<&'r str>,
    /// All header lines.
    pub headers: &'r [Header<'r>],
    /// The body.
    pub body: &'r [u8],
    /// The client's address, if a trustworthy one is known.
    pub peer: Option<IpAddr>,
    /// Whether the request came over TLS.
    pub secure: bool,
    /// The time of arrival.
    pub now: Timestamp,
}

impl<'r> Request<'r> {
    /// All values of a header.
    pub fn header_values(&self, name: &str) -> impl Iterator<Item = &'r [u8]> {
        self.headers
            .iter()
            .filter(move |(other, _)| other.eq_ignore_ascii_case(name))
            .map(|(_, value)| *value)
    }

    /// The value of a header that occurs once and consists of visible ASCII and spaces.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&'r str> {
        let mut values = self.header_values(name);
        let value = values.next().filter(|_| values.next().is_none())?;
        std::str::from_utf8(value)
            .ok()
            .filter(|value| value.bytes().all(|byte| (0x20..0x7f).contains(&byte)))
    }

    /// Whether a header occurs at all.
    #[must_use]
    pub fn has_header(&self, name: &str) -> bool {
        self.header_values(name).next().is_some()
    }

    /// Whether the media type is this one, regardless of its parameters (RFC 9110, 8.3.1).
    #[must_use]
    pub fn is_media_type(&self, media_type: &str) -> bool {
        let shown = self.header("content-type").and_then(|value| value.split(';').next());
        shown.is_some_and(|shown| shown.trim().eq_ignore_ascii_case(media_type))
    }

    /// Whether the body is to be read as JSON, where nothing else is documented: with the media type of JSON, or with none; with
    /// `text/plain`, the type that a browser's `fetch` gives to a text; or with the type of a form, the default of curl for any data, if
    /// the body is a JSON object all the same.
    #[must_use]
    pub fn is_json(&self) -> bool {
        !self.has_header("content-type")
            || self.is_media_type("application/json")
            || self.is_media_type("text/plain")
            || (self.is_media_type("application/x-www-form-urlencoded")
                && crate::from_json::<crate::StrictObject<IgnoredAny>>(self.body).is_ok())
    }
}

/// A response. `Debug` shows no header value and no body, since each may hold a credential.
#[derive(Clone, PartialEq, Eq)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// The header lines, without framing and `Date`, which the server adds.
    pub headers: Vec<(&'static str, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Response {
    /// A response with no body. Headers forbid caches, content sniffing and the `Referer` header: responses of a login wire hold secrets,
    /// and so may their URLs.
    #[must_use]
    pub fn new(status: u16) -> Self {
        let headers = vec![
            ("cache-control", "no-store".to_owned()),
            ("referrer-policy", "no-referrer".to_owned()),
            ("x-content-type-options", "nosniff".to_owned()),
        ];
        Self { status, headers, body: Vec::new() }
    }

    /// A response with a body.
    #[must_use]
    pub fn with_body(status: u16, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        Self { body: body.into(), ..Self::new(status) }.header("content-type", content_type)
    }

    /// Sets a header, with the name in lower case, and replaces one of the same name.
    #[must_use]
    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        match self.headers.iter_mut().find(|(other, _)| *other == name) {
            Some((_, old)) => *old = value.into(),
            None => self.headers.push((name, value.into())),
        }
        self
    }
}

/// A credential as a client attaches it to a guarded request. `Debug` shows no value and no body: each is a credential.
#[derive(Clone, PartialEq, Eq)]
pub struct RequestCredential {
    /// Header lines.
    pub headers: Vec<(&'static str, String)>,
    /// The body, where the credential travels there.
    pub body: String,
}

impl RequestCredential {
    /// A credential in a header.
    #[must_use]
    pub fn header(name: &'static str, value: impl Into<String>) -> Self {
        Self { headers: vec![(name, value.into())], body: String::new() }
    }

    /// A credential in an urlencoded form of one field.
    #[must_use]
    pub fn field(name: &str, value: &str) -> Self {
        let value =
            percent_encoding::utf8_percent_encode(value, percent_encoding::NON_ALPHANUMERIC);
        Self {
            body: format!("{name}={value}"),
            ..Self::header("content-type", "application/x-www-form-urlencoded")
        }
    }
}

impl fmt::Debug for RequestCredential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestCredential")
            .field("headers", &self.headers.iter().map(|(name, _)| name).collect::<Vec<_>>())
            .field("body_len", &self.body.len())
            .finish()
    }
}

impl fmt::Debug for Request<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("method", &self.method)
            .field("headers", &self.headers.iter().map(|(name, _)| name).collect::<Vec<_>>())
            .field("body_len", &self.body.len())
            .field("peer", &self.peer)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Response")
            .field("status", &self.status)
            .field("headers", &self.headers.iter().map(|(name, _)| name).collect::<Vec<_>>())
            .field("body_len", &self.body.len())
            .finish_non_exhaustive()
    }
}

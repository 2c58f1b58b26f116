//! Variables: `{name}` in a text, `{{` and `}}` for the braces themselves.

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// What RFC 3986, section 2.3, leaves as it is.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The variables that a runner brings along.
pub(crate) const GIVEN: [&str; 6] =
    ["user", "password", "other", "other_password", "new_password", "long"];

/// Where a value is put, which decides how it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// As it is.
    Plain,
    /// In a request target or a form.
    Url,
    /// Within a JSON string.
    Json,
}

impl Place {
    /// The place that a body of this media type is; where nothing is said, what begins like JSON is taken for it.
    pub(crate) fn in_body(content_type: Option<&str>, body: &str) -> Self {
        let media_type = content_type.and_then(|value| value.split(';').next());
        match media_type.map(|media_type| media_type.trim().to_ascii_lowercase()).as_deref() {
            Some("application/x-www-form-urlencoded") => Self::Url,
            Some("application/json") => Self::Json,
            None if body.starts_with("{{") || body.starts_with('[') => Self::Json,
            Some(_) | None => Self::Plain,
        }
    }

    fn write(self, value: &str) -> String {
        match self {
            Self::Plain => value.to_owned(),
            Self::Url => percent(value),
            Self::Json => {
                let quoted = serde_json::Value::from(value).to_string();
                let inner = quoted.strip_prefix('"').and_then(|from| from.strip_suffix('"'));
                inner.unwrap_or_default().to_owned()
            }
        }
    }
}

/// Percent-encodes all that is not unreserved.
pub(crate) fn percent(value: &str) -> String {
    utf8_percent_encode(value, RESERVED).to_string()
}

/// Base64 with padding (RFC 4648, section 4).
pub(crate) fn base64(value: &str) -> String {
    STANDARD.encode(value)
}

/// Why a text could not be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum TextError {
    /// It names a variable that has no value.
    Unset(String),
    /// A brace is neither doubled nor around a name.
    Brace,
}

impl fmt::Display for TextError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unset(name) => write!(f, "there is no variable {{{name}}}"),
            Self::Brace => f.write_str("a brace is written {{ or }}, a variable {name}"),
        }
    }
}

/// The variables of a run of one file.
#[derive(Clone, Default)]
pub(crate) struct Variables(BTreeMap<String, String>);

impl Variables {
    pub(crate) fn set(&mut self, name: &str, value: String) {
        self.0.insert(name.to_owned(), value);
    }

    /// Puts the values in the place of their names.
    pub(crate) fn fill(&self, text: &str, place: Place) -> Result<String, TextError> {
        walk(text, |name| {
            let value = self.0.get(name).ok_or_else(|| TextError::Unset(name.to_owned()))?;
            Ok(place.write(value))
        })
    }

    /// All names and values.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

/// Replaces each `{name}` of a text.
pub(crate) fn walk(
    text: &str,
    mut value: impl FnMut(&str) -> Result<String, TextError>,
) -> Result<String, TextError> {
    let mut filled = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(['{', '}']) {
        let (before, from) = rest.split_at(at);
        filled.push_str(before);
        if let Some(after) = from.strip_prefix("{{") {
            filled.push('{');
            rest = after;
        } else if let Some(after) = from.strip_prefix("}}") {
            filled.push('}');
            rest = after;
        } else {
            let inner = from.strip_prefix('{').and_then(|from| from.split_once('}'));
            let (name, after) = inner.filter(|(name, _)| is_name(name)).ok_or(TextError::Brace)?;
            filled.push_str(&value(name)?);
            rest = after;
        }
    }
    filled.push_str(rest);
    Ok(filled)
}

pub(crate) fn is_name(name: &str) -> bool {
    let letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    !name.is_empty() && name.bytes().all(letter)
}

//! Variables: `{name}` in a text; `{{` and `}}` for the braces themselves.

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// The unreserved characters of RFC 3986, section 2.3, stay unencoded.
const PERCENT_ENCODED: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The variables that a runner brings along.
pub(crate) const BUILT_IN_VARIABLES: [&str; 6] =
    ["user", "password", "other", "other_password", "new_password", "long"];

/// The place of a value, which decides the escaping.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Escaping {
    /// Unchanged.
    Plain,
    /// In a request target or a form.
    Url,
    /// Within a JSON string.
    Json,
}

impl Escaping {
    /// The place for a body of this media type; without a media type, a body that begins like JSON counts as JSON.
    pub(crate) fn for_body(content_type: Option<&str>, body: &str) -> Self {
        let media_type = content_type.and_then(|value| value.split(';').next());
        match media_type.map(|media_type| media_type.trim().to_ascii_lowercase()).as_deref() {
            Some("application/x-www-form-urlencoded") => Self::Url,
            Some("application/json") => Self::Json,
            None if body.starts_with("{{") || body.starts_with('[') => Self::Json,
            Some(_) | None => Self::Plain,
        }
    }

    fn escape(self, value: &str) -> String {
        match self {
            Self::Plain => value.to_owned(),
            Self::Url => percent_encode(value),
            Self::Json => {
                let quoted = serde_json::Value::from(value).to_string();
                let inner = quoted.strip_prefix('"').and_then(|from| from.strip_suffix('"'));
                inner.unwrap_or_default().to_owned()
            }
        }
    }
}

/// Percent-encodes all but unreserved characters.
pub(crate) fn percent_encode(value: &str) -> String {
    utf8_percent_encode(value, PERCENT_ENCODED).to_string()
}

/// Base64 with padding (RFC 4648, section 4).
pub(crate) fn base64_encode(value: &str) -> String {
    STANDARD.encode(value)
}

/// The reason why a text could not be built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum TemplateError {
    /// The text names a variable without a value.
    UnknownVariable(String),
    /// A brace is neither doubled nor around a name.
    UnmatchedBrace,
}

impl fmt::Display for TemplateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownVariable(name) => write!(f, "there is no variable {{{name}}}"),
            Self::UnmatchedBrace => f.write_str("a brace is written {{ or }}, a variable {name}"),
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

    /// Replaces the names with their values.
    pub(crate) fn expand(&self, text: &str, escaping: Escaping) -> Result<String, TemplateError> {
        expand_template(text, |name| {
            let value =
                self.0.get(name).ok_or_else(|| TemplateError::UnknownVariable(name.to_owned()))?;
            Ok(escaping.escape(value))
        })
    }

    /// All names and values.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

/// Replaces each `{name}` of a text.
pub(crate) fn expand_template(
    text: &str,
    mut value: impl FnMut(&str) -> Result<String, TemplateError>,
) -> Result<String, TemplateError> {
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
            let (name, after) = inner
                .filter(|(name, _)| is_variable_name(name))
                .ok_or(TemplateError::UnmatchedBrace)?;
            filled.push_str(&value(name)?);
            rest = after;
        }
    }
    filled.push_str(rest);
    Ok(filled)
}

pub(crate) fn is_variable_name(name: &str) -> bool {
    let letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    !name.is_empty() && name.bytes().all(letter)
}

//! A strict parser of forms and queries: `application/x-www-form-urlencoded`.

use std::collections::HashSet;
use std::fmt;

use parlance_core::Secret;

/// The fields of a form or a query, each name once. `Debug` shows only their number: where a client forgot to escape its password, a part
/// of the password is a field name.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Fields(Vec<(String, String)>);

/// The reason why a form was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FormError {
    /// The decoded bytes are not UTF-8, or hold a NUL. A login with such bytes is an ordinary failed login. (`serde_urlencoded` would
    /// replace the bytes by U+FFFD, which makes different passwords equal.)
    InvalidEncoding,
    /// A duplicate field name.
    Duplicate,
}

impl Fields {
    /// Parses the body of a form or a query.
    ///
    /// # Errors
    /// See [`FormError`].
    pub fn parse(form: &[u8]) -> Result<Self, FormError> {
        // `+` for a space is not decoded here, which makes no difference to the check for UTF-8.
        let decoded: Vec<u8> = percent_encoding::percent_decode(form).collect();
        if std::str::from_utf8(&decoded).is_err() || decoded.contains(&0) {
            return Err(FormError::InvalidEncoding);
        }
        let fields: Vec<(String, String)> =
            serde_urlencoded::from_bytes(form).map_err(|_| FormError::InvalidEncoding)?;
        // A set, since any client may send thousands of names.
        let mut names = HashSet::new();
        let has_duplicate = fields.iter().any(|(name, _)| !names.insert(name));
        if has_duplicate { Err(FormError::Duplicate) } else { Ok(Self(fields)) }
    }

    /// The value of a field.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    /// The value of a field that must not be printed or logged.
    #[must_use]
    pub fn secret(&self, name: &str) -> Option<Secret> {
        self.get(name).map(|value| Secret::new(value.to_owned()))
    }
}

impl fmt::Debug for Fields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Fields").field(&self.0.len()).finish()
    }
}

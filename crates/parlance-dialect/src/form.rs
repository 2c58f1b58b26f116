//! Forms and queries: `application/x-www-form-urlencoded`, strictly.

use std::collections::HashSet;
use std::fmt;

use parlance_core::Secret;

/// The fields of a form or a query, each name once. Its `Debug` shows how many: where a client forgot to escape its password, a part of
/// it is a name.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Fields(Vec<(String, String)>);

/// Why a form was not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FormError {
    /// Its decoded bytes are not UTF-8, or hold a NUL. On a login: an ordinary failed one. (`serde_urlencoded` would put U+FFFD in their
    /// place, which makes different passwords equal.)
    Bytes,
    /// A name stands twice.
    Doubled,
}

impl Fields {
    /// Reads a form's body or a query.
    ///
    /// # Errors
    /// See [`FormError`].
    pub fn parse(form: &[u8]) -> Result<Self, FormError> {
        // A blank is `+` here, which changes nothing about the bytes' being UTF-8.
        let decoded: Vec<u8> = percent_encoding::percent_decode(form).collect();
        if std::str::from_utf8(&decoded).is_err() || decoded.contains(&0) {
            return Err(FormError::Bytes);
        }
        let fields: Vec<(String, String)> =
            serde_urlencoded::from_bytes(form).map_err(|_| FormError::Bytes)?;
        // A set, since a stranger may send thousands of names.
        let mut names = HashSet::new();
        let doubled = fields.iter().any(|(name, _)| !names.insert(name));
        if doubled { Err(FormError::Doubled) } else { Ok(Self(fields)) }
    }

    /// The value of a field.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    /// The value of a field that must not be seen.
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

//! User names: valid names, and the canonical form that makes two names the same.

use std::fmt;

use unicode_normalization::UnicodeNormalization as _;

/// The longest user name, in characters.
const MAX_NAME_CHARS: usize = 128;

/// A user name that every wire can carry, in Unicode form NFC and in the operator's spelling.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserName(String);

/// The one form in which names are looked up, counted and kept unique: NFKC, lower case.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CanonicalName(String);

/// Why a string cannot be a user name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Empty, or more than 128 characters.
    #[error("a user name has 1 to {MAX_NAME_CHARS} characters")]
    Length,
    /// A character that one of the wires cannot carry: 1010-cookie splits its cookie at `|`, Basic (RFC 7617) splits at
    /// `:`, cookies (RFC 6265) end at `;` and `,`, and no wire survives control characters.
    #[error("a user name cannot contain {0}: the login requests of a dialect cannot carry it")]
    Forbidden(ForbiddenChar),
    /// White space at the start or the end, which forms and people lose.
    #[error("a user name cannot begin or end with white space")]
    SurroundingSpace,
}

/// A character that no user name may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ForbiddenChar(char);

impl fmt::Display for ForbiddenChar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_control() {
            write!(f, "the control character U+{:04X}", u32::from(self.0))
        } else {
            write!(f, "'{}'", self.0)
        }
    }
}

impl UserName {
    /// Accepts a name for a new user.
    ///
    /// # Errors
    /// The rule that the name breaks.
    pub fn new(name: &str) -> Result<Self, NameError> {
        // Composing makes a text at most three times shorter, so a text far too long is refused without composing.
        if name.len() > 4 * 4 * MAX_NAME_CHARS {
            return Err(NameError::Length);
        }
        let name: String = name.nfc().collect();
        check(&name)?;
        // A compatibility form such as a full-width colon becomes its plain twin in the canonical form.
        check(&fold(&name))?;
        Ok(Self(name))
    }

    /// The name in the given spelling, in NFC.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The canonical form, for look-ups.
    #[must_use]
    pub fn canonical(&self) -> CanonicalName {
        CanonicalName(fold(&self.0))
    }
}

impl CanonicalName {
    /// The canonical form itself.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// A canonical form that a store has kept.
    #[must_use]
    pub fn from_stored(canonical: String) -> Self {
        Self(canonical)
    }
}

/// The canonical form of a name that a client sent; `None` if no user can have that name.
#[must_use]
pub fn canonical_name(shown: &str) -> Option<CanonicalName> {
    UserName::new(shown).ok().map(|name| name.canonical())
}

fn fold(name: &str) -> String {
    name.nfkc().collect::<String>().to_lowercase().nfkc().collect()
}

fn check(name: &str) -> Result<(), NameError> {
    // Bytes first: a megabyte need not be counted.
    if name.is_empty() || name.len() > 4 * MAX_NAME_CHARS || name.chars().count() > MAX_NAME_CHARS {
        return Err(NameError::Length);
    }
    if let Some(bad) = name.chars().find(|c| c.is_control() || matches!(c, '|' | ':' | ';' | ',')) {
        return Err(NameError::Forbidden(ForbiddenChar(bad)));
    }
    if name.starts_with(char::is_whitespace) || name.ends_with(char::is_whitespace) {
        return Err(NameError::SurroundingSpace);
    }
    Ok(())
}

//! Secrets: how they are drawn, how they are hidden, and the digest that is stored instead.
//!
//! Nothing printed for debugging holds a secret, so a record logged by mistake gives nothing away; tests hold this with
//! a canary. [`Secret`], [`Digest`] and password hashes print their names only, sealed keys no sealed bytes. Requests
//! and responses print no path (polish-longtoken has `/login&token=`), no query, no header value and no body. Forms
//! print a count and no names, since an unescaped password turns a part of itself into a name. An error names the kind
//! of a fault; the text of a JSON error may quote the input and goes nowhere. A wire is debugged with a test's
//! `exchange`, or on the network.
//!
//! Copies outside a [`Secret`] (decoded form fields, the framework's buffers) are not wiped. Process memory is outside
//! the boundary that this program defends (threat model).

use std::fmt;

use sha2::{Digest as _, Sha256};
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::ports::{Entropy, EntropyError};

/// `A`-`Z`, for [`random_string`].
pub const UPPER: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ";
/// `a`-`z` and `0`-`9`, for [`random_string`].
pub const LOWER_AND_DIGITS: &[u8] = b"abcdefghijklmnopqrstuvwxyz0123456789";

/// A password or the random part of a credential. Its `Debug` shows nothing and its memory is wiped.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Wraps a string that must not be seen.
    #[must_use]
    pub fn new(secret: String) -> Self {
        Self(Zeroizing::new(secret))
    }

    /// The secret itself: for the wire and for hashing, never for a log.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// The stored form of a secret: `SHA-256("parlance:v1:<dialect>\0" || secret)`. The dialect's name separates the
/// domains, so that no token matches another dialect's session. A fast hash is right for random secrets of 112 bits and
/// more (OWASP ASVS 6.5.2).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest([u8; 32]);

impl Digest {
    /// The digest of a dialect's secret.
    #[must_use]
    pub fn of(dialect: &str, secret: &str) -> Self {
        let mut hash = Sha256::new();
        hash.update(b"parlance:v1:");
        hash.update(dialect.as_bytes());
        hash.update([0]);
        hash.update(secret.as_bytes());
        Self(hash.finalize().into())
    }

    /// The 32 bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// A digest that a store has kept; `None` unless 32 bytes long.
    #[must_use]
    pub fn from_stored(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Digest(..)")
    }
}

/// Draws `length` letters of an alphabet, each as likely as any other: a byte beyond the last whole multiple of the
/// alphabet's size is thrown away rather than folded back.
///
/// # Errors
/// The source of randomness failed.
pub fn random_string(
    alphabet: &[u8],
    length: usize,
    entropy: &dyn Entropy,
) -> Result<Secret, EntropyError> {
    let size = alphabet.len();
    if size == 0 || size > 256 {
        return Err(EntropyError);
    }
    let limit = 256 - 256 % size;
    let mut text = String::with_capacity(length);
    let mut bytes = Zeroizing::new([0_u8; 64]);
    while text.len() < length {
        entropy.fill(bytes.as_mut_slice())?;
        let usable = bytes.iter().map(|&byte| usize::from(byte)).filter(|&byte| byte < limit);
        let letters =
            usable.filter_map(|byte| alphabet.get(byte % size)).map(|&letter| char::from(letter));
        text.extend(letters.take(length - text.len()));
    }
    Ok(Secret::new(text))
}

/// `bytes` random bytes as lower-case hexadecimal digits, two a byte.
///
/// # Errors
/// The source of randomness failed.
pub fn random_hex(bytes: usize, entropy: &dyn Entropy) -> Result<Secret, EntropyError> {
    random_string(b"0123456789abcdef", 2 * bytes, entropy)
}

/// A random UUID (RFC 9562, version 4): 122 random bits.
///
/// # Errors
/// The source of randomness failed.
pub fn uuid_v4(entropy: &dyn Entropy) -> Result<Uuid, EntropyError> {
    let mut bytes = [0; 16];
    entropy.fill(&mut bytes)?;
    Ok(uuid::Builder::from_random_bytes(bytes).into_uuid())
}

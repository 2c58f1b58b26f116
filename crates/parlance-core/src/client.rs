//! Services that ask about sessions.

use uuid::Uuid;

use crate::ports::{Entropy, EntropyError};
use crate::{Digest, Secret, Timestamp, hex, uuid_v4};

/// What separates the digests of clients' secrets from those of the dialects; no dialect has this name.
const DOMAIN: &str = "service-client";

/// The random bytes of a client's secret.
const SECRET_BYTES: usize = 32;

/// The longest name, in characters.
const LONGEST_NAME: usize = 128;

/// A service that may ask about sessions and end them, as the store keeps it: of its secret there is a digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Client {
    /// What it authenticates as.
    pub id: Uuid,
    /// What the operator calls it; unique.
    pub name: String,
    /// The digest of its secret.
    pub digest: Digest,
    /// When it was made.
    pub created: Timestamp,
}

impl Client {
    /// A new client and its secret, which is kept nowhere.
    ///
    /// # Errors
    /// The source of randomness failed.
    pub fn new(
        name: String,
        now: Timestamp,
        entropy: &dyn Entropy,
    ) -> Result<(Self, Secret), EntropyError> {
        let secret = hex(SECRET_BYTES, entropy)?;
        let digest = Digest::of(DOMAIN, secret.expose());
        Ok((Self { id: uuid_v4(entropy)?, name, digest, created: now }, secret))
    }

    /// Whether a text can be a client's name: 1 to 128 characters, no blank at either end, no control character.
    #[must_use]
    pub fn may_be_called(name: &str) -> bool {
        (1..=LONGEST_NAME).contains(&name.chars().count())
            && name.trim() == name
            && !name.contains(char::is_control)
    }

    /// Whether this is its secret. Digests are compared, so how long it takes tells nothing about the secret.
    #[must_use]
    pub fn is_known_by(&self, secret: &str) -> bool {
        Digest::of(DOMAIN, secret) == self.digest
    }
}

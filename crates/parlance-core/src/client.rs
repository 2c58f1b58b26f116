//! Service clients: services that introspect and revoke sessions.

use uuid::Uuid;

use crate::ports::{Entropy, EntropyError};
use crate::{Digest, Secret, Timestamp, random_hex, uuid_v4};

/// Domain separation: keeps the digests of clients' secrets apart from those of the dialects. No dialect has this name.
const DIGEST_DOMAIN: &str = "service-client";

/// The random bytes of a client's secret.
const SECRET_BYTES: usize = 32;

/// The longest name, in characters.
const MAX_NAME_CHARS: usize = 128;

/// A service that may introspect and revoke sessions, as stored: the store keeps a digest of the secret alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Client {
    /// The name under which the client authenticates.
    pub id: Uuid,
    /// The operator's name for the client; unique.
    pub name: String,
    /// The digest of the secret.
    pub digest: Digest,
    /// Time of creation.
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
        let secret = random_hex(SECRET_BYTES, entropy)?;
        let digest = Digest::of(DIGEST_DOMAIN, secret.expose());
        Ok((Self { id: uuid_v4(entropy)?, name, digest, created: now }, secret))
    }

    /// Whether a text can be a client's name: 1 to 128 characters, no white space at either end, no control character.
    #[must_use]
    pub fn is_valid_name(name: &str) -> bool {
        (1..=MAX_NAME_CHARS).contains(&name.chars().count())
            && name.trim() == name
            && !name.contains(char::is_control)
    }

    /// Whether this is the client's secret. Digests are compared, so a timing attack learns nothing about the secret.
    #[must_use]
    pub fn has_secret(&self, secret: &str) -> bool {
        Digest::of(DIGEST_DOMAIN, secret) == self.digest
    }
}

//! Sealing: AES-256-GCM under the key of the key file.

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use parlance_core::ports::{Entropy, EntropyError};
use zeroize::Zeroizing;

/// Length of the key in bytes.
const KEY_BYTES: usize = 32;

/// A private key could not be sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// No nonce.
    #[error(transparent)]
    Entropy(#[from] EntropyError),
    /// The cipher refused the key or the length.
    #[error("the private key cannot be encrypted under the key file")]
    Cipher,
}

/// The key in the key file. Zeroized when dropped; its `Debug` shows nothing.
pub(super) struct FileKey(Zeroizing<[u8; KEY_BYTES]>);

impl FileKey {
    /// Reads 64 hexadecimal digits and at most one line end.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let digits = text.strip_suffix('\n').unwrap_or(text).as_bytes();
        if digits.len() != 2 * KEY_BYTES {
            return None;
        }
        let mut key = Zeroizing::new([0; KEY_BYTES]);
        for (byte, pair) in key.iter_mut().zip(digits.chunks_exact(2)) {
            let digit = |at: usize| char::from(*pair.get(at)?).to_digit(16);
            *byte = u8::try_from(16 * digit(0)? + digit(1)?).ok()?;
        }
        Some(Self(key))
    }

    /// Encrypts a private key: a fresh random nonce of 96 bits, the ciphertext, the tag. The result opens under this
    /// `kid` alone.
    pub(super) fn seal(
        &self,
        kid: &str,
        der: &[u8],
        entropy: &dyn Entropy,
    ) -> Result<Vec<u8>, SealError> {
        let mut nonce = [0; NONCE_LEN];
        entropy.fill(&mut nonce)?;
        // Sealed in place, so that no plain copy is left behind when the buffer grows.
        let mut sealed = Vec::with_capacity(NONCE_LEN + der.len() + AES_256_GCM.tag_len());
        sealed.extend_from_slice(&nonce);
        sealed.extend_from_slice(der);
        let (_, body) = sealed.split_at_mut(NONCE_LEN);
        let nonce = Nonce::assume_unique_for_key(nonce);
        let key = self.key().ok_or(SealError::Cipher)?;
        let tag = key.seal_in_place_separate_tag(nonce, Aad::from(kid), body);
        let tag = tag.map_err(|_| SealError::Cipher)?;
        sealed.extend_from_slice(tag.as_ref());
        Ok(sealed)
    }

    /// Decrypts a sealed private key; `None` if the bytes were sealed under another key or `kid`, or changed since.
    pub(super) fn open(&self, kid: &str, sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let (nonce, body) = sealed.split_at_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut der = Zeroizing::new(body.to_vec());
        let length = self.key()?.open_in_place(nonce, Aad::from(kid), &mut der).ok()?.len();
        der.truncate(length);
        Some(der)
    }

    /// `None` never happens: the length is right.
    fn key(&self) -> Option<LessSafeKey> {
        UnboundKey::new(&AES_256_GCM, &*self.0).ok().map(LessSafeKey::new)
    }
}

impl fmt::Debug for FileKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FileKey(..)")
    }
}

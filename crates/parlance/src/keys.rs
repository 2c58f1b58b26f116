//! The keys that axxon-jsonrpc signs with: rows in the store, sealed under a key file that is not in the database.
//!
//! Whoever has the database alone signs nothing; whoever has the file alone has nothing to open. All nodes share both.

mod file;
mod seal;
#[cfg(test)]
mod tests;

use std::io;
use std::path::{Path, PathBuf};

use parlance_axxon_jsonrpc::{KeyRejected, KeyRing, SigningKey};
use parlance_core::Timestamp;
use parlance_core::ports::{Applied, Change, Entropy, EntropyError, SealedKey, Store, StoreError};

use self::seal::FileKey;

/// Why there are no keys to sign with. Each text says what is wrong, where, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The store did not answer.
    #[error("the signing keys cannot be read: {0}")]
    Store(#[from] StoreError),
    /// There are keys, and nothing to open them with.
    #[error(
        "the key file {} is missing, and the database holds signing keys that only it opens: bring the file from the node or the \
         backup that has it, or let `key_file` say where it is",
        .path.display()
    )]
    Missing {
        /// Where it should be.
        path: PathBuf,
    },
    /// Others could read or change the file, or could have.
    #[error("the key file {} {reason}", .path.display())]
    Unsafe {
        /// The file.
        path: PathBuf,
        /// What is wrong, and what to do.
        reason: String,
    },
    /// What the file holds is no key.
    #[error(
        "the key file {} does not hold 64 hexadecimal digits: bring the right one from another node or a backup; only if the \
         database holds no signing keys yet, remove the file, and a new one is made",
        .path.display()
    )]
    Content {
        /// The file.
        path: PathBuf,
    },
    /// The system refused.
    #[error("the key file {} cannot be {act}: {source}", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// `read` or `made`.
        act: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// The file is a key, but not that of this database; or the row was changed.
    #[error(
        "the key file {} does not open the signing key {kid} in the database: bring the file that was beside this database when \
         the key was made",
        .path.display()
    )]
    Sealed {
        /// The file.
        path: PathBuf,
        /// The key.
        kid: String,
    },
    /// What was opened does not sign.
    #[error(
        "the signing key {kid} in the database cannot be used: {why}; restore the database from a backup"
    )]
    Unusable {
        /// The key.
        kid: String,
        /// Why not.
        why: KeyRejected,
    },
    /// A first key could not be made.
    #[error("no signing key could be made: {0}; try again")]
    Generation(KeyRejected),
    /// There was no randomness.
    #[error("no signing key could be made: {0}; try again")]
    Entropy(#[from] EntropyError),
}

/// The keys in the store, opened with the key file. While there are none, makes the first, and the file unless it is there.
///
/// The newest key signs, and all verify. For the start of a node: it reads files and may compute for a second.
///
/// # Errors
/// See [`KeyError`]. Nothing was changed then, except that a new key file may be left, which the next start takes.
pub async fn load_or_make(
    store: &dyn Store,
    key_file: &Path,
    now: Timestamp,
    entropy: &dyn Entropy,
) -> Result<KeyRing, KeyError> {
    let mut keys = store.keys().await?;
    if keys.is_empty() {
        let opener = match file::read(key_file)? {
            Some(opener) => opener,
            None => file::make(key_file, entropy)?,
        };
        if let Some(ring) = make(store, &opener, now, entropy).await? {
            return Ok(ring);
        }
        // Another node was first. Its key is the one, and must open with the file that we share.
        keys = store.keys().await?;
    }
    let missing = || KeyError::Missing { path: key_file.to_owned() };
    let opener = file::read(key_file)?.ok_or_else(missing)?;
    open(&keys, &opener, key_file)
}

/// Makes the first key; `None` if there was one by then.
async fn make(
    store: &dyn Store,
    opener: &FileKey,
    now: Timestamp,
    entropy: &dyn Entropy,
) -> Result<Option<KeyRing>, KeyError> {
    let (key, der) = SigningKey::generate().map_err(KeyError::Generation)?;
    let kid = key.kid().to_owned();
    let sealed = opener.seal(&kid, &der, entropy)?;
    let change = Change::AddFirstKey(Box::new(SealedKey { kid, created: now, sealed }));
    match store.apply(change).await? {
        Applied::Done | Applied::Rows(_) | Applied::Opened(_) => Ok(Some(KeyRing::new(key, []))),
        Applied::Refused | Applied::Taken => Ok(None),
    }
}

fn open(keys: &[SealedKey], opener: &FileKey, key_file: &Path) -> Result<KeyRing, KeyError> {
    let mut opened = Vec::with_capacity(keys.len());
    for SealedKey { kid, sealed, .. } in keys {
        let wrong = || KeyError::Sealed { path: key_file.to_owned(), kid: kid.clone() };
        let der = opener.open(kid, sealed).ok_or_else(wrong)?;
        let unusable = |why| KeyError::Unusable { kid: kid.clone(), why };
        let key = SigningKey::from_pkcs8(&der).map_err(unusable)?;
        if key.kid() != kid {
            return Err(wrong());
        }
        opened.push(key);
    }
    // The store gives the oldest first. It had a key, and gives all it has: without one now, it is as if it did not answer.
    let gone = || StoreError::Unavailable("it gave no signing keys after all".to_owned());
    let active = opened.pop().ok_or_else(gone)?;
    Ok(KeyRing::new(active, opened.iter().map(SigningKey::public)))
}

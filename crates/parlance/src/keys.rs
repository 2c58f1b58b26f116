//! The signing keys: rows in the store, sealed under a key file that is not in the database.
//!
//! A thief of the database alone signs nothing; a thief of the file alone has nothing to open. All nodes share both.
//! Key rotation: keys of one [`Purpose`] take turns. Each key is published before signing, and verifies until
//! everything signed with the key could have expired. A row states from when on its key signs, so that all nodes change
//! over without a message. A [`KeyManager`] keeps a node's keys up to date.

mod file;
mod manager;
mod purpose_keys;
mod seal;
#[cfg(test)]
mod tests;

mod schedule;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

#[cfg(feature = "axxon-jsonrpc")]
use parlance_axxon_jsonrpc::{RsaKeySet, SigningKey};
use parlance_core::Timestamp;
use parlance_core::ports::{Change, Clock, Entropy, EntropyError, SealedKey, Store, StoreError};
use zeroize::Zeroizing;

pub use self::manager::KeyManager;
#[cfg(feature = "axxon-jsonrpc")]
use self::purpose_keys::PurposeKeys;
pub use self::schedule::{KeyState, Schedule, key_states};
use self::seal::FileKey;
pub use self::seal::SealError;
use crate::assertion::AssertionKey;

/// Reason why there are no keys to sign with. Each text names the problem, the place and the remedy.
#[derive(thiserror::Error)]
pub enum KeyError {
    /// The store did not answer.
    #[error("the signing keys cannot be read or changed: {0}")]
    Store(#[from] StoreError),
    /// The store holds keys, and the key file that opens them is missing.
    #[error(
        "the key file {} is missing, and the database holds signing keys that only this file opens: copy the file from the node or the \
         backup that has it, or set `key_file` to its path",
        .path.display()
    )]
    Missing {
        /// Where the file should be.
        path: PathBuf,
    },
    /// Other users could read or change the file, or could have done so.
    #[error("the key file {} {reason}", .path.display())]
    Unsafe {
        /// The file.
        path: PathBuf,
        /// The problem, and the remedy.
        reason: String,
    },
    /// The content of the file is no key.
    #[error(
        "the key file {} does not hold 64 hexadecimal digits: copy the right file from another node or a backup; only if the \
         database holds no signing keys yet, remove the file, and a new one is made",
        .path.display()
    )]
    Content {
        /// The file.
        path: PathBuf,
    },
    /// The system refused an operation on the file.
    #[error("the key file {} cannot be {act}: {source}", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// `read` or `made`.
        act: &'static str,
        /// The system's error.
        source: io::Error,
    },
    /// The file is a key, but not that of this database; or the row was changed.
    #[error(
        "the key file {} does not open the signing key {kid} in the database: copy the key file that this database had when \
         the key was made",
        .path.display()
    )]
    Sealed {
        /// The file.
        path: PathBuf,
        /// The key.
        kid: String,
    },
    /// The opened key does not sign.
    #[error(
        "the signing key {kid} in the database cannot be used: {why}; restore the database from a backup"
    )]
    Unusable {
        /// The key.
        kid: String,
        /// The reason.
        why: String,
    },
    /// A key could not be made.
    #[error("no signing key could be made: {0}; try again")]
    Generation(String),
    /// There was no randomness.
    #[error("no signing key could be made: {0}; try again")]
    Entropy(#[from] EntropyError),
    /// A key could not be sealed.
    #[error("no signing key could be made: {0}; try again")]
    Seal(#[from] SealError),
}

/// The text: `main` prints an error by its `Debug`.
impl fmt::Debug for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The use of a signing key. A key serves one purpose alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// The tokens of axxon-jsonrpc: RSA.
    #[cfg(feature = "axxon-jsonrpc")]
    AxxonJsonrpc,
    /// Identity assertions: Ed25519.
    Assertion,
}

/// A private key in PKCS#8, DER.
type Der = Zeroizing<Vec<u8>>;

impl Purpose {
    /// All purposes.
    pub const ALL: &[Self] = &[
        #[cfg(feature = "axxon-jsonrpc")]
        Self::AxxonJsonrpc,
        Self::Assertion,
    ];

    /// The name in the store and on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            #[cfg(feature = "axxon-jsonrpc")]
            Self::AxxonJsonrpc => "axxon-jsonrpc",
            Self::Assertion => "assertion",
        }
    }

    /// The purpose of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|purpose| purpose.name() == name)
    }

    /// Makes a key: its `kid` and its private half.
    fn generate(self, entropy: &dyn Entropy) -> Result<(String, Der), KeyError> {
        match self {
            #[cfg(feature = "axxon-jsonrpc")]
            Self::AxxonJsonrpc => {
                let made = SigningKey::generate();
                let (key, der) = made.map_err(|why| KeyError::Generation(why.to_string()))?;
                Ok((key.kid().to_owned(), der))
            }
            Self::Assertion => {
                let mut seed = Zeroizing::new([0; 32]);
                entropy.fill(&mut *seed)?;
                let made = AssertionKey::from_seed(&seed);
                let refused = |_| KeyError::Generation("Ed25519 was refused".to_owned());
                let (key, der) = made.map_err(refused)?;
                Ok((key.kid().to_owned(), der))
            }
        }
    }
}

/// A key that can be opened from its stored form.
trait PrivateKey: Sized {
    fn parse(der: &[u8]) -> Result<Self, String>;
    fn kid(&self) -> &str;
}

#[cfg(feature = "axxon-jsonrpc")]
impl PrivateKey for SigningKey {
    fn parse(der: &[u8]) -> Result<Self, String> {
        Self::from_pkcs8(der).map_err(|why| why.to_string())
    }

    fn kid(&self) -> &str {
        self.kid()
    }
}

impl PrivateKey for AssertionKey {
    fn parse(der: &[u8]) -> Result<Self, String> {
        Self::from_pkcs8(der).map_err(|_| "it is not an Ed25519 private key in PKCS#8".to_owned())
    }

    fn kid(&self) -> &str {
        self.kid()
    }
}

/// The keys that axxon-jsonrpc signs with, as of now. If there are none, makes the first, and the key file unless that
/// exists. The keys are not kept up to date: for an app that is the only one on its store, or that restarts after a
/// rotation. See [`KeyManager`] for others.
///
/// # Errors
/// See [`KeyError`]. Nothing was changed then, except that a new key file may be left, which the next start takes.
#[cfg(feature = "axxon-jsonrpc")]
pub async fn load_or_create(
    store: &dyn Store,
    key_file: &Path,
    now: Timestamp,
    entropy: &dyn Entropy,
) -> Result<RsaKeySet, KeyError> {
    let key_store = KeyStore { store, key_file, entropy };
    let keys = key_store.load_or_create(Purpose::AxxonJsonrpc, now).await?;
    let key_set = RsaKeySet::empty();
    PurposeKeys::new(Purpose::AxxonJsonrpc, Duration::MAX, key_set.clone())
        .load(&key_store, &keys, now)?;
    Ok(key_set)
}

/// Key rotation: publishes a new key of a purpose, which signs after `notice`. Returns that key, or the one that waits
/// for its turn within `notice` already. `None` if the purpose has no keys yet: the first use makes one.
///
/// # Errors
/// See [`KeyError`]. Nothing was changed then.
pub async fn rotate(
    store: &dyn Store,
    key_file: &Path,
    purpose: Purpose,
    notice: Duration,
    clock: &dyn Clock,
    entropy: &dyn Entropy,
) -> Result<Option<SealedKey>, KeyError> {
    let key_store = KeyStore { store, key_file, entropy };
    loop {
        let keys = key_store.keys(purpose).await?;
        let Some(newest) = keys.last().map(|newest| newest.kid.clone()) else { return Ok(None) };
        let now = clock.now();
        if let Some((next, _)) =
            key_states(&keys, now).iter().find(|(_, turn)| *turn == KeyState::Next)
            && next.active_from <= now.plus(notice)
        {
            return Ok(Some((*next).clone()));
        }
        let key = key_store.generate(purpose, now, false)?;
        // Making the key took a while; that time does not count as notice.
        let now = clock.now();
        let key = SealedKey { created: now, active_from: now.plus(notice), ..key };
        let change = Change::AddKey { key: Box::new(key.clone()), expected_newest: Some(newest) };
        // Otherwise another process was faster, and its key may be the one.
        if store.apply(change).await?.is_done() {
            return Ok(Some(key));
        }
    }
}

/// The issuer (`iss`) of everything signed with the keys of a purpose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issuer {
    /// The name.
    pub name: String,
    /// The issuer that this one replaces: tokens signed for the replaced issuer are refused.
    pub previous: Option<String>,
}

/// The issuer that counts: the configured one, or else the one that the store keeps, or else `usual`. The store keeps
/// the result, so that a node on another host, or the same node under another name, goes on with that issuer.
///
/// # Errors
/// The store does not answer.
pub async fn issuer(
    store: &dyn Store,
    purpose: Purpose,
    configured: Option<&str>,
    usual: &str,
) -> Result<Issuer, KeyError> {
    let stored = store.issuer(purpose.name().to_owned()).await?;
    let wanted = configured.or(stored.as_deref()).unwrap_or(usual).to_owned();
    if stored.as_ref() == Some(&wanted) {
        return Ok(Issuer { name: wanted, previous: None });
    }
    let (purpose, replace) = (purpose.name().to_owned(), configured.is_some());
    let change = Change::SetIssuer { purpose: purpose.clone(), issuer: wanted.clone(), replace };
    // A configured issuer counts, even if another node was first.
    if store.apply(change).await?.is_done() || replace {
        return Ok(Issuer { name: wanted, previous: stored });
    }
    // Another node was first.
    let name = store.issuer(purpose).await?.unwrap_or(wanted);
    Ok(Issuer { name, previous: None })
}

/// Outcome of a revocation.
#[derive(Debug)]
pub enum Revocation {
    /// There is no such key.
    Unknown,
    /// The key is dropped. If that key was active, another one signs from now on.
    Done,
    /// The key is dropped, and no key could be made that signs in its place, for this reason. A key that signed before
    /// does so again, or none does.
    Unreplaced(KeyError),
}

/// Revocation: drops a key, so that nothing signed with the key counts any more. If the key was active, the next one
/// signs from now on, or a new one. Dropping needs no key file; making a new key does.
///
/// # Errors
/// The store does not answer. In that case the key may or may not be dropped.
pub async fn revoke(
    store: &dyn Store,
    key_file: &Path,
    kid: &str,
    clock: &dyn Clock,
    entropy: &dyn Entropy,
) -> Result<Revocation, KeyError> {
    let key_store = KeyStore { store, key_file, entropy };
    let all = store.keys().await?;
    let Some(purpose) = all.iter().find(|key| key.kid == kid).map(|key| key.purpose.clone()) else {
        return Ok(Revocation::Unknown);
    };
    let keys: Vec<_> = all.into_iter().filter(|key| key.purpose == purpose).collect();
    let states = key_states(&keys, clock.now());
    let is_current = states.iter().any(|(key, turn)| key.kid == kid && *turn == KeyState::Current);
    let has_next = states.iter().any(|(_, turn)| *turn == KeyState::Next);
    let fallback = match Purpose::from_name(&purpose) {
        Some(purpose) if is_current && !has_next => {
            Some(key_store.generate(purpose, clock.now(), false))
        }
        Some(_) | None => None,
    };
    let (fallback, unreplaced) = match fallback.transpose() {
        Ok(fallback) => (fallback.map(Box::new), None),
        Err(why) => (None, Some(why)),
    };
    let change = Change::DropKey { kid: kid.to_owned(), now: clock.now(), fallback };
    Ok(match (store.apply(change).await?.is_done(), unreplaced) {
        (false, _) => Revocation::Unknown,
        (true, None) => Revocation::Done,
        (true, Some(why)) => Revocation::Unreplaced(why),
    })
}

/// The means to make and open keys.
struct KeyStore<'b> {
    store: &'b dyn Store,
    key_file: &'b Path,
    entropy: &'b dyn Entropy,
}

impl KeyStore<'_> {
    /// The keys of a purpose, in the order in which they sign.
    async fn keys(&self, purpose: Purpose) -> Result<Vec<SealedKey>, KeyError> {
        let mut keys = self.store.keys().await?;
        keys.retain(|key| key.purpose == purpose.name());
        Ok(keys)
    }

    /// The keys of a purpose. If there are none, makes the first, which may compute for a second.
    async fn load_or_create(
        &self,
        purpose: Purpose,
        now: Timestamp,
    ) -> Result<Vec<SealedKey>, KeyError> {
        let all = self.store.keys().await?;
        let may_create_key_file = all.is_empty();
        let keys: Vec<_> = all.into_iter().filter(|key| key.purpose == purpose.name()).collect();
        if !keys.is_empty() {
            return Ok(keys);
        }
        let key = Box::new(self.generate(purpose, now, may_create_key_file)?);
        // If another node is first, its key is the one, and must open with the shared key file.
        self.store.apply(Change::AddKey { key, expected_newest: None }).await?;
        let keys = self.keys(purpose).await?;
        if keys.is_empty() {
            // The store has a key by now. An answer without one counts as no answer.
            let why = "the store returned no signing keys after one was added".to_owned();
            return Err(StoreError::Unavailable(why).into());
        }
        Ok(keys)
    }

    /// Makes a key that signs from now on. If the store holds no keys at all (`bare`), also makes the key file unless
    /// that exists.
    fn generate(
        &self,
        purpose: Purpose,
        now: Timestamp,
        may_create_key_file: bool,
    ) -> Result<SealedKey, KeyError> {
        let opener = match file::read(self.key_file)? {
            Some(opener) => opener,
            None if may_create_key_file => file::create(self.key_file, self.entropy)?,
            None => return Err(KeyError::Missing { path: self.key_file.to_owned() }),
        };
        let (kid, der) = purpose.generate(self.entropy)?;
        let sealed = opener.seal(&kid, &der, self.entropy)?;
        Ok(SealedKey {
            kid,
            purpose: purpose.name().to_owned(),
            created: now,
            active_from: now,
            sealed,
        })
    }

    /// Opens keys with the key file: those that open, and the error of the first that does not.
    fn open<K: PrivateKey>(&self, keys: &[&SealedKey]) -> (Vec<K>, Result<(), KeyError>) {
        if keys.is_empty() {
            return (Vec::new(), Ok(()));
        }
        let missing = || KeyError::Missing { path: self.key_file.to_owned() };
        match file::read(self.key_file).and_then(|opener| opener.ok_or_else(missing)) {
            Ok(opener) => open(keys, &opener, self.key_file),
            Err(why) => (Vec::new(), Err(why)),
        }
    }
}

fn open<K: PrivateKey>(
    keys: &[&SealedKey],
    opener: &FileKey,
    key_file: &Path,
) -> (Vec<K>, Result<(), KeyError>) {
    let open = |SealedKey { kid, sealed, .. }: &SealedKey| {
        let wrong = || KeyError::Sealed { path: key_file.to_owned(), kid: kid.clone() };
        let der = opener.open(kid, sealed).ok_or_else(wrong)?;
        let key = K::parse(&der).map_err(|why| KeyError::Unusable { kid: kid.clone(), why })?;
        if key.kid() == kid { Ok(key) } else { Err(wrong()) }
    };
    let (mut opened, mut first) = (Vec::with_capacity(keys.len()), Ok(()));
    for key in keys {
        match open(key) {
            Ok(key) => opened.push(key),
            Err(why) => first = first.and(Err(why)),
        }
    }
    (opened, first)
}

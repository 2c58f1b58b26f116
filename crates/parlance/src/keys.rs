//! The keys that sign: rows in the store, sealed under a key file that is not in the database.
//!
//! Whoever has the database alone signs nothing; whoever has the file alone has nothing to open. All nodes share both. Keys of one
//! [`Purpose`] take turns: each is published before it signs, and verifies until the last that it has signed could have ended. A row says
//! from when on its key signs, so that all nodes change over without being told; a [`Keychain`] keeps a node's keys up to date.

mod chain;
mod file;
mod link;
mod seal;
#[cfg(test)]
mod tests;

mod turns;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

#[cfg(feature = "axxon-jsonrpc")]
use parlance_axxon_jsonrpc::{KeyRing, SigningKey};
use parlance_core::Timestamp;
use parlance_core::ports::{Change, Clock, Entropy, EntropyError, SealedKey, Store, StoreError};
use zeroize::Zeroizing;

pub use self::chain::Keychain;
#[cfg(feature = "axxon-jsonrpc")]
use self::link::Link;
use self::seal::FileKey;
pub use self::turns::{Schedule, Turn, turns};
use crate::assertion::AssertionKey;

/// Why there are no keys to sign with. Each text says what is wrong, where, and what to do.
#[derive(thiserror::Error)]
pub enum KeyError {
    /// The store did not answer.
    #[error("the signing keys cannot be read or changed: {0}")]
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
        why: String,
    },
    /// A first key could not be made.
    #[error("no signing key could be made: {0}; try again")]
    Generation(String),
    /// There was no randomness.
    #[error("no signing key could be made: {0}; try again")]
    Entropy(#[from] EntropyError),
}

/// The text: `main` prints an error by its `Debug`.
impl fmt::Debug for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What keys sign. A key serves one purpose alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// The tokens of axxon-jsonrpc: RSA.
    #[cfg(feature = "axxon-jsonrpc")]
    AxxonJsonrpc,
    /// Identity assertions: Ed25519.
    Assertion,
}

/// A private half in PKCS#8, DER.
type Der = Zeroizing<Vec<u8>>;

impl Purpose {
    /// All of them.
    pub const ALL: &[Self] = &[
        #[cfg(feature = "axxon-jsonrpc")]
        Self::AxxonJsonrpc,
        Self::Assertion,
    ];

    /// Its name in the store and on the command line.
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
    pub fn named(name: &str) -> Option<Self> {
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

/// A key that can be opened from what is stored of it.
trait Parse: Sized {
    fn parse(der: &[u8]) -> Result<Self, String>;
    fn kid(&self) -> &str;
}

#[cfg(feature = "axxon-jsonrpc")]
impl Parse for SigningKey {
    fn parse(der: &[u8]) -> Result<Self, String> {
        Self::from_pkcs8(der).map_err(|why| why.to_string())
    }

    fn kid(&self) -> &str {
        self.kid()
    }
}

impl Parse for AssertionKey {
    fn parse(der: &[u8]) -> Result<Self, String> {
        Self::from_pkcs8(der).map_err(|_| "it is not an Ed25519 private key in PKCS#8".to_owned())
    }

    fn kid(&self) -> &str {
        self.kid()
    }
}

/// The keys that axxon-jsonrpc signs with, as they stand now. While there are none, makes the first, and the key file unless it is there.
/// They are not kept up to date: for an app that is the only one on its store, or restarts after a rotation. See [`Keychain`] for others.
///
/// # Errors
/// See [`KeyError`]. Nothing was changed then, except that a new key file may be left, which the next start takes.
#[cfg(feature = "axxon-jsonrpc")]
pub async fn load_or_make(
    store: &dyn Store,
    key_file: &Path,
    now: Timestamp,
    entropy: &dyn Entropy,
) -> Result<KeyRing, KeyError> {
    let bench = Bench { store, key_file, entropy };
    let keys = bench.first(Purpose::AxxonJsonrpc, now).await?;
    let ring = KeyRing::empty();
    Link::new(Purpose::AxxonJsonrpc, Duration::MAX, ring.clone()).start(&bench, &keys, now)?;
    Ok(ring)
}

/// Lets the keys of a purpose change over: publishes a new one, which signs after this notice. Answers it, or the one that waits for
/// its turn already; `None` where nothing serves that purpose yet: whatever first needs a key makes it.
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
    let bench = Bench { store, key_file, entropy };
    loop {
        let keys = bench.keys(purpose).await?;
        let Some(newest) = keys.last().map(|newest| newest.kid.clone()) else { return Ok(None) };
        let now = clock.now();
        if let Some((next, _)) = turns(&keys, now).iter().find(|(_, turn)| *turn == Turn::Next)
            && next.active <= now.plus(notice)
        {
            return Ok(Some((*next).clone()));
        }
        let key = bench.make(purpose, now, false)?;
        // Making it took a while, which is not to be taken off the notice.
        let now = clock.now();
        let key = SealedKey { created: now, active: now.plus(notice), ..key };
        let change = Change::AddKey { key: Box::new(key.clone()), after: Some(newest) };
        // Otherwise somebody was faster: his may be the one.
        if store.apply(change).await?.is_done() {
            return Ok(Some(key));
        }
    }
}

/// The issuer (`iss`) of what the keys of a purpose sign.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issuer {
    /// It.
    pub name: String,
    /// The one that it takes the place of: what was signed for that is refused.
    pub before: Option<String>,
}

/// The issuer that counts: the one that is configured, or else the one that the store keeps, or else this usual one. It is kept from then
/// on, so that a node on another host, or the same one under another name, goes on with it.
///
/// # Errors
/// The store does not answer.
pub async fn issuer(
    store: &dyn Store,
    purpose: Purpose,
    configured: Option<&str>,
    usual: &str,
) -> Result<Issuer, KeyError> {
    let kept = store.issuer(purpose.name().to_owned()).await?;
    let wanted = configured.or(kept.as_deref()).unwrap_or(usual).to_owned();
    if kept.as_ref() == Some(&wanted) {
        return Ok(Issuer { name: wanted, before: None });
    }
    let (purpose, replace) = (purpose.name().to_owned(), configured.is_some());
    let change = Change::KeepIssuer { purpose: purpose.clone(), issuer: wanted.clone(), replace };
    // What is configured counts, whoever was first.
    if store.apply(change).await?.is_done() || replace {
        return Ok(Issuer { name: wanted, before: kept });
    }
    // Another node was first.
    let name = store.issuer(purpose).await?.unwrap_or(wanted);
    Ok(Issuer { name, before: None })
}

/// What became of a revocation.
#[derive(Debug)]
pub enum Revocation {
    /// There is no such key.
    Unknown,
    /// The key is dropped. If it was the one that signs, another one does from now on.
    Done,
    /// The key is dropped, and no key could be made that signs in its place, for this reason. A key that signed before it does so again,
    /// or none.
    Unreplaced(KeyError),
}

/// Drops a key, so that nothing it has signed counts any more. If it was the one that signs, the next one does from now on, or a new one.
/// Dropping needs no key file; making a new one does.
///
/// # Errors
/// The store does not answer. Whether the key is dropped is unknown then.
pub async fn revoke(
    store: &dyn Store,
    key_file: &Path,
    kid: &str,
    clock: &dyn Clock,
    entropy: &dyn Entropy,
) -> Result<Revocation, KeyError> {
    let bench = Bench { store, key_file, entropy };
    let all = store.keys().await?;
    let Some(purpose) = all.iter().find(|key| key.kid == kid).map(|key| key.purpose.clone()) else {
        return Ok(Revocation::Unknown);
    };
    let keys: Vec<_> = all.into_iter().filter(|key| key.purpose == purpose).collect();
    let turns = turns(&keys, clock.now());
    let active = turns.iter().any(|(key, turn)| key.kid == kid && *turn == Turn::Active);
    let next = turns.iter().any(|(_, turn)| *turn == Turn::Next);
    let spare = match Purpose::named(&purpose) {
        Some(purpose) if active && !next => Some(bench.make(purpose, clock.now(), false)),
        Some(_) | None => None,
    };
    let (spare, unreplaced) = match spare.transpose() {
        Ok(spare) => (spare.map(Box::new), None),
        Err(why) => (None, Some(why)),
    };
    let change = Change::DropKey { kid: kid.to_owned(), now: clock.now(), spare };
    Ok(match (store.apply(change).await?.is_done(), unreplaced) {
        (false, _) => Revocation::Unknown,
        (true, None) => Revocation::Done,
        (true, Some(why)) => Revocation::Unreplaced(why),
    })
}

/// What keys are made and opened with.
struct Bench<'b> {
    store: &'b dyn Store,
    key_file: &'b Path,
    entropy: &'b dyn Entropy,
}

impl Bench<'_> {
    /// The keys of a purpose, in the order in which they sign.
    async fn keys(&self, purpose: Purpose) -> Result<Vec<SealedKey>, KeyError> {
        let mut keys = self.store.keys().await?;
        keys.retain(|key| key.purpose == purpose.name());
        Ok(keys)
    }

    /// The keys of a purpose. While there are none, makes the first: it may compute for a second.
    async fn first(&self, purpose: Purpose, now: Timestamp) -> Result<Vec<SealedKey>, KeyError> {
        let all = self.store.keys().await?;
        let bare = all.is_empty();
        let keys: Vec<_> = all.into_iter().filter(|key| key.purpose == purpose.name()).collect();
        if !keys.is_empty() {
            return Ok(keys);
        }
        let key = Box::new(self.make(purpose, now, bare)?);
        // If another node is first, its key is the one, and must open with the file that we share.
        self.store.apply(Change::AddKey { key, after: None }).await?;
        let keys = self.keys(purpose).await?;
        if keys.is_empty() {
            // The store had a key, and gives all it has: without one now, it is as if it did not answer.
            let why = "it gave no signing keys after all".to_owned();
            return Err(StoreError::Unavailable(why).into());
        }
        Ok(keys)
    }

    /// Makes a key that signs from now on; and, where the store holds none at all, the key file unless it is there.
    fn make(&self, purpose: Purpose, now: Timestamp, bare: bool) -> Result<SealedKey, KeyError> {
        let opener = match file::read(self.key_file)? {
            Some(opener) => opener,
            None if bare => file::make(self.key_file, self.entropy)?,
            None => return Err(KeyError::Missing { path: self.key_file.to_owned() }),
        };
        let (kid, der) = purpose.generate(self.entropy)?;
        let sealed = opener.seal(&kid, &der, self.entropy)?;
        Ok(SealedKey { kid, purpose: purpose.name().to_owned(), created: now, active: now, sealed })
    }

    /// Opens keys with the key file: those that open, and why the first of the others does not.
    fn open<K: Parse>(&self, keys: &[&SealedKey]) -> (Vec<K>, Result<(), KeyError>) {
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

fn open<K: Parse>(
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

//! The keys of one purpose at work.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

#[cfg(feature = "axxon-jsonrpc")]
use parlance_axxon_jsonrpc::{RsaKeySet, SigningKey};
use parlance_core::Timestamp;
use parlance_core::ports::SealedKey;
use serde_json::Value;

use super::schedule::{KeyState, key_states};
use super::{KeyError, KeyStore, PrivateKey, Purpose};
use crate::assertion::{AssertionKey, AssertionSigner};

/// Where keys of one kind are put to work.
pub(super) trait KeySet: Send + Sync {
    /// The keys.
    type Key: PrivateKey + Send + Sync;

    /// Replaces all keys. Without an active key nothing is signed.
    fn set_keys(&self, current: Option<Arc<Self::Key>>, others: &[Arc<Self::Key>]);

    /// The public halves as JWKs.
    fn jwks(&self) -> Vec<Value>;

    /// The issuer of tokens that were signed by these keys and refused for their issuer, and how often one was shown
    /// since the last call.
    fn take_wrong_issuer(&self) -> Option<(String, u64)> {
        None
    }
}

#[cfg(feature = "axxon-jsonrpc")]
impl KeySet for RsaKeySet {
    type Key = SigningKey;

    fn set_keys(&self, current: Option<Arc<SigningKey>>, others: &[Arc<SigningKey>]) {
        self.replace(current, others.iter().map(|key| key.public()));
    }

    fn jwks(&self) -> Vec<Value> {
        let set: Value = serde_json::from_str(&Self::jwks(self)).unwrap_or_default();
        set.get("keys").and_then(Value::as_array).cloned().unwrap_or_default()
    }

    fn take_wrong_issuer(&self) -> Option<(String, u64)> {
        Self::take_wrong_issuer(self).map(|foreign| (foreign.issuer, foreign.count))
    }
}

impl KeySet for AssertionSigner {
    type Key = AssertionKey;

    fn set_keys(&self, current: Option<Arc<AssertionKey>>, others: &[Arc<AssertionKey>]) {
        self.replace(current, others);
    }

    fn jwks(&self) -> Vec<Value> {
        Self::jwks(self)
    }
}

/// The keys of one purpose at work.
pub(super) struct PurposeKeys<R: KeySet> {
    purpose: Purpose,
    /// Lifetime of everything that the keys sign.
    token_lifetime: Duration,
    key_set: R,
    loaded: Mutex<LoadedKeys<R::Key>>,
}

/// The ids of keys in their order, each with its state.
type KeyStates = Vec<(String, KeyState)>;

/// The keys that a node has opened, and their states.
struct LoadedKeys<K> {
    /// By their ids. An open key stays open: a key file that becomes unreadable takes nothing away.
    opened: BTreeMap<String, Arc<K>>,
    /// The keys that are at work.
    states: KeyStates,
    /// Reason why a key in the store is not open.
    open_error: Option<String>,
}

/// A [`PurposeKeys`] of any kind of keys.
pub(super) trait AnyPurposeKeys: Send + Sync {
    fn purpose(&self) -> Purpose;
    fn token_lifetime(&self) -> Duration;

    /// Puts to work the keys that the store holds now. A key that the store no longer holds is dropped even if the key
    /// file cannot be read. Returns the keys at work if they changed, and the reason why others are not at work.
    fn update(
        &self,
        key_store: &KeyStore<'_>,
        keys: &[SealedKey],
        now: Timestamp,
    ) -> (Option<KeyStates>, Result<(), KeyError>);

    /// Reason why nothing is signed, if so.
    fn signing_error(&self) -> Option<String>;

    /// The public halves as JWKs.
    fn jwks(&self) -> Vec<Value>;

    /// See [`KeySet::take_wrong_issuer`].
    fn take_wrong_issuer(&self) -> Option<(String, u64)>;
}

impl<R: KeySet> PurposeKeys<R> {
    /// No keys are at work yet.
    pub(super) fn new(purpose: Purpose, token_lifetime: Duration, key_set: R) -> Self {
        let loaded = LoadedKeys { opened: BTreeMap::new(), states: Vec::new(), open_error: None };
        Self { purpose, token_lifetime, key_set, loaded: Mutex::new(loaded) }
    }

    /// Puts to work all keys that the store holds.
    ///
    /// # Errors
    /// One of them does not open.
    pub(super) fn load(
        &self,
        key_store: &KeyStore<'_>,
        keys: &[SealedKey],
        now: Timestamp,
    ) -> Result<(), KeyError> {
        self.update(key_store, keys, now).1
    }

    fn loaded(&self) -> MutexGuard<'_, LoadedKeys<R::Key>> {
        self.loaded.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<R: KeySet> AnyPurposeKeys for PurposeKeys<R> {
    fn purpose(&self) -> Purpose {
        self.purpose
    }

    fn token_lifetime(&self) -> Duration {
        self.token_lifetime
    }

    fn update(
        &self,
        key_store: &KeyStore<'_>,
        keys: &[SealedKey],
        now: Timestamp,
    ) -> (Option<KeyStates>, Result<(), KeyError>) {
        let mut loaded = self.loaded();
        loaded.opened.retain(|kid, _| keys.iter().any(|key| key.kid == *kid));
        let closed: Vec<_> =
            keys.iter().filter(|key| !loaded.opened.contains_key(&key.kid)).collect();
        let (opened, result) = key_store.open::<R::Key>(&closed);
        let opened = opened.into_iter().map(|key| (key.kid().to_owned(), Arc::new(key)));
        loaded.opened.extend(opened);
        loaded.open_error = result.as_ref().err().map(ToString::to_string);
        let states = key_states(keys, now).into_iter().map(|(key, turn)| (key.kid.clone(), turn));
        let states: Vec<_> = states.filter(|(kid, _)| loaded.opened.contains_key(kid)).collect();
        if loaded.states == states {
            return (None, result);
        }
        // A key signs in its turn alone: a new token signed with a retired key would be refused before expiry.
        let (mut current, mut others) = (None, Vec::new());
        for (kid, state) in &states {
            match (loaded.opened.get(kid).cloned(), state) {
                (key, KeyState::Current) => current = key,
                (key, KeyState::Next | KeyState::Retired) => others.extend(key),
            }
        }
        self.key_set.set_keys(current, &others);
        loaded.states.clone_from(&states);
        (Some(states), result)
    }

    fn signing_error(&self) -> Option<String> {
        let loaded = self.loaded();
        if loaded.states.iter().any(|(_, turn)| *turn == KeyState::Current) {
            return None;
        }
        let why = loaded.open_error.as_deref().unwrap_or("the database holds none");
        Some(format!("no key signs for {}: {why}", self.purpose.name()))
    }

    fn jwks(&self) -> Vec<Value> {
        self.key_set.jwks()
    }

    fn take_wrong_issuer(&self) -> Option<(String, u64)> {
        self.key_set.take_wrong_issuer()
    }
}

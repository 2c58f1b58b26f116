//! The keys of one purpose at work.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

#[cfg(feature = "axxon-jsonrpc")]
use parlance_axxon_jsonrpc::{KeyRing, SigningKey};
use parlance_core::Timestamp;
use parlance_core::ports::SealedKey;
use serde_json::Value;

use super::turns::{Turn, turns};
use super::{Bench, KeyError, Parse, Purpose};
use crate::assertion::{AssertionKey, Assertions};

/// Where keys of one kind are put to work.
pub(super) trait Ring: Send + Sync {
    /// The keys.
    type Key: Parse + Send + Sync;

    /// Puts these keys in the place of all there are. Without an active one nothing is signed.
    fn put(&self, active: Option<Arc<Self::Key>>, others: &[Arc<Self::Key>]);

    /// The public halves as JWKs.
    fn jwks(&self) -> Vec<Value>;

    /// The issuer of tokens that were signed by these keys and refused for their issuer, and how often one was shown since this was last
    /// asked.
    fn take_foreign(&self) -> Option<(String, u64)> {
        None
    }
}

#[cfg(feature = "axxon-jsonrpc")]
impl Ring for KeyRing {
    type Key = SigningKey;

    fn put(&self, active: Option<Arc<SigningKey>>, others: &[Arc<SigningKey>]) {
        self.replace(active, others.iter().map(|key| key.public()));
    }

    fn jwks(&self) -> Vec<Value> {
        let set: Value = serde_json::from_str(&Self::jwks(self)).unwrap_or_default();
        set.get("keys").and_then(Value::as_array).cloned().unwrap_or_default()
    }

    fn take_foreign(&self) -> Option<(String, u64)> {
        Self::take_foreign(self).map(|foreign| (foreign.issuer, foreign.shown))
    }
}

impl Ring for Assertions {
    type Key = AssertionKey;

    fn put(&self, active: Option<Arc<AssertionKey>>, others: &[Arc<AssertionKey>]) {
        self.replace(active, others);
    }

    fn jwks(&self) -> Vec<Value> {
        Self::jwks(self)
    }
}

/// The keys of one purpose at work.
pub(super) struct Link<R: Ring> {
    purpose: Purpose,
    /// How long what they sign lives.
    life: Duration,
    ring: R,
    held: Mutex<Held<R::Key>>,
}

/// The ids of keys in their order, and what each does.
type AtWork = Vec<(String, Turn)>;

/// What a node has opened, and what it does.
struct Held<K> {
    /// By their ids. A key that is open stays so: a key file that cannot be read later takes nothing away.
    open: BTreeMap<String, Arc<K>>,
    /// The keys that are at work.
    at_work: AtWork,
    /// Why a key that is there is not open.
    trouble: Option<String>,
}

/// A [`Link`] of any kind of keys.
pub(super) trait AnyLink: Send + Sync {
    fn purpose(&self) -> Purpose;
    fn life(&self) -> Duration;

    /// Puts to work what the store holds now. What it no longer holds is dropped whether or not the key file can be read. Which keys are
    /// at work from now on, where that is news; and why others are not.
    fn put_to_work(
        &self,
        bench: &Bench<'_>,
        keys: &[SealedKey],
        now: Timestamp,
    ) -> (Option<AtWork>, Result<(), KeyError>);

    /// Why nothing is signed, if so.
    fn why_silent(&self) -> Option<String>;

    /// The public halves as JWKs.
    fn jwks(&self) -> Vec<Value>;

    /// See [`Ring::take_foreign`].
    fn take_foreign(&self) -> Option<(String, u64)>;
}

impl<R: Ring> Link<R> {
    /// No keys are at work yet.
    pub(super) fn new(purpose: Purpose, life: Duration, ring: R) -> Self {
        let held = Held { open: BTreeMap::new(), at_work: Vec::new(), trouble: None };
        Self { purpose, life, ring, held: Mutex::new(held) }
    }

    /// Puts to work all keys that the store holds.
    ///
    /// # Errors
    /// One of them does not open.
    pub(super) fn start(
        &self,
        bench: &Bench<'_>,
        keys: &[SealedKey],
        now: Timestamp,
    ) -> Result<(), KeyError> {
        self.put_to_work(bench, keys, now).1
    }

    fn held(&self) -> MutexGuard<'_, Held<R::Key>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<R: Ring> AnyLink for Link<R> {
    fn purpose(&self) -> Purpose {
        self.purpose
    }

    fn life(&self) -> Duration {
        self.life
    }

    fn put_to_work(
        &self,
        bench: &Bench<'_>,
        keys: &[SealedKey],
        now: Timestamp,
    ) -> (Option<AtWork>, Result<(), KeyError>) {
        let mut held = self.held();
        held.open.retain(|kid, _| keys.iter().any(|key| key.kid == *kid));
        let closed: Vec<_> = keys.iter().filter(|key| !held.open.contains_key(&key.kid)).collect();
        let (opened, result) = bench.open::<R::Key>(&closed);
        let opened = opened.into_iter().map(|key| (key.kid().to_owned(), Arc::new(key)));
        held.open.extend(opened);
        held.trouble = result.as_ref().err().map(ToString::to_string);
        let standing = turns(keys, now).into_iter().map(|(key, turn)| (key.kid.clone(), turn));
        let standing: Vec<_> = standing.filter(|(kid, _)| held.open.contains_key(kid)).collect();
        if held.at_work == standing {
            return (None, result);
        }
        // A key signs in its turn alone: what one of before signed now would be refused before its time.
        let (mut active, mut others) = (None, Vec::new());
        for (kid, turn) in &standing {
            match (held.open.get(kid).cloned(), turn) {
                (key, Turn::Active) => active = key,
                (key, Turn::Next | Turn::Retired) => others.extend(key),
            }
        }
        self.ring.put(active, &others);
        held.at_work.clone_from(&standing);
        (Some(standing), result)
    }

    fn why_silent(&self) -> Option<String> {
        let held = self.held();
        if held.at_work.iter().any(|(_, turn)| *turn == Turn::Active) {
            return None;
        }
        let why = held.trouble.as_deref().unwrap_or("the database holds none");
        Some(format!("no key signs for {}: {why}", self.purpose.name()))
    }

    fn jwks(&self) -> Vec<Value> {
        self.ring.jwks()
    }

    fn take_foreign(&self) -> Option<(String, u64)> {
        self.ring.take_foreign()
    }
}

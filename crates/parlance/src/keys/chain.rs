//! A node's keys, kept up to date.

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

#[cfg(feature = "axxon-jsonrpc")]
use parlance_axxon_jsonrpc::{KeyRing, SigningKey};
use parlance_core::Timestamp;
use parlance_core::ports::{Change, Clock, Entropy, SealedKey, Store};
use serde_json::{Value, json};

use super::turns::{self, Turn, turns};
use super::{Bench, KeyError, Purpose, Schedule};
use crate::assertion::{self, AssertionKey, Assertions};

/// The keys of a node. [`Self::tick`], once a poll, is all that keeps them up to date.
pub struct Keychain {
    store: Arc<dyn Store>,
    key_file: PathBuf,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    schedule: Schedule,
    links: Vec<Link>,
}

/// The keys of one purpose at work.
struct Link {
    purpose: Purpose,
    /// How long what they sign lives.
    life: Duration,
    ring: Ring,
    /// The keys that are at work, in their order, and which of them signs.
    at_work: Mutex<Vec<(String, Turn)>>,
}

/// Where keys are put to work.
enum Ring {
    #[cfg(feature = "axxon-jsonrpc")]
    Axxon(KeyRing),
    Assertion(Assertions),
}

impl Keychain {
    /// The keys in a store, under a key file; none are at work yet.
    #[must_use]
    pub fn new(
        store: Arc<dyn Store>,
        key_file: PathBuf,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
        schedule: Schedule,
    ) -> Self {
        Self { store, key_file, clock, entropy, schedule, links: Vec::new() }
    }

    /// The keys of axxon-jsonrpc, whose tokens live for `life`. While there are none, makes the first.
    ///
    /// # Errors
    /// See [`KeyError`].
    #[cfg(feature = "axxon-jsonrpc")]
    pub async fn axxon(&mut self, life: Duration) -> Result<KeyRing, KeyError> {
        let now = self.clock.now();
        let keys = self.bench().first(Purpose::AxxonJsonrpc, now).await?;
        let opened = self.bench().opened::<SigningKey>(&keys)?;
        let (active, others) = turns::split(opened, &keys, now)?;
        let ring = KeyRing::new(active, others.iter().map(SigningKey::public));
        self.link(Purpose::AxxonJsonrpc, life, Ring::Axxon(ring.clone()), &keys, now);
        Ok(ring)
    }

    /// Identity assertions of this issuer, with keys of their own. While there are none, makes the first.
    ///
    /// # Errors
    /// See [`KeyError`].
    pub async fn assertions(&mut self, issuer: &str) -> Result<Assertions, KeyError> {
        let now = self.clock.now();
        let keys = self.bench().first(Purpose::Assertion, now).await?;
        let opened = self.bench().opened::<AssertionKey>(&keys)?;
        let (active, others) = turns::split(opened, &keys, now)?;
        let ring = Assertions::new(issuer, active, others);
        let at_work = Ring::Assertion(ring.clone());
        self.link(Purpose::Assertion, assertion::LIFETIME, at_work, &keys, now);
        Ok(ring)
    }

    /// Publishes the next key where it is time, drops those whose time is over, and puts to work what the store holds now. It tells which
    /// keys are at work from now on, by their ids and in their order, for each purpose where that is news.
    ///
    /// # Errors
    /// See [`KeyError`]. What was at work goes on.
    pub async fn tick(
        &self,
        mut tell: impl FnMut(Purpose, &[(String, Turn)]),
    ) -> Result<(), KeyError> {
        for link in &self.links {
            let mut keys = self.bench().keys(link.purpose).await?;
            let now = self.clock.now();
            let due = self.schedule.due(&keys, now);
            let over = self.schedule.over(&keys, link.life, now);
            if due.is_some() || !over.is_empty() {
                self.change(link.purpose, &keys, due, over).await?;
                keys = self.bench().keys(link.purpose).await?;
            }
            if let Some(keys) = link.put_to_work(&self.bench(), &keys, self.clock.now())? {
                tell(link.purpose, &keys);
            }
        }
        Ok(())
    }

    async fn change(
        &self,
        purpose: Purpose,
        keys: &[SealedKey],
        due: Option<Timestamp>,
        over: Vec<String>,
    ) -> Result<(), KeyError> {
        if let Some(due) = due {
            let key = self.bench().make(purpose, self.clock.now(), false)?;
            // Making it took a while, which is not to be taken off the notice.
            let created = self.clock.now();
            let active = self.schedule.due(keys, created).unwrap_or(due);
            let key = Box::new(SealedKey { created, active, ..key });
            let after = keys.last().map(|newest| newest.kid.clone());
            // Of several nodes that find it is time, one is first.
            self.store.apply(Change::AddKey { key, after }).await?;
        }
        for kid in over {
            let now = self.clock.now();
            self.store.apply(Change::DropKey { kid, now, spare: None }).await?;
        }
        Ok(())
    }

    /// The public halves of all keys at work as a JWK set (RFC 7517): those that will sign, sign, and have signed.
    #[must_use]
    pub fn jwks(&self) -> String {
        let keys: Vec<Value> = self.links.iter().flat_map(|link| link.ring.jwks()).collect();
        json!({ "keys": keys }).to_string()
    }

    fn link(
        &mut self,
        purpose: Purpose,
        life: Duration,
        ring: Ring,
        keys: &[SealedKey],
        now: Timestamp,
    ) {
        let at_work = Mutex::new(standing(keys, now));
        self.links.push(Link { purpose, life, ring, at_work });
    }

    fn bench(&self) -> Bench<'_> {
        Bench { store: &*self.store, key_file: &self.key_file, entropy: &*self.entropy }
    }
}

impl Link {
    /// Which keys are at work from now on; `None` if they were before.
    fn put_to_work(
        &self,
        bench: &Bench<'_>,
        keys: &[SealedKey],
        now: Timestamp,
    ) -> Result<Option<Vec<(String, Turn)>>, KeyError> {
        let standing = standing(keys, now);
        let mut at_work = self.at_work.lock().unwrap_or_else(PoisonError::into_inner);
        if *at_work == standing {
            return Ok(None);
        }
        match &self.ring {
            #[cfg(feature = "axxon-jsonrpc")]
            Ring::Axxon(ring) => {
                let (active, others) = turns::split(bench.opened::<SigningKey>(keys)?, keys, now)?;
                ring.replace(active, others.iter().map(SigningKey::public));
            }
            Ring::Assertion(ring) => {
                let opened = bench.opened::<AssertionKey>(keys)?;
                let (active, others) = turns::split(opened, keys, now)?;
                ring.replace(active, others);
            }
        }
        at_work.clone_from(&standing);
        Ok(Some(standing))
    }
}

fn standing(keys: &[SealedKey], now: Timestamp) -> Vec<(String, Turn)> {
    turns(keys, now).into_iter().map(|(key, turn)| (key.kid.clone(), turn)).collect()
}

impl Ring {
    fn jwks(&self) -> Vec<Value> {
        match self {
            #[cfg(feature = "axxon-jsonrpc")]
            Self::Axxon(ring) => {
                let set: Value = serde_json::from_str(&ring.jwks()).unwrap_or_default();
                set.get("keys").and_then(Value::as_array).cloned().unwrap_or_default()
            }
            Self::Assertion(ring) => ring.jwks(),
        }
    }
}

impl fmt::Debug for Keychain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let purposes: Vec<_> = self.links.iter().map(|link| link.purpose).collect();
        f.debug_struct("Keychain")
            .field("schedule", &self.schedule)
            .field("purposes", &purposes)
            .finish_non_exhaustive()
    }
}

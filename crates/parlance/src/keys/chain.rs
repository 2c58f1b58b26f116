//! A node's keys, kept up to date.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
#[cfg(feature = "axxon-jsonrpc")]
use std::time::Duration;

#[cfg(feature = "axxon-jsonrpc")]
use parlance_axxon_jsonrpc::KeyRing;
use parlance_core::Timestamp;
use parlance_core::ports::{Change, Clock, Entropy, SealedKey, Store};
use serde_json::{Value, json};

use super::link::{AnyLink, Link};
use super::turns::Turn;
use super::{Bench, KeyError, Purpose, Schedule};
use crate::assertion::{self, Assertions};

/// The keys of a node. [`Self::tick`], once a poll, is all that keeps them up to date.
pub struct Keychain {
    store: Arc<dyn Store>,
    key_file: PathBuf,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    schedule: Schedule,
    links: Vec<Box<dyn AnyLink>>,
}

/// Who is told which keys of a purpose are at work from now on, by their ids and in their order.
type Tell<'t> = &'t mut (dyn FnMut(Purpose, &[(String, Turn)]) + Send);

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
        let ring = KeyRing::empty();
        let link = Link::new(Purpose::AxxonJsonrpc, life, ring.clone());
        link.start(&self.bench(), &keys, now)?;
        self.links.push(Box::new(link));
        Ok(ring)
    }

    /// Identity assertions of this issuer, with keys of their own. While there are none, makes the first.
    ///
    /// # Errors
    /// See [`KeyError`].
    pub async fn assertions(&mut self, issuer: &str) -> Result<Assertions, KeyError> {
        let now = self.clock.now();
        let keys = self.bench().first(Purpose::Assertion, now).await?;
        let ring = Assertions::new(issuer);
        let link = Link::new(Purpose::Assertion, assertion::LIFETIME, ring.clone());
        link.start(&self.bench(), &keys, now)?;
        self.links.push(Box::new(link));
        Ok(ring)
    }

    /// Drops what the store no longer holds, whether or not the key file can be read; publishes the next key where it is time; and puts to
    /// work what the store holds now. A key that is open already stays at work while the file cannot be read; a purpose whose key does
    /// not open signs nothing ([`Self::why_silent`]). It tells which keys are at work from now on, by their ids and in their
    /// order, for each purpose where that is news.
    ///
    /// # Errors
    /// See [`KeyError`]: the first that was met. Where the store does not answer, what was at work goes on.
    pub async fn tick(
        &self,
        mut tell: impl FnMut(Purpose, &[(String, Turn)]) + Send,
    ) -> Result<(), KeyError> {
        let mut first = Ok(());
        for link in &self.links {
            first = first.and(self.tend(&**link, &mut tell).await);
        }
        first
    }

    async fn tend(&self, link: &dyn AnyLink, tell: Tell<'_>) -> Result<(), KeyError> {
        let keys = self.bench().keys(link.purpose()).await?;
        let now = self.clock.now();
        // Before anything that may fail.
        let first = self.put_to_work(link, &keys, tell);
        let due = match keys.is_empty() {
            true => Some(now),
            false => self.schedule.due(&keys, now),
        };
        let over = self.schedule.over(&keys, link.life(), now);
        if due.is_none() && over.is_empty() {
            return first;
        }
        let changed = self.change(link.purpose(), &keys, due, over).await;
        let keys = self.bench().keys(link.purpose()).await?;
        changed.and(self.put_to_work(link, &keys, tell))
    }

    fn put_to_work(
        &self,
        link: &dyn AnyLink,
        keys: &[SealedKey],
        tell: Tell<'_>,
    ) -> Result<(), KeyError> {
        let (news, result) = link.put_to_work(&self.bench(), keys, self.clock.now());
        if let Some(at_work) = news {
            tell(link.purpose(), &at_work);
        }
        result
    }

    async fn change(
        &self,
        purpose: Purpose,
        keys: &[SealedKey],
        due: Option<Timestamp>,
        over: Vec<String>,
    ) -> Result<(), KeyError> {
        for kid in over {
            let now = self.clock.now();
            self.store.apply(Change::DropKey { kid, now, spare: None }).await?;
        }
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
        Ok(())
    }

    /// Why one of the purposes signs nothing, if so: its key was revoked, say, and the key file that opens the next one cannot be read.
    /// As of the last [`Self::tick`].
    #[must_use]
    pub fn why_silent(&self) -> Option<String> {
        self.links.iter().find_map(|link| link.why_silent())
    }

    /// The issuer of tokens that a key of ours has signed and that are refused for it, and how often one was shown since this was last asked.
    #[must_use]
    pub fn take_foreign(&self) -> Option<(String, u64)> {
        self.links.iter().find_map(|link| link.take_foreign())
    }

    /// The public halves of all keys at work as a JWK set (RFC 7517): those that will sign, sign, and have signed.
    #[must_use]
    pub fn jwks(&self) -> String {
        let keys: Vec<Value> = self.links.iter().flat_map(|link| link.jwks()).collect();
        json!({ "keys": keys }).to_string()
    }

    fn bench(&self) -> Bench<'_> {
        Bench { store: &*self.store, key_file: &self.key_file, entropy: &*self.entropy }
    }
}

impl fmt::Debug for Keychain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let purposes: Vec<_> = self.links.iter().map(|link| link.purpose()).collect();
        f.debug_struct("Keychain")
            .field("schedule", &self.schedule)
            .field("purposes", &purposes)
            .finish_non_exhaustive()
    }
}

//! Keeps the keys of a node up to date.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
#[cfg(feature = "axxon-jsonrpc")]
use std::time::Duration;

#[cfg(feature = "axxon-jsonrpc")]
use parlance_axxon_jsonrpc::RsaKeySet;
use parlance_core::Timestamp;
use parlance_core::ports::{Change, Clock, Entropy, SealedKey, Store};
use serde_json::{Value, json};

use super::purpose_keys::{AnyPurposeKeys, PurposeKeys};
use super::schedule::KeyState;
use super::{KeyError, KeyStore, Purpose, Schedule};
use crate::assertion::{self, AssertionSigner};

/// The keys of a node. [`Self::refresh`], once per poll, is all that keeps them up to date.
pub struct KeyManager {
    store: Arc<dyn Store>,
    key_file: PathBuf,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    schedule: Schedule,
    purposes: Vec<Box<dyn AnyPurposeKeys>>,
}

/// Takes the keys of a purpose that are at work from now on, by their ids and in their order.
type OnKeyChange<'t> = &'t mut (dyn FnMut(Purpose, &[(String, KeyState)]) + Send);

impl KeyManager {
    /// The keys in a store, under a key file; none are at work yet.
    #[must_use]
    pub fn new(
        store: Arc<dyn Store>,
        key_file: PathBuf,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
        schedule: Schedule,
    ) -> Self {
        Self { store, key_file, clock, entropy, schedule, purposes: Vec::new() }
    }

    /// The keys of axxon-jsonrpc, for tokens that live for `life`. If there are none, makes the first.
    ///
    /// # Errors
    /// See [`KeyError`].
    #[cfg(feature = "axxon-jsonrpc")]
    pub async fn axxon_key_set(&mut self, token_lifetime: Duration) -> Result<RsaKeySet, KeyError> {
        let now = self.clock.now();
        let keys = self.key_store().load_or_create(Purpose::AxxonJsonrpc, now).await?;
        let key_set = RsaKeySet::empty();
        let purpose_keys = PurposeKeys::new(Purpose::AxxonJsonrpc, token_lifetime, key_set.clone());
        purpose_keys.load(&self.key_store(), &keys, now)?;
        self.purposes.push(Box::new(purpose_keys));
        Ok(key_set)
    }

    /// Identity assertions of this issuer, with keys of their own. If there are none, makes the first.
    ///
    /// # Errors
    /// See [`KeyError`].
    pub async fn assertion_signer(&mut self, issuer: &str) -> Result<AssertionSigner, KeyError> {
        let now = self.clock.now();
        let keys = self.key_store().load_or_create(Purpose::Assertion, now).await?;
        let key_set = AssertionSigner::new(issuer);
        let purpose_keys =
            PurposeKeys::new(Purpose::Assertion, assertion::ASSERTION_LIFETIME, key_set.clone());
        purpose_keys.load(&self.key_store(), &keys, now)?;
        self.purposes.push(Box::new(purpose_keys));
        Ok(key_set)
    }

    /// Refreshes the keys. Drops the keys that the store no longer holds, even if the key file cannot be read.
    /// Publishes the next key when due (key rotation). Puts to work the keys that the store holds now. A key that is
    /// open already stays at work while the file cannot be read; a purpose without an open key for its turn signs
    /// nothing ([`Self::signing_error`]). `tell` gets the keys at work from now on, by their ids and in their order, for
    /// each purpose with a change.
    ///
    /// # Errors
    /// See [`KeyError`]: the first one met. If the store does not answer, the keys at work stay at work.
    pub async fn refresh(
        &self,
        mut on_change: impl FnMut(Purpose, &[(String, KeyState)]) + Send,
    ) -> Result<(), KeyError> {
        let mut first = Ok(());
        for purpose_keys in &self.purposes {
            first = first.and(self.refresh_purpose(&**purpose_keys, &mut on_change).await);
        }
        first
    }

    async fn refresh_purpose(
        &self,
        purpose_keys: &dyn AnyPurposeKeys,
        on_change: OnKeyChange<'_>,
    ) -> Result<(), KeyError> {
        let keys = self.key_store().keys(purpose_keys.purpose()).await?;
        let now = self.clock.now();
        // Before anything that may fail.
        let first = self.update(purpose_keys, &keys, on_change);
        let due = match keys.is_empty() {
            true => Some(now),
            false => self.schedule.next_activation(&keys, now),
        };
        let expired = self.schedule.expired(&keys, purpose_keys.token_lifetime(), now);
        if due.is_none() && expired.is_empty() {
            return first;
        }
        let changed = self.apply_schedule(purpose_keys.purpose(), &keys, due, expired).await;
        let keys = self.key_store().keys(purpose_keys.purpose()).await?;
        changed.and(self.update(purpose_keys, &keys, on_change))
    }

    fn update(
        &self,
        purpose_keys: &dyn AnyPurposeKeys,
        keys: &[SealedKey],
        on_change: OnKeyChange<'_>,
    ) -> Result<(), KeyError> {
        let (changed, result) = purpose_keys.update(&self.key_store(), keys, self.clock.now());
        if let Some(key_states) = changed {
            on_change(purpose_keys.purpose(), &key_states);
        }
        result
    }

    async fn apply_schedule(
        &self,
        purpose: Purpose,
        keys: &[SealedKey],
        due: Option<Timestamp>,
        expired: Vec<String>,
    ) -> Result<(), KeyError> {
        for kid in expired {
            let now = self.clock.now();
            self.store.apply(Change::DropKey { kid, now, fallback: None }).await?;
        }
        if let Some(due) = due {
            let key = self.key_store().generate(purpose, self.clock.now(), false)?;
            // Making the key took a while (an RSA key up to a second); that time does not count as notice.
            let created = self.clock.now();
            let active = self.schedule.next_activation(keys, created).unwrap_or(due);
            let key = Box::new(SealedKey { created, active_from: active, ..key });
            let after = keys.last().map(|newest| newest.kid.clone());
            // If several nodes find the next key due, only the first adds one.
            self.store.apply(Change::AddKey { key, expected_newest: after }).await?;
        }
        Ok(())
    }

    /// Reason why a purpose signs nothing, if so: for example, its key was revoked, and the key file that opens the
    /// next one cannot be read. As of the last [`Self::refresh`].
    #[must_use]
    pub fn signing_error(&self) -> Option<String> {
        self.purposes.iter().find_map(|keys| keys.signing_error())
    }

    /// The issuer of tokens that a key of ours has signed and that are refused for their issuer, and how often one was
    /// shown since the last call.
    #[must_use]
    pub fn take_wrong_issuer(&self) -> Option<(String, u64)> {
        self.purposes.iter().find_map(|keys| keys.take_wrong_issuer())
    }

    /// The public halves of all keys at work as a JWK set (RFC 7517): the next, active and retired keys.
    #[must_use]
    pub fn jwks(&self) -> String {
        let keys: Vec<Value> = self.purposes.iter().flat_map(|keys| keys.jwks()).collect();
        json!({ "keys": keys }).to_string()
    }

    fn key_store(&self) -> KeyStore<'_> {
        KeyStore { store: &*self.store, key_file: &self.key_file, entropy: &*self.entropy }
    }
}

impl fmt::Debug for KeyManager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let purposes: Vec<_> = self.purposes.iter().map(|keys| keys.purpose()).collect();
        f.debug_struct("KeyManager")
            .field("schedule", &self.schedule)
            .field("purposes", &purposes)
            .finish_non_exhaustive()
    }
}

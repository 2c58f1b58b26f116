//! The port of the reference store: every call takes the one lock.

use std::collections::BTreeMap;

use uuid::Uuid;

use super::ReferenceStore;
use crate::lockout::AttemptState;
use crate::ports::{
    Applied, Change, SealedKey, SessionQuery, Store, StoreFuture, Touch, UserPage, UserQuery,
};
use crate::{CanonicalName, Client, Digest, Session, Timestamp, User};

impl Store for ReferenceStore {
    fn session(&self, digest: Digest) -> StoreFuture<Option<(Session, User)>> {
        self.answer(|state| {
            let session = state.sessions.values().find(|session| session.digest == digest)?;
            Some((session.clone(), state.user(session.user)?.clone()))
        })
    }

    fn user(&self, name: CanonicalName) -> StoreFuture<Option<User>> {
        self.answer(|state| state.users.get(&name).cloned())
    }

    fn users(&self, offset: u64, limit: u32) -> StoreFuture<UserPage> {
        self.answer(|state| {
            let skip = usize::try_from(offset).unwrap_or(usize::MAX);
            let items = state.users.values().skip(skip).take(limit as usize).cloned().collect();
            UserPage { total: state.users.len() as u64, items }
        })
    }

    fn find_users(&self, query: UserQuery) -> StoreFuture<Vec<User>> {
        self.answer(|state| state.find_users(&query))
    }

    fn sessions(&self, query: SessionQuery) -> StoreFuture<Vec<(Session, User)>> {
        self.answer(|state| state.find_sessions(&query))
    }

    fn count_live_sessions(&self, now: Timestamp) -> StoreFuture<Vec<(String, u64)>> {
        self.answer(|state| {
            let mut count = BTreeMap::new();
            for session in state.sessions.values().filter(|session| state.is_live(session, now)) {
                *count.entry(session.dialect.clone()).or_insert(0) += 1;
            }
            count.into_iter().collect()
        })
    }

    fn keys(&self) -> StoreFuture<Vec<SealedKey>> {
        self.answer(|state| state.keys.clone())
    }

    fn issuer(&self, purpose: String) -> StoreFuture<Option<String>> {
        self.answer(|state| state.issuers.get(&purpose).cloned())
    }

    fn client(&self, id: Uuid) -> StoreFuture<Option<Client>> {
        self.answer(|state| state.clients.values().find(|client| client.id == id).cloned())
    }

    fn clients(&self) -> StoreFuture<Vec<Client>> {
        self.answer(|state| state.clients.values().cloned().collect())
    }

    fn attempt_state(&self, account: Digest) -> StoreFuture<Option<AttemptState>> {
        self.answer(|state| state.login_attempts.state(account))
    }

    fn ping(&self) -> StoreFuture<()> {
        self.answer(|_| ())
    }

    fn time(&self) -> StoreFuture<Option<Timestamp>> {
        self.answer(|_| None)
    }

    fn queue_depths(&self) -> Vec<(&'static str, usize)> {
        Vec::new()
    }

    fn apply(&self, change: Change) -> StoreFuture<Applied> {
        self.answer(|state| state.apply(change))
    }

    fn touch(&self, touch: Touch) {
        let mut state = self.lock();
        if let Some(session) =
            state.sessions.get_mut(&touch.id).filter(|session| session.revoked.is_none())
        {
            session.last_used = session.last_used.max(Some(touch.used));
            // A session without an expiry keeps none: a use never shortens.
            session.expires = session
                .expires
                .map(|expires| touch.expires.map_or(expires, |touch| touch.max(expires)));
        }
    }

    fn flush(&self) -> StoreFuture<()> {
        self.answer(|_| ())
    }
}

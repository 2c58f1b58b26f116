//! The reference store with a record of its calls.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use uuid::Uuid;

use crate::lockout::AttemptState;
use crate::ports::{
    Applied, Change, SealedKey, SessionQuery, Store, StoreError, StoreFuture, Touch, UserPage,
    UserQuery,
};
use crate::reference::ReferenceStore;
use crate::{CanonicalName, Client, Digest, Session, Timestamp, User};

type ChangeHook = Box<dyn FnOnce(&ReferenceStore) + Send>;

/// The reference store, with a list of the calls.
#[derive(Default)]
pub(in crate::tests) struct RecordingStore {
    pub(in crate::tests) inner: ReferenceStore,
    calls: Mutex<Vec<&'static str>>,
    before: Mutex<Option<ChangeHook>>,
    pub(in crate::tests) full: AtomicBool,
}

impl RecordingStore {
    /// The calls since the last time.
    pub(in crate::tests) fn calls(&self) -> Vec<&'static str> {
        std::mem::take(&mut self.calls.lock().unwrap())
    }

    /// Runs `act` just before the next change, in place of a concurrent request.
    pub(in crate::tests) fn before_next_change(
        &self,
        act: impl FnOnce(&ReferenceStore) + Send + 'static,
    ) {
        *self.before.lock().unwrap() = Some(Box::new(act));
    }

    fn record<T: Send + 'static>(
        &self,
        call: &'static str,
        answer: StoreFuture<T>,
    ) -> StoreFuture<T> {
        self.calls.lock().unwrap().push(call);
        if self.full.load(Ordering::SeqCst) {
            return Box::pin(async { Err(StoreError::Busy) });
        }
        answer
    }
}

impl Store for RecordingStore {
    fn session(&self, digest: Digest) -> StoreFuture<Option<(Session, User)>> {
        self.record("session", self.inner.session(digest))
    }

    fn user(&self, name: CanonicalName) -> StoreFuture<Option<User>> {
        self.record("user", self.inner.user(name))
    }

    fn users(&self, offset: u64, limit: u32) -> StoreFuture<UserPage> {
        self.record("users", self.inner.users(offset, limit))
    }

    fn find_users(&self, query: UserQuery) -> StoreFuture<Vec<User>> {
        self.record("find_users", self.inner.find_users(query))
    }

    fn sessions(&self, query: SessionQuery) -> StoreFuture<Vec<(Session, User)>> {
        self.record("sessions", self.inner.sessions(query))
    }

    fn count_live_sessions(&self, now: Timestamp) -> StoreFuture<Vec<(String, u64)>> {
        self.record("live", self.inner.count_live_sessions(now))
    }

    fn keys(&self) -> StoreFuture<Vec<SealedKey>> {
        self.record("keys", self.inner.keys())
    }

    fn issuer(&self, purpose: String) -> StoreFuture<Option<String>> {
        self.record("issuer", self.inner.issuer(purpose))
    }

    fn client(&self, id: Uuid) -> StoreFuture<Option<Client>> {
        self.record("client", self.inner.client(id))
    }

    fn clients(&self) -> StoreFuture<Vec<Client>> {
        self.record("clients", self.inner.clients())
    }

    fn attempt_state(&self, account: Digest) -> StoreFuture<Option<AttemptState>> {
        self.inner.attempt_state(account)
    }

    fn time(&self) -> StoreFuture<Option<Timestamp>> {
        self.record("time", self.inner.time())
    }

    fn queue_depths(&self) -> Vec<(&'static str, usize)> {
        self.inner.queue_depths()
    }

    fn ping(&self) -> StoreFuture<()> {
        self.record("ping", self.inner.ping())
    }

    fn apply(&self, change: Change) -> StoreFuture<Applied> {
        let before = self.before.lock().unwrap().take();
        if let Some(before) = before {
            before(&self.inner);
        }
        self.record("apply", self.inner.apply(change))
    }

    fn touch(&self, touch: Touch) {
        self.calls.lock().unwrap().push("touch");
        self.inner.touch(touch);
    }

    fn flush(&self) -> StoreFuture<()> {
        self.record("flush", self.inner.flush())
    }
}

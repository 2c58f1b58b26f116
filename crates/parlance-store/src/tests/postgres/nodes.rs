//! Two nodes on one database, behind one port.

use std::sync::atomic::{AtomicU32, Ordering};

use parlance_core::lockout::AttemptState;
use parlance_core::ports::{
    Applied, Change, SealedKey, SessionQuery, Store, StoreFuture, Touch, UserPage, UserQuery,
};
use parlance_core::{CanonicalName, Client, Digest, Session, Timestamp, User};
use uuid::Uuid;

use crate::Database;

/// Two nodes that take calls in turn. Each has its own touches.
pub(super) struct Nodes {
    pub(super) nodes: [Database; 2],
    pub(super) turn: AtomicU32,
}

impl Nodes {
    fn next(&self) -> &Database {
        &self.nodes[self.turn.fetch_add(1, Ordering::Relaxed) as usize % 2]
    }
}

impl Store for Nodes {
    fn session(&self, digest: Digest) -> StoreFuture<Option<(Session, User)>> {
        self.next().session(digest)
    }

    fn user(&self, name: CanonicalName) -> StoreFuture<Option<User>> {
        self.next().user(name)
    }

    fn users(&self, offset: u64, limit: u32) -> StoreFuture<UserPage> {
        self.next().users(offset, limit)
    }

    fn find_users(&self, query: UserQuery) -> StoreFuture<Vec<User>> {
        self.next().find_users(query)
    }

    fn sessions(&self, query: SessionQuery) -> StoreFuture<Vec<(Session, User)>> {
        self.next().sessions(query)
    }

    fn count_live_sessions(&self, now: Timestamp) -> StoreFuture<Vec<(String, u64)>> {
        self.next().count_live_sessions(now)
    }

    fn keys(&self) -> StoreFuture<Vec<SealedKey>> {
        self.next().keys()
    }

    fn issuer(&self, purpose: String) -> StoreFuture<Option<String>> {
        self.next().issuer(purpose)
    }

    fn client(&self, id: Uuid) -> StoreFuture<Option<Client>> {
        self.next().client(id)
    }

    fn clients(&self) -> StoreFuture<Vec<Client>> {
        self.next().clients()
    }

    fn attempt_state(&self, account: Digest) -> StoreFuture<Option<AttemptState>> {
        self.next().attempt_state(account)
    }

    fn time(&self) -> StoreFuture<Option<Timestamp>> {
        self.next().time()
    }

    fn queue_depths(&self) -> Vec<(&'static str, usize)> {
        self.next().queue_depths()
    }

    fn ping(&self) -> StoreFuture<()> {
        self.next().ping()
    }

    fn apply(&self, change: Change) -> StoreFuture<Applied> {
        self.next().apply(change)
    }

    fn touch(&self, touch: Touch) {
        self.next().touch(touch);
    }

    fn flush(&self) -> StoreFuture<()> {
        self.next().flush()
    }
}

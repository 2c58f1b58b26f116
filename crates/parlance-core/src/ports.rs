//! What the authority needs from outside: time, randomness, a store, somebody who counts.

mod observer;
mod users;

use std::fmt;
use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;

use uuid::Uuid;

pub use self::observer::{Action, Event, Observer, TurnedAway, UNREADABLE_HASH, Unobserved};
pub use self::users::Users;
use crate::lockout::{Admission, Attempt, Rung, Slot};
use crate::{
    CanonicalName, Client, Digest, Failure, PasswordHash, Rivals, Session, SessionId, Timestamp,
    User, UserId, UserName,
};

/// The time. Read by the shell once a request; the authority is told.
pub trait Clock: Send + Sync + 'static {
    /// Now.
    fn now(&self) -> Timestamp;
}

/// Randomness fit for secrets.
pub trait Entropy: Send + Sync + 'static {
    /// Fills the bytes.
    ///
    /// # Errors
    /// The source failed; the bytes must not be used.
    fn fill(&self, bytes: &mut [u8]) -> Result<(), EntropyError>;
}

/// The source of randomness failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no randomness to be had")]
pub struct EntropyError;

impl From<EntropyError> for Failure {
    fn from(_: EntropyError) -> Self {
        Self::Unavailable
    }
}

/// Why the store, or a directory of users, did not answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// Its queue is full; nothing was done.
    #[error("the store's queue is full")]
    Busy,
    /// It cannot be reached, or failed; what the call did is unknown. The text is for operators.
    #[error("the store is unavailable: {0}")]
    Unavailable(String),
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Busy => Self::Busy,
            StoreError::Unavailable(_) => Self::Unavailable,
        }
    }
}

/// An answer that the store still owes. It is queued when the call returns, polled or not.
pub type Pending<T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send>>;

/// A page of users.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserPage {
    /// How many users there are in all.
    pub total: u64,
    /// Those of the page.
    pub items: Vec<User>,
}

/// Which users are asked for. They come in the order of their canonical names, a page at a time: the next one begins after the last of this one,
/// whatever was added or removed meanwhile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserQuery {
    /// Only the user of this id.
    pub id: Option<UserId>,
    /// Only those behind this name.
    pub after: Option<CanonicalName>,
    /// At most so many.
    pub limit: u32,
}

/// Which sessions are asked for. They come oldest first, those of one moment by their ids, a page at a time: the next one begins after the last of
/// this one, whatever was opened or dropped meanwhile. The default asks for all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionQuery {
    /// Only the session of this id.
    pub id: Option<SessionId>,
    /// Only those of the user of this name.
    pub user: Option<CanonicalName>,
    /// Only those of this dialect.
    pub dialect: Option<String>,
    /// Only those that were opened then or later.
    pub since: Option<Timestamp>,
    /// Only those that count at this moment.
    pub live_at: Option<Timestamp>,
    /// Only those behind the one that was opened then and has this id.
    pub after: Option<(Timestamp, SessionId)>,
    /// At most so many.
    pub limit: u32,
}

impl Default for SessionQuery {
    fn default() -> Self {
        Self {
            id: None,
            user: None,
            dialect: None,
            since: None,
            live_at: None,
            after: None,
            limit: u32::MAX,
        }
    }
}

impl SessionQuery {
    /// Asks for the sessions that count at a moment.
    #[must_use]
    pub fn live(at: Timestamp) -> Self {
        Self { live_at: Some(at), ..Self::default() }
    }
}

/// A key that signs. The private half is sealed before it comes here, and its `Debug` does not show it even so.
#[derive(Clone, PartialEq, Eq)]
pub struct SealedKey {
    /// RFC 7638 thumbprint of the public half.
    pub kid: String,
    /// What it signs. Keys of one purpose take turns, and know nothing of the others.
    pub purpose: String,
    /// When it was made, and published.
    pub created: Timestamp,
    /// From when on it signs: until the next of its purpose does.
    pub active: Timestamp,
    /// The private half (PKCS#8), encrypted.
    pub sealed: Vec<u8>,
}

impl fmt::Debug for SealedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SealedKey")
            .field("kid", &self.kid)
            .field("purpose", &self.purpose)
            .field("created", &self.created)
            .field("active", &self.active)
            .finish_non_exhaustive()
    }
}

/// A change, as data. Each is one conditional act: what does not hold at its commit is not done.
#[derive(Debug, Clone)]
pub enum Change {
    /// Open this session, if its user is still enabled, unexpired and at the session's epoch. Sets his last login, and his password
    /// hash to `rehash`, and drops what is then too much of his sessions: see `max_sessions`. Answers [`Applied::Opened`] with the session that lives (another one under [`Rivals::Possess`]),
    /// [`Applied::Refused`], or [`Applied::Taken`] for a `sid` or digest that another session has.
    Open {
        /// The session to open.
        session: Box<Session>,
        /// What becomes of the user's others in this dialect.
        rivals: Rivals,
        /// A hash of the same password under newer parameters.
        rehash: Option<PasswordHash>,
        /// How many sessions the user may then have, over all dialects and dead ones included. Those dead for a minute are dropped first,
        /// then the oldest, never the new one. `None`: any number, which is how a store is filled.
        max_sessions: Option<u32>,
        /// The place it took, which it gives back: the ladder of its account is at its foot again, and its address is known.
        slot: Option<Box<Slot>>,
    },
    /// Take a place for a login before its password is verified: [`Applied::Admitted`], or [`Applied::Refused`] if its account must wait.
    /// The place comes from the ladder, or else from what is kept for the address; that there was none on the ladder is counted in
    /// [`crate::lockout::Rung::refused`].
    Attempt(Box<Attempt>),
    /// It failed: the ladder is climbed.
    Failed(Box<Slot>),
    /// Nothing was verified, or it was right and opens nothing: give the place back.
    GiveBack(Box<Slot>),
    /// Put the ladder of a name to its foot, and what is kept for the user's addresses with it.
    Unlock(CanonicalName),
    /// Trust this address of a user, as [`crate::lockout::home`] has it, as if he had logged in from there at this moment. [`Applied::Refused`] if
    /// nobody has the name.
    TrustAddress(CanonicalName, IpAddr, Timestamp),
    /// Drop at most so many rows of ladders: those that nobody has tried since `before`, and of unknown names as many as there are beyond
    /// `unknown`. [`Applied::Rows`] says how many.
    PurgeAttempts {
        /// Untried for so long. More than a day ago, since a ladder counts for its day.
        before: Timestamp,
        /// How many unknown names may stay.
        unknown: u32,
        /// At most.
        limit: u32,
    },
    /// Move the expiry of a living session.
    Renew {
        /// Which.
        id: SessionId,
        /// Now.
        now: Timestamp,
        /// The new expiry; may be earlier than the old.
        expires: Option<Timestamp>,
    },
    /// End a session that nobody has ended.
    Close {
        /// Which.
        id: SessionId,
        /// Now.
        now: Timestamp,
    },
    /// Drop a dead session's row, if it is dead.
    Forget {
        /// Which.
        id: SessionId,
        /// Now.
        now: Timestamp,
    },
    /// Set the last login of a user who is enabled.
    Bump {
        /// Whom.
        user: UserId,
        /// Now.
        now: Timestamp,
    },
    /// Make a user; [`Applied::Taken`] if the canonical name or the id is.
    AddUser(Box<User>),
    /// Keep a row for a user who lives in a directory: give the row that has his id his names, or make it. Whoever else has his
    /// canonical name had it before him, and is removed with his sessions.
    KeepUser(Box<User>),
    /// Set a password, clear its expiry, end all sessions.
    SetPassword(CanonicalName, PasswordHash),
    /// Enable, or disable and end all sessions.
    SetEnabled(CanonicalName, bool),
    /// Let the password open nothing more.
    ExpirePassword(CanonicalName),
    /// Replace a user's roles. His sessions go on.
    SetRoles(CanonicalName, Vec<Uuid>),
    /// Let a user do everything, or no longer. His sessions go on.
    SetUnrestricted(CanonicalName, bool),
    /// Give a user another name and end all his sessions. What counts his failed logins goes with him, and what was counted of the new name before
    /// is forgotten then. [`Applied::Taken`] if another user has the new name.
    Rename(CanonicalName, UserName),
    /// Remove a user and his sessions.
    RemoveUser(CanonicalName),
    /// End one session.
    RevokeSession(SessionId, Timestamp),
    /// End all sessions of a user.
    RevokeUser(CanonicalName),
    /// End all sessions of everybody.
    RevokeAll,
    /// Keep a key, if the newest of its purpose is the one of this `kid`, or there is none where this is `None`; else somebody was
    /// faster ([`Applied::Refused`]).
    AddKey {
        /// The key.
        key: Box<SealedKey>,
        /// The newest that is known.
        after: Option<String>,
    },
    /// Drop a key; [`Applied::Refused`] if there is no such key. If it was the one that signs, the next of its purpose signs from now on:
    /// the one that waits for its turn, or else the spare. Without either it is the one before, if there is one.
    DropKey {
        /// Which.
        kid: String,
        /// Now.
        now: Timestamp,
        /// What signs if nothing else can.
        spare: Option<Box<SealedKey>>,
    },
    /// Keep the issuer of what keys of a purpose sign, if none is kept, or in the place of the one that is; [`Applied::Refused`] if another
    /// stays, or it was kept already.
    KeepIssuer {
        /// What the keys sign.
        purpose: String,
        /// The issuer.
        issuer: String,
        /// Whether it takes the place of another.
        replace: bool,
    },
    /// Make a service client; [`Applied::Taken`] if the name is.
    AddClient(Box<Client>),
    /// Remove the service client of this name.
    RemoveClient(String),
    /// Drop at most so many sessions that were dead before this moment; [`Applied::Rows`] says how many.
    Purge {
        /// Dead for so long.
        before: Timestamp,
        /// At most.
        limit: u32,
    },
}

/// What became of a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Applied {
    /// Done, and committed.
    Done,
    /// Done, and committed, to so many rows.
    Rows(u64),
    /// The session that lives now.
    Opened(Box<Session>),
    /// A place for a login.
    Admitted(Admission),
    /// Its condition did not hold; nothing changed.
    Refused,
    /// Something that must be unique is taken; nothing changed.
    Taken,
}

impl Applied {
    /// Whether it was done, whatever came of it; otherwise nothing changed.
    #[must_use]
    pub fn is_done(&self) -> bool {
        match self {
            Self::Done | Self::Rows(_) | Self::Opened(_) | Self::Admitted(_) => true,
            Self::Refused | Self::Taken => false,
        }
    }
}

/// A use that slides an expiry. Merged with others of the same session as the later of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Touch {
    /// Which session.
    pub id: SessionId,
    /// When it was used.
    pub used: Timestamp,
    /// The expiry that follows.
    pub expires: Option<Timestamp>,
}

/// Where users and sessions are kept.
///
/// A call queues and does not wait; the answer of a change comes after its commit, and a look-up is answered by a query that began after it was
/// queued. A full queue answers [`StoreError::Busy`] at once.
pub trait Store: Send + Sync + 'static {
    /// The session with this digest and its user, with every touch of this process counted in.
    fn session(&self, digest: Digest) -> Pending<Option<(Session, User)>>;
    /// The user of this name.
    fn user(&self, name: CanonicalName) -> Pending<Option<User>>;
    /// Users in the order of their canonical names.
    fn users(&self, offset: u64, limit: u32) -> Pending<UserPage>;
    /// A page of users, for operators.
    fn find_users(&self, query: UserQuery) -> Pending<Vec<User>>;
    /// A page of sessions, each with its user, for operators. A touch shows once it is flushed.
    fn sessions(&self, query: SessionQuery) -> Pending<Vec<(Session, User)>>;
    /// How many sessions live now in each dialect.
    fn live(&self, now: Timestamp) -> Pending<Vec<(String, u64)>>;
    /// All keys of all purposes, in the order in which they sign.
    fn keys(&self) -> Pending<Vec<SealedKey>>;
    /// The issuer of what keys of a purpose sign, if one is kept. A store that keeps none need not say so.
    fn issuer(&self, purpose: String) -> Pending<Option<String>> {
        let _ = purpose;
        Box::pin(std::future::ready(Ok(None)))
    }
    /// The service client of this id. A store that keeps none need not say so.
    fn client(&self, id: Uuid) -> Pending<Option<Client>> {
        let _ = id;
        Box::pin(std::future::ready(Ok(None)))
    }
    /// All service clients in the order of their names. A store that keeps none need not say so.
    fn clients(&self) -> Pending<Vec<Client>> {
        Box::pin(std::future::ready(Ok(Vec::new())))
    }
    /// How far up its ladder an account stands, if anything was tried on it lately. A store that keeps no ladders need not say so.
    fn rung(&self, account: Digest) -> Pending<Option<Rung>> {
        let _ = account;
        Box::pin(std::future::ready(Ok(None)))
    }
    /// Answers when the store does.
    fn ping(&self) -> Pending<()>;
    /// The time by the store's own clock, which every node that works on it can ask; `None` if it has none: then the machine's counts. A
    /// store that has none need not say so.
    fn time(&self) -> Pending<Option<Timestamp>> {
        Box::pin(std::future::ready(Ok(None)))
    }
    /// How many calls wait, by the name of the queue they wait in, for metrics. A store that has no queues need not say so.
    fn queue_depths(&self) -> Vec<(&'static str, usize)> {
        Vec::new()
    }
    /// Makes a change.
    fn apply(&self, change: Change) -> Pending<Applied>;
    /// Notes a use. Written behind: at most once a second for a session.
    fn touch(&self, touch: Touch);
    /// Writes every touch that is still in memory.
    fn flush(&self) -> Pending<()>;
}

//! Ports: the authority's needs from outside, which are time, randomness, a store and an observer.

mod observer;
mod user_directory;

use std::fmt;
use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;

use uuid::Uuid;

pub use self::observer::{Action, Event, NoopObserver, Observer, TurnedAway, UNREADABLE_HASH};
pub use self::user_directory::{PasswordVerifier, UserDirectory};
use crate::lockout::{Admission, Attempt, AttemptState, Reservation};
use crate::{
    CanonicalName, Client, ConcurrentSessions, Digest, PasswordHash, Session, SessionId, Timestamp,
    User, UserId, UserName,
};

/// The clock. The shell reads the time once a request and passes that time to the authority.
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
#[error("the source of randomness failed")]
pub struct EntropyError;

/// Why the store, or a directory of users, did not answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// Backpressure: the queue of the store is full. Nothing was done.
    #[error("the store's queue is full")]
    Busy,
    /// The store cannot be reached, or failed. The effect of the call is unknown. The text is for operators.
    #[error("the store is unavailable: {0}")]
    Unavailable(String),
}

/// A pending answer of the store. The call is queued when the function returns, polled or not.
pub type StoreFuture<T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send>>;

/// A page of users.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserPage {
    /// How many users there are in all.
    pub total: u64,
    /// The users of the page.
    pub items: Vec<User>,
}

/// A query for users. They come in the order of their canonical names, a page at a time: the next page begins after the
/// last user of this one, regardless of users added or removed meanwhile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserQuery {
    /// Only the user of this id.
    pub id: Option<UserId>,
    /// Only users after this name.
    pub after: Option<CanonicalName>,
    /// The most rows of the page.
    pub limit: u32,
}

/// A query for sessions. They come oldest first, those of one moment by their ids, a page at a time: the next page
/// begins after the last session of this one, regardless of sessions opened or dropped meanwhile. The default asks for
/// all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionQuery {
    /// Only the session of this id.
    pub id: Option<SessionId>,
    /// Only sessions of the user of this name.
    pub user: Option<CanonicalName>,
    /// Only sessions of this dialect.
    pub dialect: Option<String>,
    /// Only sessions opened at this moment or later.
    pub since: Option<Timestamp>,
    /// Only sessions that are active at this moment.
    pub live_at: Option<Timestamp>,
    /// Only sessions after the one opened at this moment with this id.
    pub after: Option<(Timestamp, SessionId)>,
    /// The most rows of the page.
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
    /// Asks for the sessions that are active at a moment.
    #[must_use]
    pub fn live(at: Timestamp) -> Self {
        Self { live_at: Some(at), ..Self::default() }
    }
}

/// A signing key. The private half is encrypted before the key comes here, and even so `Debug` does not show that half.
#[derive(Clone, PartialEq, Eq)]
pub struct SealedKey {
    /// RFC 7638 thumbprint of the public half.
    pub kid: String,
    /// The purpose of the signatures. Key rotation is by purpose: keys of one purpose take turns, independent of all
    /// others.
    pub purpose: String,
    /// When the key was made, and published.
    pub created: Timestamp,
    /// Start of signing with the key: until the start of the next key of its purpose.
    pub active_from: Timestamp,
    /// The private half (PKCS#8), encrypted.
    pub sealed: Vec<u8>,
}

impl fmt::Debug for SealedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SealedKey")
            .field("kid", &self.kid)
            .field("purpose", &self.purpose)
            .field("created", &self.created)
            .field("active_from", &self.active_from)
            .finish_non_exhaustive()
    }
}

/// A change, as data. Each change is one conditional act: if its condition does not hold at the commit, nothing is
/// done.
#[derive(Debug, Clone)]
pub enum Change {
    /// Open this session, if its user is still enabled, unexpired and at the session's epoch. Sets the user's last
    /// login, sets the password hash to `rehash`, and then enforces the session limit: see `session_limit`. Answers
    /// [`Applied::Opened`] with the living session (another one under [`ConcurrentSessions::TakeOver`]), [`Applied::Refused`], or
    /// [`Applied::Conflict`] for a `public_id` or digest that another session has.
    OpenSession {
        /// The session to open.
        session: Box<Session>,
        /// Effect on the user's other sessions in this dialect.
        concurrent_sessions: ConcurrentSessions,
        /// A hash of the same password under newer parameters.
        rehash: Option<PasswordHash>,
        /// Session limit of the user, over all dialects and dead sessions included. Those dead for a minute are dropped
        /// first, then the oldest, never the new one. `None`: no limit, for filling a store.
        session_limit: Option<u32>,
        /// The reserved attempt, which is released: the lock-out state of the account is reset, and the address is
        /// trusted.
        reservation: Option<Box<Reservation>>,
    },
    /// Reserve an attempt for a login before its password is verified: [`Applied::Admitted`], or [`Applied::Refused`]
    /// if the account must wait. The attempt is a regular one of the account, or else one reserved for a trusted
    /// address. Every login without a regular attempt is counted in [`crate::lockout::AttemptState::consecutive_refusals`].
    ReserveAttempt(Box<Attempt>),
    /// The login failed: count the failure.
    RecordFailure(Box<Reservation>),
    /// Nothing was verified, or the password was right and opens nothing: release the attempt.
    ReleaseAttempt(Box<Reservation>),
    /// Unlock a name: reset its lock-out state, and the reserved attempts of the user's trusted addresses.
    Unlock(CanonicalName),
    /// Trust this address of a user, reduced by [`crate::lockout::client_prefix`], as if the user had logged in from there at
    /// this moment. [`Applied::Refused`] if no user has the name.
    TrustAddress(CanonicalName, IpAddr, Timestamp),
    /// Drop at most `limit` rows of lock-out state: those untried since `before`, and of unknown names the excess over
    /// `max_unknown_names`. [`Applied::Rows`] says how many.
    PurgeAttempts {
        /// Rows untried since this moment. More than a day ago, since a lock-out state counts for its day.
        before: Timestamp,
        /// How many unknown names may stay.
        max_unknown_names: u32,
        /// The limit of dropped rows.
        limit: u32,
    },
    /// Move the expiry of a living session.
    RenewSession {
        /// The session.
        id: SessionId,
        /// Now.
        now: Timestamp,
        /// The new expiry; may be earlier than the old.
        expires: Option<Timestamp>,
    },
    /// End a session that has not been ended.
    EndSession {
        /// The session.
        id: SessionId,
        /// Now.
        now: Timestamp,
    },
    /// Drop a dead session's row, if it is dead.
    DeleteDeadSession {
        /// The session.
        id: SessionId,
        /// Now.
        now: Timestamp,
    },
    /// Set the last login of an enabled user.
    RecordLogin {
        /// The user.
        user: UserId,
        /// Now.
        now: Timestamp,
    },
    /// Create a user; [`Applied::Conflict`] if the canonical name or the id is taken.
    AddUser(Box<User>),
    /// Keep a row for a user of a directory: update the names in the row with that id, or create the row. Another user
    /// with the same canonical name is a former owner of the name, and is removed together with all sessions.
    UpsertExternalUser(Box<User>),
    /// Set a password, clear its expiry, end all sessions.
    SetPassword(CanonicalName, PasswordHash),
    /// Enable, or disable and end all sessions.
    SetEnabled(CanonicalName, bool),
    /// Expire a password: the password opens no more sessions.
    ExpirePassword(CanonicalName),
    /// Replace a user's roles. Sessions go on.
    SetRoles(CanonicalName, Vec<Uuid>),
    /// Let a user do everything, or no longer. Sessions go on.
    SetUnrestricted(CanonicalName, bool),
    /// Give a user another name and end all the user's sessions. The lock-out state goes with the user, and the earlier
    /// state of the new name is forgotten then. [`Applied::Conflict`] if another user has the new name.
    RenameUser(CanonicalName, UserName),
    /// Remove a user and all the user's sessions.
    RemoveUser(CanonicalName),
    /// End one session.
    RevokeSession(SessionId, Timestamp),
    /// End all sessions of a user.
    RevokeUser(CanonicalName),
    /// End all sessions of all users.
    RevokeAll,
    /// Keep a key, if the newest of its purpose has the expected `kid`, or if there is none and `None` is expected.
    /// Otherwise another node was faster ([`Applied::Refused`]).
    AddKey {
        /// The key.
        key: Box<SealedKey>,
        /// The `kid` of the newest known key.
        expected_newest: Option<String>,
    },
    /// Drop a key; [`Applied::Refused`] if there is no such key. After a drop of the signing key, the next of its
    /// purpose signs from now on: the waiting key, or else the fallback. Without either, the previous key signs, if
    /// there is one.
    DropKey {
        /// The `kid` of the key.
        kid: String,
        /// Now.
        now: Timestamp,
        /// The key that signs if no other can.
        fallback: Option<Box<SealedKey>>,
    },
    /// Keep the issuer of the tokens that keys of a purpose sign, if none is kept, or in the place of the kept one;
    /// [`Applied::Refused`] if another stays, or the same was kept already.
    SetIssuer {
        /// The purpose of the keys.
        purpose: String,
        /// The issuer.
        issuer: String,
        /// Whether the issuer takes the place of another.
        replace: bool,
    },
    /// Create a service client; [`Applied::Conflict`] if the name is taken.
    AddClient(Box<Client>),
    /// Remove the service client of this name.
    RemoveClient(String),
    /// Drop at most `limit` sessions that were dead before this moment; [`Applied::Rows`] says how many.
    PurgeSessions {
        /// Sessions dead before this moment.
        before: Timestamp,
        /// The limit of dropped sessions.
        limit: u32,
    },
}

/// The effect of a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Applied {
    /// Done, and committed.
    Done,
    /// Done, and committed, to so many rows.
    Rows(u64),
    /// The session that lives now.
    Opened(Box<Session>),
    /// The attempt reserved for a login.
    Admitted(Admission),
    /// Its condition did not hold; nothing changed.
    Refused,
    /// A unique value is taken; nothing changed.
    Conflict,
}

impl Applied {
    /// Whether the change was done, with any result; otherwise nothing changed.
    #[must_use]
    pub fn is_done(&self) -> bool {
        match self {
            Self::Done | Self::Rows(_) | Self::Opened(_) | Self::Admitted(_) => true,
            Self::Refused | Self::Conflict => false,
        }
    }
}

/// A use that slides an expiry. Touches of the same session merge as the later of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Touch {
    /// Which session.
    pub id: SessionId,
    /// When it was used.
    pub used: Timestamp,
    /// The expiry that follows.
    pub expires: Option<Timestamp>,
}

/// The store of users and sessions.
///
/// A call queues and does not wait. The answer of a change comes after its commit, and a look-up is answered by a query
/// that began after the look-up was queued. Backpressure: a full queue answers [`StoreError::Busy`] at once.
///
/// No method has a default: a decorator that forgets to forward one does not compile.
pub trait Store: Send + Sync + 'static {
    /// The session with this digest and its user, with every touch of this process counted in.
    fn session(&self, digest: Digest) -> StoreFuture<Option<(Session, User)>>;
    /// The user of this name.
    fn user(&self, name: CanonicalName) -> StoreFuture<Option<User>>;
    /// Users in the order of their canonical names.
    fn users(&self, offset: u64, limit: u32) -> StoreFuture<UserPage>;
    /// A page of users, for operators.
    fn find_users(&self, query: UserQuery) -> StoreFuture<Vec<User>>;
    /// A page of sessions, each with its user, for operators. A touch shows after its flush.
    fn sessions(&self, query: SessionQuery) -> StoreFuture<Vec<(Session, User)>>;
    /// How many sessions are active now in each dialect.
    fn count_live_sessions(&self, now: Timestamp) -> StoreFuture<Vec<(String, u64)>>;
    /// All keys of all purposes, in the order in which they sign.
    fn keys(&self) -> StoreFuture<Vec<SealedKey>>;
    /// The issuer of the tokens that keys of a purpose sign, if one is kept.
    fn issuer(&self, purpose: String) -> StoreFuture<Option<String>>;
    /// The service client of this id.
    fn client(&self, id: Uuid) -> StoreFuture<Option<Client>>;
    /// All service clients in the order of their names.
    fn clients(&self) -> StoreFuture<Vec<Client>>;
    /// The lock-out state of an account, if there was a recent attempt.
    fn attempt_state(&self, account: Digest) -> StoreFuture<Option<AttemptState>>;
    /// Health check: answers when the store does.
    fn ping(&self) -> StoreFuture<()>;
    /// The time by the store's own clock, which every node on that store can ask. `None` without such a clock: then the
    /// machine's clock counts.
    fn time(&self) -> StoreFuture<Option<Timestamp>>;
    /// Queue depths: how many calls wait, by the name of their queue, for metrics. Empty without queues.
    fn queue_depths(&self) -> Vec<(&'static str, usize)>;
    /// Makes a change.
    fn apply(&self, change: Change) -> StoreFuture<Applied>;
    /// Records a use, write-behind: at most one write a second for a session.
    fn touch(&self, touch: Touch);
    /// Writes every touch that is still in memory.
    fn flush(&self) -> StoreFuture<()>;
}

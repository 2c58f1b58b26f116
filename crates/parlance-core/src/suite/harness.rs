//! The fixtures of the claims: a few users and sessions, and a harness that waits for the answer of a store.

use std::net::IpAddr;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;

use uuid::Uuid;

use crate::ports::{Applied, Change, Store, StoreFuture, Touch};
use crate::{
    CanonicalName, ConcurrentSessions, Digest, PasswordHash, Session, SessionId, Timestamp, User,
    UserId, UserName,
};

/// The dialect of the sessions, unless a claim names another.
pub(super) const DIALECT: &str = "one-wire";

/// A moment in milliseconds after the beginning of the suite.
pub(super) fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(1_651_406_400_000 + millis)
}

/// A hash that verifies nothing.
pub(super) fn hash(text: &str) -> PasswordHash {
    PasswordHash::from_stored(text.to_owned())
}

pub(super) fn canonical(name: &str) -> CanonicalName {
    CanonicalName::from_stored(name.to_owned())
}

/// A user with the id `number`.
pub(super) fn user(number: u128, name: &str) -> User {
    let canonical = UserName::new(name).map_or_else(|_| canonical(name), |name| name.canonical());
    User {
        id: UserId(Uuid::from_u128(number)),
        name: name.to_owned(),
        canonical,
        password: Some(hash("$argon2id$first")),
        enabled: true,
        password_expired: false,
        unrestricted: false,
        roles: Vec::new(),
        created: at(-1000),
        last_login: None,
        epoch: 0,
        version: 0,
    }
}

/// A session from moment 0 to moment 1000. Its id and its digest follow from `number`.
pub(super) fn session(user: &User, number: u128) -> Session {
    Session {
        id: SessionId(Uuid::from_u128(number)),
        dialect: DIALECT.to_owned(),
        user: user.id,
        epoch: user.epoch,
        digest: digest(number),
        public_id: None,
        created: at(0),
        last_used: None,
        expires: Some(at(1000)),
        hard_end: None,
        address: None,
        note: None,
        enabled: true,
        version: 0,
        revoked: None,
    }
}

pub(super) fn digest(number: u128) -> Digest {
    Digest::of(DIALECT, &number.to_string())
}

pub(super) fn address(text: &str) -> Option<IpAddr> {
    text.parse().ok()
}

pub(super) fn touch(session: &Session, used: i64, expires: i64) -> Touch {
    Touch { id: session.id, used: at(used), expires: Some(at(expires)) }
}

pub(super) fn open_change(session: &Session, concurrent_sessions: ConcurrentSessions) -> Change {
    Change::OpenSession {
        session: Box::new(session.clone()),
        concurrent_sessions,
        rehash: None,
        session_limit: None,
        reservation: None,
    }
}

/// Waits for the answer of a store.
#[track_caller]
pub(super) fn block_on<T>(mut pending: StoreFuture<T>) -> T {
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut cx = Context::from_waker(&waker);
    loop {
        match pending.as_mut().poll(&mut cx) {
            Poll::Ready(Ok(answer)) => return answer,
            Poll::Ready(Err(error)) => fail(&error.to_string()),
            Poll::Pending => std::thread::park(),
        }
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

#[track_caller]
#[expect(clippy::panic, reason = "a claim that does not hold ends its test")]
fn fail(text: &str) -> ! {
    panic!("the store does not answer: {text}")
}

/// A store under test.
#[derive(Clone, Copy)]
pub(super) struct StoreHarness<'s>(pub(super) &'s Arc<dyn Store>);

impl StoreHarness<'_> {
    #[track_caller]
    pub(super) fn apply(self, change: Change) -> Applied {
        block_on(self.0.apply(change))
    }

    /// Adds a user.
    #[track_caller]
    pub(super) fn user(self, number: u128, name: &str) -> User {
        let user = user(number, name);
        assert_eq!(self.apply(Change::AddUser(Box::new(user.clone()))), Applied::Done);
        user
    }

    /// Opens a session without effect on other sessions.
    #[track_caller]
    pub(super) fn open(self, session: &Session) {
        assert_eq!(self.login(session, ConcurrentSessions::Allow), *session);
    }

    /// Opens a session and returns the session that is live afterwards.
    #[track_caller]
    pub(super) fn login(
        self,
        session: &Session,
        concurrent_sessions: ConcurrentSessions,
    ) -> Session {
        match self.apply(open_change(session, concurrent_sessions)) {
            Applied::Opened(session) => *session,
            other @ (Applied::Done
            | Applied::Rows(_)
            | Applied::Admitted(_)
            | Applied::Refused
            | Applied::Conflict) => fail(&format!("a login was answered {other:?}")),
        }
    }

    #[track_caller]
    pub(super) fn find(self, digest: Digest) -> Option<(Session, User)> {
        block_on(self.0.session(digest))
    }

    /// The session as stored now.
    #[track_caller]
    pub(super) fn stored_session(self, session: &Session) -> Session {
        match self.find(session.digest) {
            Some((session, _)) => session,
            None => fail("the session is not there"),
        }
    }

    /// The user as stored now.
    #[track_caller]
    pub(super) fn stored_user(self, user: &User) -> User {
        match block_on(self.0.user(user.canonical.clone())) {
            Some(user) => user,
            None => fail("the user is not there"),
        }
    }

    /// Whether the session of this digest is live at a moment.
    #[track_caller]
    pub(super) fn is_live(self, digest: Digest, moment: i64) -> bool {
        self.find(digest).is_some_and(|(session, user)| session.is_live(&user, at(moment)))
    }

    pub(super) fn touch(self, touch: Touch) {
        self.0.touch(touch);
    }

    #[track_caller]
    pub(super) fn flush(self) {
        block_on(self.0.flush());
    }
}

/// Runs two closures at the same time.
pub(super) fn concurrently<A: Send, B: Send>(
    one: impl FnOnce() -> A + Send,
    other: impl FnOnce() -> B + Send,
) -> (A, B) {
    let gate = std::sync::Barrier::new(2);
    std::thread::scope(|scope| {
        let one = scope.spawn(|| {
            gate.wait();
            one()
        });
        gate.wait();
        let other = other();
        match one.join() {
            Ok(one) => (one, other),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

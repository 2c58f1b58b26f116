//! Tests of the store: the core's suite on both databases, and faults that only a database, a queue or a URL can have.

mod batches;
#[cfg(feature = "sqlite")]
mod coalesce;
#[cfg(feature = "sqlite")]
mod file;
#[cfg(feature = "postgres")]
mod plans;
#[cfg(feature = "postgres")]
mod postgres;
mod retention;
#[cfg(feature = "postgres")]
mod servers;
#[cfg(feature = "sqlite")]
mod sqlite;
mod time;
#[cfg(feature = "sqlite")]
mod torture;
mod touches;
mod urls;
#[cfg(feature = "sqlite")]
mod workers;

use futures_executor::block_on;
use parlance_core::ports::{Applied, Change, Store, StoreError, Touch};
use parlance_core::{
    CanonicalName, ConcurrentSessions, Digest, Session, SessionId, Timestamp, User, UserId,
};
use uuid::Uuid;

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis)
}

fn user(number: u128) -> User {
    User {
        id: UserId(Uuid::from_u128(number)),
        name: format!("user{number}"),
        canonical: CanonicalName::from_stored(format!("user{number}")),
        password: None,
        enabled: true,
        password_expired: false,
        unrestricted: false,
        roles: Vec::new(),
        created: at(0),
        last_login: None,
        epoch: 0,
        version: 0,
    }
}

fn digest(number: u128) -> Digest {
    Digest::of("test", &number.to_string())
}

/// A session of user 1 from moment 0 to moment 1000.
fn session(number: u128) -> Session {
    Session {
        id: SessionId(Uuid::from_u128(number)),
        dialect: "test".to_owned(),
        user: user(1).id,
        epoch: 0,
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

fn touch(number: u128, moment: i64) -> Touch {
    Touch { id: session(number).id, used: at(moment), expires: Some(at(moment + 1000)) }
}

fn open_session(number: u128) -> Change {
    Change::OpenSession {
        session: Box::new(session(number)),
        concurrent_sessions: ConcurrentSessions::Allow,
        rehash: None,
        reservation: None,
        session_limit: None,
    }
}

fn record_login(number: u128, moment: i64) -> Change {
    Change::RecordLogin { user: user(number).id, now: at(moment) }
}

/// Users 1 and 2, and sessions of user 1 with these numbers.
fn populate(store: &dyn Store, sessions: impl IntoIterator<Item = u128>) {
    for number in [1, 2] {
        assert_eq!(apply(store, Change::AddUser(Box::new(user(number)))), Ok(Applied::Done));
    }
    for number in sessions {
        assert!(matches!(apply(store, open_session(number)), Ok(Applied::Opened(_))));
    }
}

/// The query of a program that knows no purposes and no key rotation.
const NEWEST_KEY_OF_THE_PREVIOUS_RELEASE: &str =
    "SELECT kid || created_at FROM signing_keys ORDER BY created_at DESC, kid DESC LIMIT 1";

/// Such a program sees the key that signs last, and the program's own key signs for its one dialect.
fn check_first_key(url: &str, seen: &str) {
    assert_eq!(seen, "first5");
    let keys = block_on(crate::open(url, crate::Options::default()).unwrap().keys()).unwrap();
    let first = keys.iter().find(|key| key.kid == "first").unwrap();
    assert_eq!(
        (first.purpose.as_str(), first.created, first.active_from),
        ("axxon-jsonrpc", at(5), at(5))
    );
}

fn apply(store: &dyn Store, change: Change) -> Result<Applied, StoreError> {
    block_on(store.apply(change))
}

fn find_session(store: &dyn Store, number: u128) -> Result<Option<Session>, StoreError> {
    block_on(store.session(digest(number))).map(|found| found.map(|(session, _)| session))
}

//! Tests of purges and of the session limit, with very many sessions: shared by both databases.

use diesel::QueryResult;
use futures_executor::block_on;
use parlance_core::ports::{Applied, Change, SessionQuery, Store, StoreFuture};
use parlance_core::{ConcurrentSessions, Session};

use super::{apply, at, find_session, populate, session};

/// The session limit in these tests.
const SESSION_LIMIT: u32 = 50;

/// A login of user 1 under a session limit, later than those of smaller numbers.
fn login(number: u128, session_limit: u32) -> Change {
    let created = at(i64::try_from(number).unwrap());
    let session = Box::new(Session { created, expires: None, ..session(number) });
    Change::OpenSession {
        session,
        concurrent_sessions: ConcurrentSessions::Allow,
        rehash: None,
        session_limit: Some(session_limit),
        reservation: None,
    }
}

/// Makes many changes, as many at once as a queue takes.
fn apply_all(store: &dyn Store, changes: impl Iterator<Item = Change>) -> Vec<Applied> {
    let mut changes = changes.peekable();
    let mut applied = Vec::new();
    while changes.peek().is_some() {
        let some: Vec<_> = changes.by_ref().take(1000).map(|change| store.apply(change)).collect();
        applied.extend(some.into_iter().map(|answer| block_on(answer).unwrap()));
    }
    applied
}

fn count(store: &dyn Store) -> usize {
    block_on(store.sessions(SessionQuery::live(at(1)))).unwrap().len()
}

/// However often users log in, they have no more rows than the session limit. Sessions beyond a lowered limit go in
/// steps.
fn check_session_limit(store: &dyn Store) {
    populate(store, []);
    let opened = apply_all(store, (1..=10_001).map(|number| login(number, SESSION_LIMIT)));
    assert!(opened.iter().all(|applied| matches!(applied, Applied::Opened(_))));
    assert_eq!(count(store), SESSION_LIMIT as usize);

    let more: Vec<_> = apply_all(store, (20_001..=20_999).map(|number| login(number, 9999)));
    assert_eq!((more.len(), count(store)), (999, 999 + SESSION_LIMIT as usize));
    let left = [30_001, 30_002, 30_003].map(|number| {
        apply(store, login(number, 2)).unwrap();
        count(store)
    });
    assert_eq!(left, [1050 - 512, 1051 - 2 * 512, 2]);
}

/// While another connection blocks a purge of many rows, a look-up of a remaining session is answered; after the block
/// the purge is done.
fn check_purge<C>(
    store: &dyn Store,
    outside: &mut C,
    hold: impl FnOnce(&mut C) -> QueryResult<()>,
    release: impl FnOnce(&mut C) -> QueryResult<()>,
) {
    let dead = 1..=5000;
    populate(store, []);
    apply_all(store, dead.clone().map(super::open_session));
    let endless = Session { expires: None, ..session(6000) };
    let endless = Change::OpenSession {
        session: Box::new(endless),
        concurrent_sessions: ConcurrentSessions::Allow,
        rehash: None,
        session_limit: None,
        reservation: None,
    };
    apply(store, endless).unwrap();
    hold(outside).unwrap();
    let purge = || store.apply(Change::PurgeSessions { before: at(5000), limit: 500 });
    let mut purges: Vec<_> = (0..11).map(|_| purge()).collect();
    assert!(find_session(store, 6000).unwrap().is_some());
    assert!(purges.iter_mut().all(is_pending), "the check was answered first");
    release(outside).unwrap();
    let dropped: Vec<_> = purges.into_iter().map(|purge| block_on(purge).unwrap()).collect();
    let (last, full) = dropped.split_last().unwrap();
    assert!(full.iter().all(|applied| *applied == Applied::Rows(500)), "{dropped:?}");
    assert_eq!(*last, Applied::Rows(0));
    assert!(dead.into_iter().all(|number| find_session(store, number) == Ok(None)));
    assert!(find_session(store, 6000).unwrap().is_some());
}

fn is_pending(answer: &mut StoreFuture<Applied>) -> bool {
    let poll = |cx: &mut std::task::Context<'_>| std::task::Poll::Ready(answer.as_mut().poll(cx));
    block_on(std::future::poll_fn(poll)).is_pending()
}

#[cfg(feature = "sqlite")]
mod on_sqlite {
    use diesel::connection::SimpleConnection as _;
    use diesel::{Connection as _, SqliteConnection};

    use super::super::sqlite::migrated_database;
    use crate::{Options, open};

    #[test]
    fn the_session_limit_bounds_the_rows_of_a_user_at_any_number_of_logins() {
        let fresh = migrated_database();
        super::check_session_limit(&open(&fresh.url, Options::default()).unwrap());
    }

    #[test]
    fn a_purge_of_many_sessions_delays_no_lookup() {
        let fresh = migrated_database();
        let path = fresh.url.strip_prefix("sqlite:").unwrap();
        let mut outside = SqliteConnection::establish(path).unwrap();
        let store = open(&fresh.url, Options::default()).unwrap();
        let hold = |outside: &mut SqliteConnection| outside.batch_execute("BEGIN IMMEDIATE");
        super::check_purge(&store, &mut outside, hold, |outside| outside.batch_execute("COMMIT"));
    }
}

#[cfg(feature = "postgres")]
mod on_postgres {
    use diesel::connection::SimpleConnection as _;
    use diesel::{Connection as _, PgConnection};

    use super::super::postgres::migrated_database;
    use crate::{Options, open};

    #[test]
    fn the_session_limit_bounds_the_rows_of_a_user_at_any_number_of_logins() {
        let fresh = migrated_database();
        super::check_session_limit(&open(&fresh.url, Options::default()).unwrap());
    }

    #[test]
    fn a_purge_of_many_sessions_delays_no_lookup() {
        const LOCK_ROWS: &str =
            "BEGIN; SELECT id FROM sessions WHERE expires_at IS NOT NULL FOR UPDATE";
        let fresh = migrated_database();
        let mut outside = PgConnection::establish(&fresh.url).unwrap();
        let store = open(&fresh.url, Options::default()).unwrap();
        let hold = |outside: &mut PgConnection| outside.batch_execute(LOCK_ROWS);
        super::check_purge(&store, &mut outside, hold, |outside| outside.batch_execute("COMMIT"));
    }
}

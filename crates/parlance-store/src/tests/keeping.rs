//! Claims about what is kept and what is dropped, of very many sessions: shared by both databases.

use diesel::QueryResult;
use futures_executor::block_on;
use parlance_core::ports::{Applied, Change, Pending, SessionQuery, Store};
use parlance_core::{Rivals, Session};

use super::{apply, at, found, populate, session};

/// How many sessions a user may have here.
const CAP: u32 = 50;

/// A login of user 1, later than those of smaller numbers, at a cap.
fn login(number: u128, cap: u32) -> Change {
    let created = at(i64::try_from(number).unwrap());
    let session = Box::new(Session { created, expires: None, ..session(number) });
    Change::Open {
        session,
        rivals: Rivals::Allow,
        rehash: None,
        max_sessions: Some(cap),
        slot: None,
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

/// However often a user logs in, he has no more rows than the cap. Sessions that are more than a lowered cap go in steps.
fn check_cap(store: &dyn Store) {
    populate(store, []);
    let opened = apply_all(store, (1..=10_001).map(|number| login(number, CAP)));
    assert!(opened.iter().all(|applied| matches!(applied, Applied::Opened(_))));
    assert_eq!(count(store), CAP as usize);

    let more: Vec<_> = apply_all(store, (20_001..=20_999).map(|number| login(number, 9999)));
    assert_eq!((more.len(), count(store)), (999, 999 + CAP as usize));
    let left = [30_001, 30_002, 30_003].map(|number| {
        apply(store, login(number, 2)).unwrap();
        count(store)
    });
    assert_eq!(left, [1050 - 512, 1051 - 2 * 512, 2]);
}

/// While somebody outside keeps a purge of many rows from being done, a check of what is left is answered; once he lets go, the purge is.
fn check_purge<C>(
    store: &dyn Store,
    outside: &mut C,
    hold: impl FnOnce(&mut C) -> QueryResult<()>,
    release: impl FnOnce(&mut C) -> QueryResult<()>,
) {
    let dead = 1..=5000;
    populate(store, []);
    apply_all(store, dead.clone().map(super::opening));
    let endless = Session { expires: None, ..session(6000) };
    let endless = Change::Open {
        session: Box::new(endless),
        rivals: Rivals::Allow,
        rehash: None,
        max_sessions: None,
        slot: None,
    };
    apply(store, endless).unwrap();
    hold(outside).unwrap();
    let purge = || store.apply(Change::Purge { before: at(5000), limit: 500 });
    let mut purges: Vec<_> = (0..11).map(|_| purge()).collect();
    assert!(found(store, 6000).unwrap().is_some());
    assert!(purges.iter_mut().all(is_pending), "the check was answered first");
    release(outside).unwrap();
    let dropped: Vec<_> = purges.into_iter().map(|purge| block_on(purge).unwrap()).collect();
    let (last, full) = dropped.split_last().unwrap();
    assert!(full.iter().all(|applied| *applied == Applied::Rows(500)), "{dropped:?}");
    assert_eq!(*last, Applied::Rows(0));
    assert!(dead.into_iter().all(|number| found(store, number) == Ok(None)));
    assert!(found(store, 6000).unwrap().is_some());
}

fn is_pending(answer: &mut Pending<Applied>) -> bool {
    let poll = |cx: &mut std::task::Context<'_>| std::task::Poll::Ready(answer.as_mut().poll(cx));
    block_on(std::future::poll_fn(poll)).is_pending()
}

#[cfg(feature = "sqlite")]
mod on_sqlite {
    use diesel::connection::SimpleConnection as _;
    use diesel::{Connection as _, SqliteConnection};

    use super::super::sqlite::fresh;
    use crate::{Options, open};

    #[test]
    fn however_often_a_user_logs_in_he_has_no_more_rows_than_the_cap() {
        let fresh = fresh();
        super::check_cap(&open(&fresh.url, Options::default()).unwrap());
    }

    #[test]
    fn a_purge_of_many_holds_up_no_check() {
        let fresh = fresh();
        let path = fresh.url.strip_prefix("sqlite:").unwrap();
        let mut outside = SqliteConnection::establish(path).unwrap();
        let store = open(&fresh.url, Options::default()).unwrap();
        let held = |outside: &mut SqliteConnection| outside.batch_execute("BEGIN IMMEDIATE");
        super::check_purge(&store, &mut outside, held, |outside| outside.batch_execute("COMMIT"));
    }
}

#[cfg(feature = "postgres")]
mod on_postgres {
    use diesel::connection::SimpleConnection as _;
    use diesel::{Connection as _, PgConnection};

    use super::super::postgres::fresh;
    use crate::{Options, open};

    #[test]
    fn however_often_a_user_logs_in_he_has_no_more_rows_than_the_cap() {
        let fresh = fresh();
        super::check_cap(&open(&fresh.url, Options::default()).unwrap());
    }

    #[test]
    fn a_purge_of_many_holds_up_no_check() {
        const HOLD: &str = "BEGIN; SELECT id FROM sessions WHERE expires_at IS NOT NULL FOR UPDATE";
        let fresh = fresh();
        let mut outside = PgConnection::establish(&fresh.url).unwrap();
        let store = open(&fresh.url, Options::default()).unwrap();
        let held = |outside: &mut PgConnection| outside.batch_execute(HOLD);
        super::check_purge(&store, &mut outside, held, |outside| outside.batch_execute("COMMIT"));
    }
}

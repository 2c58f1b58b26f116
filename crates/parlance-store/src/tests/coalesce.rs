//! Tests of coalescing.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_executor::block_on;
use parlance_core::ports::{Store as _, StoreFuture};
use parlance_core::{Session, User};

use super::sqlite::{TestDatabase, migrated_database};
use super::{digest, find_session, populate, touch, user};
use crate::connection::{ConnectionSetup, OpenFile, build_pool};
use crate::fragments::MAX_KEYS_PER_STATEMENT;
use crate::lookups::LookupWorker;
use crate::readers::Readers;
use crate::store::{Database, open_with};
use crate::url::Target;
use crate::{Defer, Options, open};

thread_local! {
    static DEFERRED: RefCell<Vec<Box<dyn FnOnce() + Send>>> = const { RefCell::new(Vec::new()) };
}

/// An executor with turns that end when the test says so.
const DEFER: Defer = |job| DEFERRED.with_borrow_mut(|deferred| deferred.push(job));

/// Ends a turn. Returns its number of jobs.
fn end_turn() -> usize {
    let jobs = DEFERRED.take();
    let count = jobs.len();
    jobs.into_iter().for_each(|job| job());
    count
}

fn coalescing_store(fresh: &TestDatabase, defer: Defer) -> (Database, ConnectionSetup) {
    let setup = ConnectionSetup::default();
    let options = Options { defer: Some(defer), ..Options::default() };
    let store = open_with(&fresh.url, options, setup.clone()).unwrap();
    populate(&store, 1..=100);
    // From here on the worker has its connection, and so have the readers.
    block_on(store.ping()).unwrap();
    while block_on({
        let before = setup.statements.load(Ordering::SeqCst);
        let lookup = store.session(digest(1));
        end_turn();
        let read = setup.statements.load(Ordering::SeqCst) > before;
        async move { lookup.await.unwrap().filter(|_| read) }
    })
    .is_none()
    {}
    setup.statements.store(0, Ordering::SeqCst);
    (store, setup)
}

fn look_up_sessions(
    store: &Database,
    numbers: std::ops::Range<u128>,
) -> Vec<StoreFuture<Option<(Session, User)>>> {
    numbers.map(|number| store.session(digest(number))).collect()
}

/// Number of sessions among the answers.
fn count_found(answers: Vec<StoreFuture<Option<(Session, User)>>>) -> usize {
    answers.into_iter().filter_map(|answer| block_on(answer).unwrap()).count()
}

#[test]
fn lookups_of_one_executor_turn_are_one_query_on_its_own_thread() {
    let fresh = migrated_database();
    let (store, setup) = coalescing_store(&fresh, DEFER);
    let sessions = look_up_sessions(&store, 51..151);
    let user = store.user(user(1).canonical);
    assert_eq!(setup.statements.load(Ordering::SeqCst), 0);
    assert_eq!(end_turn(), 1);
    // One query for the sessions, one for the user, both at the end of the turn.
    assert_eq!(setup.statements.load(Ordering::SeqCst), 2);
    assert_eq!((count_found(sessions), block_on(user).unwrap().is_some()), (50, true));
    // The next turn runs a new query.
    store.touch(touch(1, 500));
    let again = store.session(digest(1));
    assert_eq!(end_turn(), 1);
    assert_eq!(block_on(again).unwrap().unwrap().0.expires, touch(1, 500).expires);
}

#[test]
fn each_coalesced_lookup_gets_its_own_answer() {
    let fresh = migrated_database();
    let (store, _) = coalescing_store(&fresh, DEFER);
    // Some numbers repeat, and one has no session.
    let numbers = [7, 3, 200, 7, 1, 3, 7];
    let lookups: Vec<_> = numbers.map(|number| store.session(digest(number))).into();
    assert_eq!(end_turn(), 1);
    let answers = lookups.into_iter().map(|answer| block_on(answer).unwrap());
    let answers: Vec<_> = answers.map(|found| found.map(|(session, _)| session.digest)).collect();
    assert_eq!(answers, numbers.map(|number| (number != 200).then(|| digest(number))));
}

#[test]
fn lookups_of_a_turn_that_never_ends_go_to_the_worker() {
    let fresh = migrated_database();
    let (store, _) = coalescing_store(&fresh, DEFER);
    let sessions = look_up_sessions(&store, 1..51);
    DEFERRED.take().into_iter().for_each(drop);
    assert_eq!(count_found(sessions), 50);
    assert_eq!(count_found(look_up_and_end_turn(&store)), 50);
}

fn look_up_and_end_turn(store: &Database) -> Vec<StoreFuture<Option<(Session, User)>>> {
    let sessions = look_up_sessions(store, 1..51);
    assert_eq!(end_turn(), 1);
    sessions
}

#[test]
fn lookups_beyond_one_query_do_not_wait_for_the_turn() {
    let fresh = migrated_database();
    let (store, _) = coalescing_store(&fresh, DEFER);
    let most = u128::try_from(MAX_KEYS_PER_STATEMENT).unwrap();
    let coalesced = look_up_sessions(&store, 0..most);
    assert_eq!(count_found(look_up_sessions(&store, 1..51)), 50);
    assert_eq!(end_turn(), 1);
    assert_eq!(count_found(coalesced), 100);
}

#[test]
fn readers_without_a_connection_return_the_lookups() {
    let target = Target::parse("sqlite:/nowhere/parlance.db").unwrap();
    let pool =
        build_pool(target, ConnectionSetup::default().read_only(), 1, Duration::from_secs(1))
            .unwrap();
    let readers = Readers::new(pool, LookupWorker::new(Arc::default()), OpenFile::default());
    let (reply, _answer) = futures_channel::oneshot::channel();
    let checks = vec![crate::lookups::Lookup::Session(digest(1), reply)];
    assert_eq!(readers.answer(checks).len(), 1);
}

#[test]
fn a_reader_writes_nothing() {
    let fresh = migrated_database();
    populate(&open(&fresh.url, Options::default()).unwrap(), [1]);
    let target = Target::parse(&fresh.url).unwrap();
    let pool =
        build_pool(target, ConnectionSetup::default().read_only(), 1, Duration::from_secs(1))
            .unwrap();
    let mut link = pool.get().unwrap();
    let written =
        diesel::connection::SimpleConnection::batch_execute(&mut link.conn, "DELETE FROM users");
    assert!(written.unwrap_err().to_string().contains("readonly"));
    assert!(find_session(&open(&fresh.url, Options::default()).unwrap(), 1).unwrap().is_some());
}

mod suite {
    use parlance_core::ports::Store;

    use super::*;

    macro_rules! mount {
        ($($case:ident)*) => {
            $(#[test]
            fn $case() {
                let fresh = migrated_database();
                // Each turn of this executor ends at once: a reader answers each look-up alone.
                let options = Options { defer: Some(|job| job()), ..Options::default() };
                let store: Arc<dyn Store> = Arc::new(open(&fresh.url, options).unwrap());
                parlance_core::suite::run(stringify!($case), &store);
            })*
        };
    }

    parlance_core::store_cases!(mount);
}

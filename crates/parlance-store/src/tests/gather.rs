//! Claims about look-ups that are gathered.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_executor::block_on;
use parlance_core::ports::{Pending, Store as _};
use parlance_core::{Session, User};

use super::sqlite::{Fresh, fresh};
use super::{digest, found, populate, touch, user};
use crate::checks::Checks;
use crate::connection::{OpenFile, Setup, pool};
use crate::fragments::MOST;
use crate::readers::Readers;
use crate::store::{Database, open_with};
use crate::url::Target;
use crate::{Options, Soon, open};

thread_local! {
    static LATER: RefCell<Vec<Box<dyn FnOnce() + Send>>> = const { RefCell::new(Vec::new()) };
}

/// A loop whose turn ends when the test says so.
const LOOP: Soon = |job| LATER.with_borrow_mut(|later| later.push(job));

/// Ends a turn. How many jobs it had.
fn turn() -> usize {
    let jobs = LATER.take();
    let count = jobs.len();
    jobs.into_iter().for_each(|job| job());
    count
}

fn gathering(fresh: &Fresh, soon: Soon) -> (Database, Setup) {
    let setup = Setup::default();
    let options = Options { soon: Some(soon), ..Options::default() };
    let store = open_with(&fresh.url, options, setup.clone()).unwrap();
    populate(&store, 1..=100);
    // The lane has its connection from now on, and so have the readers.
    block_on(store.ping()).unwrap();
    while block_on({
        let before = setup.statements.load(Ordering::SeqCst);
        let asked = store.session(digest(1));
        turn();
        let read = setup.statements.load(Ordering::SeqCst) > before;
        async move { asked.await.unwrap().filter(|_| read) }
    })
    .is_none()
    {}
    setup.statements.store(0, Ordering::SeqCst);
    (store, setup)
}

fn ask(store: &Database, numbers: std::ops::Range<u128>) -> Vec<Pending<Option<(Session, User)>>> {
    numbers.map(|number| store.session(digest(number))).collect()
}

/// How many of the answers are sessions.
fn there(answers: Vec<Pending<Option<(Session, User)>>>) -> usize {
    answers.into_iter().filter_map(|answer| block_on(answer).unwrap()).count()
}

#[test]
fn what_a_turn_asks_for_is_one_query_of_its_own_thread() {
    let fresh = fresh();
    let (store, setup) = gathering(&fresh, LOOP);
    let sessions = ask(&store, 51..151);
    let user = store.user(user(1).canonical);
    assert_eq!(setup.statements.load(Ordering::SeqCst), 0);
    assert_eq!(turn(), 1);
    // One for the sessions, one for the user: they are answered when the turn ends.
    assert_eq!(setup.statements.load(Ordering::SeqCst), 2);
    assert_eq!((there(sessions), block_on(user).unwrap().is_some()), (50, true));
    // The next turn asks anew.
    store.touch(touch(1, 500));
    let again = store.session(digest(1));
    assert_eq!(turn(), 1);
    assert_eq!(block_on(again).unwrap().unwrap().0.expires, touch(1, 500).expires);
}

#[test]
fn each_is_told_of_what_he_asked_for() {
    let fresh = fresh();
    let (store, _) = gathering(&fresh, LOOP);
    // Some of them the same, one of them nobody's.
    let numbers = [7, 3, 200, 7, 1, 3, 7];
    let asked: Vec<_> = numbers.map(|number| store.session(digest(number))).into();
    assert_eq!(turn(), 1);
    let told = asked.into_iter().map(|answer| block_on(answer).unwrap());
    let told: Vec<_> = told.map(|found| found.map(|(session, _)| session.digest)).collect();
    assert_eq!(told, numbers.map(|number| (number != 200).then(|| digest(number))));
}

#[test]
fn a_turn_that_never_ends_hands_its_lookups_over() {
    let fresh = fresh();
    let (store, _) = gathering(&fresh, LOOP);
    let sessions = ask(&store, 1..51);
    LATER.take().into_iter().for_each(drop);
    assert_eq!(there(sessions), 50);
    assert_eq!(there(ask_and_turn(&store)), 50);
}

fn ask_and_turn(store: &Database) -> Vec<Pending<Option<(Session, User)>>> {
    let sessions = ask(store, 1..51);
    assert_eq!(turn(), 1);
    sessions
}

#[test]
fn what_one_query_cannot_hold_waits_for_no_turn() {
    let fresh = fresh();
    let (store, _) = gathering(&fresh, LOOP);
    let most = u128::try_from(MOST).unwrap();
    let gathered = ask(&store, 0..most);
    assert_eq!(there(ask(&store, 1..51)), 50);
    assert_eq!(turn(), 1);
    assert_eq!(there(gathered), 100);
}

#[test]
fn readers_without_a_connection_give_the_lookups_back() {
    let target = Target::parse("sqlite:/nowhere/parlance.db").unwrap();
    let pool = pool(target, Setup::default().reading(), 1, Duration::from_secs(1)).unwrap();
    let readers = Readers::new(pool, Checks::new(Arc::default()), OpenFile::default());
    let (reply, _answer) = futures_channel::oneshot::channel();
    let checks = vec![crate::checks::Check::Session(digest(1), reply)];
    assert_eq!(readers.answer(checks).len(), 1);
}

#[test]
fn a_reader_writes_nothing() {
    let fresh = fresh();
    populate(&open(&fresh.url, Options::default()).unwrap(), [1]);
    let target = Target::parse(&fresh.url).unwrap();
    let pool = pool(target, Setup::default().reading(), 1, Duration::from_secs(1)).unwrap();
    let mut link = pool.get().unwrap();
    let written =
        diesel::connection::SimpleConnection::batch_execute(&mut link.any, "DELETE FROM users");
    assert!(written.unwrap_err().to_string().contains("readonly"));
    assert!(found(&open(&fresh.url, Options::default()).unwrap(), 1).unwrap().is_some());
}

mod suite {
    use parlance_core::ports::Store;

    use super::*;

    macro_rules! mount {
        ($($case:ident)*) => {
            $(#[test]
            fn $case() {
                let fresh = fresh();
                // A loop whose every turn is over at once: each look-up is a reader's.
                let options = Options { soon: Some(|job| job()), ..Options::default() };
                let store: Arc<dyn Store> = Arc::new(open(&fresh.url, options).unwrap());
                parlance_core::suite::run(stringify!($case), &store);
            })*
        };
    }

    parlance_core::store_cases!(mount);
}

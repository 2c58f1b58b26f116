//! Claims about queues and lanes.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_channel::oneshot;
use futures_executor::block_on;
use parlance_core::Timestamp;
use parlance_core::ports::{Applied, Change, StoreError};

use super::{bump, digest, found, opening, populate, session, sqlite::fresh, touch, user};
use crate::checks::{Check, Checks};
use crate::connection::{Held, OpenFile, Setup, pool};
use crate::lane::{Work, run};
use crate::queue::{Queue, Reply, answer, ask};
use crate::touches::Touches;
use crate::url::Target;
use crate::writer::{Write, Writer};
use crate::{Options, open};

/// A connection to this database, and the number of statements that are made over it from now on.
fn held(url: &str) -> (Held, Arc<AtomicUsize>) {
    let setup = Setup::default();
    let statements = Arc::clone(&setup.statements);
    let target = Target::parse(url).unwrap();
    let mut held =
        Held::new(pool(target, setup, 1, Duration::from_secs(1)).unwrap(), OpenFile::default());
    held.get().map(drop).unwrap();
    statements.store(0, Ordering::SeqCst);
    (held, statements)
}

#[test]
fn a_full_queue_refuses_at_once() {
    let queue = Queue::new(2);
    assert_eq!(
        [queue.push(1), queue.push(2), queue.push(3)],
        [Ok(()), Ok(()), Err(StoreError::Busy)]
    );
    assert_eq!(queue.take(1, true), Some(vec![1]));
    assert_eq!(queue.push(4), Ok(()));
    queue.push_own(5);
    assert_eq!(queue.take(9, true), Some(vec![2, 4, 5]));
}

#[test]
fn a_closed_queue_is_emptied_and_takes_nothing_more() {
    let queue = Queue::new(2);
    queue.push(1).unwrap();
    queue.close();
    assert!(matches!(queue.push(2), Err(StoreError::Unavailable(_))));
    queue.push_own(3);
    assert_eq!((queue.take(9, true), queue.take(9, true)), (Some(vec![1]), None));
}

struct Panicky;

impl Work for Panicky {
    type Job = (bool, Reply<()>);
    const MOST: usize = 1;

    fn turn(&mut self, jobs: Vec<Self::Job>, _: &mut Held) {
        for (panics, reply) in jobs {
            assert!(!panics, "as told");
            answer(reply, Ok(()));
        }
    }
}

#[test]
fn a_lane_goes_on_after_a_panic_and_its_callers_hear_of_it() {
    let fresh = fresh();
    let queue = Queue::new(9);
    let answers: Vec<_> = [false, true, false]
        .into_iter()
        .map(|panics| ask(&queue, |reply| (panics, reply)))
        .collect();
    queue.close();
    run(&queue, &mut held(&fresh.url).0, &mut Panicky);
    let answers: Vec<_> = answers.into_iter().map(block_on).collect();
    let lost = Err(StoreError::Unavailable("the store dropped the call".to_owned()));
    assert_eq!(answers, [Ok(()), lost, Ok(())]);
}

#[test]
fn a_batch_of_checks_is_one_query() {
    let fresh = fresh();
    populate(&open(&fresh.url, Options::default()).unwrap(), 1..=100);
    let (mut held, statements) = held(&fresh.url);
    for (checks, queries) in [(1, 1), (2, 1), (100, 1), (512, 1), (513, 2)] {
        let queue = Queue::new(9999);
        // Every session more than once, and some that are not there.
        let answers: Vec<_> = (0..checks)
            .map(|n| ask(&queue, |reply| Check::Session(digest(n % 150), reply)))
            .collect();
        queue.close();
        let before = statements.load(Ordering::SeqCst);
        run(&queue, &mut held, &mut Checks::new(Arc::default()));
        assert_eq!(statements.load(Ordering::SeqCst) - before, queries, "{checks}");
        for (number, answer) in (0..).zip(answers) {
            let there = (1..=100).contains(&(number % 150));
            assert_eq!(
                block_on(answer).unwrap().map(|(session, _)| session.digest),
                there.then(|| digest(number % 150))
            );
        }
    }
}

#[test]
fn sessions_users_and_pings_of_one_batch_are_two_queries() {
    let fresh = fresh();
    populate(&open(&fresh.url, Options::default()).unwrap(), 1..=3);
    let (mut held, statements) = held(&fresh.url);
    let queue = Queue::new(9999);
    let sessions: Vec<_> =
        (1..=3).map(|n| ask(&queue, |reply| Check::Session(digest(n), reply))).collect();
    let users: Vec<_> =
        (1..=3).map(|n| ask(&queue, |reply| Check::User(user(n).canonical, reply))).collect();
    let ping = ask(&queue, Check::Ping);
    // Whoever has stopped waiting costs nothing.
    drop(ask(&queue, |reply| Check::Session(digest(4), reply)));
    queue.close();
    run(&queue, &mut held, &mut Checks::new(Arc::default()));
    assert_eq!(statements.load(Ordering::SeqCst), 2);
    assert!(sessions.into_iter().all(|answer| block_on(answer).unwrap().is_some()));
    let users: Vec<_> =
        users.into_iter().map(|answer| block_on(answer).unwrap().is_some()).collect();
    assert_eq!((users, block_on(ping)), (vec![true, true, false], Ok(())));
}

#[test]
fn a_batch_of_changes_is_one_transaction_even_with_touches() {
    let fresh = fresh();
    populate(&open(&fresh.url, Options::default()).unwrap(), 1..=3);
    let (mut held, statements) = held(&fresh.url);
    let (queue, touches) = (Queue::new(9999), Arc::<Touches>::default());
    (1..=3).for_each(|number| touches.note(touch(number, 500)));
    let bumps: Vec<_> =
        (1..=2).map(|n| ask(&queue, |reply| Write::Change(bump(n, 7), reply))).collect();
    let flush = ask(&queue, Write::Flush);
    queue.close();
    run(&queue, &mut held, &mut Writer::new(touches));
    // BEGIN, the touches, two changes, COMMIT.
    assert_eq!(statements.load(Ordering::SeqCst), 5);
    assert!(bumps.into_iter().all(|answer| block_on(answer) == Ok(Applied::Done)));
    assert_eq!(block_on(flush), Ok(()));
    let store = open(&fresh.url, Options::default()).unwrap();
    assert_eq!(found(&store, 3).unwrap().unwrap().expires, touch(3, 500).expires);
}

#[test]
fn what_is_done_to_many_sessions_is_one_statement_for_each_kind() {
    let fresh = fresh();
    populate(&open(&fresh.url, Options::default()).unwrap(), 1..=6);
    let (mut held, statements) = held(&fresh.url);
    let queue = Queue::new(9999);
    let id = |number| session(number).id;
    let now = Timestamp::from_millis(7);
    let renew = |number| Change::Renew { id: id(number), now, expires: None };
    let close = |number| Change::Close { id: id(number), now };
    let (done, refused) = (Applied::Done, Applied::Refused);
    // Ends come before renewals.
    let changes = [
        (renew(1), done.clone()),
        (close(4), done.clone()),
        (renew(2), done.clone()),
        (close(5), done.clone()),
        (renew(7), refused.clone()),
        (close(4), refused.clone()),
        (renew(4), refused),
        (renew(1), done),
    ];
    let changes = changes
        .map(|(change, expected)| (ask(&queue, |reply| Write::Change(change, reply)), expected));
    queue.close();
    run(&queue, &mut held, &mut Writer::new(Arc::default()));
    for (answer, expected) in changes {
        assert_eq!(block_on(answer), Ok(expected));
    }
    // BEGIN, two ends, one more of the same session, four renewals, one more of the same session, COMMIT.
    assert_eq!(statements.load(Ordering::SeqCst), 6);
    let store = open(&fresh.url, Options::default()).unwrap();
    let version = |number| found(&store, number).unwrap().map(|session| session.version);
    assert_eq!([1, 2, 4].map(version), [Some(2), Some(1), Some(1)]);
}

#[test]
fn a_flush_of_very_many_lets_changes_through() {
    let fresh = fresh();
    let store = open(&fresh.url, Options::default()).unwrap();
    populate(&store, [1]);
    let (mut held, _) = held(&fresh.url);
    let (queue, touches) = (Queue::new(9999), Arc::<Touches>::default());
    (1..=10_000).for_each(|number| touches.note(touch(number, 500)));
    let (flush, mut flushed) = oneshot::channel();
    let mut writer = Writer::new(touches);
    writer.turn(vec![Write::Flush(flush)], &mut held);
    assert_eq!(flushed.try_recv(), Ok(None));
    let login = ask(&queue, |reply| Write::Change(opening(2), reply));
    writer.turn(queue.take(9, false).unwrap(), &mut held);
    assert!(matches!(block_on(login), Ok(Applied::Opened(_))));
    assert_eq!((flushed.try_recv(), writer.is_unfinished()), (Ok(None), true));
    writer.turn(Vec::new(), &mut held);
    assert_eq!((flushed.try_recv(), writer.is_unfinished()), (Ok(Some(Ok(()))), false));
    assert_eq!(found(&store, 1).unwrap().unwrap().expires, touch(1, 500).expires);
}

#[test]
fn a_closed_lane_finishes_the_flush_that_it_has_begun() {
    let fresh = fresh();
    let store = open(&fresh.url, Options::default()).unwrap();
    populate(&store, [1, 2]);
    let (mut held, _) = held(&fresh.url);
    let (queue, touches) = (Queue::new(9), Arc::<Touches>::default());
    (1..=10_000).for_each(|number| touches.note(touch(number, 500)));
    let flush = ask(&queue, Write::Flush);
    queue.close();
    run(&queue, &mut held, &mut Writer::new(Arc::clone(&touches)));
    assert_eq!(block_on(flush), Ok(()));
    // Nobody has asked for this one.
    touches.note(touch(2, 600));
    run(&queue, &mut held, &mut Writer::new(touches));
    let expires = |number| found(&store, number).unwrap().unwrap().expires;
    assert_eq!((expires(1), expires(2)), (touch(1, 500).expires, touch(2, 600).expires));
}

//! Tests of queues and workers.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_channel::oneshot;
use futures_executor::block_on;
use parlance_core::Timestamp;
use parlance_core::ports::{Applied, Change, StoreError};

use super::{
    digest, find_session, open_session, populate, record_login, session, sqlite::migrated_database,
    touch, user,
};
use crate::connection::{ConnectionSetup, ConnectionSlot, OpenFile, build_pool};
use crate::lookups::{Lookup, LookupWorker};
use crate::queue::{Queue, Reply, send_reply, submit};
use crate::touches::Touches;
use crate::url::Target;
use crate::worker::{Worker, run_worker};
use crate::writes::{Write, WriteWorker};
use crate::{Options, open};

/// A connection to this database, and the number of its statements from now on.
fn counted_connection_slot(url: &str) -> (ConnectionSlot, Arc<AtomicUsize>) {
    let setup = ConnectionSetup::default();
    let statements = Arc::clone(&setup.statements);
    let target = Target::parse(url).unwrap();
    let mut slot = ConnectionSlot::new(
        build_pool(target, setup, 1, Duration::from_secs(1)).unwrap(),
        OpenFile::default(),
    );
    slot.get().map(drop).unwrap();
    statements.store(0, Ordering::SeqCst);
    (slot, statements)
}

#[test]
fn a_full_queue_refuses_at_once() {
    let queue = Queue::new(2);
    assert_eq!(
        [queue.push(1), queue.push(2), queue.push(3)],
        [Ok(()), Ok(()), Err(StoreError::Busy)]
    );
    assert_eq!(queue.take_batch(1, true), Some(vec![1]));
    assert_eq!(queue.push(4), Ok(()));
    queue.push_unbounded(5);
    assert_eq!(queue.take_batch(9, true), Some(vec![2, 4, 5]));
}

#[test]
fn a_closed_queue_is_emptied_and_takes_nothing_more() {
    let queue = Queue::new(2);
    queue.push(1).unwrap();
    queue.close();
    assert!(matches!(queue.push(2), Err(StoreError::Unavailable(_))));
    queue.push_unbounded(3);
    assert_eq!((queue.take_batch(9, true), queue.take_batch(9, true)), (Some(vec![1]), None));
}

struct PanickingWorker;

impl Worker for PanickingWorker {
    type Job = (bool, Reply<()>);
    const MAX_BATCH: usize = 1;

    fn run_batch(&mut self, jobs: Vec<Self::Job>, _: &mut ConnectionSlot) {
        for (panics, reply) in jobs {
            assert!(!panics, "as told");
            send_reply(reply, Ok(()));
        }
    }
}

#[test]
fn a_worker_continues_after_a_panic_and_its_callers_get_an_error() {
    let fresh = migrated_database();
    let queue = Queue::new(9);
    let answers: Vec<_> = [false, true, false]
        .into_iter()
        .map(|panics| submit(&queue, |reply| (panics, reply)))
        .collect();
    queue.close();
    run_worker(&queue, &mut counted_connection_slot(&fresh.url).0, &mut PanickingWorker);
    let answers: Vec<_> = answers.into_iter().map(block_on).collect();
    let lost = Err(StoreError::Unavailable("the store dropped the call".to_owned()));
    assert_eq!(answers, [Ok(()), lost, Ok(())]);
}

#[test]
fn a_batch_of_lookups_is_one_query() {
    let fresh = migrated_database();
    populate(&open(&fresh.url, Options::default()).unwrap(), 1..=100);
    let (mut slot, statements) = counted_connection_slot(&fresh.url);
    for (checks, queries) in [(1, 1), (2, 1), (100, 1), (512, 1), (513, 2)] {
        let queue = Queue::new(9999);
        // Every session more than once, and some missing ones.
        let answers: Vec<_> = (0..checks)
            .map(|n| submit(&queue, |reply| Lookup::Session(digest(n % 150), reply)))
            .collect();
        queue.close();
        let before = statements.load(Ordering::SeqCst);
        run_worker(&queue, &mut slot, &mut LookupWorker::new(Arc::default()));
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
    let fresh = migrated_database();
    populate(&open(&fresh.url, Options::default()).unwrap(), 1..=3);
    let (mut slot, statements) = counted_connection_slot(&fresh.url);
    let queue = Queue::new(9999);
    let sessions: Vec<_> =
        (1..=3).map(|n| submit(&queue, |reply| Lookup::Session(digest(n), reply))).collect();
    let users: Vec<_> =
        (1..=3).map(|n| submit(&queue, |reply| Lookup::User(user(n).canonical, reply))).collect();
    let ping = submit(&queue, Lookup::Ping);
    // A caller that has stopped waiting costs nothing.
    drop(submit(&queue, |reply| Lookup::Session(digest(4), reply)));
    queue.close();
    run_worker(&queue, &mut slot, &mut LookupWorker::new(Arc::default()));
    assert_eq!(statements.load(Ordering::SeqCst), 2);
    assert!(sessions.into_iter().all(|answer| block_on(answer).unwrap().is_some()));
    let users: Vec<_> =
        users.into_iter().map(|answer| block_on(answer).unwrap().is_some()).collect();
    assert_eq!((users, block_on(ping)), (vec![true, true, false], Ok(())));
}

#[test]
fn a_batch_of_changes_is_one_transaction_even_with_touches() {
    let fresh = migrated_database();
    populate(&open(&fresh.url, Options::default()).unwrap(), 1..=3);
    let (mut slot, statements) = counted_connection_slot(&fresh.url);
    let (queue, touches) = (Queue::new(9999), Arc::<Touches>::default());
    (1..=3).for_each(|number| touches.record(touch(number, 500)));
    let changes: Vec<_> =
        (1..=2).map(|n| submit(&queue, |reply| Write::Change(record_login(n, 7), reply))).collect();
    let flush = submit(&queue, Write::Flush);
    queue.close();
    run_worker(&queue, &mut slot, &mut WriteWorker::new(touches));
    // BEGIN, the touches, two changes, COMMIT.
    assert_eq!(statements.load(Ordering::SeqCst), 5);
    assert!(changes.into_iter().all(|answer| block_on(answer) == Ok(Applied::Done)));
    assert_eq!(block_on(flush), Ok(()));
    let store = open(&fresh.url, Options::default()).unwrap();
    assert_eq!(find_session(&store, 3).unwrap().unwrap().expires, touch(3, 500).expires);
}

#[test]
fn updates_of_many_sessions_are_one_statement_for_each_kind() {
    let fresh = migrated_database();
    populate(&open(&fresh.url, Options::default()).unwrap(), 1..=6);
    let (mut slot, statements) = counted_connection_slot(&fresh.url);
    let queue = Queue::new(9999);
    let id = |number| session(number).id;
    let now = Timestamp::from_millis(7);
    let renew = |number| Change::RenewSession { id: id(number), now, expires: None };
    let close = |number| Change::EndSession { id: id(number), now };
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
        .map(|(change, expected)| (submit(&queue, |reply| Write::Change(change, reply)), expected));
    queue.close();
    run_worker(&queue, &mut slot, &mut WriteWorker::new(Arc::default()));
    for (answer, expected) in changes {
        assert_eq!(block_on(answer), Ok(expected));
    }
    // BEGIN, two ends, one more of the same session, four renewals, one more of the same session, COMMIT.
    assert_eq!(statements.load(Ordering::SeqCst), 6);
    let store = open(&fresh.url, Options::default()).unwrap();
    let version = |number| find_session(&store, number).unwrap().map(|session| session.version);
    assert_eq!([1, 2, 4].map(version), [Some(2), Some(1), Some(1)]);
}

#[test]
fn a_flush_of_many_touches_does_not_block_changes() {
    let fresh = migrated_database();
    let store = open(&fresh.url, Options::default()).unwrap();
    populate(&store, [1]);
    let (mut slot, _) = counted_connection_slot(&fresh.url);
    let (queue, touches) = (Queue::new(9999), Arc::<Touches>::default());
    (1..=10_000).for_each(|number| touches.record(touch(number, 500)));
    let (flush, mut flushed) = oneshot::channel();
    let mut writer = WriteWorker::new(touches);
    writer.run_batch(vec![Write::Flush(flush)], &mut slot);
    assert_eq!(flushed.try_recv(), Ok(None));
    let login = submit(&queue, |reply| Write::Change(open_session(2), reply));
    writer.run_batch(queue.take_batch(9, false).unwrap(), &mut slot);
    assert!(matches!(block_on(login), Ok(Applied::Opened(_))));
    assert_eq!((flushed.try_recv(), writer.is_unfinished()), (Ok(None), true));
    writer.run_batch(Vec::new(), &mut slot);
    assert_eq!((flushed.try_recv(), writer.is_unfinished()), (Ok(Some(Ok(()))), false));
    assert_eq!(find_session(&store, 1).unwrap().unwrap().expires, touch(1, 500).expires);
}

#[test]
fn a_worker_with_a_closed_queue_finishes_the_flush_that_it_has_begun() {
    let fresh = migrated_database();
    let store = open(&fresh.url, Options::default()).unwrap();
    populate(&store, [1, 2]);
    let (mut slot, _) = counted_connection_slot(&fresh.url);
    let (queue, touches) = (Queue::new(9), Arc::<Touches>::default());
    (1..=10_000).for_each(|number| touches.record(touch(number, 500)));
    let flush = submit(&queue, Write::Flush);
    queue.close();
    run_worker(&queue, &mut slot, &mut WriteWorker::new(Arc::clone(&touches)));
    assert_eq!(block_on(flush), Ok(()));
    // No call requests a flush of this touch.
    touches.record(touch(2, 600));
    run_worker(&queue, &mut slot, &mut WriteWorker::new(touches));
    let expires = |number| find_session(&store, number).unwrap().unwrap().expires;
    assert_eq!((expires(1), expires(2)), (touch(1, 500).expires, touch(2, 600).expires));
}

//! Tests of batches with a faulty part: the other parts get their answers.

use std::sync::Arc;
use std::time::Duration;

use diesel::connection::SimpleConnection as _;
use futures_executor::block_on;
use parlance_core::CanonicalName;
use parlance_core::ports::{Applied, Change, Store as _, StoreError};

use super::{digest, populate, user};
use crate::connection::{ConnectionSetup, ConnectionSlot, OpenFile, build_pool};
use crate::lookups::{Lookup, LookupWorker};
use crate::queue::{Queue, submit};
use crate::touches::Touches;
use crate::url::Target;
use crate::worker::run_worker;
use crate::writes::{Write, WriteWorker};
use crate::{Options, open};

fn connection_slot(url: &str) -> ConnectionSlot {
    ConnectionSlot::new(
        build_pool(
            Target::parse(url).unwrap(),
            ConnectionSetup::default(),
            1,
            Duration::from_secs(1),
        )
        .unwrap(),
        OpenFile::default(),
    )
}

fn name(number: u128) -> CanonicalName {
    user(number).canonical
}

/// Users 1 and 2, sessions 1 to 20 of user 1, after a statement that spoils some of them.
fn slot_after(url: &str, statement: &str) -> ConnectionSlot {
    populate(&open(url, Options::default()).unwrap(), 1..=20);
    let mut slot = connection_slot(url);
    slot.get().unwrap().batch_execute(statement).unwrap();
    slot
}

/// Looks sessions up together, some of which cannot be read.
fn check_lookups_beside_unreadable_rows(url: &str) {
    // Not a single bad row, but more than the failure budget would bear if each had waited.
    let mut slot = slot_after(
        url,
        "UPDATE sessions SET address = 'no address' WHERE expires_at = 1000 AND id IN \
         (SELECT id FROM sessions ORDER BY id LIMIT 9)",
    );
    let queue = Queue::new(99);
    let sessions: Vec<_> = (1..=21)
        .map(|number| submit(&queue, |reply| Lookup::Session(digest(number), reply)))
        .collect();
    let user = submit(&queue, |reply| Lookup::User(name(2), reply));
    queue.close();
    run_worker(&queue, &mut slot, &mut LookupWorker::new(Arc::<Touches>::default()));
    for (number, answer) in (1..=21_u128).zip(sessions) {
        let found = block_on(answer).map(|found| found.map(|(session, _)| session.digest));
        match number {
            1..=9 => {
                assert!(matches!(found, Err(StoreError::Unavailable(_))), "{number}: {found:?}")
            }
            10..=20 => assert_eq!(found, Ok(Some(digest(number)))),
            _ => assert_eq!(found, Ok(None)),
        }
    }
    assert_eq!(block_on(user).unwrap().unwrap().canonical, name(2));
}

/// Makes changes together, some of which are impossible after this statement.
fn check_changes_beside_failing_changes(url: &str, statement: &str) {
    let mut slot = slot_after(url, statement);
    let store = open(url, Options::default()).unwrap();
    let epoch = |number| block_on(store.user(name(number))).unwrap().unwrap().epoch;
    let before = epoch(1);
    let queue = Queue::new(99);
    let change = |number: u128| {
        let change = Change::RevokeUser(name(number));
        submit(&queue, |reply| Write::Change(change, reply))
    };
    let order = [1, 1, 1, 2, 1, 2, 3];
    let answers: Vec<_> = order.into_iter().map(change).collect();
    queue.close();
    run_worker(&queue, &mut slot, &mut WriteWorker::new(Arc::<Touches>::default()));
    for (number, answer) in order.into_iter().zip(answers) {
        let applied = block_on(answer);
        match number {
            1 => assert!(matches!(applied, Err(StoreError::Unavailable(_))), "{applied:?}"),
            2 => assert_eq!(applied, Ok(Applied::Done)),
            _ => assert_eq!(applied, Ok(Applied::Refused), "there is no such user"),
        }
    }
    assert_eq!([epoch(1), epoch(2)], [before, 2]);
}

#[cfg(feature = "sqlite")]
mod on_sqlite {
    #[test]
    fn a_failed_lookup_fails_no_other_of_its_batch() {
        super::check_lookups_beside_unreadable_rows(&super::super::sqlite::migrated_database().url);
    }

    #[test]
    fn failed_changes_fail_no_other_of_their_batch() {
        // SQLite accepts any number, and refuses only where a trigger does.
        let statement = "CREATE TRIGGER spoils BEFORE UPDATE ON users WHEN OLD.canonical = 'user1' \
                      BEGIN SELECT RAISE(ABORT, 'as told'); END";
        super::check_changes_beside_failing_changes(
            &super::super::sqlite::migrated_database().url,
            statement,
        );
    }
}

#[cfg(feature = "postgres")]
mod on_postgres {
    #[test]
    fn a_failed_lookup_fails_no_other_of_its_batch() {
        super::check_lookups_beside_unreadable_rows(
            &super::super::postgres::migrated_database().url,
        );
    }

    #[test]
    fn failed_changes_fail_no_other_of_their_batch() {
        // The largest number: one more is out of range.
        let statement = "UPDATE users SET epoch = 9223372036854775807 WHERE canonical = 'user1'";
        super::check_changes_beside_failing_changes(
            &super::super::postgres::migrated_database().url,
            statement,
        );
    }
}

//! Claims about batches of which a part is at fault: the others have their answers.

use std::sync::Arc;
use std::time::Duration;

use diesel::connection::SimpleConnection as _;
use futures_executor::block_on;
use parlance_core::CanonicalName;
use parlance_core::ports::{Applied, Change, Store as _, StoreError};

use super::{digest, populate, user};
use crate::checks::{Check, Checks};
use crate::connection::{Held, OpenFile, Setup, pool};
use crate::lane::run;
use crate::queue::{Queue, ask};
use crate::touches::Touches;
use crate::url::Target;
use crate::writer::{Write, Writer};
use crate::{Options, open};

fn held(url: &str) -> Held {
    Held::new(
        pool(Target::parse(url).unwrap(), Setup::default(), 1, Duration::from_secs(1)).unwrap(),
        OpenFile::default(),
    )
}

fn name(number: u128) -> CanonicalName {
    user(number).canonical
}

/// Users 1 and 2, sessions 1 to 20 of user 1; whatever this statement spoils.
fn spoilt(url: &str, statement: &str) -> Held {
    populate(&open(url, Options::default()).unwrap(), 1..=20);
    let mut held = held(url);
    held.get().unwrap().batch_execute(statement).unwrap();
    held
}

/// Sessions of which some cannot be read are looked up together.
fn look_up_beside_rows_that_cannot_be_read(url: &str) {
    // Not one in a row, but more than would be put up with if each had waited.
    let mut held = spoilt(
        url,
        "UPDATE sessions SET address = 'no address' WHERE expires_at = 1000 AND id IN \
         (SELECT id FROM sessions ORDER BY id LIMIT 9)",
    );
    let queue = Queue::new(99);
    let sessions: Vec<_> =
        (1..=21).map(|number| ask(&queue, |reply| Check::Session(digest(number), reply))).collect();
    let user = ask(&queue, |reply| Check::User(name(2), reply));
    queue.close();
    run(&queue, &mut held, &mut Checks::new(Arc::<Touches>::default()));
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

/// Changes of which some cannot be made, once this statement is, are made together.
fn change_beside_changes_that_cannot_be_made(url: &str, spoils: &str) {
    let mut held = spoilt(url, spoils);
    let store = open(url, Options::default()).unwrap();
    let epoch = |number| block_on(store.user(name(number))).unwrap().unwrap().epoch;
    let before = epoch(1);
    let queue = Queue::new(99);
    let change = |number: u128| {
        let change = Change::RevokeUser(name(number));
        ask(&queue, |reply| Write::Change(change, reply))
    };
    let order = [1, 1, 1, 2, 1, 2, 3];
    let answers: Vec<_> = order.into_iter().map(change).collect();
    queue.close();
    run(&queue, &mut held, &mut Writer::new(Arc::<Touches>::default()));
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
    fn a_look_up_that_fails_takes_no_other_with_it() {
        super::look_up_beside_rows_that_cannot_be_read(&super::super::sqlite::fresh().url);
    }

    #[test]
    fn changes_that_fail_take_no_other_with_them() {
        // It takes any number, and refuses only what it is told to refuse.
        let spoils = "CREATE TRIGGER spoils BEFORE UPDATE ON users WHEN OLD.canonical = 'user1' \
                      BEGIN SELECT RAISE(ABORT, 'as told'); END";
        super::change_beside_changes_that_cannot_be_made(
            &super::super::sqlite::fresh().url,
            spoils,
        );
    }
}

#[cfg(feature = "postgres")]
mod on_postgres {
    #[test]
    fn a_look_up_that_fails_takes_no_other_with_it() {
        super::look_up_beside_rows_that_cannot_be_read(&super::super::postgres::fresh().url);
    }

    #[test]
    fn changes_that_fail_take_no_other_with_them() {
        // The largest there is: one more is out of range.
        let spoils = "UPDATE users SET epoch = 9223372036854775807 WHERE canonical = 'user1'";
        super::change_beside_changes_that_cannot_be_made(
            &super::super::postgres::fresh().url,
            spoils,
        );
    }
}

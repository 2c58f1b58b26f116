//! Claims about races. Each race runs some dozens of times; an acknowledged change must hold in every order of events.

use std::sync::Arc;

use crate::ports::{Applied, Change, SealedKey, Store};
use crate::{ConcurrentSessions, Session, User};

use super::harness::{
    StoreHarness, at, block_on, concurrently, digest, open_change, session, touch, user,
};
use super::session_limit::login_with_limit;

/// How often a race is run.
const ROUNDS: u128 = 40;

/// A user, and a distinct number for each round.
fn rounds(world: StoreHarness<'_>) -> (User, impl Iterator<Item = u128>) {
    (world.user(1, "ann"), (1..=ROUNDS).map(|round| 1000 * round))
}

pub(super) fn a_renewal_never_survives_an_acknowledged_revocation(store: &Arc<dyn Store>) {
    let world = StoreHarness(store);
    let (user, rounds) = rounds(world);
    for round in rounds {
        let opened = session(&user, round);
        world.open(&opened);
        let renew = Change::RenewSession { id: opened.id, now: at(10), expires: Some(at(9000)) };
        let (renewed, alive) = concurrently(
            || world.apply(renew),
            || {
                let revoke = Change::RevokeSession(opened.id, at(10));
                assert_eq!(world.apply(revoke), Applied::Done);
                world.is_live(opened.digest, 10)
            },
        );
        assert!(matches!(renewed, Applied::Done | Applied::Refused), "{renewed:?}");
        assert!(!alive && !world.is_live(opened.digest, 10));
    }
}

pub(super) fn a_touch_never_survives_an_acknowledged_end(store: &Arc<dyn Store>) {
    let world = StoreHarness(store);
    let (user, rounds) = rounds(world);
    for round in rounds {
        let opened = session(&user, round);
        world.open(&opened);
        let ((), alive) = concurrently(
            || {
                world.touch(touch(&opened, 10, 9000));
                world.flush();
                world.touch(touch(&opened, 20, 9000));
            },
            || {
                let close = Change::EndSession { id: opened.id, now: at(10) };
                assert_eq!(world.apply(close), Applied::Done);
                world.is_live(opened.digest, 10)
            },
        );
        world.flush();
        assert!(!alive && !world.is_live(opened.digest, 10));
    }
}

pub(super) fn two_takeovers_leave_one_secret(store: &Arc<dyn Store>) {
    let world = StoreHarness(store);
    for round in (1..=ROUNDS).map(|round| 1000 * round) {
        let user = world.user(round, &format!("user{round}"));
        let login = |number| {
            let new = Session { created: at(10), ..session(&user, round + number) };
            world.login(&new, ConcurrentSessions::TakeOver)
        };
        let old = (round % 2000 == 0).then(|| login(0));
        let (one, other) = concurrently(|| login(1), || login(2));
        assert_eq!(one.id, other.id);
        assert!(old.is_none_or(|old| old.id == one.id));
        let living = (0..3).filter(|number| world.is_live(digest(round + number), 10)).count();
        assert_eq!(living, 1);
    }
}

pub(super) fn two_logins_that_end_others_leave_one_session(store: &Arc<dyn Store>) {
    let world = StoreHarness(store);
    for round in (1..=ROUNDS).map(|round| 1000 * round) {
        let user = world.user(round, &format!("user{round}"));
        let login = |number| {
            let new = Session { created: at(10), ..session(&user, round + number) };
            world.login(&new, ConcurrentSessions::EndOthers)
        };
        login(0);
        concurrently(|| login(1), || login(2));
        let living = (0..3).filter(|number| world.is_live(digest(round + number), 10)).count();
        assert_eq!(living, 1);
    }
}

pub(super) fn two_logins_at_the_session_limit_stay_within_it(store: &Arc<dyn Store>) {
    let world = StoreHarness(store);
    let (user, rounds) = rounds(world);
    for round in rounds {
        // Each session is later than those of the rounds before.
        let of = |number: u128| Session {
            created: at(i64::try_from(round + number).unwrap_or(i64::MAX)),
            expires: None,
            ..session(&user, round + number)
        };
        let login = |number| world.apply(login_with_limit(&of(number), 2));
        login(1);
        let both = concurrently(|| login(2), || login(3));
        assert!(matches!(both, (Applied::Opened(_), Applied::Opened(_))), "{both:?}");
        let rows = (1..=3).filter(|number| world.find(digest(round + number)).is_some());
        assert_eq!(rows.count(), 2);
    }
}

pub(super) fn no_session_survives_an_acknowledged_disabling(store: &Arc<dyn Store>) {
    let world = StoreHarness(store);
    for round in (1..=ROUNDS).map(|round| 1000 * round) {
        let user = world.user(round, &format!("user{round}"));
        let login = open_change(&session(&user, round), ConcurrentSessions::Allow);
        let (login, alive) = concurrently(
            || world.apply(login),
            || {
                world.apply(Change::SetEnabled(user.canonical.clone(), false));
                world.is_live(digest(round), 0)
            },
        );
        assert!(matches!(login, Applied::Opened(_) | Applied::Refused), "{login:?}");
        world.apply(Change::SetEnabled(user.canonical.clone(), true));
        assert!(!alive && !world.is_live(digest(round), 0));
    }
}

/// Asserts that exactly one of two changes is done and the other is refused with `loser`.
#[track_caller]
fn assert_one_refused(answers: &(Applied, Applied), loser: &Applied) {
    let lost = [&answers.0, &answers.1].into_iter().filter(|answer| *answer == loser).count();
    assert_eq!(lost, 1, "{answers:?}");
}

pub(super) fn one_of_two_gets_the_same_digest(store: &Arc<dyn Store>) {
    let world = StoreHarness(store);
    let (user, rounds) = rounds(world);
    for round in rounds {
        let login = |number| {
            let new = Session { digest: digest(round), ..session(&user, round + number) };
            world.apply(open_change(&new, ConcurrentSessions::Allow))
        };
        assert_one_refused(&concurrently(|| login(0), || login(1)), &Applied::Conflict);
        assert!(world.is_live(digest(round), 0));
    }
}

pub(super) fn one_of_two_gets_the_same_public_id(store: &Arc<dyn Store>) {
    let world = StoreHarness(store);
    let (user, rounds) = rounds(world);
    for round in rounds {
        let login = |number| {
            let public_id = Some(format!("{:09}", 100_000_000 + round));
            world.apply(open_change(
                &Session { public_id, ..session(&user, round + number) },
                ConcurrentSessions::Allow,
            ))
        };
        assert_one_refused(&concurrently(|| login(0), || login(1)), &Applied::Conflict);
        let living = (0..2).filter(|number| world.is_live(digest(round + number), 0)).count();
        assert_eq!(living, 1);
    }
}

pub(super) fn one_of_two_gets_the_same_name(store: &Arc<dyn Store>) {
    let world = StoreHarness(store);
    for round in (1..=ROUNDS).map(|round| 1000 * round) {
        let add = |number| {
            let user = user(round + number, &format!("user{round}"));
            world.apply(Change::AddUser(Box::new(user)))
        };
        assert_one_refused(&concurrently(|| add(0), || add(1)), &Applied::Conflict);
    }
    assert_eq!(u128::from(block_on(store.users(0, 0)).total), ROUNDS);
}

pub(super) fn one_of_two_nodes_makes_the_first_key(store: &Arc<dyn Store>) {
    let world = StoreHarness(store);
    let add = |kid: &str| {
        let key = SealedKey {
            kid: kid.to_owned(),
            purpose: "one".to_owned(),
            created: at(0),
            active_from: at(0),
            sealed: vec![1],
        };
        world.apply(Change::AddKey { key: Box::new(key), expected_newest: None })
    };
    assert_one_refused(&concurrently(|| add("a"), || add("b")), &Applied::Refused);
    assert_eq!(block_on(store.keys()).len(), 1);
}

pub(super) fn a_failed_change_does_not_affect_its_batch(store: &Arc<dyn Store>) {
    let world = StoreHarness(store);
    let (user, rounds) = rounds(world);
    for round in rounds.take(5) {
        world.open(&session(&user, round));
        // All are queued before the first answer is awaited, so most of them share a batch with the conflicting login.
        let logins: Vec<_> = (0..20)
            .map(|number| {
                let digest = digest(if number == 7 { round } else { round + number });
                let new = Session { digest, ..session(&user, round + 100 + number) };
                store.apply(open_change(&new, ConcurrentSessions::Allow))
            })
            .collect();
        for (number, answer) in (0..).zip(logins.into_iter().map(block_on)) {
            let bad = number == 7 || number == 0;
            assert_eq!(matches!(answer, Applied::Opened(_)), !bad, "{number}: {answer:?}");
            assert_eq!(answer == Applied::Conflict, bad, "{number}: {answer:?}");
        }
    }
}

//! Claims about what happens at the same time. Each is run some dozens of times; what is acknowledged must hold whoever was first.

use std::sync::Arc;

use crate::ports::{Applied, Change, SealedKey, Store};
use crate::{Rivals, Session, User};

use super::cap::capped;
use super::world::{World, at, at_once, digest, opening, session, touch, user, wait};

/// How often a race is run.
const ROUNDS: u128 = 40;

/// A user, and a number of his own for each round.
fn rounds(world: World<'_>) -> (User, impl Iterator<Item = u128>) {
    (world.user(1, "ann"), (1..=ROUNDS).map(|round| 1000 * round))
}

pub(super) fn a_renewal_never_survives_an_acknowledged_revocation(store: &Arc<dyn Store>) {
    let world = World(store);
    let (user, rounds) = rounds(world);
    for round in rounds {
        let opened = session(&user, round);
        world.open(&opened);
        let renew = Change::Renew { id: opened.id, now: at(10), expires: Some(at(9000)) };
        let (renewed, alive) = at_once(
            || world.apply(renew),
            || {
                let revoke = Change::RevokeSession(opened.id, at(10));
                assert_eq!(world.apply(revoke), Applied::Done);
                world.lives(opened.digest, 10)
            },
        );
        assert!(matches!(renewed, Applied::Done | Applied::Refused), "{renewed:?}");
        assert!(!alive && !world.lives(opened.digest, 10));
    }
}

pub(super) fn a_touch_never_survives_an_acknowledged_end(store: &Arc<dyn Store>) {
    let world = World(store);
    let (user, rounds) = rounds(world);
    for round in rounds {
        let opened = session(&user, round);
        world.open(&opened);
        let ((), alive) = at_once(
            || {
                world.touch(touch(&opened, 10, 9000));
                world.flush();
                world.touch(touch(&opened, 20, 9000));
            },
            || {
                let close = Change::Close { id: opened.id, now: at(10) };
                assert_eq!(world.apply(close), Applied::Done);
                world.lives(opened.digest, 10)
            },
        );
        world.flush();
        assert!(!alive && !world.lives(opened.digest, 10));
    }
}

pub(super) fn two_possessions_leave_one_secret(store: &Arc<dyn Store>) {
    let world = World(store);
    for round in (1..=ROUNDS).map(|round| 1000 * round) {
        let user = world.user(round, &format!("user{round}"));
        let login = |number| {
            let new = Session { created: at(10), ..session(&user, round + number) };
            world.login(&new, Rivals::Possess)
        };
        let old = (round % 2000 == 0).then(|| login(0));
        let (one, other) = at_once(|| login(1), || login(2));
        assert_eq!(one.id, other.id);
        assert!(old.is_none_or(|old| old.id == one.id));
        let living = (0..3).filter(|number| world.lives(digest(round + number), 10)).count();
        assert_eq!(living, 1);
    }
}

pub(super) fn two_kills_leave_one_session(store: &Arc<dyn Store>) {
    let world = World(store);
    for round in (1..=ROUNDS).map(|round| 1000 * round) {
        let user = world.user(round, &format!("user{round}"));
        let login = |number| {
            let new = Session { created: at(10), ..session(&user, round + number) };
            world.login(&new, Rivals::Kill)
        };
        login(0);
        at_once(|| login(1), || login(2));
        let living = (0..3).filter(|number| world.lives(digest(round + number), 10)).count();
        assert_eq!(living, 1);
    }
}

pub(super) fn two_logins_at_the_cap_leave_no_more(store: &Arc<dyn Store>) {
    let world = World(store);
    let (user, rounds) = rounds(world);
    for round in rounds {
        // Each later than those of the rounds before.
        let of = |number: u128| Session {
            created: at(i64::try_from(round + number).unwrap_or(i64::MAX)),
            expires: None,
            ..session(&user, round + number)
        };
        let login = |number| world.apply(capped(&of(number), 2));
        login(1);
        let both = at_once(|| login(2), || login(3));
        assert!(matches!(both, (Applied::Opened(_), Applied::Opened(_))), "{both:?}");
        let rows = (1..=3).filter(|number| world.found(digest(round + number)).is_some());
        assert_eq!(rows.count(), 2);
    }
}

pub(super) fn no_session_survives_an_acknowledged_disabling(store: &Arc<dyn Store>) {
    let world = World(store);
    for round in (1..=ROUNDS).map(|round| 1000 * round) {
        let user = world.user(round, &format!("user{round}"));
        let login = opening(&session(&user, round), Rivals::Allow);
        let (login, alive) = at_once(
            || world.apply(login),
            || {
                world.apply(Change::SetEnabled(user.canonical.clone(), false));
                world.lives(digest(round), 0)
            },
        );
        assert!(matches!(login, Applied::Opened(_) | Applied::Refused), "{login:?}");
        world.apply(Change::SetEnabled(user.canonical.clone(), true));
        assert!(!alive && !world.lives(digest(round), 0));
    }
}

/// Exactly one of two may be done; the other hears why not.
#[track_caller]
fn one_winner(answers: &(Applied, Applied), loser: &Applied) {
    let lost = [&answers.0, &answers.1].into_iter().filter(|answer| *answer == loser).count();
    assert_eq!(lost, 1, "{answers:?}");
}

pub(super) fn one_of_two_gets_the_same_digest(store: &Arc<dyn Store>) {
    let world = World(store);
    let (user, rounds) = rounds(world);
    for round in rounds {
        let login = |number| {
            let new = Session { digest: digest(round), ..session(&user, round + number) };
            world.apply(opening(&new, Rivals::Allow))
        };
        one_winner(&at_once(|| login(0), || login(1)), &Applied::Taken);
        assert!(world.lives(digest(round), 0));
    }
}

pub(super) fn one_of_two_gets_the_same_sid(store: &Arc<dyn Store>) {
    let world = World(store);
    let (user, rounds) = rounds(world);
    for round in rounds {
        let login = |number| {
            let sid = Some(format!("{:09}", 100_000_000 + round));
            world.apply(opening(&Session { sid, ..session(&user, round + number) }, Rivals::Allow))
        };
        one_winner(&at_once(|| login(0), || login(1)), &Applied::Taken);
        let living = (0..2).filter(|number| world.lives(digest(round + number), 0)).count();
        assert_eq!(living, 1);
    }
}

pub(super) fn one_of_two_gets_the_same_name(store: &Arc<dyn Store>) {
    let world = World(store);
    for round in (1..=ROUNDS).map(|round| 1000 * round) {
        let add = |number| {
            let user = user(round + number, &format!("user{round}"));
            world.apply(Change::AddUser(Box::new(user)))
        };
        one_winner(&at_once(|| add(0), || add(1)), &Applied::Taken);
    }
    assert_eq!(u128::from(wait(store.users(0, 0)).total), ROUNDS);
}

pub(super) fn one_of_two_nodes_makes_the_first_key(store: &Arc<dyn Store>) {
    let world = World(store);
    let add = |kid: &str| {
        let key = SealedKey {
            kid: kid.to_owned(),
            purpose: "one".to_owned(),
            created: at(0),
            active: at(0),
            sealed: vec![1],
        };
        world.apply(Change::AddKey { key: Box::new(key), after: None })
    };
    one_winner(&at_once(|| add("a"), || add("b")), &Applied::Refused);
    assert_eq!(wait(store.keys()).len(), 1);
}

pub(super) fn a_bad_change_takes_no_other_with_it(store: &Arc<dyn Store>) {
    let world = World(store);
    let (user, rounds) = rounds(world);
    for round in rounds.take(5) {
        world.open(&session(&user, round));
        // All are queued before the first answer is waited for, so most of them share a batch with the bad one.
        let logins: Vec<_> = (0..20)
            .map(|number| {
                let digest = digest(if number == 7 { round } else { round + number });
                let new = Session { digest, ..session(&user, round + 100 + number) };
                store.apply(opening(&new, Rivals::Allow))
            })
            .collect();
        for (number, answer) in (0..).zip(logins.into_iter().map(wait)) {
            let bad = number == 7 || number == 0;
            assert_eq!(matches!(answer, Applied::Opened(_)), !bad, "{number}: {answer:?}");
            assert_eq!(answer == Applied::Taken, bad, "{number}: {answer:?}");
        }
    }
}

//! Claims about the account lock-out: the bound on brute force against one account.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::lockout::{
    Admission, Attempt, AttemptState, DAILY_FAILURES_ALL_TRUSTED_ADDRESSES,
    DAILY_FAILURES_PER_TRUSTED_ADDRESS, FREE_FAILURES, Reservation, TRUSTED_ADDRESSES_PER_USER,
    account_digest, delay_after_failures, utc_day,
};
use crate::ports::{Applied, Change, Store};
use crate::{ConcurrentSessions, Digest, Timestamp, User, UserName};

use super::harness::{StoreHarness, address, at, block_on, canonical, concurrently, session, user};

/// A day in milliseconds. The suite begins at noon.
const DAY_MILLIS: i64 = 24 * 60 * 60 * 1000;

/// A login as this user at this moment, with `limit` as the failures allowed per day.
fn attempt(of: &User, moment: i64, limit: u32) -> Attempt {
    let (account, user) = (account_digest(&of.canonical), Some(of.id));
    Attempt { account, user, address: address("192.0.2.7"), now: at(moment), limit }
}

impl StoreHarness<'_> {
    /// The reservation of a login, if the lock-out admits the login.
    fn reserve(self, attempt: &Attempt) -> Option<Reservation> {
        match self.apply(Change::ReserveAttempt(Box::new(attempt.clone()))) {
            Applied::Admitted(admission) => {
                Some(Reservation { attempt: attempt.clone(), admission })
            }
            Applied::Refused
            | Applied::Done
            | Applied::Rows(_)
            | Applied::Opened(_)
            | Applied::Conflict => None,
        }
    }

    /// A login with a wrong password. Whether the lock-out admitted the login.
    fn fail_login(self, attempt: &Attempt) -> bool {
        let reservation = self.reserve(attempt);
        if let Some(reservation) = &reservation {
            assert_eq!(
                self.apply(Change::RecordFailure(Box::new(reservation.clone()))),
                Applied::Done
            );
        }
        reservation.is_some()
    }

    /// A login with the right password. Whether the lock-out admitted the login.
    fn complete_login(self, attempt: &Attempt, of: &User, number: u128) -> bool {
        let reservation = self.reserve(attempt).map(Box::new);
        let is_reserved = reservation.is_some();
        if is_reserved {
            let session = Box::new(crate::Session { created: attempt.now, ..session(of, number) });
            let change = Change::OpenSession {
                session,
                concurrent_sessions: ConcurrentSessions::Allow,
                rehash: None,
                session_limit: None,
                reservation,
            };
            assert!(matches!(self.apply(change), Applied::Opened(_)));
        }
        is_reserved
    }

    #[track_caller]
    fn attempt_state(self, account: Digest) -> Option<AttemptState> {
        block_on(self.0.attempt_state(account))
    }
}

pub(super) fn an_attempt_is_reserved_and_released(store: &Arc<dyn Store>) {
    let world = StoreHarness(store);
    let ann = world.user(1, "ann");
    let login = attempt(&ann, 0, 10);
    assert_eq!(world.attempt_state(login.account), None);
    let reservation = world.reserve(&login);
    let admission =
        Admission { day: utc_day(at(0)), for_trusted_address: false, previous_failures: 0 };
    assert_eq!(reservation.as_ref().map(|reservation| reservation.admission), Some(admission));
    let taken = AttemptState {
        day: utc_day(at(0)),
        used: 1,
        consecutive_failures: 0,
        wait_until: at(0),
        consecutive_refusals: 0,
    };
    assert_eq!(world.attempt_state(login.account), Some(taken));
    reservation
        .into_iter()
        .for_each(|reservation| drop(world.apply(Change::ReleaseAttempt(Box::new(reservation)))));
    assert_eq!(world.attempt_state(login.account), Some(AttemptState { used: 0, ..taken }));
}

pub(super) fn consecutive_failures_delay_the_next_login(store: &Arc<dyn Store>) {
    let world = StoreHarness(store);
    let ann = user(1, "ann");
    let mut now = 0;
    for failures in 1..=70 {
        assert!(world.fail_login(&attempt(&ann, now, 1000)), "{failures}");
        let wait = i64::try_from(delay_after_failures(failures).as_millis()).unwrap_or(0);
        if wait > 0 {
            assert!(world.reserve(&attempt(&ann, now + wait - 1, 1000)).is_none(), "{failures}");
        }
        now += wait;
    }
    // 1 s after the 21st up to the 30th, 3 s up to the 40th, 5 s up to the 60th, 10 s from then on.
    assert_eq!(now, 1000 * (10 + 10 * 3 + 20 * 5 + 10 * 10));
    // An unknown name is locked out in the same way, against user enumeration.
    let unknown = Attempt { user: None, ..attempt(&user(2, "nobody"), 0, 1000) };
    assert!((0..=FREE_FAILURES).all(|_| world.fail_login(&unknown)) && !world.fail_login(&unknown));
}

pub(super) fn refused_attempts_are_counted_until_one_is_reserved(store: &Arc<dyn Store>) {
    let world = StoreHarness(store);
    let (ann, unknown) = (user(1, "ann"), user(2, "nobody"));
    for login in [attempt(&ann, 0, 2), Attempt { user: None, ..attempt(&unknown, 0, 2) }] {
        let refused = || world.attempt_state(login.account).map(|state| state.consecutive_refusals);
        assert!((0..2).all(|_| world.reserve(&login).is_some()));
        for count in 1..=3 {
            assert!(world.reserve(&login).is_none());
            assert_eq!(refused(), Some(count));
        }
        let tomorrow = Attempt { now: at(DAY_MILLIS), ..login.clone() };
        assert!(world.reserve(&tomorrow).is_some());
        assert_eq!(refused(), Some(0));
        assert!(world.reserve(&tomorrow).is_some() && world.reserve(&tomorrow).is_none());
        let more = Attempt { limit: 3, ..tomorrow };
        assert_eq!(refused(), Some(1));
        assert!(world.reserve(&more).is_some());
        assert_eq!(refused(), Some(0));
    }
}

pub(super) fn a_clock_that_is_behind_is_not_delayed_during_free_failures(store: &Arc<dyn Store>) {
    let world = StoreHarness(store);
    let ann = user(1, "ann");
    assert!((0..FREE_FAILURES).all(|number| world.fail_login(&attempt(&ann, -number, 100))));
    // The next failure starts a wait. A node with a clock that is behind waits longer.
    assert!(
        world.fail_login(&attempt(&ann, -30, 100)) && !world.fail_login(&attempt(&ann, 969, 100))
    );
    assert!(world.fail_login(&attempt(&ann, 970, 100)));
}

pub(super) fn a_delayed_account_admits_one_attempt_at_a_time(store: &Arc<dyn Store>) {
    let world = StoreHarness(store);
    let ann = user(1, "ann");
    // Before the free failures are spent, concurrent logins are not bounded by a wait.
    let reservations: Vec<_> =
        (0..30).filter_map(|_| world.reserve(&attempt(&ann, 0, 100))).collect();
    assert_eq!(reservations.len(), 30);
    for reservation in reservations.into_iter().take(21) {
        world.apply(Change::RecordFailure(Box::new(reservation)));
    }
    assert!(world.reserve(&attempt(&ann, 999, 100)).is_none());
    assert!(world.reserve(&attempt(&ann, 1000, 100)).is_some());
    // A login in progress counts as failed until its result is known.
    assert!(world.reserve(&attempt(&ann, 1999, 100)).is_none());
    assert!(world.reserve(&attempt(&ann, 2000, 100)).is_some());
}

pub(super) fn attempts_of_a_day_stay_within_the_limit(store: &Arc<dyn Store>) {
    let world = StoreHarness(store);
    let ann = user(1, "ann");
    let taken = |moment| {
        let placed = |_: &i32| world.reserve(&attempt(&ann, moment, 12)).is_some();
        (0..30).filter(placed).count()
    };
    assert_eq!((taken(0), taken(1000), taken(DAY_MILLIS)), (12, 0, 12));
    // A node with a clock that is behind reserves from the day that has begun.
    assert_eq!(taken(0), 0);
    let full = world.attempt_state(account_digest(&ann.canonical));
    assert_eq!(full.map(|state| (state.day, state.used)), Some((utc_day(at(DAY_MILLIS)), 12)));
}

pub(super) fn concurrent_attempts_reach_the_limit_exactly(store: &Arc<dyn Store>) {
    let world = StoreHarness(store);
    let ann = user(1, "ann");
    let taken = AtomicUsize::new(0);
    let guess = || {
        for _ in 0..40 {
            if world.reserve(&attempt(&ann, 0, 50)).is_some() {
                taken.fetch_add(1, Ordering::SeqCst);
            }
        }
    };
    concurrently(guess, guess);
    assert_eq!(taken.into_inner(), 50);
}

pub(super) fn a_success_releases_its_attempt_and_resets_the_failures(store: &Arc<dyn Store>) {
    let world = StoreHarness(store);
    let ann = world.user(1, "ann");
    assert!((0..3).all(|_| world.fail_login(&attempt(&ann, 0, 10))));
    assert!(world.complete_login(&attempt(&ann, 5, 10), &ann, 1));
    let state = AttemptState {
        day: utc_day(at(0)),
        used: 3,
        consecutive_failures: 0,
        wait_until: at(5),
        consecutive_refusals: 0,
    };
    assert_eq!(world.attempt_state(account_digest(&ann.canonical)), Some(state));
    // The failures of that day still count for the day.
    let elsewhere = Attempt { address: None, ..attempt(&ann, 6, 10) };
    assert_eq!((0..20).filter(|_| world.reserve(&elsewhere).is_some()).count(), 7);
}

pub(super) fn a_refused_login_keeps_its_attempt_reserved(store: &Arc<dyn Store>) {
    let world = StoreHarness(store);
    let ann = world.user(1, "ann");
    let reservation = world.reserve(&attempt(&ann, 0, 10)).map(Box::new);
    world.apply(Change::SetEnabled(ann.canonical.clone(), false));
    let session = Box::new(session(&ann, 1));
    let change = Change::OpenSession {
        session,
        concurrent_sessions: ConcurrentSessions::Allow,
        rehash: None,
        session_limit: None,
        reservation,
    };
    assert_eq!(world.apply(change), Applied::Refused);
    assert_eq!(
        world.attempt_state(account_digest(&ann.canonical)).map(|state| state.used),
        Some(1)
    );
}

pub(super) fn a_trusted_address_has_attempts_of_its_own(store: &Arc<dyn Store>) {
    let world = StoreHarness(store);
    let ann = world.user(1, "ann");
    let own = |moment| attempt(&ann, moment, 1);
    let elsewhere = |moment| Attempt { address: address("203.0.113.9"), ..own(moment) };
    assert!(world.complete_login(&own(0), &ann, 1));
    assert!(world.fail_login(&elsewhere(0)) && !world.fail_login(&elsewhere(0)));

    // A right password releases the reservation, a wrong one does not.
    assert!((2..20).all(|number| world.complete_login(&own(1), &ann, number)));
    let wrong = (0..20).filter(|_| world.fail_login(&own(2))).count();
    assert_eq!(i64::try_from(wrong), Ok(DAILY_FAILURES_PER_TRUSTED_ADDRESS));
    // The attempt state of the account is unchanged, except for the count of refused logins.
    let state = world
        .attempt_state(account_digest(&ann.canonical))
        .map(|state| (state.used, state.consecutive_refusals));
    assert_eq!(state, Some((1, 1 + 18 + 20)));
    // No reservation for an address with an unknown name, for another user's address, or without an address.
    let unknown = Attempt { user: None, ..own(3) };
    let bob = Attempt { user: Some(world.user(2, "bob").id), ..own(3) };
    let nowhere = Attempt { address: None, ..own(3) };
    assert!([unknown, bob, nowhere].iter().all(|it| world.reserve(it).is_none()));
    // A new day: the one attempt of the account, then again those reserved for the trusted address.
    assert_eq!((0..20).filter(|_| world.fail_login(&own(DAY_MILLIS))).count(), wrong + 1);
}

pub(super) fn the_latest_login_addresses_are_trusted(store: &Arc<dyn Store>) {
    let world = StoreHarness(store);
    let ann = world.user(1, "ann");
    let from = |last: u8, moment| Attempt {
        address: Some([192, 0, 2, last].into()),
        ..attempt(&ann, moment, 1000)
    };
    for last in 0..6 {
        assert!(world.complete_login(&from(last, last.into()), &ann, 1 + u128::from(last)));
    }
    assert!(world.complete_login(&from(2, 7), &ann, 9));
    assert!(world.complete_login(&from(6, 8), &ann, 10));
    let kept = |last: &u8| world.reserve(&Attempt { limit: 0, ..from(*last, 10) }).is_some();
    let known: Vec<u8> = (0..7).filter(kept).collect();
    assert_eq!((known.len(), known), (TRUSTED_ADDRESSES_PER_USER, vec![2, 4, 5, 6]));

    world.apply(Change::RemoveUser(ann.canonical.clone()));
    assert!(!(0..7).any(|last| kept(&last)));
}

pub(super) fn trusted_addresses_together_stay_within_their_limit(store: &Arc<dyn Store>) {
    let world = StoreHarness(store);
    let ann = world.user(1, "ann");
    let from = |last: u8, moment, limit| Attempt {
        address: Some([192, 0, 2, last].into()),
        ..attempt(&ann, moment, limit)
    };
    let mut number = 0;
    // A right password from each of eight addresses in turn, more than are trusted, each followed by wrong passwords.
    let mut day_of = |start: i64| {
        let mut wrong = 0;
        for round in 0..4 {
            for last in 0..8 {
                number += 1;
                let moment = start + i64::from(round * 8 + last);
                assert!(world.complete_login(&from(last, moment, 1000), &ann, number));
                wrong += (0..9).filter(|_| world.fail_login(&from(last, moment, 0))).count();
            }
        }
        wrong
    };
    let kept = usize::try_from(DAILY_FAILURES_ALL_TRUSTED_ADDRESSES).unwrap_or(0);
    assert_eq!((day_of(0), day_of(DAY_MILLIS)), (kept, kept));
    // A released reservation is available again, and a right password releases its own.
    world.apply(Change::Unlock(ann.canonical.clone()));
    assert!(world.reserve(&from(99, DAY_MILLIS + 99, 1)).is_some());
    let reservations: Vec<_> =
        (0..9).filter_map(|_| world.reserve(&from(7, DAY_MILLIS + 99, 0))).collect();
    assert_eq!(i64::try_from(reservations.len()), Ok(DAILY_FAILURES_PER_TRUSTED_ADDRESS));
    for reservation in reservations {
        world.apply(Change::ReleaseAttempt(Box::new(reservation)));
    }
    assert!((0..50).all(|more| world.complete_login(
        &from(7, DAY_MILLIS + 99, 0),
        &ann,
        1000 + more
    )));
    assert_eq!((0..9).filter(|_| world.fail_login(&from(7, DAY_MILLIS + 99, 0))).count(), 5);
}

pub(super) fn an_address_trusted_by_an_operator_has_attempts_of_its_own(store: &Arc<dyn Store>) {
    let world = StoreHarness(store);
    let ann = world.user(1, "ann");
    let from = |last: u8, moment| Attempt {
        address: Some([192, 0, 2, last].into()),
        ..attempt(&ann, moment, 1)
    };
    assert!(world.reserve(&from(99, 0)).is_some());
    let trust = |last: u8, moment| {
        let name = ann.canonical.clone();
        world.apply(Change::TrustAddress(name, [192, 0, 2, last].into(), at(moment)))
    };
    assert!(world.reserve(&from(1, 0)).is_none());
    assert_eq!((trust(1, 0), trust(1, 1)), (Applied::Done, Applied::Done));
    assert!(world.reserve(&from(1, 2)).is_some() && world.reserve(&from(2, 2)).is_none());
    // An address trusted by an operator is one of the latest trusted addresses, and is displaced like any other.
    for last in 2..6 {
        assert_eq!(trust(last, last.into()), Applied::Done);
    }
    let trusted: Vec<u8> = (0..9).filter(|last| world.reserve(&from(*last, 9)).is_some()).collect();
    assert_eq!(trusted, [2, 3, 4, 5]);
    let unknown = Change::TrustAddress(canonical("nobody"), [192, 0, 2, 1].into(), at(0));
    assert_eq!(world.apply(unknown), Applied::Refused);
}

pub(super) fn unlocking_resets_an_account(store: &Arc<dyn Store>) {
    let world = StoreHarness(store);
    let ann = world.user(1, "ann");
    let login = attempt(&ann, 0, 2);
    assert!(world.complete_login(&login, &ann, 1));
    let all = || (0..20).filter(|_| world.fail_login(&login)).count();
    let (first, again) = (all(), all());
    assert_eq!((i64::try_from(first), again), (Ok(2 + DAILY_FAILURES_PER_TRUSTED_ADDRESS), 0));
    assert_eq!(world.apply(Change::Unlock(ann.canonical)), Applied::Done);
    assert_eq!(world.attempt_state(login.account), None);
    assert_eq!(all(), first);
    assert_eq!(world.apply(Change::Unlock(canonical("nobody"))), Applied::Done);
}

pub(super) fn attempt_counts_follow_a_rename(store: &Arc<dyn Store>) {
    let world = StoreHarness(store);
    let ann = world.user(1, "ann");
    assert!(world.complete_login(&attempt(&ann, 0, 2), &ann, 1));
    // A stranger has tried the new name, which has no user yet.
    let stranger = Attempt { user: None, ..attempt(&user(9, "anna"), 0, 9) };
    assert!(world.fail_login(&stranger));
    let all = |login: &Attempt| (0..20).filter(|_| world.fail_login(login)).count();
    assert_eq!(
        i64::try_from(all(&attempt(&ann, 0, 2))),
        Ok(2 + DAILY_FAILURES_PER_TRUSTED_ADDRESS)
    );
    let counted = world.attempt_state(account_digest(&ann.canonical));
    let rename = |old: &str, new: &str| {
        let new =
            UserName::new(new).map(|new| world.apply(Change::RenameUser(canonical(old), new)));
        assert_eq!(new, Ok(Applied::Done));
    };
    rename("ann", "Anna");
    assert_eq!(world.attempt_state(account_digest(&canonical("ann"))), None);
    assert_eq!(world.attempt_state(account_digest(&canonical("anna"))), counted);
    // The renamed user waits as before, from a trusted address too.
    let anna = world.stored_user(&user(1, "Anna"));
    assert_eq!(all(&attempt(&anna, 0, 2)), 0);
    // Another spelling is the same account. A renamed user without counted failures is not locked out by failures that
    // strangers caused on the new name.
    let counted = world.attempt_state(account_digest(&canonical("anna")));
    rename("anna", "ANNA");
    assert_eq!(world.attempt_state(account_digest(&canonical("anna"))), counted);
    let bob = world.user(2, "bob");
    let stranger = Attempt { user: None, ..attempt(&user(9, "bobby"), 0, 9) };
    assert!(world.fail_login(&stranger));
    assert!(world.attempt_state(account_digest(&canonical("bobby"))).is_some());
    rename("bob", "Bobby");
    assert_eq!(world.attempt_state(account_digest(&canonical("bobby"))), None);
    assert!(world.fail_login(&attempt(&User { canonical: canonical("bobby"), ..bob }, 0, 2)));
}

pub(super) fn an_attempt_of_yesterday_is_not_released_today(store: &Arc<dyn Store>) {
    let world = StoreHarness(store);
    let ann = world.user(1, "ann");
    let old: Vec<_> = world.reserve(&attempt(&ann, 0, 10)).into_iter().collect();
    assert!(world.reserve(&attempt(&ann, DAY_MILLIS, 10)).is_some() && old.len() == 1);
    let before = world.attempt_state(account_digest(&ann.canonical));
    for reservation in old {
        world.apply(Change::RecordFailure(Box::new(reservation.clone())));
        world.apply(Change::ReleaseAttempt(Box::new(reservation)));
    }
    assert_eq!(world.attempt_state(account_digest(&ann.canonical)), before);
}

pub(super) fn idle_attempt_rows_are_purged_and_unknown_names_are_bounded(store: &Arc<dyn Store>) {
    let world = StoreHarness(store);
    let ann = user(1, "ann");
    let unknown = |number: i64| Attempt {
        account: Digest::of("test", &number.to_string()),
        user: None,
        ..attempt(&ann, DAY_MILLIS + number, 10)
    };
    assert!(world.fail_login(&attempt(&ann, 0, 10)));
    assert!((0..10).all(|number| world.fail_login(&unknown(number))));
    assert!(world.fail_login(&attempt(&user(2, "bob"), DAY_MILLIS, 10)));
    let left = |before: Timestamp, unknowns, limit| {
        let rows =
            world.apply(Change::PurgeAttempts { before, max_unknown_names: unknowns, limit });
        let stay = |number: &i64| world.attempt_state(unknown(*number).account).is_some();
        (rows, (0..10).filter(stay).collect::<Vec<_>>())
    };
    assert_eq!(left(at(0), 10, 100), (Applied::Rows(0), (0..10).collect()));
    assert_eq!(left(at(1), 10, 100), (Applied::Rows(1), (0..10).collect()));
    assert_eq!(world.attempt_state(account_digest(&ann.canonical)), None);
    // A purge drops the names without an attempt for the longest time first, a limited number per call, and no name
    // that has a user.
    assert_eq!(left(at(1), 3, 4), (Applied::Rows(4), (4..10).collect()));
    assert_eq!(left(at(1), 3, 100), (Applied::Rows(3), (7..10).collect()));
    assert_eq!(left(at(1), 0, 100), (Applied::Rows(3), Vec::new()));
    assert!(world.attempt_state(account_digest(&canonical("bob"))).is_some());
}

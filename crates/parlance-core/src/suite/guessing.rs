//! Claims about ladders: what bounds guesses at one account.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::lockout::{
    Admission, Attempt, FREE, KNOWN_ADDRESSES, RESERVE, RESERVED, Rung, Slot, account, day,
    wait_after,
};
use crate::ports::{Applied, Change, Store};
use crate::{Digest, Rivals, Timestamp, User, UserName};

use super::world::{World, address, at, at_once, named, session, user, wait};

/// A day in milliseconds. The suite begins at noon.
const DAY: i64 = 24 * 60 * 60 * 1000;

/// A login as somebody, at a moment, where so many may fail in a day.
fn attempt(of: &User, moment: i64, limit: u32) -> Attempt {
    let (account, user) = (account(&of.canonical), Some(of.id));
    Attempt { account, user, address: address("192.0.2.7"), now: at(moment), limit }
}

impl World<'_> {
    /// The place that a login gets, if any.
    fn place(self, attempt: &Attempt) -> Option<Slot> {
        match self.apply(Change::Attempt(Box::new(attempt.clone()))) {
            Applied::Admitted(admission) => Some(Slot { attempt: attempt.clone(), admission }),
            Applied::Refused
            | Applied::Done
            | Applied::Rows(_)
            | Applied::Opened(_)
            | Applied::Taken => None,
        }
    }

    /// A login that fails, if it gets a place. Whether it did.
    fn fails(self, attempt: &Attempt) -> bool {
        let place = self.place(attempt);
        if let Some(slot) = &place {
            assert_eq!(self.apply(Change::Failed(Box::new(slot.clone()))), Applied::Done);
        }
        place.is_some()
    }

    /// A login that succeeds, if it gets a place. Whether it did.
    fn succeeds(self, attempt: &Attempt, of: &User, number: u128) -> bool {
        let place = self.place(attempt).map(Box::new);
        let is_placed = place.is_some();
        if is_placed {
            let session = Box::new(crate::Session { created: attempt.now, ..session(of, number) });
            let change = Change::Open {
                session,
                rivals: Rivals::Allow,
                rehash: None,
                max_sessions: None,
                slot: place,
            };
            assert!(matches!(self.apply(change), Applied::Opened(_)));
        }
        is_placed
    }

    #[track_caller]
    fn rung(self, account: Digest) -> Option<Rung> {
        wait(self.0.rung(account))
    }
}

pub(super) fn a_place_is_taken_before_and_given_back_after(store: &Arc<dyn Store>) {
    let world = World(store);
    let ann = world.user(1, "ann");
    let login = attempt(&ann, 0, 10);
    assert_eq!(world.rung(login.account), None);
    let slot = world.place(&login);
    let admission = Admission { day: day(at(0)), reserved: false, failures: 0 };
    assert_eq!(slot.as_ref().map(|slot| slot.admission), Some(admission));
    let taken = Rung { day: day(at(0)), taken: 1, failures: 0, until: at(0), refused: 0 };
    assert_eq!(world.rung(login.account), Some(taken));
    slot.into_iter().for_each(|slot| drop(world.apply(Change::GiveBack(Box::new(slot)))));
    assert_eq!(world.rung(login.account), Some(Rung { taken: 0, ..taken }));
}

pub(super) fn each_failure_in_a_row_waits_as_the_ladder_says(store: &Arc<dyn Store>) {
    let world = World(store);
    let ann = user(1, "ann");
    let mut now = 0;
    for failures in 1..=70 {
        assert!(world.fails(&attempt(&ann, now, 1000)), "{failures}");
        let wait = i64::try_from(wait_after(failures).as_millis()).unwrap_or(0);
        if wait > 0 {
            assert!(world.place(&attempt(&ann, now + wait - 1, 1000)).is_none(), "{failures}");
        }
        now += wait;
    }
    // 1 s after the 21st up to the 30th, 3 s up to the 40th, 5 s up to the 60th, 10 s from then on.
    assert_eq!(now, 1000 * (10 + 10 * 3 + 20 * 5 + 10 * 10));
    // A name that nobody has climbs alike.
    let nobody = Attempt { user: None, ..attempt(&user(2, "nobody"), 0, 1000) };
    assert!((0..=FREE).all(|_| world.fails(&nobody)) && !world.fails(&nobody));
}

pub(super) fn logins_that_find_no_place_are_counted_until_one_does(store: &Arc<dyn Store>) {
    let world = World(store);
    let (ann, nobody) = (user(1, "ann"), user(2, "nobody"));
    for login in [attempt(&ann, 0, 2), Attempt { user: None, ..attempt(&nobody, 0, 2) }] {
        let refused = || world.rung(login.account).map(|rung| rung.refused);
        assert!((0..2).all(|_| world.place(&login).is_some()));
        for count in 1..=3 {
            assert!(world.place(&login).is_none());
            assert_eq!(refused(), Some(count));
        }
        let tomorrow = Attempt { now: at(DAY), ..login.clone() };
        assert!(world.place(&tomorrow).is_some());
        assert_eq!(refused(), Some(0));
        assert!(world.place(&tomorrow).is_some() && world.place(&tomorrow).is_none());
        let more = Attempt { limit: 3, ..tomorrow };
        assert_eq!(refused(), Some(1));
        assert!(world.place(&more).is_some());
        assert_eq!(refused(), Some(0));
    }
}

pub(super) fn while_failures_are_free_a_clock_that_is_behind_is_let_pass(store: &Arc<dyn Store>) {
    let world = World(store);
    let ann = user(1, "ann");
    assert!((0..FREE).all(|number| world.fails(&attempt(&ann, -number, 100))));
    // The next one costs a wait, and a clock that is behind waits longer.
    assert!(world.fails(&attempt(&ann, -30, 100)) && !world.fails(&attempt(&ann, 969, 100)));
    assert!(world.fails(&attempt(&ann, 970, 100)));
}

pub(super) fn while_it_waits_one_at_a_time_is_let_pass(store: &Arc<dyn Store>) {
    let world = World(store);
    let ann = user(1, "ann");
    // Calm: as many at once as come.
    let slots: Vec<_> = (0..30).filter_map(|_| world.place(&attempt(&ann, 0, 100))).collect();
    assert_eq!(slots.len(), 30);
    for slot in slots.into_iter().take(21) {
        world.apply(Change::Failed(Box::new(slot)));
    }
    assert!(world.place(&attempt(&ann, 999, 100)).is_none());
    assert!(world.place(&attempt(&ann, 1000, 100)).is_some());
    // The one under way counts as failed until it has not.
    assert!(world.place(&attempt(&ann, 1999, 100)).is_none());
    assert!(world.place(&attempt(&ann, 2000, 100)).is_some());
}

pub(super) fn no_more_than_the_limit_is_taken_in_a_day(store: &Arc<dyn Store>) {
    let world = World(store);
    let ann = user(1, "ann");
    let taken = |moment| {
        let placed = |_: &i32| world.place(&attempt(&ann, moment, 12)).is_some();
        (0..30).filter(placed).count()
    };
    assert_eq!((taken(0), taken(1000), taken(DAY)), (12, 0, 12));
    // A node whose clock is behind takes from the day that has begun.
    assert_eq!(taken(0), 0);
    let full = world.rung(account(&ann.canonical));
    assert_eq!(full.map(|rung| (rung.day, rung.taken)), Some((day(at(DAY)), 12)));
}

pub(super) fn places_taken_at_once_are_as_many_as_the_limit(store: &Arc<dyn Store>) {
    let world = World(store);
    let ann = user(1, "ann");
    let taken = AtomicUsize::new(0);
    let guess = || {
        for _ in 0..40 {
            if world.place(&attempt(&ann, 0, 50)).is_some() {
                taken.fetch_add(1, Ordering::SeqCst);
            }
        }
    };
    at_once(guess, guess);
    assert_eq!(taken.into_inner(), 50);
}

pub(super) fn a_success_gives_back_its_own_place_and_starts_anew(store: &Arc<dyn Store>) {
    let world = World(store);
    let ann = world.user(1, "ann");
    assert!((0..3).all(|_| world.fails(&attempt(&ann, 0, 10))));
    assert!(world.succeeds(&attempt(&ann, 5, 10), &ann, 1));
    let rung = Rung { day: day(at(0)), taken: 3, failures: 0, until: at(5), refused: 0 };
    assert_eq!(world.rung(account(&ann.canonical)), Some(rung));
    // What failed that day still counts for the day.
    let elsewhere = Attempt { address: None, ..attempt(&ann, 6, 10) };
    assert_eq!((0..20).filter(|_| world.place(&elsewhere).is_some()).count(), 7);
}

pub(super) fn a_login_that_may_not_be_keeps_its_place(store: &Arc<dyn Store>) {
    let world = World(store);
    let ann = world.user(1, "ann");
    let slot = world.place(&attempt(&ann, 0, 10)).map(Box::new);
    world.apply(Change::SetEnabled(ann.canonical.clone(), false));
    let session = Box::new(session(&ann, 1));
    let change =
        Change::Open { session, rivals: Rivals::Allow, rehash: None, max_sessions: None, slot };
    assert_eq!(world.apply(change), Applied::Refused);
    assert_eq!(world.rung(account(&ann.canonical)).map(|rung| rung.taken), Some(1));
}

pub(super) fn an_address_that_is_known_keeps_places_of_its_own(store: &Arc<dyn Store>) {
    let world = World(store);
    let ann = world.user(1, "ann");
    let own = |moment| attempt(&ann, moment, 1);
    let foreign = |moment| Attempt { address: address("203.0.113.9"), ..own(moment) };
    assert!(world.succeeds(&own(0), &ann, 1));
    assert!(world.fails(&foreign(0)) && !world.fails(&foreign(0)));

    // Right ones give it back, wrong ones do not.
    assert!((2..20).all(|number| world.succeeds(&own(1), &ann, number)));
    let wrong = (0..20).filter(|_| world.fails(&own(2))).count();
    assert_eq!(i64::try_from(wrong), Ok(RESERVE));
    // The ladder was left alone, but for the count of those who found no place on it.
    let rung = world.rung(account(&ann.canonical)).map(|rung| (rung.taken, rung.refused));
    assert_eq!(rung, Some((1, 1 + 18 + 20)));
    // Another name's address, another user's, none at all: no place.
    let nobody = Attempt { user: None, ..own(3) };
    let bob = Attempt { user: Some(world.user(2, "bob").id), ..own(3) };
    let nowhere = Attempt { address: None, ..own(3) };
    assert!([nobody, bob, nowhere].iter().all(|it| world.place(it).is_none()));
    // A new day: the ladder's one, then its own again.
    assert_eq!((0..20).filter(|_| world.fails(&own(DAY))).count(), wrong + 1);
}

pub(super) fn a_user_is_known_from_his_latest_addresses(store: &Arc<dyn Store>) {
    let world = World(store);
    let ann = world.user(1, "ann");
    let from = |last: u8, moment| Attempt {
        address: Some([192, 0, 2, last].into()),
        ..attempt(&ann, moment, 1000)
    };
    for last in 0..6 {
        assert!(world.succeeds(&from(last, last.into()), &ann, 1 + u128::from(last)));
    }
    assert!(world.succeeds(&from(2, 7), &ann, 9));
    assert!(world.succeeds(&from(6, 8), &ann, 10));
    let kept = |last: &u8| world.place(&Attempt { limit: 0, ..from(*last, 10) }).is_some();
    let known: Vec<u8> = (0..7).filter(kept).collect();
    assert_eq!((known.len(), known), (KNOWN_ADDRESSES, vec![2, 4, 5, 6]));

    world.apply(Change::RemoveUser(ann.canonical.clone()));
    assert!(!(0..7).any(|last| kept(&last)));
}

pub(super) fn addresses_in_turn_get_no_more_than_is_kept(store: &Arc<dyn Store>) {
    let world = World(store);
    let ann = world.user(1, "ann");
    let from = |last: u8, moment, limit| Attempt {
        address: Some([192, 0, 2, last].into()),
        ..attempt(&ann, moment, limit)
    };
    let mut number = 0;
    // A right password is shown from each of eight addresses in turn, more than are trusted, and wrong ones after it.
    let mut day_of = |start: i64| {
        let mut wrong = 0;
        for round in 0..4 {
            for last in 0..8 {
                number += 1;
                let moment = start + i64::from(round * 8 + last);
                assert!(world.succeeds(&from(last, moment, 1000), &ann, number));
                wrong += (0..9).filter(|_| world.fails(&from(last, moment, 0))).count();
            }
        }
        wrong
    };
    let kept = usize::try_from(RESERVED).unwrap_or(0);
    assert_eq!((day_of(0), day_of(DAY)), (kept, kept));
    // What is given back is there again, and what is right gives it back.
    world.apply(Change::Unlock(ann.canonical.clone()));
    assert!(world.place(&from(99, DAY + 99, 1)).is_some());
    let slots: Vec<_> = (0..9).filter_map(|_| world.place(&from(7, DAY + 99, 0))).collect();
    assert_eq!(i64::try_from(slots.len()), Ok(RESERVE));
    for slot in slots {
        world.apply(Change::GiveBack(Box::new(slot)));
    }
    assert!((0..50).all(|more| world.succeeds(&from(7, DAY + 99, 0), &ann, 1000 + more)));
    assert_eq!((0..9).filter(|_| world.fails(&from(7, DAY + 99, 0))).count(), 5);
}

pub(super) fn an_address_that_an_operator_trusts_keeps_places(store: &Arc<dyn Store>) {
    let world = World(store);
    let ann = world.user(1, "ann");
    let from = |last: u8, moment| Attempt {
        address: Some([192, 0, 2, last].into()),
        ..attempt(&ann, moment, 1)
    };
    assert!(world.place(&from(99, 0)).is_some());
    let trust = |last: u8, moment| {
        let name = ann.canonical.clone();
        world.apply(Change::TrustAddress(name, [192, 0, 2, last].into(), at(moment)))
    };
    assert!(world.place(&from(1, 0)).is_none());
    assert_eq!((trust(1, 0), trust(1, 1)), (Applied::Done, Applied::Done));
    assert!(world.place(&from(1, 2)).is_some() && world.place(&from(2, 2)).is_none());
    // It is one of the latest.
    for last in 2..6 {
        assert_eq!(trust(last, last.into()), Applied::Done);
    }
    let trusted: Vec<u8> = (0..9).filter(|last| world.place(&from(*last, 9)).is_some()).collect();
    assert_eq!(trusted, [2, 3, 4, 5]);
    let nobody = Change::TrustAddress(named("nobody"), [192, 0, 2, 1].into(), at(0));
    assert_eq!(world.apply(nobody), Applied::Refused);
}

pub(super) fn an_unlocked_account_starts_anew(store: &Arc<dyn Store>) {
    let world = World(store);
    let ann = world.user(1, "ann");
    let login = attempt(&ann, 0, 2);
    assert!(world.succeeds(&login, &ann, 1));
    let all = || (0..20).filter(|_| world.fails(&login)).count();
    let (first, again) = (all(), all());
    assert_eq!((i64::try_from(first), again), (Ok(2 + RESERVE), 0));
    assert_eq!(world.apply(Change::Unlock(ann.canonical)), Applied::Done);
    assert_eq!(world.rung(login.account), None);
    assert_eq!(all(), first);
    assert_eq!(world.apply(Change::Unlock(named("nobody"))), Applied::Done);
}

pub(super) fn what_is_counted_goes_with_the_renamed(store: &Arc<dyn Store>) {
    let world = World(store);
    let ann = world.user(1, "ann");
    assert!(world.succeeds(&attempt(&ann, 0, 2), &ann, 1));
    // Somebody has tried the name that nobody has yet.
    let stranger = Attempt { user: None, ..attempt(&user(9, "anna"), 0, 9) };
    assert!(world.fails(&stranger));
    let all = |login: &Attempt| (0..20).filter(|_| world.fails(login)).count();
    assert_eq!(i64::try_from(all(&attempt(&ann, 0, 2))), Ok(2 + RESERVE));
    let counted = world.rung(account(&ann.canonical));
    let rename = |old: &str, new: &str| {
        let new = UserName::new(new).map(|new| world.apply(Change::Rename(named(old), new)));
        assert_eq!(new, Ok(Applied::Done));
    };
    rename("ann", "Anna");
    assert_eq!(world.rung(account(&named("ann"))), None);
    assert_eq!(world.rung(account(&named("anna"))), counted);
    // He waits as before, and from his address as well.
    let anna = world.now(&user(1, "Anna"));
    assert_eq!(all(&attempt(&anna, 0, 2)), 0);
    // Another spelling is the same account. A user of whom nothing is counted is not locked by what strangers made of the new name.
    let counted = world.rung(account(&named("anna")));
    rename("anna", "ANNA");
    assert_eq!(world.rung(account(&named("anna"))), counted);
    let bob = world.user(2, "bob");
    let stranger = Attempt { user: None, ..attempt(&user(9, "bobby"), 0, 9) };
    assert!(world.fails(&stranger));
    assert!(world.rung(account(&named("bobby"))).is_some());
    rename("bob", "Bobby");
    assert_eq!(world.rung(account(&named("bobby"))), None);
    assert!(world.fails(&attempt(&User { canonical: named("bobby"), ..bob }, 0, 2)));
}

pub(super) fn a_place_of_yesterday_is_given_back_to_nobody(store: &Arc<dyn Store>) {
    let world = World(store);
    let ann = world.user(1, "ann");
    let old: Vec<_> = world.place(&attempt(&ann, 0, 10)).into_iter().collect();
    assert!(world.place(&attempt(&ann, DAY, 10)).is_some() && old.len() == 1);
    let before = world.rung(account(&ann.canonical));
    for slot in old {
        world.apply(Change::Failed(Box::new(slot.clone())));
        world.apply(Change::GiveBack(Box::new(slot)));
    }
    assert_eq!(world.rung(account(&ann.canonical)), before);
}

pub(super) fn untried_ladders_are_purged_and_unknown_names_are_bounded(store: &Arc<dyn Store>) {
    let world = World(store);
    let ann = user(1, "ann");
    let unknown = |number: i64| Attempt {
        account: Digest::of("test", &number.to_string()),
        user: None,
        ..attempt(&ann, DAY + number, 10)
    };
    assert!(world.fails(&attempt(&ann, 0, 10)));
    assert!((0..10).all(|number| world.fails(&unknown(number))));
    assert!(world.fails(&attempt(&user(2, "bob"), DAY, 10)));
    let left = |before: Timestamp, unknowns, limit| {
        let rows = world.apply(Change::PurgeAttempts { before, unknown: unknowns, limit });
        let stay = |number: &i64| world.rung(unknown(*number).account).is_some();
        (rows, (0..10).filter(stay).collect::<Vec<_>>())
    };
    assert_eq!(left(at(0), 10, 100), (Applied::Rows(0), (0..10).collect()));
    assert_eq!(left(at(1), 10, 100), (Applied::Rows(1), (0..10).collect()));
    assert_eq!(world.rung(account(&ann.canonical)), None);
    // The longest untried first, a few at a time, and nobody whom somebody knows.
    assert_eq!(left(at(1), 3, 4), (Applied::Rows(4), (4..10).collect()));
    assert_eq!(left(at(1), 3, 100), (Applied::Rows(3), (7..10).collect()));
    assert_eq!(left(at(1), 0, 100), (Applied::Rows(3), Vec::new()));
    assert!(world.rung(account(&named("bob"))).is_some());
}

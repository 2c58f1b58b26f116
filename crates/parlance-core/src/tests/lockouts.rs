//! Guesses at one account are bounded, whoever makes them and however.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::world::{CHEAP, PLAIN, TestMint, World, login, run};
use crate::lockout::FREE;
use crate::ports::{Change, Store as _};
use crate::{Command, Failure, LockoutPolicy, Open, PasswordHash};

const WRONG: Result<(), Failure> = Err(Failure::WrongPassword);
const UNKNOWN: Result<(), Failure> = Err(Failure::UnknownUser);
const LOCKED: Result<(), Failure> = Err(Failure::Locked { known: true });
const SECOND: Duration = Duration::from_secs(1);

/// After so many seconds, a login as `user` with `password` is answered so.
#[track_caller]
fn check(world: &World, after: u64, user: &str, password: &str, expected: Result<(), Failure>) {
    world.clock.advance(Duration::from_secs(after));
    assert_eq!(world.login(user, password).map(drop), expected, "{user:?} {password:?}");
}

#[test]
fn slips_are_free_and_one_more_in_a_row_makes_the_next_login_wait() {
    let world = World::new(PLAIN);
    for _ in 0..FREE {
        check(&world, 0, "csmith", "no", WRONG);
    }
    check(&world, 0, "csmith", "XXX", Ok(()));
    for _ in 0..=FREE {
        check(&world, 0, "csmith", "no", WRONG);
    }
    // Known from this address: one that is not waits.
    let elsewhere = World { peer: Some(IpAddr::from([203, 0, 113, 9])), ..world };
    check(&elsewhere, 0, "csmith", "XXX", LOCKED);
    check(&elsewhere, 1, "csmith", "XXX", Ok(()));
}

#[test]
fn a_name_that_nobody_has_waits_alike() {
    let world = World::new(PLAIN);
    for name in ["nobody", "a|b", ""] {
        for _ in 0..=FREE {
            check(&world, 0, name, "no", UNKNOWN);
        }
        check(&world, 0, name, "no", Err(Failure::Locked { known: false }));
        check(&world, 1, name, "no", UNKNOWN);
    }
}

#[test]
fn spellings_and_dialects_climb_one_ladder() {
    let world = World::new(PLAIN);
    let mint = TestMint { dialect: "other", ..TestMint::new(PLAIN) };
    let other = World::over(Arc::clone(&world.store), mint, CHEAP);
    // Full-width letters: another spelling in NFKC.
    let spellings = ["csmith", "CSmith", "\u{ff43}smith", "CSMITH"];
    for (number, spelling) in (0..=FREE).zip(spellings.iter().cycle()) {
        check(if number % 2 == 0 { &world } else { &other }, 0, spelling, "no", WRONG);
    }
    check(&world, 0, "csmith", "XXX", LOCKED);
    check(&other, 0, "csmith", "XXX", LOCKED);
}

#[test]
fn the_days_budget_is_spent_once_and_midnight_brings_another() {
    let mut world = World::new(PLAIN);
    let mut verified = 0;
    // Twelve hours to midnight, a guess every seven seconds, from three networks in turn.
    for network in [[192, 0, 2, 7], [198, 51, 100, 7], [203, 0, 113, 9]]
        .into_iter()
        .cycle()
        .take(11 * 3600 / 7)
    {
        world.peer = Some(network.into());
        world.clock.advance(7 * SECOND);
        match world.login("csmith", "no").map(drop) {
            WRONG => verified += 1,
            other => assert_eq!(other, LOCKED),
        }
    }
    assert_eq!(verified, 80);
    check(&world, 3500, "csmith", "XXX", LOCKED);
    check(&world, 110, "csmith", "XXX", Ok(()));
}

#[test]
fn who_is_known_from_an_address_gets_in_from_there_while_others_guess() {
    let mut world = World::new(PLAIN);
    let home = world.peer;
    check(&world, 0, "csmith", "XXX", Ok(()));
    let guess = |world: &mut World| {
        for number in 0..1000_u16 {
            world.peer = Some(IpAddr::from([203, 0, number.to_le_bytes()[0] % 4, 9]));
            let guessed = world.login("csmith", "no").map(drop);
            assert!(guessed == WRONG || guessed == LOCKED, "{guessed:?}");
            world.clock.advance(SECOND);
        }
        world.peer = home;
    };
    guess(&mut world);
    // A slip of his own is borne too, and hears what a name hears that nobody has.
    slip(&world);
    check(&world, 0, "csmith", "XXX", Ok(()));
    guess(&mut world);
    check(&world, 0, "csmith", "XXX", Ok(()));
    for _ in 0..4 {
        slip(&world);
    }
    check(&world, 0, "csmith", "XXX", LOCKED);
}

/// A wrong password on a place that was kept: heard as locked, told as what it is.
#[track_caller]
fn slip(world: &World) {
    check(world, 0, "csmith", "no", LOCKED);
    let told = world.told.0.lock().unwrap().pop().map(|(_, failure, ..)| failure);
    assert_eq!(told, Some(Some(Failure::WrongPassword)));
}

#[test]
fn what_fails_on_a_place_that_was_kept_hears_what_a_name_hears_that_nobody_has() {
    let mut world = World::new(PLAIN);
    for name in ["disabled", "expired"] {
        world.add_user(name, "XXX");
    }
    let office = world.peer;
    for user in ["csmith", "disabled", "expired"] {
        check(&world, 0, user, "XXX", Ok(()));
        world.peer = Some(IpAddr::from([203, 0, 113, 9]));
        for _ in 0..=FREE {
            check(&world, 0, user, "no", WRONG);
        }
        world.peer = office;
    }
    run(world.authority.set_enabled("disabled", false)).unwrap();
    run(world.authority.expire_password("expired")).unwrap();
    let double = |user: &str, inner: Option<&str>| {
        let inner = inner.map(|password| login(user, password));
        let open = Open { outer: Some(login(user, "no")), login: inner, ..world.open("", "") };
        world.execute(Command::Open(open)).map(drop)
    };
    for (user, password) in
        [("csmith", "no"), ("disabled", "no"), ("disabled", "XXX"), ("expired", "XXX")]
    {
        check(&world, 0, user, password, LOCKED);
    }
    assert_eq!(double("csmith", Some("XXX")), LOCKED);
    assert_eq!(double("csmith", None), LOCKED);
    check(&world, 0, "csmith", "XXX", Ok(()));
    // Nor does the address bear more or fewer of them.
    let more =
        (0..5000).take_while(|_| world.login("csmith", "no").err() != Some(Failure::Throttled));
    assert_eq!(more.count(), 1000 - 6);
}

#[test]
fn an_operator_unlocks() {
    let world = World::new(PLAIN);
    for _ in 0..=FREE {
        check(&world, 0, "csmith", "no", WRONG);
    }
    check(&world, 0, "csmith", "XXX", LOCKED);
    let (rung, until) = run(world.authority.rung("CSmith", world.now())).unwrap().unwrap();
    assert_eq!(
        (rung.taken, rung.failures, until),
        (FREE + 1, FREE + 1, Some(world.now().plus(SECOND)))
    );
    run(world.authority.unlock_user("CSmith")).unwrap();
    assert_eq!(run(world.authority.rung("csmith", world.now())), Ok(None));
    check(&world, 0, "csmith", "XXX", Ok(()));
    let nobody = run(world.authority.unlock_user("nobody"));
    assert_eq!(nobody, Err(crate::OperatorError::NoUser));
}

#[test]
fn a_success_is_told_with_the_failures_before_it() {
    let world = World::new(PLAIN);
    let told = |world: &World| world.told.1.load(std::sync::atomic::Ordering::SeqCst);
    check(&world, 0, "csmith", "no", WRONG);
    check(&world, 0, "csmith", "no", WRONG);
    check(&world, 0, "csmith", "XXX", Ok(()));
    assert_eq!(told(&world), 2);
    check(&world, 0, "csmith", "XXX", Ok(()));
    assert_eq!(told(&world), 0);
}

/// A double login of which the outer and the inner are these is answered so, and takes this many places for good.
#[track_caller]
fn double(outer: (&str, &str), inner: Option<(&str, &str)>, expected: Failure, taken: i64) {
    let world = World::new(PLAIN);
    world.add_user("other", "YYY");
    let open = Open {
        outer: Some(login(outer.0, outer.1)),
        login: inner.map(|(user, password)| login(user, password)),
        ..world.open("", "")
    };
    assert_eq!(world.execute(Command::Open(open)).map(drop), Err(expected));
    let rung = run(world.authority.rung("csmith", world.now())).unwrap();
    assert_eq!(rung.map(|(rung, _)| rung.taken), Some(taken), "{outer:?} {inner:?}");
}

#[test]
fn a_double_login_takes_one_place_and_gives_it_back_unless_it_fails() {
    let (outer, wrong) = (Failure::OuterCredential, Failure::WrongPassword);
    double(("csmith", "no"), Some(("csmith", "XXX")), outer, 1);
    double(("csmith", "no"), Some(("csmith", "no")), outer, 1);
    double(("csmith", "XXX"), Some(("csmith", "no")), wrong, 1);
    double(("csmith", "XXX"), Some(("other", "YYY")), outer, 1);
    double(("csmith", "XXX"), None, Failure::UnservedCall, 0);
    double(("csmith", "no"), None, outer, 1);
}

#[test]
fn a_right_double_login_starts_anew() {
    let world = World::new(PLAIN);
    let both = |inner: Option<&str>| {
        let login = inner.map(|password| login("csmith", password));
        let outer = Some(super::world::login("csmith", "XXX"));
        world.execute(Command::Open(Open { outer, login, ..world.open("", "") })).map(drop)
    };
    for _ in 0..3 {
        assert_eq!(both(Some("no")), WRONG);
        assert_eq!(both(Some("no")), WRONG);
        assert_eq!(both(Some("XXX")), Ok(()));
        assert_eq!(both(None), Err(Failure::UnservedCall));
    }
}

#[test]
fn what_was_not_verified_is_given_back() {
    let world = World::new(PLAIN);
    let broken = |is_broken| {
        world.entropy.broken.store(is_broken, std::sync::atomic::Ordering::SeqCst);
    };
    broken(true);
    for _ in 0..200 {
        check(&world, 0, "csmith", "XXX", Err(Failure::Unavailable));
    }
    broken(false);
    check(&world, 0, "csmith", "no", WRONG);
    check(&world, 0, "csmith", "XXX", Ok(()));
}

/// Each of `count` logins at the same moment with this password.
fn at_once(world: &World, count: usize, password: &str) -> Vec<Result<(), Failure>> {
    std::thread::scope(|scope| {
        let one = || {
            scope.spawn(|| {
                loop {
                    match world.login("csmith", password).map(drop) {
                        // The hashing queue is full: as any client, it tries again.
                        Err(Failure::Busy) => std::thread::yield_now(),
                        answered => return answered,
                    }
                }
            })
        };
        let all: Vec<_> = (0..count).map(|_| one()).collect();
        all.into_iter().map(|one| one.join().unwrap()).collect()
    })
}

#[test]
fn guesses_at_the_same_moment_stay_within_the_budget() {
    let world = World::new(PLAIN);
    // Its own parameters, so that a hash of the real one is known among the others.
    let hash = {
        let dear = World::over(Arc::default(), TestMint::new(PLAIN), [16, 2, 1]);
        dear.user("csmith").password.unwrap()
    };
    let change = |hash: PasswordHash| Change::SetPassword(world.user("csmith").canonical, hash);
    run(world.store.apply(change(hash))).unwrap();
    world.hashes();
    let answers = at_once(&world, 200, "no");
    let hashes = world.hashes().iter().filter(|ran| **ran == [16, 2, 1]).count();
    assert_eq!(hashes, answers.iter().filter(|answer| **answer == WRONG).count());
    assert!((1..=80).contains(&hashes), "{hashes}");
    assert!(answers.iter().all(|answer| [WRONG, LOCKED].contains(answer)));
}

#[test]
fn right_logins_at_the_same_moment_all_succeed() {
    let world = World::new(PLAIN);
    let answers = at_once(&world, 50, "XXX");
    assert_eq!(answers, vec![Ok(()); 50]);
    let rung = run(world.authority.rung("csmith", world.now())).unwrap();
    assert_eq!(rung.map(|(rung, _)| rung.taken), Some(0));
}

#[test]
fn more_logins_than_there_are_places_are_busy_and_never_wrong() {
    let world = World::new(PLAIN);
    assert_eq!(at_once(&world, 200, "XXX"), vec![Ok(()); 200]);
}

#[test]
fn a_policy_keeps_to_its_bounds_and_may_be_left_out() {
    for (failures, expected) in [(29, None), (30, Some(10)), (1_000_000, Some(999_980))] {
        let policy = LockoutPolicy::new(failures);
        assert_eq!(policy.map(LockoutPolicy::open_to_all), expected, "{failures}");
    }
    assert_eq!(LockoutPolicy::new(1_000_001), None);
    let world = World::new(PLAIN).unbounded();
    for _ in 0..200 {
        check(&world, 0, "csmith", "no", WRONG);
    }
}

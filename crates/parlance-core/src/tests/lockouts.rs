//! Brute-force protection: wrong passwords on one account are bounded, from every address and by every route.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::harness::{
    AuthorityHarness, CHEAPEST_PARAMS, PLAIN_POLICY, TestTokenIssuer, block_on, credentials,
};
use crate::lockout::FREE_FAILURES;
use crate::ports::{Change, Store as _};
use crate::{Command, Failure, LockoutPolicy, Login, PasswordHash};

const WRONG: Result<(), Failure> = Err(Failure::WrongPassword);
const UNKNOWN: Result<(), Failure> = Err(Failure::UnknownUser);
const LOCKED: Result<(), Failure> = Err(Failure::Locked { user_exists: true });
const SECOND: Duration = Duration::from_secs(1);

/// Asserts the answer to a login as `user` with `password`, after this many seconds.
#[track_caller]
fn check(
    world: &AuthorityHarness,
    after: u64,
    user: &str,
    password: &str,
    expected: Result<(), Failure>,
) {
    world.clock.advance(Duration::from_secs(after));
    assert_eq!(world.login(user, password).map(drop), expected, "{user:?} {password:?}");
}

#[test]
fn free_failures_cost_no_delay_and_one_more_delays_the_next_login() {
    let world = AuthorityHarness::new(PLAIN_POLICY);
    for _ in 0..FREE_FAILURES {
        check(&world, 0, "csmith", "no", WRONG);
    }
    check(&world, 0, "csmith", "XXX", Ok(()));
    for _ in 0..=FREE_FAILURES {
        check(&world, 0, "csmith", "no", WRONG);
    }
    // This address is trusted; another address waits.
    let elsewhere = AuthorityHarness { peer: Some(IpAddr::from([203, 0, 113, 9])), ..world };
    check(&elsewhere, 0, "csmith", "XXX", LOCKED);
    check(&elsewhere, 1, "csmith", "XXX", Ok(()));
}

#[test]
fn an_unknown_name_is_locked_like_a_known_one() {
    let world = AuthorityHarness::new(PLAIN_POLICY);
    for name in ["nobody", "a|b", ""] {
        for _ in 0..=FREE_FAILURES {
            check(&world, 0, name, "no", UNKNOWN);
        }
        check(&world, 0, name, "no", Err(Failure::Locked { user_exists: false }));
        check(&world, 1, name, "no", UNKNOWN);
    }
}

#[test]
fn spellings_and_dialects_share_one_failure_count() {
    let world = AuthorityHarness::new(PLAIN_POLICY);
    let mint = TestTokenIssuer { dialect: "other", ..TestTokenIssuer::new(PLAIN_POLICY) };
    let other = AuthorityHarness::with_store(Arc::clone(&world.store), mint, CHEAPEST_PARAMS);
    // Full-width letters: another spelling in NFKC.
    let spellings = ["csmith", "CSmith", "\u{ff43}smith", "CSMITH"];
    for (number, spelling) in (0..=FREE_FAILURES).zip(spellings.iter().cycle()) {
        check(if number % 2 == 0 { &world } else { &other }, 0, spelling, "no", WRONG);
    }
    check(&world, 0, "csmith", "XXX", LOCKED);
    check(&other, 0, "csmith", "XXX", LOCKED);
}

#[test]
fn the_daily_limit_is_spent_once_and_resets_at_midnight() {
    let mut world = AuthorityHarness::new(PLAIN_POLICY);
    let mut verified = 0;
    // Twelve hours to midnight, a password guess every seven seconds, from three networks in turn.
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
fn a_user_at_a_trusted_address_can_log_in_during_a_brute_force_attack() {
    let mut world = AuthorityHarness::new(PLAIN_POLICY);
    let trusted = world.peer;
    check(&world, 0, "csmith", "XXX", Ok(()));
    let guess = |world: &mut AuthorityHarness| {
        for number in 0..1000_u16 {
            world.peer = Some(IpAddr::from([203, 0, number.to_le_bytes()[0] % 4, 9]));
            let guessed = world.login("csmith", "no").map(drop);
            assert!(guessed == WRONG || guessed == LOCKED, "{guessed:?}");
            world.clock.advance(SECOND);
        }
        world.peer = trusted;
    };
    guess(&mut world);
    // A wrong password of the user is tolerated as well, and gets the same answer as an unknown name.
    check_failure_from_trusted_address(&world);
    check(&world, 0, "csmith", "XXX", Ok(()));
    guess(&mut world);
    check(&world, 0, "csmith", "XXX", Ok(()));
    for _ in 0..4 {
        check_failure_from_trusted_address(&world);
    }
    check(&world, 0, "csmith", "XXX", LOCKED);
}

/// A wrong password on a reservation for a trusted address: the client is told "locked", the observer the true reason.
#[track_caller]
fn check_failure_from_trusted_address(world: &AuthorityHarness) {
    check(world, 0, "csmith", "no", LOCKED);
    let recorded = world.observer.0.lock().unwrap().pop().map(|(_, failure, ..)| failure);
    assert_eq!(recorded, Some(Some(Failure::WrongPassword)));
}

#[test]
fn a_failure_from_a_trusted_address_is_answered_as_locked() {
    let mut world = AuthorityHarness::new(PLAIN_POLICY);
    for name in ["disabled", "expired"] {
        world.add_user(name, "XXX");
    }
    let office = world.peer;
    for user in ["csmith", "disabled", "expired"] {
        check(&world, 0, user, "XXX", Ok(()));
        world.peer = Some(IpAddr::from([203, 0, 113, 9]));
        for _ in 0..=FREE_FAILURES {
            check(&world, 0, user, "no", WRONG);
        }
        world.peer = office;
    }
    block_on(world.authority.set_enabled("disabled", false)).unwrap();
    block_on(world.authority.expire_password("expired")).unwrap();
    let double = |user: &str, inner: Option<&str>| {
        let inner = inner.map(|password| credentials(user, password));
        let open = Login {
            outer_credentials: Some(credentials(user, "no")),
            credentials: inner,
            ..world.login_request("", "")
        };
        world.execute(Command::Login(open)).map(drop)
    };
    for (user, password) in
        [("csmith", "no"), ("disabled", "no"), ("disabled", "XXX"), ("expired", "XXX")]
    {
        check(&world, 0, user, password, LOCKED);
    }
    assert_eq!(double("csmith", Some("XXX")), LOCKED);
    assert_eq!(double("csmith", None), LOCKED);
    check(&world, 0, "csmith", "XXX", Ok(()));
    // The rate limit of the address counts each of these refusals once, like any login on a locked account.
    let more =
        (0..5000).take_while(|_| world.login("csmith", "no").err() != Some(Failure::RateLimited));
    assert_eq!(more.count(), 1000 - 6);
}

#[test]
fn an_operator_unlocks_an_account() {
    let world = AuthorityHarness::new(PLAIN_POLICY);
    for _ in 0..=FREE_FAILURES {
        check(&world, 0, "csmith", "no", WRONG);
    }
    check(&world, 0, "csmith", "XXX", LOCKED);
    let (state, until) =
        block_on(world.authority.attempt_state("CSmith", world.now())).unwrap().unwrap();
    assert_eq!(
        (state.used, state.consecutive_failures, until),
        (FREE_FAILURES + 1, FREE_FAILURES + 1, Some(world.now().plus(SECOND)))
    );
    block_on(world.authority.unlock_user("CSmith")).unwrap();
    assert_eq!(block_on(world.authority.attempt_state("csmith", world.now())), Ok(None));
    check(&world, 0, "csmith", "XXX", Ok(()));
    let unknown = block_on(world.authority.unlock_user("nobody"));
    assert_eq!(unknown, Err(crate::OperatorError::NoUser));
}

#[test]
fn a_login_event_carries_the_previous_failures() {
    let world = AuthorityHarness::new(PLAIN_POLICY);
    let previous_failures =
        |world: &AuthorityHarness| world.observer.1.load(std::sync::atomic::Ordering::SeqCst);
    check(&world, 0, "csmith", "no", WRONG);
    check(&world, 0, "csmith", "no", WRONG);
    check(&world, 0, "csmith", "XXX", Ok(()));
    assert_eq!(previous_failures(&world), 2);
    check(&world, 0, "csmith", "XXX", Ok(()));
    assert_eq!(previous_failures(&world), 0);
}

/// Asserts the answer to a double login with this outer and this inner login, and how many reservations stay taken.
#[track_caller]
fn check_double_login(
    outer: (&str, &str),
    inner: Option<(&str, &str)>,
    expected: Failure,
    taken: i64,
) {
    let world = AuthorityHarness::new(PLAIN_POLICY);
    world.add_user("other", "YYY");
    let open = Login {
        outer_credentials: Some(credentials(outer.0, outer.1)),
        credentials: inner.map(|(user, password)| credentials(user, password)),
        ..world.login_request("", "")
    };
    assert_eq!(world.execute(Command::Login(open)).map(drop), Err(expected));
    let state = block_on(world.authority.attempt_state("csmith", world.now())).unwrap();
    assert_eq!(state.map(|(state, _)| state.used), Some(taken), "{outer:?} {inner:?}");
}

#[test]
fn a_double_login_reserves_one_attempt_and_releases_it_unless_it_fails() {
    let (outer, wrong) = (Failure::OuterCredential, Failure::WrongPassword);
    check_double_login(("csmith", "no"), Some(("csmith", "XXX")), outer, 1);
    check_double_login(("csmith", "no"), Some(("csmith", "no")), outer, 1);
    check_double_login(("csmith", "XXX"), Some(("csmith", "no")), wrong, 1);
    check_double_login(("csmith", "XXX"), Some(("other", "YYY")), outer, 1);
    check_double_login(("csmith", "XXX"), None, Failure::UnservedCall, 0);
    check_double_login(("csmith", "no"), None, outer, 1);
}

#[test]
fn a_correct_double_login_resets_the_failures() {
    let world = AuthorityHarness::new(PLAIN_POLICY);
    let both = |inner: Option<&str>| {
        let login = inner.map(|password| credentials("csmith", password));
        let outer = Some(credentials("csmith", "XXX"));
        world
            .execute(Command::Login(Login {
                outer_credentials: outer,
                credentials: login,
                ..world.login_request("", "")
            }))
            .map(drop)
    };
    for _ in 0..3 {
        assert_eq!(both(Some("no")), WRONG);
        assert_eq!(both(Some("no")), WRONG);
        assert_eq!(both(Some("XXX")), Ok(()));
        assert_eq!(both(None), Err(Failure::UnservedCall));
    }
}

#[test]
fn an_unverified_attempt_is_released() {
    let world = AuthorityHarness::new(PLAIN_POLICY);
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

/// The results of `count` logins at the same moment with this password.
fn concurrent_logins(
    world: &AuthorityHarness,
    count: usize,
    password: &str,
) -> Vec<Result<(), Failure>> {
    std::thread::scope(|scope| {
        let one = || {
            scope.spawn(|| {
                loop {
                    match world.login("csmith", password).map(drop) {
                        // The hashing queue is full: retry, as any client does.
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
fn concurrent_guesses_stay_within_the_daily_limit() {
    let world = AuthorityHarness::new(PLAIN_POLICY);
    // Distinct parameters, so that a hash for the real user can be told from the others.
    let hash = {
        let dear = AuthorityHarness::with_store(
            Arc::default(),
            TestTokenIssuer::new(PLAIN_POLICY),
            [16, 2, 1],
        );
        dear.user("csmith").password.unwrap()
    };
    let change = |hash: PasswordHash| Change::SetPassword(world.user("csmith").canonical, hash);
    block_on(world.store.apply(change(hash))).unwrap();
    world.computed_hashes();
    let answers = concurrent_logins(&world, 200, "no");
    let hashes = world.computed_hashes().iter().filter(|ran| **ran == [16, 2, 1]).count();
    assert_eq!(hashes, answers.iter().filter(|answer| **answer == WRONG).count());
    assert!((1..=80).contains(&hashes), "{hashes}");
    assert!(answers.iter().all(|answer| [WRONG, LOCKED].contains(answer)));
}

#[test]
fn concurrent_correct_logins_all_succeed() {
    let world = AuthorityHarness::new(PLAIN_POLICY);
    let answers = concurrent_logins(&world, 50, "XXX");
    assert_eq!(answers, vec![Ok(()); 50]);
    let state = block_on(world.authority.attempt_state("csmith", world.now())).unwrap();
    assert_eq!(state.map(|(state, _)| state.used), Some(0));
}

#[test]
fn logins_beyond_the_queue_are_busy_and_never_wrong() {
    let world = AuthorityHarness::new(PLAIN_POLICY);
    assert_eq!(concurrent_logins(&world, 200, "XXX"), vec![Ok(()); 200]);
}

#[test]
fn a_lockout_policy_has_bounds_and_is_optional() {
    for (failures, expected) in [(29, None), (30, Some(10)), (1_000_000, Some(999_980))] {
        let policy = LockoutPolicy::new(failures);
        assert_eq!(policy.map(LockoutPolicy::untrusted_limit), expected, "{failures}");
    }
    assert_eq!(LockoutPolicy::new(1_000_001), None);
    let world = AuthorityHarness::new(PLAIN_POLICY).without_limits();
    for _ in 0..200 {
        check(&world, 0, "csmith", "no", WRONG);
    }
}

//! The rate limit: failed logins from one address or network are slowed down.

use std::net::IpAddr;
use std::time::Duration;

use super::harness::{AuthorityHarness, PLAIN_POLICY, block_on, poll_once};
use super::hashing::BlockedHashThread;
use crate::{Command, Digest, Failure, RateLimitPolicy, RateLimiter, Timestamp};

const POLICY: RateLimitPolicy =
    RateLimitPolicy { per_address: 3, per_network: 5, window: Duration::from_secs(15) };

fn address(text: &str) -> Option<IpAddr> {
    text.parse().ok()
}

/// Asserts that, after a failed login at moment 0 from each of `failed`, a login from `peer` is refused for this many
/// milliseconds.
#[track_caller]
fn check(failed: &[&str], peer: &str, refused_for: i64) {
    let throttle = RateLimiter::new(POLICY).with_exempt(|peer| Some(peer) == address("10.0.0.1"));
    let at = Timestamp::from_millis;
    failed.iter().for_each(|peer| throttle.record_failure(address(peer), at(0)));
    assert!(!throttle.is_limited(address(peer), at(refused_for)), "{failed:?} {peer}");
    let just_before = refused_for > 0 && throttle.is_limited(address(peer), at(refused_for - 1));
    assert_eq!(just_before, refused_for > 0, "{failed:?} {peer}");
}

#[test]
fn an_address_has_a_failure_limit_that_replenishes_evenly() {
    let own = "192.0.2.7";
    check(&[own; 2], own, 0);
    // One each 5 s.
    check(&[own; 3], own, 5000);
    check(&[own; 4], own, 10_000);
    check(&[own; 3], "198.51.100.7", 0);
    check(&["2001:db8::1", "2001:db8::2", "2001:db8::3:4"], "2001:db8::5", 5000);
}

#[test]
fn a_network_limit_is_higher_than_an_address_limit() {
    let four = ["192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4"];
    check(&four, "192.0.2.9", 0);
    check(&[&four[..], &["192.0.2.5"]].concat(), "192.0.2.9", 3000);
    check(&[&four[..], &["192.0.2.5"]].concat(), "192.0.3.9", 0);
    let five = ["1", "2", "3", "4", "5"].map(|subnet| format!("2001:db8:0:{subnet}::1"));
    check(&five.each_ref().map(String::as_str), "2001:db8:0:6::1", 3000);
}

#[test]
fn loopback_and_exempt_addresses_are_not_rate_limited() {
    for own in ["127.0.0.1", "127.8.9.10", "::1", "10.0.0.1", "not known"] {
        check(&[own; 100], own, 0);
    }
}

#[test]
fn many_addresses_keep_the_table_bounded_and_forget_no_active_attacker() {
    let throttle = RateLimiter::new(POLICY);
    let (own, now) = (address("192.0.2.7"), Timestamp::from_millis(0));
    (0..3).for_each(|_| throttle.record_failure(own, now));
    for stranger in 0..300_000_u32 {
        throttle.record_failure(Some(IpAddr::from(stranger.to_be_bytes())), now);
        if stranger % 50_000 == 0 {
            throttle.record_failure(own, now);
        }
    }
    assert!(throttle.is_limited(own, now));
    for stranger in 0..200_000_u32 {
        let peer = Some(IpAddr::from(stranger.to_be_bytes()));
        throttle.record_locked_login(peer, now);
        throttle.record_account_failure(Digest::of("test", &stranger.to_string()), 9, peer, now);
    }
    assert!(throttle.entry_counts().into_iter().all(|entries| entries <= 2 << 16));
}

#[test]
fn a_rate_limited_login_costs_no_look_up_and_no_hash() {
    let world = AuthorityHarness::new(PLAIN_POLICY);
    for number in 0..100 {
        let refused = world.login(&format!("nobody{number}"), "no").map(drop);
        assert_eq!(refused, Err(Failure::UnknownUser), "{number}");
    }
    world.store.calls();
    world.computed_hashes();
    assert_eq!(world.login("csmith", "XXX").map(drop), Err(Failure::RateLimited));
    assert_eq!((world.store.calls(), world.computed_hashes()), (Vec::new(), Vec::new()));
    world.clock.advance(Duration::from_secs(9));
    assert_eq!(world.login("csmith", "XXX").map(drop), Ok(()));
}

#[test]
fn correct_logins_do_not_count_against_the_address_and_locked_logins_count_less() {
    let world = AuthorityHarness::new(PLAIN_POLICY);
    for _ in 0..300 {
        let _refused = world.login("nobody", "no");
        assert!(world.login("csmith", "XXX").is_ok());
    }
}

/// The number of logins as `user` from one address before the rate limit of the address refuses one.
fn logins_until_limited(world: &AuthorityHarness, user: &str) -> usize {
    (0..5000).take_while(|_| world.login(user, "no").err() != Some(Failure::RateLimited)).count()
}

#[test]
fn a_login_flood_on_a_locked_name_is_rate_limited_before_a_hash_is_spent() {
    for user in ["csmith", "nobody"] {
        let world = AuthorityHarness::new(PLAIN_POLICY);
        // 21 failures lock the account; then the rate limit admits ten times as many logins on a locked account as
        // failures.
        assert_eq!(logins_until_limited(&world, user), 21 + 1000, "{user}");
        world.store.calls();
        world.computed_hashes();
        assert_eq!(world.login(user, "XXX").map(drop), Err(Failure::RateLimited));
        assert_eq!(world.login("other", "XXX").map(drop), Err(Failure::RateLimited));
        assert_eq!((world.store.calls(), world.computed_hashes()), (Vec::new(), Vec::new()));
        // Other addresses are not limited, and this address is free again after a while.
        let elsewhere = AuthorityHarness { peer: address("198.51.100.7"), ..world };
        let answer = elsewhere.login("other", "no").map(drop);
        assert_eq!(answer, Err(Failure::UnknownUser));
        let own = AuthorityHarness { peer: address("192.0.2.7"), ..elsewhere };
        own.clock.advance(Duration::from_secs(15 * 60));
        assert!(own.login("csmith", "XXX").is_ok());
    }
}

#[test]
fn a_network_can_use_a_third_of_the_attempts_of_an_account_and_leaves_the_rest() {
    let mut world = AuthorityHarness::new(PLAIN_POLICY);
    let verified = |world: &AuthorityHarness, user: &str| {
        let tried = |_: &i32| {
            world.clock.advance(Duration::from_secs(10));
            let refused = world.login(user, "no").map(drop).unwrap_err();
            refused == Failure::WrongPassword || refused == Failure::UnknownUser
        };
        (0..60).filter(tried).count()
    };
    for user in ["csmith", "nobody"] {
        for (peer, expected) in [
            ("192.0.2.7", 27),
            ("192.0.2.8", 0),
            ("2001:db8::1", 27),
            ("2001:db8:0:77::1", 0),
            ("198.51.100.7", 26),
            ("203.0.113.7", 0),
        ] {
            world.peer = address(peer);
            assert_eq!(verified(&world, user), expected, "{user} {peer}");
        }
    }
    // An operator's unlock takes effect at once, also for a network that has used up its share.
    block_on(world.authority.unlock_user("csmith")).unwrap();
    world.peer = address("192.0.2.7");
    assert_eq!(world.login("csmith", "XXX").map(drop), Ok(()));
}

#[test]
fn a_correct_password_resets_the_network_share() {
    let mut world = AuthorityHarness::new(PLAIN_POLICY);
    let mut taken = 0;
    for _ in 0..3 {
        // From an address that is not trusted yet: no attempts are reserved for that address.
        world.peer = world.peer.map(|_| IpAddr::from([198, 51, 100, 7]));
        for _ in 0..20 {
            taken += usize::from(world.login("csmith", "no").err() == Some(Failure::WrongPassword));
        }
        assert!(world.login("csmith", "XXX").is_ok());
    }
    assert_eq!(taken, 60);
}

#[test]
fn a_login_abandoned_during_verification_counts_as_failed() {
    let world = AuthorityHarness::new(PLAIN_POLICY);
    for number in 0..100 {
        let name = format!("nobody{number}");
        let gate = BlockedHashThread::block(&world.authority.hash_queue);
        let open = Command::Login(world.login_request(&name, "no"));
        let mut login = Box::pin(world.authority.execute(open, world.cx()));
        assert!(poll_once(login.as_mut()).is_pending());
        drop(login);
        drop(gate);
    }
    assert_eq!(world.login("csmith", "XXX").map(drop), Err(Failure::RateLimited));
}

//! Failed logins from one address or network are slowed down.

use std::net::IpAddr;
use std::time::Duration;

use super::hashing::Gate;
use super::world::{PLAIN, World, begin, run};
use crate::{Command, Digest, Failure, Throttle, ThrottlePolicy, Timestamp};

const POLICY: ThrottlePolicy =
    ThrottlePolicy { per_address: 3, per_network: 5, window: Duration::from_secs(15) };

fn address(text: &str) -> Option<IpAddr> {
    text.parse().ok()
}

/// After a failed login at moment 0 from each of `failed`, a login from `peer` is refused until so many milliseconds have gone by.
#[track_caller]
fn check(failed: &[&str], peer: &str, refused_for: i64) {
    let throttle = Throttle::new(POLICY).with_exempt(|peer| Some(peer) == address("10.0.0.1"));
    let at = Timestamp::from_millis;
    failed.iter().for_each(|peer| throttle.failed(address(peer), at(0)));
    assert!(!throttle.refuses(address(peer), at(refused_for)), "{failed:?} {peer}");
    let just_before = refused_for > 0 && throttle.refuses(address(peer), at(refused_for - 1));
    assert_eq!(just_before, refused_for > 0, "{failed:?} {peer}");
}

#[test]
fn an_address_bears_so_many_failures_and_is_forgiven_evenly() {
    let own = "192.0.2.7";
    check(&[own; 2], own, 0);
    // One each 5 s.
    check(&[own; 3], own, 5000);
    check(&[own; 4], own, 10_000);
    check(&[own; 3], "198.51.100.7", 0);
    check(&["2001:db8::1", "2001:db8::2", "2001:db8::3:4"], "2001:db8::5", 5000);
}

#[test]
fn a_network_bears_more_than_an_address() {
    let four = ["192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4"];
    check(&four, "192.0.2.9", 0);
    check(&[&four[..], &["192.0.2.5"]].concat(), "192.0.2.9", 3000);
    check(&[&four[..], &["192.0.2.5"]].concat(), "192.0.3.9", 0);
    let five = ["1", "2", "3", "4", "5"].map(|subnet| format!("2001:db8:0:{subnet}::1"));
    check(&five.each_ref().map(String::as_str), "2001:db8:0:6::1", 3000);
}

#[test]
fn the_machine_itself_and_exempt_addresses_are_let_alone() {
    for own in ["127.0.0.1", "127.8.9.10", "::1", "10.0.0.1", "not known"] {
        check(&[own; 100], own, 0);
    }
}

#[test]
fn strangers_without_number_leave_it_bounded_and_remember_who_goes_on() {
    let throttle = Throttle::new(POLICY);
    let (own, now) = (address("192.0.2.7"), Timestamp::from_millis(0));
    (0..3).for_each(|_| throttle.failed(own, now));
    for stranger in 0..300_000_u32 {
        throttle.failed(Some(IpAddr::from(stranger.to_be_bytes())), now);
        if stranger % 50_000 == 0 {
            throttle.failed(own, now);
        }
    }
    assert!(throttle.refuses(own, now));
    for stranger in 0..200_000_u32 {
        let peer = Some(IpAddr::from(stranger.to_be_bytes()));
        throttle.waited(peer, now);
        throttle.failed_on(Digest::of("test", &stranger.to_string()), 9, peer, now);
    }
    assert!(throttle.remembered().into_iter().all(|entries| entries <= 2 << 16));
}

#[test]
fn a_throttled_login_is_refused_unlooked_at() {
    let world = World::new(PLAIN);
    for number in 0..100 {
        let refused = world.login(&format!("nobody{number}"), "no").map(drop);
        assert_eq!(refused, Err(Failure::UnknownUser), "{number}");
    }
    world.store.calls();
    world.hashes();
    assert_eq!(world.login("csmith", "XXX").map(drop), Err(Failure::Throttled));
    assert_eq!((world.store.calls(), world.hashes()), (Vec::new(), Vec::new()));
    world.clock.advance(Duration::from_secs(9));
    assert_eq!(world.login("csmith", "XXX").map(drop), Ok(()));
}

#[test]
fn what_is_right_is_not_held_against_the_address_and_what_is_locked_weighs_little() {
    let world = World::new(PLAIN);
    for _ in 0..300 {
        let _refused = world.login("nobody", "no");
        assert!(world.login("csmith", "XXX").is_ok());
    }
}

/// Logins as `user` from one address, until one of them is refused for the address: how many there were.
fn until_throttled(world: &World, user: &str) -> usize {
    (0..5000).take_while(|_| world.login(user, "no").err() != Some(Failure::Throttled)).count()
}

#[test]
fn a_flood_of_one_name_that_waits_is_throttled_before_a_hash_is_spent() {
    for user in ["csmith", "nobody"] {
        let world = World::new(PLAIN);
        // 21 of them make it wait; then ten times as many as of failures are borne.
        assert_eq!(until_throttled(&world, user), 21 + 1000, "{user}");
        world.store.calls();
        world.hashes();
        assert_eq!(world.login(user, "XXX").map(drop), Err(Failure::Throttled));
        assert_eq!(world.login("other", "XXX").map(drop), Err(Failure::Throttled));
        assert_eq!((world.store.calls(), world.hashes()), (Vec::new(), Vec::new()));
        // Nobody else's address, and its own after a while.
        let elsewhere = World { peer: address("198.51.100.7"), ..world };
        let answer = elsewhere.login("other", "no").map(drop);
        assert_eq!(answer, Err(Failure::UnknownUser));
        let own = World { peer: address("192.0.2.7"), ..elsewhere };
        own.clock.advance(Duration::from_secs(15 * 60));
        assert!(own.login("csmith", "XXX").is_ok());
    }
}

#[test]
fn a_network_takes_a_third_of_an_account_and_leaves_the_rest_to_others() {
    let mut world = World::new(PLAIN);
    let verified = |world: &World, user: &str| {
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
    // An operator's word counts at once, for whoever had taken his share as well.
    run(world.authority.unlock_user("csmith")).unwrap();
    world.peer = address("192.0.2.7");
    assert_eq!(world.login("csmith", "XXX").map(drop), Ok(()));
}

#[test]
fn a_right_password_gives_a_network_its_share_again() {
    let mut world = World::new(PLAIN);
    let mut taken = 0;
    for _ in 0..3 {
        // From an address that is not known yet: nothing is kept for it.
        world.peer = world.peer.map(|_| IpAddr::from([198, 51, 100, 7]));
        for _ in 0..20 {
            taken += usize::from(world.login("csmith", "no").err() == Some(Failure::WrongPassword));
        }
        assert!(world.login("csmith", "XXX").is_ok());
    }
    assert_eq!(taken, 60);
}

#[test]
fn who_hangs_up_while_his_password_is_verified_has_failed() {
    let world = World::new(PLAIN);
    for number in 0..100 {
        let name = format!("nobody{number}");
        let gate = Gate::shut(&world.authority.threads);
        let open = Command::Open(world.open(&name, "no"));
        let mut login = Box::pin(world.authority.execute(open, world.cx()));
        assert!(begin(login.as_mut()).is_pending());
        drop(login);
        drop(gate);
    }
    assert_eq!(world.login("csmith", "XXX").map(drop), Err(Failure::Throttled));
}

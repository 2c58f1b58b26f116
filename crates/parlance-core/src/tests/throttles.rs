//! Failed logins from one address or network are slowed down.

use std::net::IpAddr;
use std::time::Duration;

use super::world::{PLAIN, World};
use crate::{Failure, Throttle, ThrottlePolicy, Timestamp};

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
    assert!(throttle.sources_remembered() <= 2 << 16);
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
fn what_is_locked_or_right_is_not_held_against_the_address() {
    let world = World::new(PLAIN);
    for _ in 0..300 {
        let _refused = world.login("nobody", "no");
        assert!(world.login("csmith", "XXX").is_ok());
    }
}

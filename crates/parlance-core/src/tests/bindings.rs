//! From where a session counts under each policy, and of what the observer is told.

use std::net::IpAddr;

use super::world::{PLAIN, World};
use crate::ports::Action;
use crate::{Binding, Command, Failure, Outcome, Terms};

fn address(text: &str) -> Option<IpAddr> {
    text.parse().ok()
}

/// Under this policy, a session that was opened from `home` is let pass from each of `near`, and refused from each of `far`.
#[track_caller]
fn check(bind_address: Binding, home: &str, near: &[&str], far: &[&str]) {
    let mut world = World::new(Terms { bind_address, ..PLAIN });
    world.peer = address(home);
    let token = world.token();
    let cases = near.iter().map(|here| (here, Ok(())));
    for (here, expected) in cases.chain(far.iter().map(|here| (here, Err(Failure::ForeignAddress))))
    {
        world.peer = address(here);
        assert_eq!(world.check(&token), expected, "{bind_address:?}: {home}, {here}");
        assert_eq!(world.look(&token), expected, "{bind_address:?}: {home}, {here}");
    }
}

const UNKNOWN: &str = "";

#[test]
fn exact_takes_the_very_address() {
    check(
        Binding::Exact,
        "192.0.2.7",
        &["192.0.2.7", "::ffff:192.0.2.7"],
        &["192.0.2.8", "192.0.3.7", "::1", "::192.0.2.7", UNKNOWN],
    );
    check(Binding::Exact, "2001:db8::7", &["2001:db8::7"], &["2001:db8::8", "192.0.2.7", UNKNOWN]);
    check(Binding::Exact, UNKNOWN, &[UNKNOWN], &["0.0.0.0", "::"]);
}

#[test]
fn prefix_takes_24_bits_of_ipv4_and_64_of_ipv6() {
    check(
        Binding::Prefix,
        "192.0.2.7",
        &["192.0.2.7", "192.0.2.0", "192.0.2.255", "::ffff:192.0.2.200"],
        &["192.0.1.255", "192.0.3.0", "128.0.2.7", "::192.0.2.7", "2001:db8::7", UNKNOWN],
    );
    check(
        Binding::Prefix,
        "2001:db8:0:1::7",
        &["2001:db8:0:1::7", "2001:db8:0:1::", "2001:db8:0:1:ffff:ffff:ffff:ffff"],
        &["2001:db8::7", "2001:db8:0:2::", "2001:db8:0:0:ffff::", "192.0.2.7", UNKNOWN],
    );
    // An address that is not known is in no network, and not in that of 0.0.0.0.
    check(Binding::Prefix, UNKNOWN, &[UNKNOWN], &["0.0.0.0", "::"]);
    check(Binding::Prefix, "0.0.0.0", &["0.0.0.9"], &["::", UNKNOWN]);
}

#[test]
fn log_and_off_take_any_address() {
    for policy in [Binding::Log, Binding::Off] {
        check(policy, "192.0.2.7", &["192.0.2.7", "198.51.100.1", "2001:db8::7", UNKNOWN], &[]);
        check(policy, UNKNOWN, &[UNKNOWN, "192.0.2.7"], &[]);
    }
}

#[test]
fn only_log_tells_of_a_foreign_use_and_only_of_one_that_passed() {
    for bind_address in Binding::ALL {
        let mut world = World::new(Terms { bind_address, ..PLAIN });
        let token = world.token();
        let told = |world: &World| world.told.0.lock().unwrap().pop().unwrap().3;
        assert!(!told(&world), "a login is foreign to nothing");
        let _home = world.check(&token);
        assert!(!told(&world), "{bind_address:?}");
        world.peer = address("198.51.100.1");
        let _elsewhere = world.check(&token);
        assert_eq!(told(&world), bind_address == Binding::Log, "{bind_address:?}");
        let mut open = world.open("csmith", "XXX");
        open.shown = Some(world.shown(&token));
        let outcome = world.execute(Command::Open(open));
        assert_eq!(
            matches!(outcome, Ok(Outcome::Standing(..))),
            !matches!(bind_address, Binding::Exact | Binding::Prefix)
        );
        assert_eq!(told(&world), bind_address == Binding::Log, "{bind_address:?}");
        let _ended = world.close(&token);
        let _refused = world.check(&token);
        let (action, failure, _, foreign) = world.told.0.lock().unwrap().pop().unwrap();
        assert!(failure.is_some() && !foreign, "{bind_address:?}: {action:?}");
        assert_eq!(action, Action::Check);
    }
}

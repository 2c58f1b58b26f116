//! Address binding: from which addresses a session is accepted under each policy, and which events the observer
//! receives.

use std::net::IpAddr;

use super::harness::{AuthorityHarness, PLAIN_POLICY};
use crate::ports::Action;
use crate::{AddressBinding, Command, Failure, Outcome, SessionPolicy};

fn address(text: &str) -> Option<IpAddr> {
    text.parse().ok()
}

/// Under this policy, a session opened from `login_address` is accepted from each of `near`, and refused from each of `far`.
#[track_caller]
fn check(address_binding: AddressBinding, login_address: &str, near: &[&str], far: &[&str]) {
    let mut world = AuthorityHarness::new(SessionPolicy { address_binding, ..PLAIN_POLICY });
    world.peer = address(login_address);
    let token = world.token();
    let cases = near.iter().map(|request_address| (request_address, Ok(())));
    for (request_address, expected) in cases
        .chain(far.iter().map(|request_address| (request_address, Err(Failure::UnexpectedAddress))))
    {
        world.peer = address(request_address);
        assert_eq!(
            world.check(&token),
            expected,
            "{address_binding:?}: {login_address}, {request_address}"
        );
        assert_eq!(
            world.peek(&token),
            expected,
            "{address_binding:?}: {login_address}, {request_address}"
        );
    }
}

const UNKNOWN_ADDRESS: &str = "";

#[test]
fn exact_binding_accepts_only_the_login_address() {
    check(
        AddressBinding::Exact,
        "192.0.2.7",
        &["192.0.2.7", "::ffff:192.0.2.7"],
        &["192.0.2.8", "192.0.3.7", "::1", "::192.0.2.7", UNKNOWN_ADDRESS],
    );
    check(
        AddressBinding::Exact,
        "2001:db8::7",
        &["2001:db8::7"],
        &["2001:db8::8", "192.0.2.7", UNKNOWN_ADDRESS],
    );
    check(AddressBinding::Exact, UNKNOWN_ADDRESS, &[UNKNOWN_ADDRESS], &["0.0.0.0", "::"]);
}

#[test]
fn prefix_binding_compares_24_bits_of_ipv4_and_64_of_ipv6() {
    check(
        AddressBinding::Prefix,
        "192.0.2.7",
        &["192.0.2.7", "192.0.2.0", "192.0.2.255", "::ffff:192.0.2.200"],
        &["192.0.1.255", "192.0.3.0", "128.0.2.7", "::192.0.2.7", "2001:db8::7", UNKNOWN_ADDRESS],
    );
    check(
        AddressBinding::Prefix,
        "2001:db8:0:1::7",
        &["2001:db8:0:1::7", "2001:db8:0:1::", "2001:db8:0:1:ffff:ffff:ffff:ffff"],
        &["2001:db8::7", "2001:db8:0:2::", "2001:db8:0:0:ffff::", "192.0.2.7", UNKNOWN_ADDRESS],
    );
    // An unknown address is in no network, also not in that of 0.0.0.0.
    check(AddressBinding::Prefix, UNKNOWN_ADDRESS, &[UNKNOWN_ADDRESS], &["0.0.0.0", "::"]);
    check(AddressBinding::Prefix, "0.0.0.0", &["0.0.0.9"], &["::", UNKNOWN_ADDRESS]);
}

#[test]
fn log_and_off_bindings_accept_any_address() {
    for policy in [AddressBinding::Log, AddressBinding::Off] {
        check(
            policy,
            "192.0.2.7",
            &["192.0.2.7", "198.51.100.1", "2001:db8::7", UNKNOWN_ADDRESS],
            &[],
        );
        check(policy, UNKNOWN_ADDRESS, &[UNKNOWN_ADDRESS, "192.0.2.7"], &[]);
    }
}

#[test]
fn only_log_binding_reports_an_unexpected_address_and_only_for_accepted_uses() {
    for address_binding in AddressBinding::ALL {
        let mut world = AuthorityHarness::new(SessionPolicy { address_binding, ..PLAIN_POLICY });
        let token = world.token();
        let was_unexpected =
            |world: &AuthorityHarness| world.observer.0.lock().unwrap().pop().unwrap().3;
        assert!(!was_unexpected(&world), "no address is unexpected at a login");
        let _home = world.check(&token);
        assert!(!was_unexpected(&world), "{address_binding:?}");
        world.peer = address("198.51.100.1");
        let _elsewhere = world.check(&token);
        assert_eq!(
            was_unexpected(&world),
            address_binding == AddressBinding::Log,
            "{address_binding:?}"
        );
        let mut open = world.login_request("csmith", "XXX");
        open.existing_credential = Some(world.credential(&token));
        let outcome = world.execute(Command::Login(open));
        assert_eq!(
            matches!(outcome, Ok(Outcome::Active(..))),
            !matches!(address_binding, AddressBinding::Exact | AddressBinding::Prefix)
        );
        assert_eq!(
            was_unexpected(&world),
            address_binding == AddressBinding::Log,
            "{address_binding:?}"
        );
        let _ended = world.log_out(&token);
        let _refused = world.check(&token);
        let (action, failure, _, unexpected_address) =
            world.observer.0.lock().unwrap().pop().unwrap();
        assert!(failure.is_some() && !unexpected_address, "{address_binding:?}: {action:?}");
        assert_eq!(action, Action::Check);
    }
}

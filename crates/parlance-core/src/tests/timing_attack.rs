//! Against timing attacks and user enumeration, every failed login costs the same: one look-up, one reservation and one
//! hash under the current policy. The failure is recorded afterwards.

use std::sync::Arc;

use super::harness::{
    AuthorityHarness, CHEAPEST_PARAMS, HOUR, PLAIN_POLICY, TestTokenIssuer, block_on,
};
use crate::lockout::FREE_FAILURES;
use crate::password::work_of;
use crate::ports::{Change, Store as _};
use crate::{Failure, PasswordHash, UserId, UserName};

/// Asserts that a login as `user` with `password` fails with `expected`, at the same cost as every other failure.
#[track_caller]
fn check(world: &AuthorityHarness, user: &str, password: &str, expected: Failure) {
    world.computed_hashes();
    world.store.calls();
    // A new day resets every attempt state.
    world.clock.advance(24 * HOUR);
    assert_eq!(world.login(user, password).map(drop), Err(expected));
    assert_eq!(world.store.calls(), ["user", "apply", "apply"], "{user:?}");
    assert_eq!(world.computed_hashes(), [CHEAPEST_PARAMS], "{user:?}");
}

/// A hash of some password under parameters other than the current ones.
const EXPENSIVE_HASH: &str =
    "$argon2id$v=19$m=16,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4";

fn add(world: &AuthorityHarness, name: &str, hash: Option<&str>) {
    let mut user = world.user("csmith");
    let new = UserName::new(name).unwrap();
    user.id = UserId(uuid::Uuid::from_u128(u128::from(world.entropy.next())));
    (user.name, user.canonical) = (new.as_str().to_owned(), new.canonical());
    user.password = hash.map(|hash| PasswordHash::from_stored(hash.to_owned()));
    block_on(world.store.apply(Change::AddUser(Box::new(user)))).unwrap();
}

#[test]
fn every_failed_login_costs_one_look_up_and_one_hash() {
    let world = AuthorityHarness::new(PLAIN_POLICY);
    world.add_user("disabled", "XXX");
    world.add_user("expired", "XXX");
    block_on(world.authority.set_enabled("disabled", false)).unwrap();
    block_on(world.authority.expire_password("expired")).unwrap();
    add(&world, "empty", None);
    add(&world, "garbage", Some("garbage"));
    add(
        &world,
        "outsized",
        Some(
            "$argon2id$v=19$m=4194304,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4",
        ),
    );

    let (unknown, wrong) = (Failure::UnknownUser, Failure::WrongPassword);
    check(&world, "csmith", "no", wrong);
    check(&world, "nobody", "no", unknown);
    check(&world, "", "", unknown);
    check(&world, "a|b", "no", unknown);
    check(&world, &"n".repeat(5000), "no", unknown);
    check(&world, "disabled", "no", wrong);
    check(&world, "disabled", "XXX", Failure::UserDisabled);
    check(&world, "expired", "no", wrong);
    check(&world, "expired", "XXX", Failure::PasswordExpired);
    for user in ["empty", "garbage", "outsized"] {
        check(&world, user, "no", wrong);
        check(&world, user, "", wrong);
    }
    for password in ["", "\0", "XXX\0", &"X".repeat(4097), &"ä".repeat(3000), &"X".repeat(1 << 20)]
    {
        check(&world, "csmith", password, wrong);
        check(&world, "nobody", password, unknown);
        check(&world, "disabled", password, wrong);
    }
}

#[test]
fn a_successful_login_costs_one_hash() {
    let world = AuthorityHarness::new(PLAIN_POLICY);
    assert!(world.login("csmith", "XXX").is_ok());
    assert_eq!(
        (world.store.calls(), world.computed_hashes()),
        (vec!["user", "apply", "apply"], vec![CHEAPEST_PARAMS])
    );
}

#[test]
fn a_locked_account_costs_one_dummy_hash() {
    let world = AuthorityHarness::new(PLAIN_POLICY);
    add(&world, "dear", Some(EXPENSIVE_HASH));
    for (user, known) in [("csmith", true), ("nobody", false), ("dear", true)] {
        let _wrong: Vec<_> =
            (0..=FREE_FAILURES).map(|_| world.login(user, "no").map(drop)).collect();
        world.computed_hashes();
        world.store.calls();
        // Also for the right password, which is not examined.
        assert_eq!(
            world.login(user, "XXX").map(drop),
            Err(Failure::Locked { user_exists: known }),
            "{user}"
        );
        assert_eq!(
            (world.store.calls(), world.computed_hashes()),
            (vec!["user", "apply"], vec![CHEAPEST_PARAMS])
        );
    }
}

#[test]
fn a_login_without_credentials_costs_nothing() {
    let world = AuthorityHarness::new(PLAIN_POLICY);
    let mut open = world.login_request("", "");
    open.credentials = None;
    let refused = world.execute(crate::Command::Login(open)).map(drop);
    assert_eq!(refused, Err(Failure::UnknownUser));
    assert_eq!((world.store.calls(), world.computed_hashes()), (Vec::new(), Vec::new()));
}

/// KiB filled, over all passes.
fn work(hashes: &[[u32; 3]]) -> u64 {
    hashes.iter().map(|&[memory, passes, _]| work_of(memory.into(), passes.into())).sum()
}

#[test]
fn a_refusal_costs_the_same_for_a_hash_with_cheaper_parameters() {
    let policy = [400, 3, 1];
    // argon2 takes whole KiB, and at least 8.
    let rounding = work_of(8, 1);
    for stored in [
        [400, 1, 1],
        [400, 2, 1],
        [160, 2, 1],
        [80, 1, 1],
        [240, 4, 1],
        [320, 1, 1],
        [390, 3, 1],
        policy,
    ] {
        let world = AuthorityHarness::with_store(
            Arc::default(),
            TestTokenIssuer::new(PLAIN_POLICY),
            stored,
        );
        world.add_user("disabled", "XXX");
        block_on(world.authority.set_enabled("disabled", false)).unwrap();
        let raised = AuthorityHarness::with_store(
            Arc::clone(&world.store),
            TestTokenIssuer::new(PLAIN_POLICY),
            policy,
        );
        let cost = |user: &str, password: &str| {
            assert!(raised.login(user, password).is_err(), "{user}");
            work(&raised.computed_hashes())
        };
        let unknown = cost("nobody", "no");
        assert_eq!(unknown, work(&[policy]));
        for (user, password) in [("csmith", "no"), ("disabled", "no"), ("disabled", "XXX")] {
            let short = unknown - cost(user, password);
            assert!(short < rounding, "{stored:?}: {user} {password} takes {short} less");
        }
        assert!(unknown - cost("csmith", &"X".repeat(5000)) < rounding, "{stored:?}");
        // A successful login adds no hash to equalize the cost; a password stored under other parameters is rehashed
        // once.
        assert!(raised.login("csmith", "XXX").is_ok());
        let rehashed = if stored == policy { vec![stored] } else { vec![stored, policy] };
        assert_eq!(raised.computed_hashes(), rehashed);
    }
}

//! Every failed login costs the same: one look-up, one place and one hash under the current policy. That it failed is noted afterwards.

use std::sync::Arc;

use super::world::{CHEAP, HOUR, PLAIN, TestMint, World, run};
use crate::lockout::FREE;
use crate::password::work_of;
use crate::ports::{Change, Store as _};
use crate::{Failure, PasswordHash, UserId, UserName};

/// A login as `user` with `password` fails so, and costs what every other failure costs.
#[track_caller]
fn check(world: &World, user: &str, password: &str, expected: Failure) {
    world.hashes();
    world.store.calls();
    // Every ladder is at its foot again.
    world.clock.advance(24 * HOUR);
    assert_eq!(world.login(user, password).map(drop), Err(expected));
    assert_eq!(world.store.calls(), ["user", "apply", "apply"], "{user:?}");
    assert_eq!(world.hashes(), [CHEAP], "{user:?}");
}

/// A hash of something under parameters that are not the current ones.
const DEAR: &str =
    "$argon2id$v=19$m=16,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4";

fn add(world: &World, name: &str, hash: Option<&str>) {
    let mut user = world.user("csmith");
    let new = UserName::new(name).unwrap();
    user.id = UserId(uuid::Uuid::from_u128(u128::from(world.entropy.next())));
    (user.name, user.canonical) = (new.as_str().to_owned(), new.canonical());
    user.password = hash.map(|hash| PasswordHash::stored(hash.to_owned()));
    run(world.store.apply(Change::AddUser(Box::new(user)))).unwrap();
}

#[test]
fn every_failed_login_costs_one_look_up_and_one_hash() {
    let world = World::new(PLAIN);
    world.add_user("disabled", "XXX");
    world.add_user("expired", "XXX");
    run(world.authority.set_enabled("disabled", false)).unwrap();
    run(world.authority.expire_password("expired")).unwrap();
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
fn a_login_costs_one_hash_as_well() {
    let world = World::new(PLAIN);
    assert!(world.login("csmith", "XXX").is_ok());
    assert_eq!(
        (world.store.calls(), world.hashes()),
        (vec!["user", "apply", "apply"], vec![CHEAP])
    );
}

#[test]
fn a_locked_account_costs_one_hash_that_is_not_its_own() {
    let world = World::new(PLAIN);
    add(&world, "dear", Some(DEAR));
    for (user, known) in [("csmith", true), ("nobody", false), ("dear", true)] {
        let _wrong: Vec<_> = (0..=FREE).map(|_| world.login(user, "no").map(drop)).collect();
        world.hashes();
        world.store.calls();
        // The right password too: it is not looked at.
        assert_eq!(world.login(user, "XXX").map(drop), Err(Failure::Locked { known }), "{user}");
        assert_eq!((world.store.calls(), world.hashes()), (vec!["user", "apply"], vec![CHEAP]));
    }
}

#[test]
fn a_login_without_credentials_costs_nothing() {
    let world = World::new(PLAIN);
    let mut open = world.open("", "");
    open.login = None;
    let refused = world.execute(crate::Command::Open(open)).map(drop);
    assert_eq!(refused, Err(Failure::UnknownUser));
    assert_eq!((world.store.calls(), world.hashes()), (Vec::new(), Vec::new()));
}

/// The work of hashes: [`work_of`].
fn work(hashes: &[[u32; 3]]) -> u64 {
    hashes.iter().map(|&[memory, passes, _]| work_of(memory.into(), passes.into())).sum()
}

#[test]
fn a_hash_under_cheaper_parameters_costs_a_refusal_no_less() {
    let policy = [400, 3, 1];
    // argon2 takes no less than 8 KiB, and whole ones.
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
        let world = World::over(Arc::default(), TestMint::new(PLAIN), stored);
        world.add_user("disabled", "XXX");
        run(world.authority.set_enabled("disabled", false)).unwrap();
        let raised = World::over(Arc::clone(&world.store), TestMint::new(PLAIN), policy);
        let cost = |user: &str, password: &str| {
            assert!(raised.login(user, password).is_err(), "{user}");
            work(&raised.hashes())
        };
        let nobody = cost("nobody", "no");
        assert_eq!(nobody, work(&[policy]));
        for (user, password) in [("csmith", "no"), ("disabled", "no"), ("disabled", "XXX")] {
            let short = nobody - cost(user, password);
            assert!(short < rounding, "{stored:?}: {user} {password} takes {short} less");
        }
        assert!(nobody - cost("csmith", &"X".repeat(5000)) < rounding, "{stored:?}");
        // A login makes nothing up: it hashes the password anew, once.
        assert!(raised.login("csmith", "XXX").is_ok());
        let rehashed = if stored == policy { vec![stored] } else { vec![stored, policy] };
        assert_eq!(raised.hashes(), rehashed);
    }
}

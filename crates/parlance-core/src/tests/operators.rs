//! What an operator does, and what becomes of sessions.

use super::world::{MINUTE, PLAIN, World, opened, run, secret};
use crate::{Failure, NameError, NewUser, OperatorError, SessionId};

const ENDED: Result<(), Failure> = Err(Failure::EndedSession);

/// A world with another user, and a session of each.
fn two() -> (World, crate::Secret, crate::Secret) {
    let world = World::new(PLAIN);
    world.add_user("Other", "ZZZ");
    let (own, other) = (world.token(), opened(world.login("other", "ZZZ")).2);
    (world, own, other)
}

#[test]
fn disabling_ends_all_sessions_and_enabling_revives_none() {
    let (world, token, other) = two();
    run(world.authority.set_enabled("CSMITH", false)).unwrap();
    assert_eq!((world.check(&token), world.check(&other)), (ENDED, Ok(())));
    assert_eq!(world.login("csmith", "XXX").map(drop), Err(Failure::UserDisabled));
    run(world.authority.set_enabled("csmith", true)).unwrap();
    assert_eq!(world.check(&token), ENDED);
    assert!(world.login("csmith", "XXX").is_ok());
    assert_eq!(world.check(&token), ENDED);
}

#[test]
fn an_expired_password_opens_nothing_and_ends_nothing() {
    let (world, token, _) = two();
    run(world.authority.expire_password("csmith")).unwrap();
    assert_eq!(world.login("csmith", "XXX").map(drop), Err(Failure::PasswordExpired));
    assert_eq!(world.check(&token), Ok(()));
    run(world.authority.set_password("csmith", secret("NEW"))).unwrap();
    assert!(world.login("csmith", "NEW").is_ok());
}

#[test]
fn a_new_password_ends_all_sessions_and_the_old_password() {
    let (world, token, other) = two();
    run(world.authority.set_password("csmith", secret("NEW"))).unwrap();
    assert_eq!((world.check(&token), world.check(&other)), (ENDED, Ok(())));
    assert_eq!(world.login("csmith", "XXX").map(drop), Err(Failure::WrongPassword));
    assert!(world.login("csmith", "NEW").is_ok());
}

#[test]
fn a_removed_user_leaves_nothing_behind() {
    let (world, token, other) = two();
    run(world.authority.remove_user("csmith")).unwrap();
    assert_eq!(world.check(&token), Err(Failure::UnknownCredential));
    assert_eq!(world.login("csmith", "XXX").map(drop), Err(Failure::UnknownUser));
    // Another of the same name is somebody else.
    world.add_user("csmith", "XXX");
    assert_eq!(world.check(&token), Err(Failure::UnknownCredential));
    assert_eq!(world.check(&other), Ok(()));
}

#[test]
fn revoking_ends_one_session_those_of_a_user_or_all() {
    let (world, token, other) = two();
    let second = world.token();
    let id = world.session(&token).id;
    run(world.authority.revoke_session(id, world.now())).unwrap();
    assert_eq!((world.check(&token), world.check(&second)), (ENDED, Ok(())));
    let again = run(world.authority.revoke_session(id, world.now()));
    assert_eq!(again, Err(OperatorError::NoSession));
    run(world.authority.revoke_user("csmith")).unwrap();
    assert_eq!((world.check(&second), world.check(&other)), (ENDED, Ok(())));
    run(world.authority.revoke_all()).unwrap();
    assert_eq!((world.check(&other), world.living()), (ENDED, 0));
    // Everybody may come back.
    assert!(world.login("csmith", "XXX").is_ok() && world.login("other", "ZZZ").is_ok());
}

#[test]
fn a_session_that_has_expired_is_not_there_to_revoke() {
    let (world, token, _) = two();
    let id = world.session(&token).id;
    world.clock.advance(60 * MINUTE);
    let revoked = run(world.authority.revoke_session(id, world.now()));
    assert_eq!(revoked, Err(OperatorError::NoSession));
    let nobody = SessionId(uuid::Uuid::nil());
    let revoked = run(world.authority.revoke_session(nobody, world.now()));
    assert_eq!(revoked, Err(OperatorError::NoSession));
}

#[test]
fn nobody_is_not_a_user() {
    let (world, ..) = two();
    let authority = &world.authority;
    for name in ["nobody", "", "a|b", " csmith"] {
        let none = Err(OperatorError::NoUser);
        assert_eq!(run(authority.set_enabled(name, false)), none);
        assert_eq!(run(authority.set_password(name, secret("NEW"))), none);
        assert_eq!(run(authority.expire_password(name)), none);
        assert_eq!(run(authority.revoke_user(name)), none);
        assert_eq!(run(authority.remove_user(name)), none);
    }
}

#[track_caller]
fn check(name: &str, password: &str, expected: Result<(), &OperatorError>) {
    let world = World::new(PLAIN);
    let (name, password) = (name.to_owned(), secret(password));
    let new = NewUser { name, password, roles: Vec::new(), unrestricted: true };
    let added = run(world.authority.add_user(new, world.now()));
    assert_eq!(added.as_ref().map(drop), expected);
}

#[test]
fn a_user_has_a_name_of_his_own_and_a_password() {
    check("Anna", "p", Ok(()));
    check("Anna", &"p".repeat(4096), Ok(()));
    for taken in ["csmith", "CSmith", "ｃｓｍｉｔｈ"] {
        check(taken, "p", Err(&OperatorError::Taken));
    }
    for password in ["", "\0", "p\0", &"p".repeat(4097)] {
        check("Anna", password, Err(&OperatorError::Password));
    }
    check("", "p", Err(&OperatorError::Name(NameError::Length)));
    check(" Anna", "p", Err(&OperatorError::Name(NameError::OuterBlank)));
}

#[test]
fn a_store_that_is_away_does_nothing() {
    let (world, token, _) = two();
    world.store.inner.set_away(true);
    let refused = run(world.authority.set_enabled("csmith", false));
    assert!(matches!(refused, Err(OperatorError::Store(_))), "{refused:?}");
    world.store.inner.set_away(false);
    assert_eq!(world.check(&token), Ok(()));
}

#[test]
fn a_role_counts_once_and_no_user_has_more_than_a_token_can_name() {
    let world = World::new(PLAIN);
    let add = |name: &str, roles: Vec<u128>| {
        let roles = roles.into_iter().map(uuid::Uuid::from_u128).collect();
        let new =
            NewUser { name: name.to_owned(), password: secret("XXX"), roles, unrestricted: false };
        run(world.authority.add_user(new, world.now())).map(|user| user.roles.len())
    };
    assert_eq!(add("twice", vec![1, 2, 1]), Ok(2));
    assert_eq!(add("many", (0..256).chain(0..256).collect()), Ok(256));
    assert_eq!(add("more", (0..257).collect()), Err(OperatorError::Roles));
    assert_eq!(run(world.authority.set_enabled("more", true)), Err(OperatorError::NoUser));
}

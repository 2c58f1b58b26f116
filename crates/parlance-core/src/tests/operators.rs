//! Operator commands, and their effect on sessions.

use super::harness::{AuthorityHarness, MINUTE, PLAIN_POLICY, block_on, expect_logged_in, secret};
use crate::{
    Failure, ImportOutcome, ImportedUser, NameError, NewUser, OperatorError, PasswordHash,
    SessionId, UserId,
};

const ENDED: Result<(), Failure> = Err(Failure::RevokedOrExpired);

/// A world with a second user, and a session of each user.
fn two_users_with_sessions() -> (AuthorityHarness, crate::Secret, crate::Secret) {
    let world = AuthorityHarness::new(PLAIN_POLICY);
    world.add_user("Other", "ZZZ");
    let (own, other) = (world.token(), expect_logged_in(world.login("other", "ZZZ")).2);
    (world, own, other)
}

#[test]
fn disabling_ends_all_sessions_and_enabling_revives_none() {
    let (world, token, other) = two_users_with_sessions();
    block_on(world.authority.set_enabled("CSMITH", false)).unwrap();
    assert_eq!((world.check(&token), world.check(&other)), (ENDED, Ok(())));
    assert_eq!(world.login("csmith", "XXX").map(drop), Err(Failure::UserDisabled));
    block_on(world.authority.set_enabled("csmith", true)).unwrap();
    assert_eq!(world.check(&token), ENDED);
    assert!(world.login("csmith", "XXX").is_ok());
    assert_eq!(world.check(&token), ENDED);
}

#[test]
fn an_expired_password_blocks_logins_and_keeps_sessions() {
    let (world, token, _) = two_users_with_sessions();
    block_on(world.authority.expire_password("csmith")).unwrap();
    assert_eq!(world.login("csmith", "XXX").map(drop), Err(Failure::PasswordExpired));
    assert_eq!(world.check(&token), Ok(()));
    block_on(world.authority.set_password("csmith", secret("NEW"))).unwrap();
    assert!(world.login("csmith", "NEW").is_ok());
}

#[test]
fn a_new_password_ends_all_sessions_and_the_old_password() {
    let (world, token, other) = two_users_with_sessions();
    block_on(world.authority.set_password("csmith", secret("NEW"))).unwrap();
    assert_eq!((world.check(&token), world.check(&other)), (ENDED, Ok(())));
    assert_eq!(world.login("csmith", "XXX").map(drop), Err(Failure::WrongPassword));
    assert!(world.login("csmith", "NEW").is_ok());
}

#[test]
fn a_removed_user_leaves_no_session() {
    let (world, token, other) = two_users_with_sessions();
    block_on(world.authority.remove_user("csmith")).unwrap();
    assert_eq!(world.check(&token), Err(Failure::UnknownCredential));
    assert_eq!(world.login("csmith", "XXX").map(drop), Err(Failure::UnknownUser));
    // A new user of the same name is another user.
    world.add_user("csmith", "XXX");
    assert_eq!(world.check(&token), Err(Failure::UnknownCredential));
    assert_eq!(world.check(&other), Ok(()));
}

#[test]
fn revoking_ends_one_session_those_of_a_user_or_all() {
    let (world, token, other) = two_users_with_sessions();
    let second = world.token();
    let id = world.session(&token).id;
    block_on(world.authority.revoke_session(id, world.now())).unwrap();
    assert_eq!((world.check(&token), world.check(&second)), (ENDED, Ok(())));
    let again = block_on(world.authority.revoke_session(id, world.now()));
    assert_eq!(again, Err(OperatorError::NoSession));
    block_on(world.authority.revoke_user("csmith")).unwrap();
    assert_eq!((world.check(&second), world.check(&other)), (ENDED, Ok(())));
    block_on(world.authority.revoke_all()).unwrap();
    assert_eq!((world.check(&other), world.live_sessions()), (ENDED, 0));
    // All users may log in again.
    assert!(world.login("csmith", "XXX").is_ok() && world.login("other", "ZZZ").is_ok());
}

#[test]
fn an_expired_session_cannot_be_revoked() {
    let (world, token, _) = two_users_with_sessions();
    let id = world.session(&token).id;
    world.clock.advance(60 * MINUTE);
    let revoked = block_on(world.authority.revoke_session(id, world.now()));
    assert_eq!(revoked, Err(OperatorError::NoSession));
    let unknown = SessionId(uuid::Uuid::nil());
    let revoked = block_on(world.authority.revoke_session(unknown, world.now()));
    assert_eq!(revoked, Err(OperatorError::NoSession));
}

#[test]
fn operator_commands_for_an_unknown_user_are_refused() {
    let (world, ..) = two_users_with_sessions();
    let authority = &world.authority;
    for name in ["nobody", "", "a|b", " csmith"] {
        let none = Err(OperatorError::NoUser);
        assert_eq!(block_on(authority.set_enabled(name, false)), none);
        assert_eq!(block_on(authority.set_password(name, secret("NEW"))), none);
        assert_eq!(block_on(authority.expire_password(name)), none);
        assert_eq!(block_on(authority.revoke_user(name)), none);
        assert_eq!(block_on(authority.remove_user(name)), none);
    }
}

#[track_caller]
fn check(name: &str, password: &str, expected: Result<(), &OperatorError>) {
    let world = AuthorityHarness::new(PLAIN_POLICY);
    let (name, password) = (name.to_owned(), secret(password));
    let new = NewUser { name, password, roles: Vec::new(), unrestricted: true };
    let added = block_on(world.authority.add_user(new, world.now()));
    assert_eq!(added.as_ref().map(drop), expected);
}

#[test]
fn a_user_needs_a_unique_name_and_a_valid_password() {
    check("Anna", "p", Ok(()));
    check("Anna", &"p".repeat(4096), Ok(()));
    for taken in ["csmith", "CSmith", "ｃｓｍｉｔｈ"] {
        check(taken, "p", Err(&OperatorError::NameTaken));
    }
    for password in ["", "\0", "p\0", &"p".repeat(4097)] {
        check("Anna", password, Err(&OperatorError::InvalidPassword));
    }
    check("", "p", Err(&OperatorError::Name(NameError::Length)));
    check(" Anna", "p", Err(&OperatorError::Name(NameError::SurroundingSpace)));
}

#[test]
fn an_operator_command_fails_while_the_store_is_unavailable() {
    let (world, token, _) = two_users_with_sessions();
    world.store.inner.set_unavailable(true);
    let refused = block_on(world.authority.set_enabled("csmith", false));
    assert!(matches!(refused, Err(OperatorError::Store(_))), "{refused:?}");
    world.store.inner.set_unavailable(false);
    assert_eq!(world.check(&token), Ok(()));
}

#[test]
fn duplicate_roles_count_once_and_a_user_has_at_most_256() {
    let world = AuthorityHarness::new(PLAIN_POLICY);
    let add = |name: &str, roles: Vec<u128>| {
        let roles = roles.into_iter().map(uuid::Uuid::from_u128).collect();
        let new =
            NewUser { name: name.to_owned(), password: secret("XXX"), roles, unrestricted: false };
        block_on(world.authority.add_user(new, world.now())).map(|user| user.roles.len())
    };
    assert_eq!(add("twice", vec![1, 2, 1]), Ok(2));
    assert_eq!(add("many", (0..256).chain(0..256).collect()), Ok(256));
    assert_eq!(add("more", (0..257).collect()), Err(OperatorError::TooManyRoles));
    assert_eq!(block_on(world.authority.set_enabled("more", true)), Err(OperatorError::NoUser));
}

#[test]
fn a_renamed_user_logs_in_under_the_new_name_only_and_loses_all_sessions() {
    let (world, token, other) = two_users_with_sessions();
    let rename = |new: &str| block_on(world.authority.rename_user("CSMITH", new));
    assert_eq!(rename("oTHER"), Err(OperatorError::NameTaken));
    assert_eq!(rename(" c"), Err(OperatorError::Name(NameError::SurroundingSpace)));
    assert_eq!(world.check(&token), Ok(()));
    assert_eq!(rename("Carol Smith"), Ok(()));
    assert_eq!(rename("Carol Smith"), Err(OperatorError::NoUser));
    assert_eq!((world.check(&token), world.check(&other)), (ENDED, Ok(())));
    assert_eq!(world.login("csmith", "XXX").map(drop), Err(Failure::UnknownUser));
    assert!(world.login("carol smith", "XXX").is_ok());
}

#[test]
fn role_changes_apply_to_open_sessions() {
    let (world, token, _) = two_users_with_sessions();
    let role = uuid::Uuid::from_u128(7);
    block_on(world.authority.set_roles("CSMITH", vec![role, role])).unwrap();
    block_on(world.authority.set_unrestricted("csmith", true)).unwrap();
    assert_eq!(world.check(&token), Ok(()));
    let user = block_on(world.authority.store().user(crate::canonical_name("csmith").unwrap()));
    let user = user.unwrap().unwrap();
    assert_eq!((user.roles, user.unrestricted), (vec![role], true));
    let many = (0..257).map(uuid::Uuid::from_u128).collect();
    assert_eq!(
        block_on(world.authority.set_roles("csmith", many)),
        Err(OperatorError::TooManyRoles)
    );
    assert_eq!(
        block_on(world.authority.set_unrestricted("nobody", true)),
        Err(OperatorError::NoUser)
    );
}

#[test]
fn an_import_adds_a_user_once_and_names_the_difference() {
    let world = AuthorityHarness::new(PLAIN_POLICY);
    let now = world.now();
    let phc = "$argon2id$v=19$m=8,t=1,p=1$c29tZXNhbHQ$AAAAAAAAAAAAAAAAAAAAAA";
    let ann = ImportedUser {
        id: None,
        name: "Ann".to_owned(),
        hash: Some(PasswordHash::imported(phc).unwrap()),
        enabled: true,
        password_expired: false,
        unrestricted: false,
        roles: Vec::new(),
        created: None,
    };
    let import =
        |user: &ImportedUser, dry| block_on(world.authority.import_user(user.clone(), now, dry));
    assert_eq!(import(&ann, true), Ok(ImportOutcome::Added));
    assert_eq!(
        world.login("ann", "x").map(drop),
        Err(Failure::UnknownUser),
        "a dry run adds no user"
    );
    for (dry, made) in [
        (false, ImportOutcome::Added),
        (false, ImportOutcome::Unchanged),
        (true, ImportOutcome::Unchanged),
    ] {
        assert_eq!(import(&ann, dry), Ok(made));
    }
    let others = [
        ("the spelling of the name", ImportedUser { name: "aNN".to_owned(), ..ann.clone() }),
        ("the id", ImportedUser { id: Some(UserId(uuid::Uuid::nil())), ..ann.clone() }),
        ("the hash", ImportedUser { hash: None, ..ann.clone() }),
        ("enabled", ImportedUser { enabled: false, ..ann.clone() }),
        ("password_expired", ImportedUser { password_expired: true, ..ann.clone() }),
        ("unrestricted", ImportedUser { unrestricted: true, ..ann.clone() }),
        ("roles", ImportedUser { roles: vec![uuid::Uuid::nil()], ..ann.clone() }),
        (
            "created",
            ImportedUser { created: Some(crate::Timestamp::from_millis(1)), ..ann.clone() },
        ),
    ];
    for (what, other) in others {
        for dry in [false, true] {
            assert_eq!(import(&other, dry), Err(OperatorError::Differs(what)));
        }
    }
    let id = UserId(uuid::Uuid::from_u128(77));
    let bob = ImportedUser { id: Some(id), name: "bob".to_owned(), hash: None, ..ann };
    assert_eq!(import(&bob, false), Ok(ImportOutcome::Added));
    assert_eq!(
        world.login("bob", "x").map(drop),
        Err(Failure::WrongPassword),
        "the user has no password"
    );
    let eve = ImportedUser { name: "eve".to_owned(), ..bob };
    assert_eq!(import(&eve, false), Err(OperatorError::IdTaken(id)));
    assert_eq!(import(&eve, true), Err(OperatorError::IdTaken(id)));
}

#[test]
fn a_repeated_import_ignores_the_hash_of_a_user_that_has_logged_in() {
    let world = AuthorityHarness::new(PLAIN_POLICY);
    let name = crate::canonical_name("csmith").unwrap();
    let old = block_on(world.authority.store().user(name)).unwrap().unwrap();
    let phc = "$argon2id$v=19$m=8,t=1,p=1$c29tZXNhbHQ$AAAAAAAAAAAAAAAAAAAAAA";
    let row = ImportedUser {
        id: Some(old.id),
        name: old.name,
        hash: Some(PasswordHash::imported(phc).unwrap()),
        enabled: true,
        password_expired: false,
        unrestricted: false,
        roles: Vec::new(),
        created: Some(old.created),
    };
    let import = |row: &ImportedUser| {
        [false, true]
            .map(|dry| block_on(world.authority.import_user(row.clone(), world.now(), dry)))
    };
    let differs = |what| [(); 2].map(|()| Err(OperatorError::Differs(what)));
    assert_eq!(import(&row), differs("the hash"));
    let _token = world.token();
    assert_eq!(import(&row), [Ok(ImportOutcome::Unchanged), Ok(ImportOutcome::Unchanged)]);
    let disabled = ImportedUser { enabled: false, ..row };
    assert_eq!(import(&disabled), differs("enabled"), "all else is compared");
}

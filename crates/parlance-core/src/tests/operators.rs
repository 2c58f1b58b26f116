//! What an operator does, and what becomes of sessions.

use super::world::{MINUTE, PLAIN, World, opened, run, secret};
use crate::{
    Failure, Imported, ImportedUser, NameError, NewUser, OperatorError, PasswordHash, SessionId,
    UserId,
};

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

#[test]
fn a_renamed_user_logs_in_under_the_new_name_alone_and_his_sessions_are_ended() {
    let (world, token, other) = two();
    let rename = |new: &str| run(world.authority.rename_user("CSMITH", new));
    assert_eq!(rename("oTHER"), Err(OperatorError::Taken));
    assert_eq!(rename(" c"), Err(OperatorError::Name(NameError::OuterBlank)));
    assert_eq!(world.check(&token), Ok(()));
    assert_eq!(rename("Carol Smith"), Ok(()));
    assert_eq!(rename("Carol Smith"), Err(OperatorError::NoUser));
    assert_eq!((world.check(&token), world.check(&other)), (ENDED, Ok(())));
    assert_eq!(world.login("csmith", "XXX").map(drop), Err(Failure::UnknownUser));
    assert!(world.login("carol smith", "XXX").is_ok());
}

#[test]
fn roles_and_freedom_change_for_the_sessions_that_are_open() {
    let (world, token, _) = two();
    let role = uuid::Uuid::from_u128(7);
    run(world.authority.set_roles("CSMITH", vec![role, role])).unwrap();
    run(world.authority.set_unrestricted("csmith", true)).unwrap();
    assert_eq!(world.check(&token), Ok(()));
    let user = run(world.authority.store().user(crate::canonical_name("csmith").unwrap()));
    let user = user.unwrap().unwrap();
    assert_eq!((user.roles, user.unrestricted), (vec![role], true));
    let many = (0..257).map(uuid::Uuid::from_u128).collect();
    assert_eq!(run(world.authority.set_roles("csmith", many)), Err(OperatorError::Roles));
    assert_eq!(run(world.authority.set_unrestricted("nobody", true)), Err(OperatorError::NoUser));
}

#[test]
fn an_import_makes_a_user_once_and_says_what_differs() {
    let world = World::new(PLAIN);
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
        |user: &ImportedUser, dry| run(world.authority.import_user(user.clone(), now, dry));
    assert_eq!(import(&ann, true), Ok(Imported::Added));
    assert_eq!(
        world.login("ann", "x").map(drop),
        Err(Failure::UnknownUser),
        "a trial makes nobody"
    );
    for (dry, made) in
        [(false, Imported::Added), (false, Imported::Unchanged), (true, Imported::Unchanged)]
    {
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
    assert_eq!(import(&bob, false), Ok(Imported::Added));
    assert_eq!(
        world.login("bob", "x").map(drop),
        Err(Failure::WrongPassword),
        "he has no password"
    );
    let eve = ImportedUser { name: "eve".to_owned(), ..bob };
    assert_eq!(import(&eve, false), Err(OperatorError::IdTaken(id)));
    assert_eq!(import(&eve, true), Err(OperatorError::IdTaken(id)));
}

#[test]
fn an_import_given_again_does_not_compare_the_hash_of_who_has_logged_in() {
    let world = World::new(PLAIN);
    let name = crate::canonical_name("csmith").unwrap();
    let old = run(world.authority.store().user(name)).unwrap().unwrap();
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
        [false, true].map(|dry| run(world.authority.import_user(row.clone(), world.now(), dry)))
    };
    let differs = |what| [(); 2].map(|()| Err(OperatorError::Differs(what)));
    assert_eq!(import(&row), differs("the hash"));
    let _token = world.token();
    assert_eq!(import(&row), [Ok(Imported::Unchanged), Ok(Imported::Unchanged)]);
    let disabled = ImportedUser { enabled: false, ..row };
    assert_eq!(import(&disabled), differs("enabled"), "all else is compared");
}

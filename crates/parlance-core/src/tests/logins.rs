//! Who may log in, with what.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::world::{
    CHEAP, HOUR, MINUTE, PLAIN, TestMint, World, canonical, login, opened, run, secret,
};
use crate::ports::{Change, Store as _};
use crate::{Command, Failure, Lifetime, Login, Outcome, Terms};

/// What a login as `user` with `password` is answered, in the world of [`World::new`].
#[track_caller]
fn check(user: &str, password: &str, expected: Result<(), Failure>) {
    let world = World::new(PLAIN);
    assert_eq!(world.login(user, password).map(drop), expected, "{user:?}, {password:?}");
    assert_eq!(world.living(), usize::from(expected.is_ok()));
}

#[test]
fn a_right_password_opens_and_nothing_else_does() {
    check("csmith", "XXX", Ok(()));
    check("CSmith", "XXX", Ok(()));
    check("ｃｓｍｉｔｈ", "XXX", Ok(()));
    for password in ["", "X", "XX", "XXXX", "xxx", "XXX ", " XXX", "XXX\0", "ＸＸＸ", "XXX\n"] {
        check("csmith", password, Err(Failure::WrongPassword));
    }
    for user in ["", "nobody", "csmith ", " csmith", "csmith\0", "csmith|", "c smith", "csmith\n"] {
        check(user, "XXX", Err(Failure::UnknownUser));
    }
    check(&"n".repeat(100_000), "XXX", Err(Failure::UnknownUser));
    check("csmith", &"X".repeat(4097), Err(Failure::WrongPassword));
    check("csmith", &"ä".repeat(1_000_000), Err(Failure::WrongPassword));
}

#[test]
fn a_login_tells_whose_session_it_opened_and_when() {
    let world = World::new(PLAIN);
    let (session, user, token) = opened(world.login("CSMITH", "XXX"));
    assert_eq!(user.name, "csmith");
    assert_eq!(
        (user.last_login, world.user("csmith").last_login),
        (Some(world.now()), Some(world.now()))
    );
    assert_eq!((session.user, session.created, session.last_used), (user.id, world.now(), None));
    assert_eq!((session.address, session.dialect.as_str()), (world.peer, "test"));
    assert_eq!(session, world.session(&token));
}

#[test]
fn every_login_makes_another_token() {
    let world = World::new(PLAIN);
    let mut tokens: Vec<_> = (0..50).map(|_| world.token().expose().to_owned()).collect();
    tokens.sort();
    tokens.dedup();
    assert_eq!(tokens.len(), 50);
}

#[test]
fn passwords_differ_in_their_last_byte_at_any_length() {
    for length in [1, 64, 72, 73, 128, 1024, 4096] {
        let world = World::new(PLAIN);
        let password = "p".repeat(length);
        let last = format!("{}q", "p".repeat(length - 1));
        world.add_user("long", &password);
        assert!(world.login("long", &password).is_ok(), "{length}");
        for wrong in [last, "p".repeat(length - 1), "p".repeat(length + 1)] {
            let refused = world.login("long", &wrong).map(drop);
            assert_eq!(refused, Err(Failure::WrongPassword), "{length}");
        }
    }
}

#[test]
fn a_password_counts_byte_for_byte() {
    let world = World::new(PLAIN);
    world.add_user("umlaut", " p\u{e4}ss\tword\u{feff} ");
    assert!(world.login("umlaut", " p\u{e4}ss\tword\u{feff} ").is_ok());
    let others =
        ["p\u{e4}ss\tword\u{feff}", " pa\u{308}ss\tword\u{feff} ", " P\u{c4}SS\tWORD\u{feff} "];
    for other in others {
        assert_eq!(world.login("umlaut", other).map(drop), Err(Failure::WrongPassword));
    }
}

#[test]
fn a_user_without_a_readable_hash_never_logs_in() {
    let world = World::new(PLAIN);
    let hashes = [None, Some(""), Some("$2b$04$abcdefghijklmnopqrstuu"), Some("XXX")];
    for (number, hash) in hashes.into_iter().enumerate() {
        let mut user = world.user("csmith");
        let name = crate::UserName::new(&format!("user{number}")).unwrap();
        user.id = crate::UserId(uuid::Uuid::from_u128(number as u128));
        (user.name, user.canonical) = (name.as_str().to_owned(), name.canonical());
        user.password = hash.map(|hash| crate::PasswordHash::stored(hash.to_owned()));
        run(world.store.apply(Change::AddUser(Box::new(user)))).unwrap();
        for password in ["", "XXX"] {
            let refused = world.login(name.as_str(), password).map(drop);
            assert_eq!(refused, Err(Failure::WrongPassword), "{hash:?}");
        }
    }
}

#[test]
fn what_is_no_password_opens_nothing_even_where_its_hash_is_stored() {
    let world = World::new(PLAIN);
    for (password, opens) in
        [("p".repeat(4096), true), ("p".repeat(4097), false), ("p\0".to_owned(), false)]
    {
        let (policy, entropy) = (world.authority.policy.clone(), Arc::clone(&world.entropy));
        let hashed = password.clone();
        let hash = world
            .authority
            .threads
            .run(move |bench| policy.hash(&hashed, &*entropy, &mut bench.scratch).unwrap());
        let change = Change::SetPassword(canonical("csmith"), run(hash).unwrap());
        run(world.store.apply(change)).unwrap();
        assert_eq!(world.login("csmith", &password).is_ok(), opens, "{}", password.len());
    }
}

#[test]
fn disabled_and_expired_are_told_only_to_who_has_the_password() {
    let world = World::new(PLAIN);
    let both = |right, wrong| {
        assert_eq!(world.login("csmith", "XXX").map(drop), Err(right));
        assert_eq!(world.login("csmith", "xxx").map(drop), Err(wrong));
    };
    run(world.authority.expire_password("csmith")).unwrap();
    both(Failure::PasswordExpired, Failure::WrongPassword);
    run(world.authority.set_enabled("csmith", false)).unwrap();
    both(Failure::UserDisabled, Failure::WrongPassword);
}

#[test]
fn a_login_that_shows_a_living_token_is_a_use_of_it() {
    let world = World::new(Terms { lifetime: Lifetime::Sliding(HOUR), ..PLAIN });
    world.add_user("other", "ZZZ");
    let token = world.token();
    // Whatever else is sent.
    let logins = [
        None,
        Some(login("csmith", "XXX")),
        Some(login("csmith", "no")),
        Some(login("other", "ZZZ")),
    ];
    for login in logins {
        world.clock.advance(MINUTE);
        world.store.calls();
        world.hashes();
        let mut open = world.open("", "");
        (open.shown, open.login) = (Some(world.shown(&token)), login);
        let standing = world.execute(Command::Open(open));
        let Ok(Outcome::Standing(session, user)) = standing else { panic!("{standing:?}") };
        assert_eq!((session.expires, user.name.as_str()), (Some(world.now().plus(HOUR)), "csmith"));
        assert_eq!(world.store.calls(), ["session", "touch"]);
        assert_eq!(world.hashes(), [[0; 3]; 0]);
    }
    assert_eq!(world.living(), 1);
}

#[test]
fn a_token_that_does_not_count_is_never_adopted_by_a_login() {
    let world = World::new(PLAIN);
    let closed = world.token();
    world.close(&closed).unwrap();
    for shown in [closed, secret("INVENTED"), secret("")] {
        let mut open = world.open("csmith", "XXX");
        open.shown = Some(world.shown(&shown));
        let (_, _, fresh) = opened(world.execute(Command::Open(open.clone())));
        assert_ne!(fresh, shown);
        assert_eq!(world.check(&fresh), Ok(()));
        assert!(world.check(&shown).is_err());
        open.login = Some(login("csmith", "no"));
        assert_eq!(
            world.execute(Command::Open(open.clone())).map(drop),
            Err(Failure::WrongPassword)
        );
        open.login = None;
        let alone = world.execute(Command::Open(open.clone())).map(drop);
        assert_eq!(alone, Err(Failure::UnknownCredential));
        open.shown = None;
        assert_eq!(world.execute(Command::Open(open)).map(drop), Err(Failure::UnknownUser));
    }
}

/// What a double login is answered, and how many hashes it costs.
#[track_caller]
fn check_outer(outer: Login, inner: Login, expected: Result<(), Failure>, hashes: usize) {
    let world = World::new(PLAIN);
    world.add_user("other", "ZZZ");
    world.add_user("gone", "GGG");
    run(world.authority.set_enabled("gone", false)).unwrap();
    world.hashes();
    let mut open = world.open("", "");
    (open.outer, open.login) = (Some(outer), Some(inner));
    assert_eq!(world.execute(Command::Open(open)).map(drop), expected);
    assert_eq!(world.hashes(), vec![CHEAP; hashes]);
    assert_eq!(world.living(), usize::from(expected.is_ok()));
}

#[test]
fn the_outer_of_two_logins_must_verify_and_name_the_same_user() {
    let outer = Err(Failure::OuterCredential);
    let right = || login("csmith", "XXX");
    check_outer(right(), right(), Ok(()), 1);
    check_outer(login("CSmith", "XXX"), right(), Ok(()), 2);
    check_outer(login("csmith", "no"), login("csmith", "no"), outer, 1);
    check_outer(login("nobody", "no"), login("nobody", "no"), outer, 1);
    check_outer(login("gone", "GGG"), login("gone", "GGG"), outer, 1);
    check_outer(login("csmith", "no"), right(), outer, 1);
    check_outer(login("nobody", "XXX"), right(), outer, 1);
    check_outer(login("gone", "GGG"), right(), outer, 1);
    check_outer(login("other", "ZZZ"), right(), outer, 1);
    check_outer(login("other", "ZZZ"), login("nobody", "no"), outer, 1);
    check_outer(right(), login("csmith", "no"), Err(Failure::WrongPassword), 2);
    // Names that nobody can have are not the same name.
    check_outer(login("a|b", "XXX"), login("c|d", "XXX"), outer, 1);
}

#[test]
fn a_store_that_is_away_is_never_a_refusal_and_loses_nothing() {
    let world = World::new(Terms { tell_end_once: true, ..PLAIN });
    let (living, dead) = (world.token(), world.token());
    world.close(&dead).unwrap();
    let away = Err(Failure::Unavailable);
    world.store.inner.set_away(true);
    for (user, password) in [("csmith", "XXX"), ("csmith", "no"), ("nobody", "XXX"), ("", "")] {
        assert_eq!(world.login(user, password).map(drop), away);
    }
    for token in [&living, &dead, &secret("UNKNOWN")] {
        assert_eq!(world.check(token), away);
        assert_eq!(world.close(token), away);
        assert_eq!(world.renew(token, Lifetime::Unlimited).map(drop), away);
    }
    world.store.inner.set_away(false);
    assert_eq!((world.check(&living), world.check(&dead)), (Ok(()), Err(Failure::EndedSession)));
    assert!(world.login("csmith", "XXX").is_ok());
}

#[test]
fn a_store_that_goes_away_in_the_middle_opens_nothing() {
    let world = World::new(PLAIN);
    world.store.before_change(|store| store.set_away(true));
    assert_eq!(world.login("csmith", "XXX").map(drop), Err(Failure::Unavailable));
    world.store.inner.set_away(false);
    assert_eq!(world.living(), 0);
}

#[test]
fn a_full_store_is_busy() {
    let world = World::new(PLAIN);
    let token = world.token();
    world.store.full.store(true, Ordering::SeqCst);
    assert_eq!(world.login("csmith", "XXX").map(drop), Err(Failure::Busy));
    assert_eq!(world.check(&token), Err(Failure::Busy));
}

#[test]
fn no_randomness_is_no_login() {
    let world = World::new(PLAIN);
    world.entropy.broken.store(true, Ordering::SeqCst);
    assert_eq!(world.login("csmith", "XXX").map(drop), Err(Failure::Unavailable));
    assert_eq!(world.login("csmith", "no").map(drop), Err(Failure::WrongPassword));
    assert_eq!(world.living(), 0);
}

#[test]
fn a_hash_of_another_policy_is_replaced_at_the_next_login() {
    let old = World::new(PLAIN);
    let new = World::over(Arc::clone(&old.store), TestMint::new(PLAIN), [16, 2, 1]);
    let before = new.user("csmith");
    assert_eq!(new.login("csmith", "no").map(drop), Err(Failure::WrongPassword));
    assert_eq!(new.user("csmith").password, before.password, "a wrong password replaces nothing");
    new.hashes();
    assert!(new.login("csmith", "XXX").is_ok());
    assert_eq!(new.hashes(), [CHEAP, [16, 2, 1]]);
    let after = new.user("csmith");
    let hash = after.password.as_ref().unwrap().as_str();
    assert!(hash.starts_with("$argon2id$v=19$m=16,t=2,p=1$"), "{hash}");
    assert_eq!((after.epoch, after.version), (before.epoch, before.version));
    assert!(new.login("csmith", "XXX").is_ok());
    assert_eq!(new.hashes(), [[16, 2, 1]]);
    assert_eq!(new.user("csmith").password, after.password);
}

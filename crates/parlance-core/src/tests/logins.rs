//! Logins: which users may log in, with which credentials.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::harness::{
    AuthorityHarness, CHEAPEST_PARAMS, HOUR, MINUTE, PLAIN_POLICY, TestTokenIssuer, block_on,
    canonical, credentials, expect_logged_in, secret,
};
use crate::ports::{Change, Store as _};
use crate::{Command, Failure, Lifetime, Outcome, PasswordCredentials, SessionPolicy};

/// Asserts the answer to a login as `user` with `password`, in the world of [`AuthorityHarness::new`].
#[track_caller]
fn check(user: &str, password: &str, expected: Result<(), Failure>) {
    let world = AuthorityHarness::new(PLAIN_POLICY);
    assert_eq!(world.login(user, password).map(drop), expected, "{user:?}, {password:?}");
    assert_eq!(world.live_sessions(), usize::from(expected.is_ok()));
}

#[test]
fn only_the_correct_password_logs_in() {
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
fn a_login_answers_the_user_and_the_new_session() {
    let world = AuthorityHarness::new(PLAIN_POLICY);
    let (session, user, token) = expect_logged_in(world.login("CSMITH", "XXX"));
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
fn every_login_issues_a_different_token() {
    let world = AuthorityHarness::new(PLAIN_POLICY);
    let mut tokens: Vec<_> = (0..50).map(|_| world.token().expose().to_owned()).collect();
    tokens.sort();
    tokens.dedup();
    assert_eq!(tokens.len(), 50);
}

#[test]
fn passwords_differ_in_their_last_byte_at_any_length() {
    for length in [1, 64, 72, 73, 128, 1024, 4096] {
        let world = AuthorityHarness::new(PLAIN_POLICY);
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
fn a_password_is_compared_byte_for_byte() {
    let world = AuthorityHarness::new(PLAIN_POLICY);
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
    let world = AuthorityHarness::new(PLAIN_POLICY);
    let hashes = [None, Some(""), Some("$2b$04$abcdefghijklmnopqrstuu"), Some("XXX")];
    for (number, hash) in hashes.into_iter().enumerate() {
        let mut user = world.user("csmith");
        let name = crate::UserName::new(&format!("user{number}")).unwrap();
        user.id = crate::UserId(uuid::Uuid::from_u128(number as u128));
        (user.name, user.canonical) = (name.as_str().to_owned(), name.canonical());
        user.password = hash.map(|hash| crate::PasswordHash::from_stored(hash.to_owned()));
        block_on(world.store.apply(Change::AddUser(Box::new(user)))).unwrap();
        for password in ["", "XXX"] {
            let refused = world.login(name.as_str(), password).map(drop);
            assert_eq!(refused, Err(Failure::WrongPassword), "{hash:?}");
        }
    }
}

#[test]
fn an_invalid_password_never_logs_in_even_with_a_stored_hash() {
    let world = AuthorityHarness::new(PLAIN_POLICY);
    for (password, opens) in
        [("p".repeat(4096), true), ("p".repeat(4097), false), ("p\0".to_owned(), false)]
    {
        let (policy, entropy) =
            (world.authority.password_policy.clone(), Arc::clone(&world.entropy));
        let hashed = password.clone();
        let hash = world
            .authority
            .hash_queue
            .run(move |worker| policy.hash(&hashed, &*entropy, &mut worker.scratch).unwrap());
        let change = Change::SetPassword(canonical("csmith"), block_on(hash).unwrap());
        block_on(world.store.apply(change)).unwrap();
        assert_eq!(world.login("csmith", &password).is_ok(), opens, "{}", password.len());
    }
}

#[test]
fn disabled_and_expired_are_reported_only_after_the_correct_password() {
    let world = AuthorityHarness::new(PLAIN_POLICY);
    let both = |right, wrong| {
        assert_eq!(world.login("csmith", "XXX").map(drop), Err(right));
        assert_eq!(world.login("csmith", "xxx").map(drop), Err(wrong));
    };
    block_on(world.authority.expire_password("csmith")).unwrap();
    both(Failure::PasswordExpired, Failure::WrongPassword);
    block_on(world.authority.set_enabled("csmith", false)).unwrap();
    both(Failure::UserDisabled, Failure::WrongPassword);
}

#[test]
fn a_login_with_a_live_token_is_a_check_of_that_session() {
    let world =
        AuthorityHarness::new(SessionPolicy { lifetime: Lifetime::Sliding(HOUR), ..PLAIN_POLICY });
    world.add_user("other", "ZZZ");
    let token = world.token();
    // Any other credentials sent along are ignored.
    let logins = [
        None,
        Some(credentials("csmith", "XXX")),
        Some(credentials("csmith", "no")),
        Some(credentials("other", "ZZZ")),
    ];
    for login in logins {
        world.clock.advance(MINUTE);
        world.store.calls();
        world.computed_hashes();
        let mut open = world.login_request("", "");
        (open.existing_credential, open.credentials) = (Some(world.credential(&token)), login);
        let standing = world.execute(Command::Login(open));
        let Ok(Outcome::Active(session, user)) = standing else { panic!("{standing:?}") };
        assert_eq!((session.expires, user.name.as_str()), (Some(world.now().plus(HOUR)), "csmith"));
        assert_eq!(world.store.calls(), ["session", "touch"]);
        assert_eq!(world.computed_hashes(), [[0; 3]; 0]);
    }
    assert_eq!(world.live_sessions(), 1);
}

#[test]
fn a_login_never_adopts_a_presented_dead_token() {
    let world = AuthorityHarness::new(PLAIN_POLICY);
    let closed = world.token();
    world.log_out(&closed).unwrap();
    for shown in [closed, secret("INVENTED"), secret("")] {
        let mut open = world.login_request("csmith", "XXX");
        open.existing_credential = Some(world.credential(&shown));
        let (_, _, fresh) = expect_logged_in(world.execute(Command::Login(open.clone())));
        assert_ne!(fresh, shown);
        assert_eq!(world.check(&fresh), Ok(()));
        assert!(world.check(&shown).is_err());
        open.credentials = Some(credentials("csmith", "no"));
        assert_eq!(
            world.execute(Command::Login(open.clone())).map(drop),
            Err(Failure::WrongPassword)
        );
        open.credentials = None;
        let alone = world.execute(Command::Login(open.clone())).map(drop);
        assert_eq!(alone, Err(Failure::UnknownCredential));
        open.existing_credential = None;
        assert_eq!(world.execute(Command::Login(open)).map(drop), Err(Failure::UnknownUser));
    }
}

/// Asserts the answer to a double login, and how many hashes are computed.
#[track_caller]
fn check_outer(
    outer: PasswordCredentials,
    inner: PasswordCredentials,
    expected: Result<(), Failure>,
    hashes: usize,
) {
    let world = AuthorityHarness::new(PLAIN_POLICY);
    world.add_user("other", "ZZZ");
    world.add_user("gone", "GGG");
    block_on(world.authority.set_enabled("gone", false)).unwrap();
    world.computed_hashes();
    let mut open = world.login_request("", "");
    (open.outer_credentials, open.credentials) = (Some(outer), Some(inner));
    assert_eq!(world.execute(Command::Login(open)).map(drop), expected);
    assert_eq!(world.computed_hashes(), vec![CHEAPEST_PARAMS; hashes]);
    assert_eq!(world.live_sessions(), usize::from(expected.is_ok()));
}

#[test]
fn the_outer_credentials_must_verify_and_name_the_same_user() {
    let outer = Err(Failure::OuterCredential);
    let right = || credentials("csmith", "XXX");
    check_outer(right(), right(), Ok(()), 1);
    check_outer(credentials("CSmith", "XXX"), right(), Ok(()), 2);
    check_outer(credentials("csmith", "no"), credentials("csmith", "no"), outer, 1);
    check_outer(credentials("nobody", "no"), credentials("nobody", "no"), outer, 1);
    check_outer(credentials("gone", "GGG"), credentials("gone", "GGG"), outer, 1);
    check_outer(credentials("csmith", "no"), right(), outer, 1);
    check_outer(credentials("nobody", "XXX"), right(), outer, 1);
    check_outer(credentials("gone", "GGG"), right(), outer, 1);
    check_outer(credentials("other", "ZZZ"), right(), outer, 1);
    check_outer(credentials("other", "ZZZ"), credentials("nobody", "no"), outer, 1);
    check_outer(right(), credentials("csmith", "no"), Err(Failure::WrongPassword), 2);
    // Two names that no user can have are not the same name.
    check_outer(credentials("a|b", "XXX"), credentials("c|d", "XXX"), outer, 1);
}

#[test]
fn an_unavailable_store_never_refuses_and_loses_nothing() {
    let world = AuthorityHarness::new(SessionPolicy { report_end_once: true, ..PLAIN_POLICY });
    let (living, dead) = (world.token(), world.token());
    world.log_out(&dead).unwrap();
    let away = Err(Failure::Unavailable);
    world.store.inner.set_unavailable(true);
    for (user, password) in [("csmith", "XXX"), ("csmith", "no"), ("nobody", "XXX"), ("", "")] {
        assert_eq!(world.login(user, password).map(drop), away);
    }
    for token in [&living, &dead, &secret("UNKNOWN")] {
        assert_eq!(world.check(token), away);
        assert_eq!(world.log_out(token), away);
        assert_eq!(world.renew(token, Lifetime::Unlimited).map(drop), away);
    }
    world.store.inner.set_unavailable(false);
    assert_eq!(
        (world.check(&living), world.check(&dead)),
        (Ok(()), Err(Failure::RevokedOrExpired))
    );
    assert!(world.login("csmith", "XXX").is_ok());
}

#[test]
fn a_store_lost_during_a_login_opens_no_session() {
    let world = AuthorityHarness::new(PLAIN_POLICY);
    world.store.before_next_change(|store| store.set_unavailable(true));
    assert_eq!(world.login("csmith", "XXX").map(drop), Err(Failure::Unavailable));
    world.store.inner.set_unavailable(false);
    assert_eq!(world.live_sessions(), 0);
}

#[test]
fn a_full_store_queue_is_busy() {
    let world = AuthorityHarness::new(PLAIN_POLICY);
    let token = world.token();
    world.store.full.store(true, Ordering::SeqCst);
    assert_eq!(world.login("csmith", "XXX").map(drop), Err(Failure::Busy));
    assert_eq!(world.check(&token), Err(Failure::Busy));
}

#[test]
fn a_login_fails_without_entropy() {
    let world = AuthorityHarness::new(PLAIN_POLICY);
    world.entropy.broken.store(true, Ordering::SeqCst);
    assert_eq!(world.login("csmith", "XXX").map(drop), Err(Failure::Unavailable));
    assert_eq!(world.login("csmith", "no").map(drop), Err(Failure::WrongPassword));
    assert_eq!(world.live_sessions(), 0);
}

#[test]
fn a_hash_of_another_policy_is_replaced_at_the_next_login() {
    let old = AuthorityHarness::new(PLAIN_POLICY);
    let new = AuthorityHarness::with_store(
        Arc::clone(&old.store),
        TestTokenIssuer::new(PLAIN_POLICY),
        [16, 2, 1],
    );
    let before = new.user("csmith");
    assert_eq!(new.login("csmith", "no").map(drop), Err(Failure::WrongPassword));
    assert_eq!(new.user("csmith").password, before.password, "a wrong password replaces nothing");
    new.computed_hashes();
    assert!(new.login("csmith", "XXX").is_ok());
    assert_eq!(new.computed_hashes(), [CHEAPEST_PARAMS, [16, 2, 1]]);
    let after = new.user("csmith");
    let hash = after.password.as_ref().unwrap().as_str();
    assert!(hash.starts_with("$argon2id$v=19$m=16,t=2,p=1$"), "{hash}");
    assert_eq!((after.epoch, after.version), (before.epoch, before.version));
    assert!(new.login("csmith", "XXX").is_ok());
    assert_eq!(new.computed_hashes(), [[16, 2, 1]]);
    assert_eq!(new.user("csmith").password, after.password);
}

//! The events that an observer receives for metrics and logs: every request, and the user concerned.

use std::sync::atomic::Ordering;

use super::harness::{
    AuthorityHarness, HOUR, PLAIN_POLICY, TestTokenIssuer, block_on, credentials, secret,
};
use crate::ports::{Action, Change, EntropyError, Store as _, StoreError, UNREADABLE_HASH};
use crate::{
    Command, Credential, Failure, InternalError, IssueError, Lifetime, Login, PasswordHash, User,
};

/// Asserts the last event, and that the event concerns `csmith` or no user.
#[track_caller]
fn check(world: &AuthorityHarness, action: Action, failure: Option<Failure>, about_csmith: bool) {
    let (asked, refused, about, _) = world.observer.0.lock().unwrap().pop().unwrap();
    assert_eq!((asked, refused), (action, failure));
    assert_eq!(about, about_csmith.then(|| world.user("csmith").id));
}

#[test]
fn the_cause_of_an_unavailable_answer_reaches_the_observer() {
    let world = AuthorityHarness::new(PLAIN_POLICY);
    let causes = || std::mem::take(&mut *world.observer.4.lock().unwrap());
    let token = world.token();
    assert_eq!(causes(), []);
    world.store.full.store(true, Ordering::SeqCst);
    assert_eq!(world.check(&token).map(drop), Err(Failure::Busy));
    assert_eq!(causes(), [StoreError::Busy.into()]);
    let credential = world.credential(&token);
    let introspected = block_on(world.authority.introspect(&credential, world.cx()));
    assert_eq!(introspected.map(drop), Err(Failure::Busy));
    assert_eq!(causes(), [StoreError::Busy.into()]);
    world.store.full.store(false, Ordering::SeqCst);
    world.store.inner.set_unavailable(true);
    assert_eq!(world.check(&token).map(drop), Err(Failure::Unavailable));
    assert!(matches!(causes()[..], [InternalError::Store(StoreError::Unavailable(_))]));
    world.store.inner.set_unavailable(false);
    world.entropy.broken.store(true, Ordering::SeqCst);
    assert_eq!(world.login("csmith", "XXX").map(drop), Err(Failure::Unavailable));
    assert_eq!(causes(), [InternalError::Issue(IssueError::Entropy(EntropyError))]);
}

#[test]
fn the_cause_of_a_renewal_that_cannot_be_signed_reaches_the_observer() {
    let issuer = TestTokenIssuer { signs: true, ..TestTokenIssuer::new(PLAIN_POLICY) };
    let world = AuthorityHarness::with_issuer(issuer);
    let token = world.token();
    // The test issuer signs nothing for a credential without an end.
    let shown = Credential { secret: secret("no end"), ..world.credential(&token) };
    let renewed = world.execute(Command::Renew(shown, Lifetime::Fixed(HOUR)));
    assert_eq!(renewed.map(drop), Err(Failure::Unavailable));
    assert_eq!(*world.observer.4.lock().unwrap(), [InternalError::Issue(IssueError::NoKey)]);
}

#[test]
fn a_refused_login_event_names_the_user() {
    let world = AuthorityHarness::new(PLAIN_POLICY);
    let _refused = world.login("CSmith", "wrong");
    check(&world, Action::Login, Some(Failure::WrongPassword), true);
    let _refused = world.login("nobody", "XXX");
    check(&world, Action::Login, Some(Failure::UnknownUser), false);
    let _token = world.token();
    check(&world, Action::Login, None, true);
    block_on(world.authority.set_enabled("csmith", false)).unwrap();
    let _refused = world.login("csmith", "XXX");
    check(&world, Action::Login, Some(Failure::UserDisabled), true);
}

#[test]
fn a_check_event_names_the_user_of_the_session() {
    let world = AuthorityHarness::new(PLAIN_POLICY);
    let token = world.token();
    let _used = world.check(&token);
    check(&world, Action::Check, None, true);
    let _ended = world.execute(Command::Logout(world.credential(&token)));
    check(&world, Action::Logout, None, true);
    let _refused = world.check(&token);
    check(&world, Action::Check, Some(Failure::RevokedOrExpired), true);
    let _refused = world.check(&secret("no such token"));
    check(&world, Action::Check, Some(Failure::UnknownCredential), false);
}

#[test]
fn a_correct_password_for_an_unserved_call_has_its_own_failure() {
    let world = AuthorityHarness::new(PLAIN_POLICY);
    let call = |password: &str| {
        let outer = Some(credentials("csmith", password));
        let refused = world.execute(Command::Login(Login {
            outer_credentials: outer,
            credentials: None,
            ..world.login_request("", "")
        }));
        refused.map(drop).unwrap_err()
    };
    assert_eq!(call("XXX"), Failure::UnservedCall);
    check(&world, Action::Login, Some(Failure::UnservedCall), true);
    assert_eq!(world.observer.2.lock().unwrap().as_deref(), Some("csmith"));
    assert_eq!(call("no"), Failure::OuterCredential);
    check(&world, Action::Login, Some(Failure::OuterCredential), true);
    // Each call costs a hash, so the rate limit of the address admits as many of them as logins on a locked account.
    for number in 1..1000 {
        assert_eq!(call("XXX"), Failure::UnservedCall, "{number}");
    }
    assert_eq!(call("XXX"), Failure::RateLimited);
    // Such a call is not a password guess: the account need not wait.
    let elsewhere = AuthorityHarness { peer: Some([198, 51, 100, 7].into()), ..world };
    assert!(elsewhere.login("csmith", "XXX").is_ok());
}

/// Asserts that a login with this password under this stored hash is refused like a wrong password, and that the event
/// has this reason.
#[track_caller]
fn check_hash(stored: &str, password: &str, reason: &str) {
    let world = AuthorityHarness::new(PLAIN_POLICY);
    let hash = PasswordHash::from_stored(stored.to_owned());
    let user = User { password: Some(hash), ..world.user("csmith") };
    block_on(world.store.apply(Change::RemoveUser(user.canonical.clone()))).unwrap();
    block_on(world.store.apply(Change::AddUser(Box::new(user)))).unwrap();
    assert_eq!(world.login("csmith", password).unwrap_err(), Failure::WrongPassword, "{stored}");
    assert_eq!(world.observer.3.lock().unwrap().0, Some(reason), "{stored}");
}

#[test]
fn an_unreadable_stored_hash_has_its_own_reason_and_is_refused() {
    check_hash("$2b$10$abcdefghijklmnopqrstuu", "XXX", UNREADABLE_HASH);
    check_hash("pbkdf2_sha256$600000$salt$aGFzaA==", "XXX", UNREADABLE_HASH);
    check_hash("", "XXX", UNREADABLE_HASH);
    let world = AuthorityHarness::new(PLAIN_POLICY);
    let good = world.user("csmith").password.unwrap();
    check_hash(good.as_str(), "wrong", "wrong_password");
}

#[test]
fn login_and_logout_events_carry_the_user_name() {
    let world = AuthorityHarness::new(PLAIN_POLICY);
    let name = || world.observer.3.lock().unwrap().1.clone();
    let _refused = world.login("CSmith", "wrong");
    assert_eq!(name(), None, "what was shown is untrusted");
    let _opened = world.login("CSMITH", "XXX");
    assert_eq!(name().as_deref(), Some("csmith"));
    let token = world.token();
    assert_eq!(name().as_deref(), Some("csmith"));
    let _used = world.check(&token);
    assert_eq!(name(), None, "a use is not worth it");
    let _ended = world.execute(Command::Logout(world.credential(&token)));
    assert_eq!(name().as_deref(), Some("csmith"));
}

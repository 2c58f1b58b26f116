//! What those who count and log are told: everything that was asked, and whom it was about.

use super::world::{PLAIN, World, login, run, secret};
use crate::ports::{Action, Change, Store as _, UNREADABLE_HASH};
use crate::{Command, Failure, Open, PasswordHash, User};

/// The last thing told is this, about `csmith` or about nobody.
#[track_caller]
fn check(world: &World, action: Action, failure: Option<Failure>, about_csmith: bool) {
    let (asked, refused, about, _) = world.told.0.lock().unwrap().pop().unwrap();
    assert_eq!((asked, refused), (action, failure));
    assert_eq!(about, about_csmith.then(|| world.user("csmith").id));
}

#[test]
fn a_refused_login_is_told_with_the_user_that_it_named() {
    let world = World::new(PLAIN);
    let _refused = world.login("CSmith", "wrong");
    check(&world, Action::Login, Some(Failure::WrongPassword), true);
    let _refused = world.login("nobody", "XXX");
    check(&world, Action::Login, Some(Failure::UnknownUser), false);
    let _token = world.token();
    check(&world, Action::Login, None, true);
    run(world.authority.set_enabled("csmith", false)).unwrap();
    let _refused = world.login("csmith", "XXX");
    check(&world, Action::Login, Some(Failure::UserDisabled), true);
}

#[test]
fn a_use_is_told_with_the_user_whose_session_was_shown() {
    let world = World::new(PLAIN);
    let token = world.token();
    let _used = world.check(&token);
    check(&world, Action::Check, None, true);
    let _ended = world.execute(Command::Close(world.shown(&token)));
    check(&world, Action::End, None, true);
    let _refused = world.check(&token);
    check(&world, Action::Check, Some(Failure::EndedSession), true);
    let _refused = world.check(&secret("no such token"));
    check(&world, Action::Check, Some(Failure::UnknownCredential), false);
}

#[test]
fn a_right_password_for_a_call_that_is_not_served_is_told_as_what_it_is() {
    let world = World::new(PLAIN);
    let call = |password: &str| {
        let outer = Some(login("csmith", password));
        let refused =
            world.execute(Command::Open(Open { outer, login: None, ..world.open("", "") }));
        refused.map(drop).unwrap_err()
    };
    assert_eq!(call("XXX"), Failure::UnservedCall);
    check(&world, Action::Login, Some(Failure::UnservedCall), true);
    assert_eq!(world.told.2.lock().unwrap().as_deref(), Some("csmith"));
    assert_eq!(call("no"), Failure::OuterCredential);
    check(&world, Action::Login, Some(Failure::OuterCredential), true);
    // Each costs a hash: the address bears no more of them than of logins on an account that waits.
    for number in 1..1000 {
        assert_eq!(call("XXX"), Failure::UnservedCall, "{number}");
    }
    assert_eq!(call("XXX"), Failure::Throttled);
    // It is no guess: the account need not wait.
    let elsewhere = World { peer: Some([198, 51, 100, 7].into()), ..world };
    assert!(elsewhere.login("csmith", "XXX").is_ok());
}

/// A login with this password under this stored hash is refused as a wrong password is, and told with this reason.
#[track_caller]
fn check_hash(stored: &str, password: &str, reason: &str) {
    let world = World::new(PLAIN);
    let hash = PasswordHash::stored(stored.to_owned());
    let user = User { password: Some(hash), ..world.user("csmith") };
    run(world.store.apply(Change::RemoveUser(user.canonical.clone()))).unwrap();
    run(world.store.apply(Change::AddUser(Box::new(user)))).unwrap();
    assert_eq!(world.login("csmith", password).unwrap_err(), Failure::WrongPassword, "{stored}");
    assert_eq!(world.told.3.lock().unwrap().0, Some(reason), "{stored}");
}

#[test]
fn a_stored_hash_that_cannot_be_read_has_a_reason_of_its_own_and_is_refused_as_ever() {
    check_hash("$2b$10$abcdefghijklmnopqrstuu", "XXX", UNREADABLE_HASH);
    check_hash("pbkdf2_sha256$600000$salt$aGFzaA==", "XXX", UNREADABLE_HASH);
    check_hash("", "XXX", UNREADABLE_HASH);
    let world = World::new(PLAIN);
    let good = world.user("csmith").password.unwrap();
    check_hash(good.as_str(), "wrong", "wrong_password");
}

#[test]
fn a_login_and_a_logout_are_told_with_the_user_s_own_name() {
    let world = World::new(PLAIN);
    let name = || world.told.3.lock().unwrap().1.clone();
    let _refused = world.login("CSmith", "wrong");
    assert_eq!(name(), None, "what was shown is untrusted");
    let _opened = world.login("CSMITH", "XXX");
    assert_eq!(name().as_deref(), Some("csmith"));
    let token = world.token();
    assert_eq!(name().as_deref(), Some("csmith"));
    let _used = world.check(&token);
    assert_eq!(name(), None, "a use is not worth it");
    let _ended = world.execute(Command::Close(world.shown(&token)));
    assert_eq!(name().as_deref(), Some("csmith"));
}

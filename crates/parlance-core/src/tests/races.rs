//! Races: changes by another request between a look-up and the change that follows.

use super::harness::{AuthorityHarness, PLAIN_POLICY, block_on, canonical, credentials};
use crate::ports::{Applied, Change, Store as _};
use crate::reference::ReferenceStore;
use crate::{Command, Failure, Lifetime, PasswordHash, SessionId, SessionPolicy, Timestamp};

fn apply(store: &ReferenceStore, change: Change) {
    assert_eq!(block_on(store.apply(change)), Ok(Applied::Done));
}

fn new_hash() -> PasswordHash {
    PasswordHash::from_stored(String::new())
}

/// A call of a client with a token.
type ClientCall = fn(&AuthorityHarness, &crate::Secret) -> Result<(), Failure>;

/// Asserts that a login with the right password opens no session after this change.
#[track_caller]
fn check(change: fn() -> Change) {
    for doubled in [false, true] {
        let world = AuthorityHarness::new(PLAIN_POLICY);
        let hash = world.user("csmith").password;
        world.store.before_next_change(move |store| apply(store, change()));
        let mut open = world.login_request("csmith", "XXX");
        open.outer_credentials = doubled.then(|| credentials("csmith", "XXX"));
        let refused = if doubled { Failure::OuterCredential } else { Failure::WrongPassword };
        assert_eq!(world.execute(Command::Login(open)).map(drop), Err(refused));
        assert_eq!(world.live_sessions(), 0);
        if let Ok(Some(user)) = block_on(world.store.inner.user(canonical("csmith"))) {
            assert_eq!(user.last_login, None);
            assert!(user.password == hash || user.password == Some(new_hash()));
        }
    }
}

#[test]
fn a_login_overtaken_by_a_user_change_opens_no_session() {
    check(|| Change::SetEnabled(canonical("csmith"), false));
    check(|| Change::SetPassword(canonical("csmith"), new_hash()));
    check(|| Change::ExpirePassword(canonical("csmith")));
    check(|| Change::RevokeUser(canonical("csmith")));
    check(|| Change::RemoveUser(canonical("csmith")));
}

#[test]
fn a_hash_of_the_old_password_never_replaces_a_new_password() {
    let store = AuthorityHarness::new(PLAIN_POLICY).store;
    let world = AuthorityHarness::with_store(
        store,
        super::harness::TestTokenIssuer::new(PLAIN_POLICY),
        [16, 2, 1],
    );
    world.store.before_next_change(|store| {
        apply(store, Change::SetPassword(canonical("csmith"), new_hash()));
    });
    assert_eq!(world.login("csmith", "XXX").map(drop), Err(Failure::WrongPassword));
    assert_eq!(world.user("csmith").password, Some(new_hash()));
}

#[test]
fn a_session_ended_meanwhile_is_neither_renewed_nor_ended_again() {
    let close = |store: &ReferenceStore, id: SessionId, now: Timestamp| {
        apply(store, Change::EndSession { id, now });
    };
    for tell_end_once in [false, true] {
        let world =
            AuthorityHarness::new(SessionPolicy { report_end_once: tell_end_once, ..PLAIN_POLICY });
        let commands: [ClientCall; 2] = [
            |world, token| world.renew(token, Lifetime::Unlimited).map(drop),
            |world, token| world.log_out(token),
        ];
        for command in commands {
            let (token, now) = (world.token(), world.now());
            let id = world.session(&token).id;
            world.store.before_next_change(move |store| close(store, id, now));
            assert_eq!(command(&world, &token), Err(Failure::RevokedOrExpired));
            assert_eq!(world.session(&token).revoked, Some(now));
        }
    }
}

#[test]
fn only_one_of_two_requests_reports_an_ended_session() {
    let world = AuthorityHarness::new(SessionPolicy { report_end_once: true, ..PLAIN_POLICY });
    let (token, now) = (world.token(), world.now());
    let id = world.session(&token).id;
    world.log_out(&token).unwrap();
    // The other request dropped the row first, so that request was told.
    world
        .store
        .before_next_change(move |store| apply(store, Change::DeleteDeadSession { id, now }));
    assert_eq!(world.check(&token), Err(Failure::UnknownCredential));
}

#[test]
fn a_late_touch_never_revives_a_session() {
    let world = AuthorityHarness::new(SessionPolicy {
        lifetime: Lifetime::Sliding(super::harness::HOUR),
        ..PLAIN_POLICY
    });
    let token = world.token();
    let id = world.session(&token).id;
    world.log_out(&token).unwrap();
    let touch = crate::ports::Touch { id, used: world.now(), expires: Some(Timestamp::MAX) };
    world.store.touch(touch);
    assert_eq!(world.check(&token), Err(Failure::RevokedOrExpired));
}

#[test]
fn concurrent_renewals_never_survive_a_logout() {
    for _ in 0..50 {
        let world = AuthorityHarness::new(PLAIN_POLICY);
        let token = world.token();
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    while world.renew(&token, Lifetime::Unlimited).is_ok() {
                        std::thread::yield_now();
                    }
                });
            }
            assert_eq!(world.log_out(&token), Ok(()));
            assert_eq!(world.peek(&token), Err(Failure::RevokedOrExpired));
        });
        assert_eq!(world.peek(&token), Err(Failure::RevokedOrExpired));
    }
}

//! What another request may have done between a look-up and the change that follows it.

use super::world::{PLAIN, World, canonical, login, run};
use crate::ports::{Applied, Change, Store as _};
use crate::reference::Reference;
use crate::{Command, Failure, Lifetime, PasswordHash, SessionId, Terms, Timestamp};

fn apply(store: &Reference, change: Change) {
    assert_eq!(run(store.apply(change)), Ok(Applied::Done));
}

fn later() -> PasswordHash {
    PasswordHash::stored(String::new())
}

/// What a client does with a token.
type Use = fn(&World, &crate::Secret) -> Result<(), Failure>;

/// A login that was right when it was verified opens nothing after this.
#[track_caller]
fn check(change: fn() -> Change) {
    for doubled in [false, true] {
        let world = World::new(PLAIN);
        let hash = world.user("csmith").password;
        world.store.before_change(move |store| apply(store, change()));
        let mut open = world.open("csmith", "XXX");
        open.outer = doubled.then(|| login("csmith", "XXX"));
        let refused = if doubled { Failure::OuterCredential } else { Failure::WrongPassword };
        assert_eq!(world.execute(Command::Open(open)).map(drop), Err(refused));
        assert_eq!(world.living(), 0);
        if let Ok(Some(user)) = run(world.store.inner.user(canonical("csmith"))) {
            assert_eq!(user.last_login, None);
            assert!(user.password == hash || user.password == Some(later()));
        }
    }
}

#[test]
fn a_login_that_was_overtaken_opens_nothing() {
    check(|| Change::SetEnabled(canonical("csmith"), false));
    check(|| Change::SetPassword(canonical("csmith"), later()));
    check(|| Change::ExpirePassword(canonical("csmith")));
    check(|| Change::RevokeUser(canonical("csmith")));
    check(|| Change::RemoveUser(canonical("csmith")));
}

#[test]
fn a_hash_of_the_old_password_never_replaces_a_new_password() {
    let store = World::new(PLAIN).store;
    let world = World::over(store, super::world::TestMint::new(PLAIN), [16, 2, 1]);
    world.store.before_change(|store| {
        apply(store, Change::SetPassword(canonical("csmith"), later()));
    });
    assert_eq!(world.login("csmith", "XXX").map(drop), Err(Failure::WrongPassword));
    assert_eq!(world.user("csmith").password, Some(later()));
}

#[test]
fn what_was_closed_meanwhile_is_neither_renewed_nor_closed_again() {
    let close = |store: &Reference, id: SessionId, now: Timestamp| {
        apply(store, Change::Close { id, now });
    };
    for tell_end_once in [false, true] {
        let world = World::new(Terms { tell_end_once, ..PLAIN });
        let commands: [Use; 2] = [
            |world, token| world.renew(token, Lifetime::Unlimited).map(drop),
            |world, token| world.close(token),
        ];
        for command in commands {
            let (token, now) = (world.token(), world.now());
            let id = world.session(&token).id;
            world.store.before_change(move |store| close(store, id, now));
            assert_eq!(command(&world, &token), Err(Failure::EndedSession));
            assert_eq!(world.session(&token).revoked, Some(now));
        }
    }
}

#[test]
fn of_two_that_show_an_ended_session_one_is_told() {
    let world = World::new(Terms { tell_end_once: true, ..PLAIN });
    let (token, now) = (world.token(), world.now());
    let id = world.session(&token).id;
    world.close(&token).unwrap();
    // The other one dropped the row first, so he is the one who was told.
    world.store.before_change(move |store| apply(store, Change::Forget { id, now }));
    assert_eq!(world.check(&token), Err(Failure::UnknownCredential));
}

#[test]
fn a_late_touch_revives_nothing() {
    let world = World::new(Terms { lifetime: Lifetime::Sliding(super::world::HOUR), ..PLAIN });
    let token = world.token();
    let id = world.session(&token).id;
    world.close(&token).unwrap();
    let touch = crate::ports::Touch { id, used: world.now(), expires: Some(Timestamp::MAX) };
    world.store.touch(touch);
    assert_eq!(world.check(&token), Err(Failure::EndedSession));
}

#[test]
fn four_threads_of_renewals_never_outlive_a_close() {
    for _ in 0..50 {
        let world = World::new(PLAIN);
        let token = world.token();
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    while world.renew(&token, Lifetime::Unlimited).is_ok() {
                        std::thread::yield_now();
                    }
                });
            }
            assert_eq!(world.close(&token), Ok(()));
            assert_eq!(world.look(&token), Err(Failure::EndedSession));
        });
        assert_eq!(world.look(&token), Err(Failure::EndedSession));
    }
}

//! What a service hears about a credential, and that asking changes nothing.

use std::net::IpAddr;
use std::sync::atomic::Ordering;

use super::world::{HOUR, MINUTE, PLAIN, TestMint, World, run, secret};
use crate::ports::Action;
use crate::{Binding, Failure, Lifetime, Secret, Session, Terms};

/// Terms as cluster-api has them.
const BOUND: Terms = Terms {
    lifetime: Lifetime::Sliding(HOUR),
    max_lifetime: None,
    bind_address: Binding::Exact,
    tell_end_once: true,
};

impl World {
    fn inspect(&self, token: &Secret) -> Result<Session, Failure> {
        run(self.authority.inspect(&self.shown(token), self.cx())).map(|(session, _)| session)
    }

    fn revoke(&self, token: &Secret) -> Result<(), Failure> {
        run(self.authority.revoke(&self.shown(token), self.cx()))
    }
}

/// Asking says this, whoever asks and as often as he likes, and the store was only looked at.
#[track_caller]
fn check(world: &mut World, token: &Secret, expected: Result<(), Failure>) {
    world.store.calls();
    for peer in [world.peer, Some(IpAddr::from([198, 51, 100, 1])), None] {
        let home = std::mem::replace(&mut world.peer, peer);
        assert_eq!(world.inspect(token).map(drop), expected, "{peer:?}");
        world.peer = home;
    }
    assert_eq!(world.store.calls(), ["session"; 3]);
}

#[test]
fn a_look_slides_nothing_and_asks_for_no_address() {
    let mut world = World::new(BOUND);
    let token = world.token();
    let before = world.session(&token);
    world.clock.advance(MINUTE);
    check(&mut world, &token, Ok(()));
    assert_eq!(world.session(&token), before);
    assert_eq!(world.inspect(&token), Ok(before));
}

#[test]
fn a_look_at_an_ended_session_leaves_its_end_to_be_told() {
    let mut world = World::new(BOUND);
    let token = world.token();
    world.close(&token).unwrap();
    check(&mut world, &token, Err(Failure::EndedSession));
    assert_eq!(world.check(&token), Err(Failure::EndedSession), "the client hears it once");
    check(&mut world, &token, Err(Failure::UnknownCredential));
}

#[test]
fn what_does_not_count_is_not_there() {
    let mut world = World::new(PLAIN);
    check(&mut world, &secret("no such token"), Err(Failure::UnknownCredential));
    let token = world.token();
    check(&mut world, &token, Ok(()));
    run(world.authority.set_enabled("csmith", false)).unwrap();
    check(&mut world, &token, Err(Failure::EndedSession));
}

#[test]
fn the_earliest_end_is_told() {
    let mut mint = TestMint::new(Terms { max_lifetime: Some(MINUTE), ..PLAIN });
    mint.signs = true;
    let world = World::with(mint);
    let token = world.token();
    let ends = world.now().plus(MINUTE);
    assert_eq!(world.inspect(&token).unwrap().expires, Some(ends));
    world.clock.advance(MINUTE);
    assert_eq!(world.inspect(&token).map(drop), Err(Failure::EndedSession));
}

#[test]
fn a_revoked_session_is_ended_and_told_of_once() {
    let world = World::new(BOUND);
    let token = world.token();
    world.told.0.lock().unwrap().clear();
    assert_eq!(world.revoke(&token), Ok(()));
    assert_eq!(world.revoke(&token), Err(Failure::EndedSession));
    assert_eq!(world.revoke(&secret("no such token")), Err(Failure::UnknownCredential));
    let told = std::mem::take(&mut *world.told.0.lock().unwrap());
    assert_eq!(told, [(Action::End, None, Some(world.user("csmith").id), false)]);
    assert_eq!(world.check(&token), Err(Failure::EndedSession));
}

#[test]
fn somebody_who_ends_it_first_is_no_failure_of_the_store() {
    let world = World::new(PLAIN);
    let (token, session) = (world.token(), world.living());
    assert_eq!(session, 1);
    let (id, now) = (world.session(&token).id, world.now());
    world.store.before_change(move |store| {
        use crate::ports::{Change, Store as _};
        run(store.apply(Change::Close { id, now })).unwrap();
    });
    assert_eq!(world.revoke(&token), Err(Failure::EndedSession));
}

#[test]
fn the_store_away_or_full_is_not_an_inactive_session() {
    let world = World::new(PLAIN);
    let token = world.token();
    world.store.inner.set_away(true);
    assert_eq!(world.inspect(&token).map(drop), Err(Failure::Unavailable));
    assert_eq!(world.revoke(&token), Err(Failure::Unavailable));
    world.store.inner.set_away(false);
    world.store.full.store(true, Ordering::SeqCst);
    assert_eq!(world.inspect(&token).map(drop), Err(Failure::Busy));
}

//! Introspection: the answer about a credential, without any change of the session.

use std::net::IpAddr;
use std::sync::atomic::Ordering;

use super::harness::{
    AuthorityHarness, HOUR, MINUTE, PLAIN_POLICY, TestTokenIssuer, block_on, secret,
};
use crate::ports::Action;
use crate::{AddressBinding, Failure, Lifetime, Secret, Session, SessionPolicy};

/// The session policy of cluster-api.
const BOUND_POLICY: SessionPolicy = SessionPolicy {
    lifetime: Lifetime::Sliding(HOUR),
    max_lifetime: None,
    address_binding: AddressBinding::Exact,
    report_end_once: true,
};

impl AuthorityHarness {
    fn introspect(&self, token: &Secret) -> Result<Session, Failure> {
        block_on(self.authority.introspect(&self.credential(token), self.cx()))
            .map(|(session, _)| session)
    }

    fn revoke(&self, token: &Secret) -> Result<(), Failure> {
        block_on(self.authority.revoke(&self.credential(token), self.cx()))
    }
}

/// Asserts the answer of an introspection from any address, however often asked; the store is only read.
#[track_caller]
fn check(world: &mut AuthorityHarness, token: &Secret, expected: Result<(), Failure>) {
    world.store.calls();
    for peer in [world.peer, Some(IpAddr::from([198, 51, 100, 1])), None] {
        let own = std::mem::replace(&mut world.peer, peer);
        assert_eq!(world.introspect(token).map(drop), expected, "{peer:?}");
        world.peer = own;
    }
    assert_eq!(world.store.calls(), ["session"; 3]);
}

#[test]
fn introspection_slides_no_expiry_and_ignores_the_address() {
    let mut world = AuthorityHarness::new(BOUND_POLICY);
    let token = world.token();
    let before = world.session(&token);
    world.clock.advance(MINUTE);
    check(&mut world, &token, Ok(()));
    assert_eq!(world.session(&token), before);
    assert_eq!(world.introspect(&token), Ok(before));
}

#[test]
fn introspection_does_not_use_up_the_single_report_of_an_end() {
    let mut world = AuthorityHarness::new(BOUND_POLICY);
    let token = world.token();
    world.log_out(&token).unwrap();
    check(&mut world, &token, Err(Failure::RevokedOrExpired));
    assert_eq!(world.check(&token), Err(Failure::RevokedOrExpired), "the client hears it once");
    check(&mut world, &token, Err(Failure::UnknownCredential));
}

#[test]
fn introspection_refuses_an_inactive_credential() {
    let mut world = AuthorityHarness::new(PLAIN_POLICY);
    check(&mut world, &secret("no such token"), Err(Failure::UnknownCredential));
    let token = world.token();
    check(&mut world, &token, Ok(()));
    block_on(world.authority.set_enabled("csmith", false)).unwrap();
    check(&mut world, &token, Err(Failure::RevokedOrExpired));
}

#[test]
fn introspection_reports_the_earliest_expiry() {
    let mut mint =
        TestTokenIssuer::new(SessionPolicy { max_lifetime: Some(MINUTE), ..PLAIN_POLICY });
    mint.signs = true;
    let world = AuthorityHarness::with_issuer(mint);
    let token = world.token();
    let ends = world.now().plus(MINUTE);
    assert_eq!(world.introspect(&token).unwrap().expires, Some(ends));
    world.clock.advance(MINUTE);
    assert_eq!(world.introspect(&token).map(drop), Err(Failure::RevokedOrExpired));
}

#[test]
fn a_revocation_ends_the_session_and_is_observed_once() {
    let world = AuthorityHarness::new(BOUND_POLICY);
    let token = world.token();
    world.observer.0.lock().unwrap().clear();
    assert_eq!(world.revoke(&token), Ok(()));
    assert_eq!(world.revoke(&token), Err(Failure::RevokedOrExpired));
    assert_eq!(world.revoke(&secret("no such token")), Err(Failure::UnknownCredential));
    let recorded = std::mem::take(&mut *world.observer.0.lock().unwrap());
    assert_eq!(recorded, [(Action::Logout, None, Some(world.user("csmith").id), false)]);
    assert_eq!(world.check(&token), Err(Failure::RevokedOrExpired));
}

#[test]
fn a_concurrent_revocation_is_not_a_store_failure() {
    let world = AuthorityHarness::new(PLAIN_POLICY);
    let (token, session) = (world.token(), world.live_sessions());
    assert_eq!(session, 1);
    let (id, now) = (world.session(&token).id, world.now());
    world.store.before_next_change(move |store| {
        use crate::ports::{Change, Store as _};
        block_on(store.apply(Change::EndSession { id, now })).unwrap();
    });
    assert_eq!(world.revoke(&token), Err(Failure::RevokedOrExpired));
}

#[test]
fn an_unavailable_or_full_store_is_not_an_inactive_session() {
    let world = AuthorityHarness::new(PLAIN_POLICY);
    let token = world.token();
    world.store.inner.set_unavailable(true);
    assert_eq!(world.introspect(&token).map(drop), Err(Failure::Unavailable));
    assert_eq!(world.revoke(&token), Err(Failure::Unavailable));
    world.store.inner.set_unavailable(false);
    world.store.full.store(true, Ordering::SeqCst);
    assert_eq!(world.introspect(&token).map(drop), Err(Failure::Busy));
}

//! Tests of the rejections that the observer counts: requests that never became a command.

use std::net::IpAddr;
use std::sync::{Arc, Mutex};

use parlance_core::ports::{Event, Observer, TurnedAway};
use parlance_core::{Authority, HashQueue, PasswordPolicy};
use parlance_dialect::testing::SeededEntropy;
use parlance_dialect::{DialectHandler, Guard, Unread};

use super::*;

/// Records the rejections.
#[derive(Default)]
struct RecordingObserver(Mutex<Vec<TurnedAway>>);

impl Observer for RecordingObserver {
    fn observe(&self, _: &Event<'_>) {}

    fn turned_away(&self, dialect: &'static str, why: TurnedAway, _: Option<IpAddr>) {
        assert_eq!(dialect, AxxonJsonrpc::NAME);
        self.0.lock().unwrap().push(why);
    }

    fn internal_error(&self, _: &parlance_core::InternalError) {}
}

/// A world, a desk in that world, and an observer that records the rejections.
fn harness_with_observer() -> (TestWorld, Arc<DialectService<AxxonJsonrpc>>, Arc<RecordingObserver>)
{
    let (world, observer) = (TestWorld::default(), Arc::<RecordingObserver>::default());
    let authority = Authority::new(
        world.store.clone(),
        HashQueue::start(1, world.clock.clone()),
        PasswordPolicy::new(8, 1, 1).unwrap(),
        Arc::new(SeededEntropy::default()),
        observer.clone(),
    );
    let dialect = AxxonJsonrpc::new(Settings::default(), testing::keys());
    (world, Arc::new(DialectService::new(dialect, Arc::new(authority))), observer)
}

impl RecordingObserver {
    fn take(&self) -> Vec<TurnedAway> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

#[test]
fn rejections_by_the_dialect_are_observed_and_fixed_pages_are_not() {
    let (world, service, observer) = harness_with_observer();
    let renew = "GET /v1/authentication/renew\n";
    for (request, why) in [
        (format!("{renew}\n"), Some(TurnedAway::NoCredential)),
        (format!("{renew}Authorization: Bearer a.b.c\n\n"), Some(TurnedAway::NoCredential)),
        (grpc("", "AuthenticateEx", CSMITH), Some(TurnedAway::NoCredential)),
        ("GET /v1/authentication/none\n\n".to_owned(), Some(TurnedAway::Malformed)),
        ("POST /v1/authentication/authenticate2\n\n{".to_owned(), Some(TurnedAway::Malformed)),
        ("GET /.well-known/jwks.json\n\n".to_owned(), None),
        // The authority decides about this login, and reports the event itself.
        (grpc(&basic("nobody", "XXX"), "AuthenticateEx", CSMITH), None),
    ] {
        world.send(&*service, &request);
        assert_eq!(observer.take(), Vec::from_iter(why), "{request}");
    }
    for why in Unread::ALL {
        let _answer = service.body_error(why);
        assert_eq!(observer.take(), [TurnedAway::Malformed]);
    }
}

#[test]
fn a_guard_of_several_dialects_counts_a_request_without_credential_once() {
    let (world, service, observer) = harness_with_observer();
    let handler: Arc<dyn DialectHandler> = service;
    let guard = Guard::new(Arc::clone(&handler)).or(handler);
    let request = guarded_request(&[], world.clock.now());
    assert!(world.block_on(guard.admit(&request)).is_err());
    assert_eq!(observer.take(), [TurnedAway::NoCredential]);
}

//! What is counted of requests that never became a command.

use std::net::IpAddr;
use std::sync::{Arc, Mutex};

use parlance_core::ports::{Event, Observer, TurnedAway};
use parlance_core::{Authority, HashThreads, PasswordPolicy};
use parlance_dialect::testing::SeededEntropy;
use parlance_dialect::{Guard, Service, Unread};

use super::*;

/// Hears what is turned away.
#[derive(Default)]
struct Ear(Mutex<Vec<TurnedAway>>);

impl Observer for Ear {
    fn observe(&self, _: &Event<'_>) {}

    fn turned_away(&self, dialect: &'static str, why: TurnedAway, _: Option<IpAddr>) {
        assert_eq!(dialect, AxxonJsonrpc::NAME);
        self.0.lock().unwrap().push(why);
    }
}

/// A world, a desk in it, and what hears of it.
fn heard() -> (World, Arc<Desk<AxxonJsonrpc>>, Arc<Ear>) {
    let (world, ear) = (World::default(), Arc::<Ear>::default());
    let authority = Authority::new(
        world.store.clone(),
        HashThreads::start(1, world.clock.clone()),
        PasswordPolicy::new(8, 1, 1).unwrap(),
        Arc::new(SeededEntropy::default()),
        ear.clone(),
    );
    let wire = AxxonJsonrpc::new(Settings::default(), testing::keys());
    (world, Arc::new(Desk::new(wire, Arc::new(authority))), ear)
}

impl Ear {
    fn take(&self) -> Vec<TurnedAway> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

#[test]
fn what_the_wire_refuses_by_itself_is_heard_and_what_it_answers_is_not() {
    let (world, desk, ear) = heard();
    let renew = "GET /v1/authentication/renew\n";
    for (request, why) in [
        (format!("{renew}\n"), Some(TurnedAway::NoCredential)),
        (format!("{renew}Authorization: Bearer a.b.c\n\n"), Some(TurnedAway::NoCredential)),
        (grpc("", "AuthenticateEx", CSMITH), Some(TurnedAway::NoCredential)),
        ("GET /v1/authentication/none\n\n".to_owned(), Some(TurnedAway::Malformed)),
        ("POST /v1/authentication/authenticate2\n\n{".to_owned(), Some(TurnedAway::Malformed)),
        ("GET /.well-known/jwks.json\n\n".to_owned(), None),
        // The authority is asked, and hears of it as of any login.
        (grpc(&basic("nobody", "XXX"), "AuthenticateEx", CSMITH), None),
    ] {
        world.send(&*desk, &request);
        assert_eq!(ear.take(), Vec::from_iter(why), "{request}");
    }
    for why in Unread::ALL {
        let _answer = desk.unread(why);
        assert_eq!(ear.take(), [TurnedAway::Malformed]);
    }
}

#[test]
fn a_guard_of_several_dialects_counts_a_request_that_shows_nothing_once() {
    let (world, desk, ear) = heard();
    let service: Arc<dyn Service> = desk;
    let guard = Guard::new(Arc::clone(&service)).or(service);
    let request = guarded(&[], world.clock.now());
    assert!(world.run(guard.admit(&request)).is_err());
    assert_eq!(ear.take(), [TurnedAway::NoCredential]);
}

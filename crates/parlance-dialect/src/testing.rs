//! A world for tests: a clock that stands until it is moved, entropy from a seed, a store in memory, and an exchange as text.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use parlance_core::ports::{Clock, Entropy, EntropyError, Unobserved};
use parlance_core::reference::Reference;
use parlance_core::{Authority, HashThreads, NewUser, PasswordPolicy, Secret, Timestamp};

use crate::{Desk, Dialect, Request, Response, Service};

/// A clock that stands still until it is moved.
#[derive(Debug)]
pub struct TestClock(AtomicI64);

impl TestClock {
    /// A clock that shows this moment.
    #[must_use]
    pub fn at(now: Timestamp) -> Self {
        Self(AtomicI64::new(now.millis()))
    }

    /// Moves it to this moment, forward or back.
    pub fn set(&self, now: Timestamp) {
        self.0.store(now.millis(), Ordering::SeqCst);
    }

    /// Moves it forward.
    pub fn advance(&self, span: Duration) {
        self.0.store(self.now().plus(span).millis(), Ordering::SeqCst);
    }
}

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.0.load(Ordering::SeqCst))
    }
}

/// The same bytes in the same order, every time (SplitMix64): for snapshots only.
#[derive(Debug, Default)]
pub struct SeededEntropy(AtomicU64);

impl Entropy for SeededEntropy {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), EntropyError> {
        for chunk in bytes.chunks_mut(8) {
            let mut word = self
                .0
                .fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::SeqCst)
                .wrapping_add(0x9e37_79b9_7f4a_7c15);
            word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            let word = (word ^ (word >> 31)).to_le_bytes();
            chunk.iter_mut().zip(word).for_each(|(byte, random)| *byte = random);
        }
        Ok(())
    }
}

/// Everything that a dialect needs around it.
#[derive(Debug)]
pub struct World {
    /// The clock; 2022-05-01T12:00:00Z at first.
    pub clock: Arc<TestClock>,
    /// The store.
    pub store: Arc<Reference>,
    /// The authority over them.
    pub authority: Arc<Authority>,
    /// Where requests come from.
    pub peer: Option<IpAddr>,
    /// Whether they come over TLS.
    pub secure: bool,
}

impl Default for World {
    fn default() -> Self {
        let clock = Arc::new(TestClock::at(Timestamp::from_seconds(1_651_406_400)));
        let store = Arc::new(Reference::default());
        let threads = HashThreads::start(1, Arc::<TestClock>::clone(&clock));
        // The cheapest that argon2 takes: tests are about rules, not about its cost.
        let policy = PasswordPolicy::new(8, 1, 1).unwrap_or_default();
        let entropy = Arc::new(SeededEntropy::default());
        let authority = Authority::new(
            Arc::<Reference>::clone(&store),
            threads,
            policy,
            entropy,
            Arc::new(Unobserved),
        );
        Self {
            clock,
            store,
            authority: Arc::new(authority),
            peer: Some(IpAddr::from([192, 0, 2, 7])),
            secure: false,
        }
    }
}

impl World {
    /// A world with one user, `csmith`, whose password is `XXX`, with one role, unrestricted.
    #[must_use]
    pub fn with_csmith() -> Self {
        let world = Self::default();
        world.add_user("csmith", "XXX");
        world
    }

    /// Makes a user with one role.
    ///
    /// # Panics
    /// The user cannot be made.
    pub fn add_user(&self, name: &str, password: &str) {
        let role = uuid::Uuid::from_u128(0x9745_b902_2a36_4035_bdd6_012e_0dae_66c0);
        let password = Secret::new(password.to_owned());
        let user =
            NewUser { name: name.to_owned(), password, roles: vec![role], unrestricted: true };
        let added = self.run(self.authority.add_user(user, self.clock.now()));
        assert!(added.is_ok(), "{added:?}");
    }

    /// Waits for a future.
    pub fn run<F: Future>(&self, future: F) -> F::Output {
        futures_executor::block_on(future)
    }

    /// A dialect's desk in this world.
    #[must_use]
    pub fn desk<D: Dialect>(&self, dialect: D) -> Desk<D> {
        Desk::new(dialect, Arc::clone(&self.authority))
    }

    /// Sends a request to a service: the request line and header lines, an empty line, the body.
    ///
    /// # Panics
    /// The text is not a request, or its path is not the service's.
    pub fn send(&self, service: &dyn Service, request: &str) -> Response {
        let (head, body) = request.split_once("\n\n").unwrap_or((request, ""));
        let mut lines = head.lines();
        let mut words = lines.next().unwrap_or_default().split(' ');
        let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let (path, query) =
            target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
        let headers: Vec<_> = lines
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name, value.as_bytes()))
            .collect();
        assert!(service.claims(path), "{path} is not claimed");
        let (peer, secure, now) = (self.peer, self.secure, self.clock.now());
        let request = Request {
            method,
            path,
            query,
            headers: &headers,
            body: body.as_bytes(),
            peer,
            secure,
            now,
        };
        self.run(service.serve(&request))
    }

    /// [`Self::send`], with the response as text: the status, the headers that are not on every answer, an empty line, the body.
    pub fn exchange(&self, service: &dyn Service, request: &str) -> String {
        text(&self.send(service, request))
    }
}

/// A response as text, without the three headers that every answer carries alike.
#[must_use]
pub fn text(response: &Response) -> String {
    let plain = Response::new(0).headers;
    let mut text = format!("{}\n", response.status);
    for (name, value) in response.headers.iter().filter(|header| !plain.contains(header)) {
        let _ = writeln!(text, "{name}: {value}");
    }
    if !response.body.is_empty() {
        let _ = writeln!(text, "\n{}", String::from_utf8_lossy(&response.body));
    }
    text
}

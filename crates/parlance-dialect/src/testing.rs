//! A test world: a clock that a test moves, seeded entropy, a store in memory, and an exchange as text.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use parlance_core::ports::{Clock, Entropy, EntropyError, NoopObserver};
use parlance_core::reference::ReferenceStore;
use parlance_core::{Authority, HashQueue, NewUser, PasswordPolicy, Secret, Timestamp};

use crate::{Dialect, DialectHandler, DialectService, Request, Response};

/// A clock that stands still until a test moves the time.
#[derive(Debug)]
pub struct TestClock(AtomicI64);

impl TestClock {
    /// A clock that shows this time.
    #[must_use]
    pub fn at(now: Timestamp) -> Self {
        Self(AtomicI64::new(now.millis()))
    }

    /// Sets the clock to this time, forward or back.
    pub fn set(&self, now: Timestamp) {
        self.0.store(now.millis(), Ordering::SeqCst);
    }

    /// Moves the clock forward.
    pub fn advance(&self, span: Duration) {
        self.0.store(self.now().plus(span).millis(), Ordering::SeqCst);
    }
}

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.0.load(Ordering::SeqCst))
    }
}

/// Seeded random numbers (SplitMix64): the same bytes in the same order in every run, for snapshots only.
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

/// The dependencies of a dialect under test.
#[derive(Debug)]
pub struct TestWorld {
    /// The clock; 2022-05-01T12:00:00Z at first.
    pub clock: Arc<TestClock>,
    /// The store.
    pub store: Arc<ReferenceStore>,
    /// The authority over this store.
    pub authority: Arc<Authority>,
    /// The client address of requests.
    pub peer: Option<IpAddr>,
    /// Whether requests come over TLS.
    pub secure: bool,
}

impl Default for TestWorld {
    fn default() -> Self {
        let clock = Arc::new(TestClock::at(Timestamp::from_seconds(1_651_406_400)));
        let store = Arc::new(ReferenceStore::default());
        let hash_queue = HashQueue::start(1, Arc::<TestClock>::clone(&clock));
        // The cheapest parameters of Argon2: tests check rules, not the cost of hashing.
        let policy = PasswordPolicy::new(8, 1, 1).unwrap_or_default();
        let entropy = Arc::new(SeededEntropy::default());
        let authority = Authority::new(
            Arc::<ReferenceStore>::clone(&store),
            hash_queue,
            policy,
            entropy,
            Arc::new(NoopObserver),
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

impl TestWorld {
    /// A world with one user, `csmith`, with the password `XXX` and one role, unrestricted.
    #[must_use]
    pub fn with_csmith() -> Self {
        let world = Self::default();
        world.add_user("csmith", "XXX");
        world
    }

    /// Adds a user with one role, unrestricted.
    ///
    /// # Panics
    /// The user cannot be added.
    pub fn add_user(&self, name: &str, password: &str) {
        let role = uuid::Uuid::from_u128(0x9745_b902_2a36_4035_bdd6_012e_0dae_66c0);
        let password = Secret::new(password.to_owned());
        let user =
            NewUser { name: name.to_owned(), password, roles: vec![role], unrestricted: true };
        let added = self.block_on(self.authority.add_user(user, self.clock.now()));
        assert!(added.is_ok(), "{added:?}");
    }

    /// Waits for a future on this thread.
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        futures_executor::block_on(future)
    }

    /// The service of a dialect in this world.
    #[must_use]
    pub fn service<D: Dialect>(&self, dialect: D) -> DialectService<D> {
        DialectService::new(dialect, Arc::clone(&self.authority))
    }

    /// Sends a request to a service: the request line and header lines, an empty line, the body.
    ///
    /// # Panics
    /// The text is not a request, or the path does not belong to the service.
    pub fn send(&self, service: &dyn DialectHandler, request: &str) -> Response {
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
        self.block_on(service.serve(&request))
    }

    /// [`Self::send`], with the response as text: the status, the headers that are not on every answer, an empty line, the body.
    pub fn exchange(&self, service: &dyn DialectHandler, request: &str) -> String {
        text(&self.send(service, request))
    }
}

/// A response as text, without the three headers that every answer carries alike.
#[must_use]
pub fn text(response: &Response) -> String {
    let common_headers = Response::new(0).headers;
    let mut text = format!("{}\n", response.status);
    for (name, value) in response.headers.iter().filter(|header| !common_headers.contains(header)) {
        let _ = writeln!(text, "{name}: {value}");
    }
    if !response.body.is_empty() {
        let _ = writeln!(text, "\n{}", String::from_utf8_lossy(&response.body));
    }
    text
}

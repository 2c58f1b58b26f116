//! The world of the tests of this crate: its own clock, entropy, issuers, and a store that records its calls.

mod recording_store;
mod waiting;

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

pub(super) use self::recording_store::RecordingStore;
pub(super) use self::waiting::{block_on, poll_once, wait_until};
use crate::ports::{
    Action, Clock, Entropy, EntropyError, Event, Observer, SessionQuery, Store, TurnedAway,
};
use crate::{
    AddressBinding, Authority, CanonicalName, Command, ConcurrentSessions, Context, Credential,
    Digest, Failure, HashQueue, InternalError, IssueContext, IssueError, IssuedToken, Lifetime,
    Login, NewUser, Outcome, PasswordCredentials, PasswordPolicy, Secret, Session, SessionPolicy,
    Timestamp, TokenIssuer, UPPER, User, UserId, random_string,
};

pub(super) const MINUTE: Duration = Duration::from_secs(60);
pub(super) const HOUR: Duration = Duration::from_secs(3600);
/// The hashing parameters of the tests: the cheapest that argon2 accepts.
pub(super) const CHEAPEST_PARAMS: [u32; 3] = [8, 1, 1];

/// A clock that stands still until moved.
pub(super) struct TestClock(AtomicI64);

impl TestClock {
    pub(super) fn set(&self, now: Timestamp) {
        self.0.store(now.millis(), Ordering::SeqCst);
    }

    pub(super) fn advance(&self, span: Duration) {
        self.set(self.now().plus(span));
    }
}

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.0.load(Ordering::SeqCst))
    }
}

/// `SplitMix64` from a seed; fails while `broken` is set.
#[derive(Default)]
pub(super) struct SeededEntropy {
    state: AtomicU64,
    pub(super) broken: AtomicBool,
}

impl SeededEntropy {
    pub(super) fn next(&self) -> u64 {
        let step = 0x9e37_79b9_7f4a_7c15;
        let mut word = self.state.fetch_add(step, Ordering::SeqCst).wrapping_add(step);
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }
}

impl Entropy for SeededEntropy {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), EntropyError> {
        if self.broken.load(Ordering::SeqCst) {
            return Err(EntropyError);
        }
        for chunk in bytes.chunks_mut(8) {
            let word = self.next().to_le_bytes();
            chunk.iter_mut().zip(word).for_each(|(byte, random)| *byte = random);
        }
        Ok(())
    }
}

/// A dialect with a session policy that a test chooses, and with `sid`s that a test may script.
#[derive(Debug)]
pub(super) struct TestTokenIssuer {
    pub(super) dialect: &'static str,
    pub(super) session_policy: SessionPolicy,
    /// The `public_id`s of the next sessions; a session gets none when the queue is empty.
    pub(super) public_ids: Mutex<VecDeque<&'static str>>,
    /// Whether the credentials carry their own end, and a renewal hands out a new credential.
    pub(super) signs: bool,
    /// Whether issuing panics.
    pub(super) panics: AtomicBool,
}

impl TestTokenIssuer {
    pub(super) fn new(session_policy: SessionPolicy) -> Self {
        let public_ids = Mutex::default();
        Self {
            dialect: "test",
            session_policy,
            public_ids,
            signs: false,
            panics: AtomicBool::new(false),
        }
    }

    /// A secret and its end, in the manner of a JWT.
    fn signed(key: &str, context: &IssueContext<'_>) -> Secret {
        Secret::new(format!("{key}@{}", context.expires.unwrap_or(Timestamp::MAX).millis()))
    }
}

impl TokenIssuer for TestTokenIssuer {
    fn dialect(&self) -> &'static str {
        self.dialect
    }

    fn session_policy(&self) -> SessionPolicy {
        self.session_policy
    }

    fn issue(
        &self,
        context: &IssueContext<'_>,
        entropy: &dyn Entropy,
    ) -> Result<IssuedToken, IssueError> {
        assert!(!self.panics.load(Ordering::SeqCst), "asked to panic");
        let key = random_string(UPPER, 60, entropy)?;
        let digest = Digest::of(self.dialect, key.expose());
        let public_id = self.public_ids.lock().unwrap().pop_front().map(str::to_owned);
        let secret = if self.signs { Self::signed(key.expose(), context) } else { key };
        Ok(IssuedToken { secret, digest, public_id })
    }

    fn reissues_on_renewal(&self) -> bool {
        self.signs
    }

    fn reissue(
        &self,
        context: &IssueContext<'_>,
        shown: &Credential,
    ) -> Result<Secret, IssueError> {
        let (key, _) = shown.secret.expose().split_once('@').ok_or(IssueError::NoKey)?;
        Ok(Self::signed(key, context))
    }
}

type RecordedEvent = (Action, Option<Failure>, Option<UserId>, bool);

/// The events that the observer received, with the failures before the last event and the name presented in that event.
#[derive(Default)]
pub(super) struct RecordingObserver(
    pub(super) Mutex<Vec<RecordedEvent>>,
    pub(super) AtomicI64,
    pub(super) Mutex<Option<String>>,
    /// The reason and the user's own name of the last event.
    pub(super) Mutex<(Option<&'static str>, Option<String>)>,
    /// The causes of failures inside the authority.
    pub(super) Mutex<Vec<InternalError>>,
);

impl Observer for RecordingObserver {
    fn observe(&self, event: &Event<'_>) {
        self.0.lock().unwrap().push((
            event.action,
            event.failure,
            event.user,
            event.unexpected_address,
        ));
        self.1.store(event.previous_failures, Ordering::SeqCst);
        *self.2.lock().unwrap() = event.presented_name.map(str::to_owned);
        *self.3.lock().unwrap() = (event.reason(), event.user_name.map(str::to_owned));
    }

    fn turned_away(&self, _: &'static str, _: TurnedAway, _: Option<IpAddr>) {}

    fn internal_error(&self, error: &InternalError) {
        self.4.lock().unwrap().push(error.clone());
    }
}

/// An authority with all dependencies, and a user `csmith` with the password `XXX`.
pub(super) struct AuthorityHarness {
    pub(super) clock: Arc<TestClock>,
    pub(super) store: Arc<RecordingStore>,
    pub(super) entropy: Arc<SeededEntropy>,
    pub(super) observer: Arc<RecordingObserver>,
    pub(super) authority: Authority,
    pub(super) token_issuer: Arc<dyn TokenIssuer>,
    pub(super) peer: Option<IpAddr>,
}

/// A plain session policy, without special features.
pub(super) const PLAIN_POLICY: SessionPolicy = SessionPolicy {
    lifetime: Lifetime::Fixed(HOUR),
    max_lifetime: None,
    address_binding: AddressBinding::Off,
    report_end_once: false,
};

pub(super) fn secret(text: &str) -> Secret {
    Secret::new(text.to_owned())
}

pub(super) fn credentials(user: &str, password: &str) -> PasswordCredentials {
    PasswordCredentials { user: user.to_owned(), password: secret(password) }
}

impl AuthorityHarness {
    pub(super) fn new(session_policy: SessionPolicy) -> Self {
        Self::with_issuer(TestTokenIssuer::new(session_policy))
    }

    pub(super) fn with_issuer(token_issuer: TestTokenIssuer) -> Self {
        Self::with_store(Arc::default(), token_issuer, CHEAPEST_PARAMS)
    }

    /// A world with this password policy, over a store that another world may share.
    pub(super) fn with_store(
        store: Arc<RecordingStore>,
        token_issuer: TestTokenIssuer,
        [m, t, p]: [u32; 3],
    ) -> Self {
        let clock = Arc::new(TestClock(AtomicI64::new(1_651_406_400_000)));
        let hash_queue = HashQueue::start(1, Arc::<TestClock>::clone(&clock));
        let entropy = Arc::new(SeededEntropy::default());
        let policy = PasswordPolicy::new(m, t, p).unwrap();
        let observer = Arc::<RecordingObserver>::default();
        let authority = Authority::new(
            Arc::<RecordingStore>::clone(&store),
            hash_queue,
            policy,
            Arc::<SeededEntropy>::clone(&entropy),
            Arc::<RecordingObserver>::clone(&observer),
        );
        let peer = Some(IpAddr::from([192, 0, 2, 7]));
        let world = Self {
            clock,
            store,
            entropy,
            observer,
            authority,
            token_issuer: Arc::new(token_issuer),
            peer,
        };
        if block_on(world.store.user(canonical("csmith"))).unwrap().is_none() {
            world.add_user("csmith", "XXX");
        }
        world.store.calls();
        world.computed_hashes();
        world
    }

    /// A world without lock-out and without rate limit.
    pub(super) fn without_limits(self) -> Self {
        Self { authority: self.authority.with_lockout(None).with_rate_limiter(None), ..self }
    }

    pub(super) fn add_user(&self, name: &str, password: &str) {
        let (name, password) = (name.to_owned(), secret(password));
        let new = NewUser { name, password, roles: Vec::new(), unrestricted: false };
        block_on(self.authority.add_user(new, self.now())).unwrap();
    }

    pub(super) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub(super) fn cx(&self) -> Context<'_> {
        Context { now: self.now(), peer: self.peer, token_issuer: &self.token_issuer }
    }

    pub(super) fn execute(&self, command: Command) -> Result<Outcome, Failure> {
        block_on(self.authority.execute(command, self.cx()))
    }

    /// A login that asks for the lifetime of the session policy.
    pub(super) fn login_request(&self, user: &str, password: &str) -> Login {
        let credentials = Some(credentials(user, password));
        let lifetime = self.token_issuer.session_policy().lifetime;
        Login {
            existing_credential: None,
            outer_credentials: None,
            credentials,
            lifetime,
            concurrent_sessions: ConcurrentSessions::Allow,
        }
    }

    pub(super) fn login(&self, user: &str, password: &str) -> Result<Outcome, Failure> {
        self.execute(Command::Login(self.login_request(user, password)))
    }

    /// The secret of a new session of `csmith`.
    #[track_caller]
    pub(super) fn token(&self) -> Secret {
        expect_logged_in(self.login("csmith", "XXX")).2
    }

    /// The credential that a client with this secret presents.
    pub(super) fn credential(&self, token: &Secret) -> Credential {
        let dialect = self.token_issuer.dialect();
        let Some((key, end)) = token.expose().split_once('@') else {
            return Credential::new(dialect, token.clone());
        };
        let not_after = Some(Timestamp::from_millis(end.parse().unwrap()));
        let digest = Digest::of(dialect, key);
        Credential { digest, not_after, ..Credential::new(dialect, token.clone()) }
    }

    /// A use of the session.
    pub(super) fn check(&self, token: &Secret) -> Result<(), Failure> {
        self.execute(Command::Check(self.credential(token))).map(drop)
    }

    /// A look at the session without sliding the expiry.
    pub(super) fn peek(&self, token: &Secret) -> Result<(), Failure> {
        self.execute(Command::Peek(self.credential(token))).map(drop)
    }

    pub(super) fn renew(&self, token: &Secret, lifetime: Lifetime) -> Result<Secret, Failure> {
        let outcome = self.execute(Command::Renew(self.credential(token), lifetime))?;
        let Outcome::Renewed(_, _, secret) = outcome else { panic!("not renewed: {outcome:?}") };
        Ok(secret)
    }

    pub(super) fn log_out(&self, token: &Secret) -> Result<(), Failure> {
        self.execute(Command::Logout(self.credential(token))).map(drop)
    }

    /// The stored session of a secret.
    pub(super) fn session(&self, token: &Secret) -> Session {
        block_on(self.store.inner.session(self.credential(token).digest)).unwrap().unwrap().0
    }

    /// The number of live sessions.
    pub(super) fn live_sessions(&self) -> usize {
        block_on(self.store.inner.sessions(SessionQuery::live(self.now()))).unwrap().len()
    }

    pub(super) fn user(&self, name: &str) -> User {
        block_on(self.store.inner.user(canonical(name))).unwrap().unwrap()
    }

    /// The parameters of the hashes computed since the last time.
    pub(super) fn computed_hashes(&self) -> Vec<[u32; 3]> {
        block_on(
            self.authority.hash_queue.run(|worker| std::mem::take(&mut worker.scratch.computed)),
        )
        .unwrap()
    }
}

pub(super) fn canonical(name: &str) -> CanonicalName {
    crate::canonical_name(name).unwrap()
}

#[track_caller]
pub(super) fn expect_logged_in(outcome: Result<Outcome, Failure>) -> (Session, User, Secret) {
    match outcome {
        Ok(Outcome::LoggedIn(session, user, secret)) => (session, user, secret),
        other => panic!("not opened: {other:?}"),
    }
}

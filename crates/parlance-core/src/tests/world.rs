//! A world for the tests of this crate: its own clock, entropy, mints, and a store that is watched.

use std::collections::VecDeque;
use std::future::Future;
use std::net::IpAddr;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context as Task, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::Duration;

use crate::lockout::Rung;
use crate::ports::{
    Action, Applied, Change, Clock, Entropy, EntropyError, Event, Observer, Pending, SealedKey,
    SessionQuery, Store, StoreError, Touch, UserPage, UserQuery,
};
use crate::reference::Reference;
use crate::{
    Authority, Binding, CanonicalName, Command, Context, Credential, Digest, Failure, Grant,
    HashThreads, Lifetime, Login, Mint, Minted, NewUser, Open, Outcome, PasswordPolicy, Rivals,
    Secret, Session, Terms, Timestamp, UPPER, User, UserId, draw,
};

pub(super) const MINUTE: Duration = Duration::from_secs(60);
pub(super) const HOUR: Duration = Duration::from_secs(3600);
/// The parameters under which the tests hash: the cheapest that argon2 takes.
pub(super) const CHEAP: [u32; 3] = [8, 1, 1];

/// A clock that stands still until it is moved.
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

/// `SplitMix64` from a seed; fails while it is broken.
#[derive(Default)]
pub(super) struct Seeded {
    state: AtomicU64,
    pub(super) broken: AtomicBool,
}

impl Seeded {
    pub(super) fn next(&self) -> u64 {
        let step = 0x9e37_79b9_7f4a_7c15;
        let mut word = self.state.fetch_add(step, Ordering::SeqCst).wrapping_add(step);
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }
}

impl Entropy for Seeded {
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

/// A dialect whose terms a test chooses, and whose `sid`s it may script.
#[derive(Debug)]
pub(super) struct TestMint {
    pub(super) dialect: &'static str,
    pub(super) terms: Terms,
    /// The `sid`s of the next sessions; none when it is empty.
    pub(super) sids: Mutex<VecDeque<&'static str>>,
    /// Whether its credentials carry their own end, and a renewal hands out another.
    pub(super) signs: bool,
    /// Whether minting panics.
    pub(super) panics: AtomicBool,
}

impl TestMint {
    pub(super) fn new(terms: Terms) -> Self {
        let sids = Mutex::default();
        Self { dialect: "test", terms, sids, signs: false, panics: AtomicBool::new(false) }
    }

    /// A secret and when it ends, as a JWT would carry it.
    fn signed(key: &str, grant: &Grant<'_>) -> Secret {
        Secret::new(format!("{key}@{}", grant.expires.unwrap_or(Timestamp::MAX).millis()))
    }
}

impl Mint for TestMint {
    fn dialect(&self) -> &'static str {
        self.dialect
    }

    fn terms(&self) -> Terms {
        self.terms
    }

    fn mint(&self, grant: &Grant<'_>, entropy: &dyn Entropy) -> Result<Minted, EntropyError> {
        assert!(!self.panics.load(Ordering::SeqCst), "asked to panic");
        let key = draw(UPPER, 60, entropy)?;
        let digest = Digest::of(self.dialect, key.expose());
        let sid = self.sids.lock().unwrap().pop_front().map(str::to_owned);
        let secret = if self.signs { Self::signed(key.expose(), grant) } else { key };
        Ok(Minted { secret, digest, sid })
    }

    fn remints(&self) -> bool {
        self.signs
    }

    fn remint(&self, grant: &Grant<'_>, shown: &Credential) -> Result<Secret, Failure> {
        let (key, _) = shown.secret.expose().split_once('@').ok_or(Failure::UnknownCredential)?;
        Ok(Self::signed(key, grant))
    }
}

type Before = Box<dyn FnOnce(&Reference) + Send>;

/// The reference store, with a list of what was asked of it.
#[derive(Default)]
pub(super) struct Watched {
    pub(super) inner: Reference,
    calls: Mutex<Vec<&'static str>>,
    before: Mutex<Option<Before>>,
    pub(super) full: AtomicBool,
}

impl Watched {
    /// What was asked since the last time.
    pub(super) fn calls(&self) -> Vec<&'static str> {
        std::mem::take(&mut self.calls.lock().unwrap())
    }

    /// Does something just before the next change: what another request could have done meanwhile.
    pub(super) fn before_change(&self, act: impl FnOnce(&Reference) + Send + 'static) {
        *self.before.lock().unwrap() = Some(Box::new(act));
    }

    fn note<T: Send + 'static>(&self, call: &'static str, answer: Pending<T>) -> Pending<T> {
        self.calls.lock().unwrap().push(call);
        if self.full.load(Ordering::SeqCst) {
            return Box::pin(async { Err(StoreError::Busy) });
        }
        answer
    }
}

impl Store for Watched {
    fn session(&self, digest: Digest) -> Pending<Option<(Session, User)>> {
        self.note("session", self.inner.session(digest))
    }

    fn user(&self, name: CanonicalName) -> Pending<Option<User>> {
        self.note("user", self.inner.user(name))
    }

    fn users(&self, offset: u64, limit: u32) -> Pending<UserPage> {
        self.note("users", self.inner.users(offset, limit))
    }

    fn find_users(&self, query: UserQuery) -> Pending<Vec<User>> {
        self.note("find_users", self.inner.find_users(query))
    }

    fn sessions(&self, query: SessionQuery) -> Pending<Vec<(Session, User)>> {
        self.note("sessions", self.inner.sessions(query))
    }

    fn live(&self, now: Timestamp) -> Pending<Vec<(String, u64)>> {
        self.note("live", self.inner.live(now))
    }

    fn keys(&self) -> Pending<Vec<SealedKey>> {
        self.note("keys", self.inner.keys())
    }

    fn rung(&self, account: Digest) -> Pending<Option<Rung>> {
        self.inner.rung(account)
    }

    fn ping(&self) -> Pending<()> {
        self.note("ping", self.inner.ping())
    }

    fn apply(&self, change: Change) -> Pending<Applied> {
        let before = self.before.lock().unwrap().take();
        if let Some(before) = before {
            before(&self.inner);
        }
        self.note("apply", self.inner.apply(change))
    }

    fn touch(&self, touch: Touch) {
        self.calls.lock().unwrap().push("touch");
        self.inner.touch(touch);
    }

    fn flush(&self) -> Pending<()> {
        self.note("flush", self.inner.flush())
    }
}

type Heard = (Action, Option<Failure>, Option<UserId>, bool);

/// What the observer was told, how many failures came before the last of it, and which name it showed.
#[derive(Default)]
pub(super) struct Told(
    pub(super) Mutex<Vec<Heard>>,
    pub(super) AtomicI64,
    pub(super) Mutex<Option<String>>,
    /// The reason and the name of the last event.
    pub(super) Mutex<(Option<&'static str>, Option<String>)>,
);

impl Observer for Told {
    fn observe(&self, event: &Event<'_>) {
        self.0.lock().unwrap().push((event.action, event.failure, event.user, event.foreign));
        self.1.store(event.failures, Ordering::SeqCst);
        *self.2.lock().unwrap() = event.shown.map(str::to_owned);
        *self.3.lock().unwrap() = (event.reason(), event.name.map(str::to_owned));
    }
}

/// Everything that the authority needs around it, and a user `csmith` whose password is `XXX`.
pub(super) struct World {
    pub(super) clock: Arc<TestClock>,
    pub(super) store: Arc<Watched>,
    pub(super) entropy: Arc<Seeded>,
    pub(super) told: Arc<Told>,
    pub(super) authority: Authority,
    pub(super) mint: Arc<dyn Mint>,
    pub(super) peer: Option<IpAddr>,
}

/// Terms with nothing special about them.
pub(super) const PLAIN: Terms = Terms {
    lifetime: Lifetime::Fixed(HOUR),
    max_lifetime: None,
    bind_address: Binding::Off,
    tell_end_once: false,
};

pub(super) fn secret(text: &str) -> Secret {
    Secret::new(text.to_owned())
}

pub(super) fn login(user: &str, password: &str) -> Login {
    Login { user: user.to_owned(), password: secret(password) }
}

impl World {
    pub(super) fn new(terms: Terms) -> Self {
        Self::with(TestMint::new(terms))
    }

    pub(super) fn with(mint: TestMint) -> Self {
        Self::over(Arc::default(), mint, CHEAP)
    }

    /// A world over a store that another world may share, with a password policy.
    pub(super) fn over(store: Arc<Watched>, mint: TestMint, [m, t, p]: [u32; 3]) -> Self {
        let clock = Arc::new(TestClock(AtomicI64::new(1_651_406_400_000)));
        let threads = HashThreads::start(1, Arc::<TestClock>::clone(&clock));
        let entropy = Arc::new(Seeded::default());
        let policy = PasswordPolicy::new(m, t, p).unwrap();
        let told = Arc::<Told>::default();
        let authority = Authority::new(
            Arc::<Watched>::clone(&store),
            threads,
            policy,
            Arc::<Seeded>::clone(&entropy),
            Arc::<Told>::clone(&told),
        );
        let peer = Some(IpAddr::from([192, 0, 2, 7]));
        let world = Self { clock, store, entropy, told, authority, mint: Arc::new(mint), peer };
        if run(world.store.user(canonical("csmith"))).unwrap().is_none() {
            world.add_user("csmith", "XXX");
        }
        world.store.calls();
        world.hashes();
        world
    }

    /// Where nothing bounds guesses.
    pub(super) fn unbounded(self) -> Self {
        Self { authority: self.authority.with_lockout(None).with_throttle(None), ..self }
    }

    pub(super) fn add_user(&self, name: &str, password: &str) {
        let (name, password) = (name.to_owned(), secret(password));
        let new = NewUser { name, password, roles: Vec::new(), unrestricted: false };
        run(self.authority.add_user(new, self.now())).unwrap();
    }

    pub(super) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub(super) fn cx(&self) -> Context<'_> {
        Context { now: self.now(), peer: self.peer, mint: &self.mint }
    }

    pub(super) fn execute(&self, command: Command) -> Result<Outcome, Failure> {
        run(self.authority.execute(command, self.cx()))
    }

    /// A login that asks for the lifetime of the terms.
    pub(super) fn open(&self, user: &str, password: &str) -> Open {
        let login = Some(login(user, password));
        let lifetime = self.mint.terms().lifetime;
        Open { shown: None, outer: None, login, lifetime, rivals: Rivals::Allow }
    }

    pub(super) fn login(&self, user: &str, password: &str) -> Result<Outcome, Failure> {
        self.execute(Command::Open(self.open(user, password)))
    }

    /// The secret of a new session of `csmith`.
    #[track_caller]
    pub(super) fn token(&self) -> Secret {
        opened(self.login("csmith", "XXX")).2
    }

    /// What a client shows who has this secret.
    pub(super) fn shown(&self, token: &Secret) -> Credential {
        let dialect = self.mint.dialect();
        let Some((key, end)) = token.expose().split_once('@') else {
            return Credential::new(dialect, token.clone());
        };
        let not_after = Some(Timestamp::from_millis(end.parse().unwrap()));
        let digest = Digest::of(dialect, key);
        Credential { digest, not_after, ..Credential::new(dialect, token.clone()) }
    }

    /// A use.
    pub(super) fn check(&self, token: &Secret) -> Result<(), Failure> {
        self.execute(Command::Check(self.shown(token))).map(drop)
    }

    /// A look, which slides nothing.
    pub(super) fn look(&self, token: &Secret) -> Result<(), Failure> {
        self.execute(Command::Look(self.shown(token))).map(drop)
    }

    pub(super) fn renew(&self, token: &Secret, lifetime: Lifetime) -> Result<Secret, Failure> {
        let outcome = self.execute(Command::Renew(self.shown(token), lifetime))?;
        let Outcome::Renewed(_, _, secret) = outcome else { panic!("not renewed: {outcome:?}") };
        Ok(secret)
    }

    pub(super) fn close(&self, token: &Secret) -> Result<(), Failure> {
        self.execute(Command::Close(self.shown(token))).map(drop)
    }

    /// The session of a secret, as the store has it.
    pub(super) fn session(&self, token: &Secret) -> Session {
        run(self.store.inner.session(self.shown(token).digest)).unwrap().unwrap().0
    }

    /// How many sessions live.
    pub(super) fn living(&self) -> usize {
        run(self.store.inner.sessions(SessionQuery::live(self.now()))).unwrap().len()
    }

    pub(super) fn user(&self, name: &str) -> User {
        run(self.store.inner.user(canonical(name))).unwrap().unwrap()
    }

    /// The parameters of the hashes that were computed since the last time.
    pub(super) fn hashes(&self) -> Vec<[u32; 3]> {
        run(self.authority.threads.run(|bench| std::mem::take(&mut bench.scratch.ran))).unwrap()
    }
}

pub(super) fn canonical(name: &str) -> CanonicalName {
    crate::canonical_name(name).unwrap()
}

#[track_caller]
pub(super) fn opened(outcome: Result<Outcome, Failure>) -> (Session, User, Secret) {
    match outcome {
        Ok(Outcome::Opened(session, user, secret)) => (session, user, secret),
        other => panic!("not opened: {other:?}"),
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Waits for a future on this thread.
pub(super) fn run<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    loop {
        match future.as_mut().poll(&mut Task::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => std::thread::park(),
        }
    }
}

/// Polls a future once, so that what it queues is queued.
pub(super) fn begin<F: Future + ?Sized>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Task::from_waker(Waker::noop()))
}

/// Waits until another thread has made this true.
#[track_caller]
pub(super) fn until(mut holds: impl FnMut() -> bool) {
    let turns = (0..10_000_000).find(|_| {
        std::thread::yield_now();
        holds()
    });
    assert!(turns.is_some(), "it did not become true");
}

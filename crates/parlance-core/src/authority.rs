//! The one decision-maker.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use subtle::ConstantTimeEq as _;

use crate::hashing::Bench;
use crate::ports::{
    Action, Applied, Change, Entropy, Event, Observer, Store, StoreError, Touch, TurnedAway, Users,
};
use crate::session::{Grant, Mint, Terms};
use crate::{
    Binding, Command, Credential, Failure, HashThreads, Lifetime, LockoutPolicy, Outcome,
    PasswordPolicy, Session, Throttle, ThrottlePolicy, Timestamp, User, UserId, canonical_name,
};

/// Decides about users, credentials and sessions. Shared by all dialects and all requests.
pub struct Authority {
    pub(crate) store: Arc<dyn Store>,
    /// Where users live, if not in the store.
    pub(crate) users: Option<Arc<dyn Users>>,
    pub(crate) threads: HashThreads,
    pub(crate) policy: PasswordPolicy,
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) observer: Arc<dyn Observer>,
    lockout: RwLock<Option<LockoutPolicy>>,
    pub(crate) throttle: Option<Throttle>,
    max_sessions: AtomicU32,
}

/// How many sessions a user may have, unless [`Authority::with_max_sessions_per_user`] says otherwise. Far above honest use.
pub const MAX_SESSIONS_PER_USER: u32 = 1000;

/// What a command is told about the world: nothing is ambient.
#[derive(Clone, Copy)]
pub struct Context<'c> {
    /// Now.
    pub now: Timestamp,
    /// The client's address, as far as it can be believed.
    pub peer: Option<IpAddr>,
    /// The dialect that asks.
    pub mint: &'c Arc<dyn Mint>,
}

/// What is found out about a command on the way, for the record: a refused client may not learn it.
#[derive(Default)]
pub(crate) struct Noted {
    /// Whom it is about.
    pub(crate) user: Option<UserId>,
    /// His name, where it is wanted.
    pub(crate) name: Option<String>,
    /// Whether his stored hash cannot be read.
    pub(crate) unreadable_hash: bool,
    /// Whether it was let pass from an address that is foreign to the session.
    pub(crate) foreign: bool,
    /// How many failures in a row came before.
    pub(crate) failures: i64,
    /// Why it was refused, where its client hears something else.
    pub(crate) failure: Option<Failure>,
}

impl Authority {
    /// An authority over a store. Guesses are bounded as [`LockoutPolicy`] and [`crate::ThrottlePolicy`] are by default.
    #[must_use]
    pub fn new(
        store: Arc<dyn Store>,
        threads: HashThreads,
        policy: PasswordPolicy,
        entropy: Arc<dyn Entropy>,
        observer: Arc<dyn Observer>,
    ) -> Self {
        Self {
            store,
            users: None,
            threads,
            policy,
            entropy,
            observer,
            lockout: RwLock::new(Some(LockoutPolicy::default())),
            throttle: Some(Throttle::new(ThrottlePolicy::default())),
            max_sessions: AtomicU32::new(MAX_SESSIONS_PER_USER),
        }
    }

    /// With this bound on wrong passwords for one account, or none.
    #[must_use]
    pub fn with_lockout(self, lockout: Option<LockoutPolicy>) -> Self {
        Self { lockout: RwLock::new(lockout), ..self }
    }

    /// From now on with this bound on wrong passwords for one account, or none. What was counted still counts.
    pub fn set_lockout(&self, lockout: Option<LockoutPolicy>) {
        *self.lockout.write().unwrap_or_else(PoisonError::into_inner) = lockout;
    }

    /// From now on with this bound on failed logins from one address, if there is a bound at all. What was counted still counts.
    pub fn set_throttle_policy(&self, policy: ThrottlePolicy) {
        if let Some(throttle) = &self.throttle {
            throttle.set_policy(policy);
        }
    }

    /// From now on with so many sessions a user at most: see [`Self::with_max_sessions_per_user`]. Nobody's session ends before their next login.
    pub fn set_max_sessions_per_user(&self, max_sessions: u32) {
        self.max_sessions.store(max_sessions.max(1), Ordering::Relaxed);
    }

    pub(crate) fn lockout(&self) -> Option<LockoutPolicy> {
        *self.lockout.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn max_sessions(&self) -> u32 {
        self.max_sessions.load(Ordering::Relaxed)
    }

    /// With this bound on failed logins from one address, or none.
    #[must_use]
    pub fn with_throttle(self, throttle: Option<Throttle>) -> Self {
        Self { throttle, ..self }
    }

    /// With users who live in a directory of their own, and nowhere else.
    #[must_use]
    pub fn with_users(self, users: Arc<dyn Users>) -> Self {
        Self { users: Some(users), ..self }
    }

    /// With so many sessions a user at most, over all dialects together: a login beyond it drops his dead ones, then his oldest. At least
    /// 1; a login near the cap reads so many rows. [`MAX_SESSIONS_PER_USER`].
    #[must_use]
    pub fn with_max_sessions_per_user(self, max_sessions: u32) -> Self {
        Self { max_sessions: AtomicU32::new(max_sessions.max(1)), ..self }
    }

    /// How many logins wait to be hashed, and how many renewals to be signed, by the name of their queue.
    #[must_use]
    pub fn queue_depths(&self) -> [(&'static str, usize); 2] {
        let (hashing, signing) = self.threads.waiting();
        [("hashing", hashing), ("signing", signing)]
    }

    /// The store, for those who read it without changing a session.
    #[must_use]
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// Notes a request that a dialect refused by itself: it is counted like the others.
    pub fn turned_away(&self, dialect: &'static str, why: TurnedAway, peer: Option<IpAddr>) {
        self.observer.turned_away(dialect, why, peer.map(|peer| peer.to_canonical()));
    }

    /// What the store answered. The cause of a failure goes to the observer, since a [`Failure`] does not carry it.
    pub(crate) fn told<T>(&self, answer: Result<T, StoreError>) -> Result<T, Failure> {
        answer.map_err(|error| {
            self.observer.store_failed(&error);
            error.into()
        })
    }

    /// Does what is asked, or says why not. Answers after the commit.
    ///
    /// # Errors
    /// Every refusal is a [`Failure`]; after [`Failure::Unavailable`] it is unknown whether the command was done.
    pub async fn execute(&self, command: Command, cx: Context<'_>) -> Result<Outcome, Failure> {
        // `::ffff:192.0.2.7` is 192.0.2.7, whoever asks.
        let cx = Context { peer: cx.peer.map(|peer| peer.to_canonical()), ..cx };
        let shown = match &command {
            Command::Open(open) => {
                open.login.as_ref().or(open.outer.as_ref()).map(|login| login.user.clone())
            }
            Command::Check(_)
            | Command::Look(_)
            | Command::Renew(..)
            | Command::Close(_)
            | Command::Bump(_)
            | Command::ListUsers(..)
            | Command::ShowUser(..) => None,
        };
        let action = match &command {
            Command::Open(_) => Action::Login,
            Command::Renew(..) => Action::Renewal,
            Command::Close(_) => Action::End,
            Command::Check(_)
            | Command::Look(_)
            | Command::Bump(_)
            | Command::ListUsers(..)
            | Command::ShowUser(..) => Action::Check,
        };
        let mut noted = Noted::default();
        let result = self.decide(command, cx, &mut noted).await;
        // A login that showed a good token opened nothing: it was a use.
        let action = if let Ok(Outcome::Standing(..)) = result { Action::Check } else { action };
        let failure = result.as_ref().err().map(|heard| noted.failure.unwrap_or(*heard));
        let name = match &result {
            Ok(Outcome::Opened(_, user, _)) => Some(user.name.as_str()),
            Ok(_) => noted.name.as_deref(),
            Err(_) => None,
        };
        let wrong = matches!(failure, Some(Failure::WrongPassword | Failure::OuterCredential));
        let event = Event {
            dialect: cx.mint.dialect(),
            action,
            failure,
            user: noted.user,
            name,
            shown: shown.as_deref(),
            peer: cx.peer,
            foreign: noted.foreign,
            failures: noted.failures,
            unreadable_hash: wrong && noted.unreadable_hash,
        };
        self.observer.observe(&event);
        result
    }

    /// Decides, and notes on the way what it is about.
    async fn decide(
        &self,
        command: Command,
        cx: Context<'_>,
        noted: &mut Noted,
    ) -> Result<Outcome, Failure> {
        match command {
            Command::Open(open) => self.open(open, cx, noted).await,
            Command::Check(shown) => {
                let (session, user) = self.standing(&shown, cx, noted).await?;
                Ok(Outcome::Standing(self.slide(session, cx), user))
            }
            Command::Look(shown) => self
                .standing(&shown, cx, noted)
                .await
                .map(|(session, user)| Outcome::Standing(session, user)),
            Command::Renew(shown, lifetime) => self.renew(&shown, lifetime, cx, noted).await,
            Command::Close(shown) => {
                let (session, user) = self.standing(&shown, cx, noted).await?;
                noted.name = Some(user.name);
                self.change(Change::Close { id: session.id, now: cx.now })
                    .await
                    .map(|()| Outcome::Closed)
            }
            Command::Bump(shown) => {
                let (session, _) = self.standing(&shown, cx, noted).await?;
                self.change(Change::Bump { user: session.user, now: cx.now })
                    .await
                    .map(|()| Outcome::Bumped(cx.now))
            }
            Command::ListUsers(shown, offset, limit) => {
                self.standing(&shown, cx, noted).await?;
                self.list(offset, limit).await.map(Outcome::Users)
            }
            Command::ShowUser(shown, name) => {
                self.standing(&shown, cx, noted).await?;
                let Some(name) = canonical_name(&name) else { return Ok(Outcome::Named(None)) };
                self.named(name).await.map(Outcome::Named)
            }
        }
    }

    /// The session that a credential stands for. The order of the refusals is the order in which cluster-api's document lists them.
    async fn standing(
        &self,
        shown: &Credential,
        cx: Context<'_>,
        noted: &mut Noted,
    ) -> Result<(Session, User), Failure> {
        let terms = cx.mint.terms();
        let (session, user) = self.find(shown, cx.now).await?.ok_or(Failure::UnknownCredential)?;
        noted.user = Some(user.id);
        match judge(&session, &user, shown, terms, cx) {
            Ok(()) => {
                noted.foreign = terms.bind_address.is_foreign(session.address, cx.peer);
                Ok((session, user))
            }
            Err(Failure::EndedSession) if terms.tell_end_once => {
                // Whoever drops the row is the one who is told.
                let forget = Change::Forget { id: session.id, now: cx.now };
                match self.told(self.store.apply(forget).await)? {
                    Applied::Refused => Err(Failure::UnknownCredential),
                    Applied::Done
                    | Applied::Rows(_)
                    | Applied::Opened(_)
                    | Applied::Admitted(_)
                    | Applied::Taken => Err(Failure::EndedSession),
                }
            }
            Err(failure) => Err(failure),
        }
    }

    /// Counts a use.
    pub(crate) fn slide(&self, mut session: Session, cx: Context<'_>) -> Session {
        let lifetime = cx.mint.terms().lifetime;
        if let Lifetime::Sliding(_) = lifetime {
            // The later of the two, where no end is later than any.
            let expires = session
                .expires
                .and_then(|old| Some(lifetime.expiry(cx.now, session.hard_end)?.max(old)));
            self.store.touch(Touch { id: session.id, used: cx.now, expires });
            session.last_used = Some(cx.now);
            session.expires = expires;
        }
        session
    }

    async fn renew(
        &self,
        shown: &Credential,
        lifetime: Lifetime,
        cx: Context<'_>,
        noted: &mut Noted,
    ) -> Result<Outcome, Failure> {
        let (mut session, user) = self.standing(shown, cx, noted).await?;
        session.expires = lifetime.expiry(cx.now, session.hard_end);
        let secret = if cx.mint.remints() {
            let (mint, user, shown, now, expires) =
                (Arc::clone(cx.mint), user.clone(), shown.clone(), cx.now, session.expires);
            let seat = self.threads.renewal_seat(self.client(cx.peer))?;
            let remint =
                move |_: &mut Bench| mint.remint(&Grant { user: &user, now, expires }, &shown);
            self.threads.sign(seat, remint).await??
        } else {
            shown.secret.clone()
        };
        self.change(Change::Renew { id: session.id, now: cx.now, expires: session.expires })
            .await?;
        session.last_used = Some(cx.now);
        session.version += 1;
        Ok(Outcome::Renewed(session, user, secret))
    }

    /// An address that stands for one client, of whom no more is borne than of any other.
    pub(crate) fn client(&self, peer: Option<IpAddr>) -> Option<IpAddr> {
        self.throttle.as_ref().and_then(|throttle| throttle.client(peer))
    }

    /// Makes a change to a session that stood a moment ago; if the change finds it fallen, somebody has ended it in between.
    async fn change(&self, change: Change) -> Result<(), Failure> {
        let applied = self.told(self.store.apply(change).await)?;
        if applied.is_done() { Ok(()) } else { Err(Failure::EndedSession) }
    }
}

/// The rules of a shown credential.
pub(crate) fn judge(
    session: &Session,
    user: &User,
    shown: &Credential,
    terms: Terms,
    cx: Context<'_>,
) -> Result<(), Failure> {
    if session.dialect != cx.mint.dialect() {
        return Err(Failure::UnknownCredential);
    }
    if shown
        .user
        .as_ref()
        .is_some_and(|name| canonical_name(name).as_ref() != Some(&user.canonical))
    {
        return Err(Failure::ForeignUser);
    }
    if let Some(sid) = &shown.sid {
        let own = session.sid.as_deref();
        if !own.is_some_and(|own| bool::from(sid.as_bytes().ct_eq(own.as_bytes()))) {
            return Err(Failure::ForeignUser);
        }
    }
    let foreign = terms.bind_address.is_foreign(session.address, cx.peer);
    if foreign && terms.bind_address != Binding::Log {
        return Err(Failure::ForeignAddress);
    }
    let outlived = shown.not_after.is_some_and(|end| cx.now >= end);
    if outlived || !session.is_live(user, cx.now) { Err(Failure::EndedSession) } else { Ok(()) }
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority")
            .field("threads", &self.threads)
            .field("policy", &self.policy)
            .finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Context<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Context")
            .field("now", &self.now)
            .field("peer", &self.peer)
            .field("dialect", &self.mint.dialect())
            .finish()
    }
}

//! The [`Authority`]: the one place that decides about users, credentials and sessions.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use subtle::ConstantTimeEq as _;

use crate::hashing::WorkerState;
use crate::ports::{
    Action, Applied, Change, Entropy, Event, Observer, Store, Touch, TurnedAway, UserDirectory,
};
use crate::session::{IssueContext, SessionPolicy, TokenIssuer};
use crate::{
    AddressBinding, Command, Credential, Failure, HashQueue, InternalError, Lifetime,
    LockoutPolicy, Outcome, PasswordPolicy, RateLimitPolicy, RateLimiter, Session, Timestamp, User,
    UserId, canonical_name,
};

/// Decides about users, credentials and sessions. All dialects and all requests share one authority.
pub struct Authority {
    pub(crate) store: Arc<dyn Store>,
    /// The directory of users that live outside the store.
    pub(crate) user_directory: Option<Arc<dyn UserDirectory>>,
    pub(crate) hash_queue: HashQueue,
    pub(crate) password_policy: PasswordPolicy,
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) observer: Arc<dyn Observer>,
    lockout: RwLock<Option<LockoutPolicy>>,
    pub(crate) rate_limiter: Option<RateLimiter>,
    session_limit: AtomicU32,
}

/// Default session limit of a user, unless [`Authority::with_session_limit`] sets another. Far above honest
/// use.
pub const DEFAULT_SESSION_LIMIT: u32 = 1000;

/// The inputs of a command from outside. The core reads no ambient state.
#[derive(Clone, Copy)]
pub struct Context<'c> {
    /// Now.
    pub now: Timestamp,
    /// The client's address, if known from a trustworthy source.
    pub peer: Option<IpAddr>,
    /// The token issuer of the dialect that asks.
    pub token_issuer: &'c Arc<dyn TokenIssuer>,
}

/// Facts found while a command is decided, for the [`Event`]. A refused client must not learn them.
#[derive(Default)]
pub(crate) struct EventDetails {
    /// The user of the command.
    pub(crate) user: Option<UserId>,
    /// The user's name, where the event reports one.
    pub(crate) user_name: Option<String>,
    /// Whether the user's stored hash is unreadable.
    pub(crate) unreadable_hash: bool,
    /// Whether the request was accepted from an unexpected address, one other than the session's.
    pub(crate) unexpected_address: bool,
    /// Failures in a row before this login.
    pub(crate) previous_failures: i64,
    /// The actual reason of the refusal, where the client is told another one.
    pub(crate) actual_failure: Option<Failure>,
}

impl Authority {
    /// An authority over a store, with the default brute-force protection: [`LockoutPolicy`] and
    /// [`crate::RateLimitPolicy`].
    #[must_use]
    pub fn new(
        store: Arc<dyn Store>,
        hash_queue: HashQueue,
        password_policy: PasswordPolicy,
        entropy: Arc<dyn Entropy>,
        observer: Arc<dyn Observer>,
    ) -> Self {
        Self {
            store,
            user_directory: None,
            hash_queue,
            password_policy,
            entropy,
            observer,
            lockout: RwLock::new(Some(LockoutPolicy::default())),
            rate_limiter: Some(RateLimiter::new(RateLimitPolicy::default())),
            session_limit: AtomicU32::new(DEFAULT_SESSION_LIMIT),
        }
    }

    /// Sets the account lock-out, the limit of wrong passwords for one account. `None`: no limit.
    #[must_use]
    pub fn with_lockout(self, lockout: Option<LockoutPolicy>) -> Self {
        Self { lockout: RwLock::new(lockout), ..self }
    }

    /// Changes the account lock-out from now on; `None`: no limit. Earlier failures still count.
    pub fn set_lockout(&self, lockout: Option<LockoutPolicy>) {
        *self.lockout.write().unwrap_or_else(PoisonError::into_inner) = lockout;
    }

    /// Changes the rate limit of failed logins per address from now on, if there is a rate limit at all. Earlier
    /// failures still count.
    pub fn set_rate_limit_policy(&self, policy: RateLimitPolicy) {
        if let Some(throttle) = &self.rate_limiter {
            throttle.set_policy(policy);
        }
    }

    /// Changes the session limit of each user from now on: see [`Self::with_session_limit`]. No session ends
    /// before the next login of its user.
    pub fn set_session_limit(&self, session_limit: u32) {
        self.session_limit.store(session_limit.max(1), Ordering::Relaxed);
    }

    pub(crate) fn lockout(&self) -> Option<LockoutPolicy> {
        *self.lockout.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn session_limit(&self) -> u32 {
        self.session_limit.load(Ordering::Relaxed)
    }

    /// Sets the rate limit of failed logins per address. `None`: no limit.
    #[must_use]
    pub fn with_rate_limiter(self, rate_limiter: Option<RateLimiter>) -> Self {
        Self { rate_limiter, ..self }
    }

    /// Takes all users from a directory of their own, and none from the store.
    #[must_use]
    pub fn with_user_directory(self, user_directory: Arc<dyn UserDirectory>) -> Self {
        Self { user_directory: Some(user_directory), ..self }
    }

    /// Sets the session limit of each user, at least 1, over all dialects together. A login beyond the limit drops the
    /// user's dead sessions first, then the oldest. A login near the limit reads as many rows as the limit. Default:
    /// [`DEFAULT_SESSION_LIMIT`].
    #[must_use]
    pub fn with_session_limit(self, session_limit: u32) -> Self {
        Self { session_limit: AtomicU32::new(session_limit.max(1)), ..self }
    }

    /// Queue depths of the password hashing pool, by queue name: logins that wait for hashing, and renewals that wait
    /// for signing.
    #[must_use]
    pub fn queue_depths(&self) -> [(&'static str, usize); 2] {
        let (hashing, signing) = self.hash_queue.queue_depths();
        [("hashing", hashing), ("signing", signing)]
    }

    /// The store, for readers that change no session.
    #[must_use]
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// Reports a request that a dialect refused by itself. The observer counts such requests like the others.
    pub fn turned_away(&self, dialect: &'static str, why: TurnedAway, peer: Option<IpAddr>) {
        self.observer.turned_away(dialect, why, peer.map(|peer| peer.to_canonical()));
    }

    /// Passes on an answer. The cause of a failure goes to the observer, since a [`Failure`] does not carry the cause.
    pub(crate) fn report_error<T, E: Into<InternalError>>(
        &self,
        answer: Result<T, E>,
    ) -> Result<T, Failure> {
        answer.map_err(|error| {
            let error = error.into();
            self.observer.internal_error(&error);
            error.into()
        })
    }

    /// Executes a command. Answers after the commit.
    ///
    /// # Errors
    /// Every refusal is a [`Failure`]. After [`Failure::Unavailable`] the effect of the command is unknown.
    pub async fn execute(&self, command: Command, cx: Context<'_>) -> Result<Outcome, Failure> {
        // An IPv4-mapped IPv6 address counts as the IPv4 address for every caller: `::ffff:192.0.2.7` is 192.0.2.7.
        let cx = Context { peer: cx.peer.map(|peer| peer.to_canonical()), ..cx };
        let shown = match &command {
            Command::Login(open) => open
                .credentials
                .as_ref()
                .or(open.outer_credentials.as_ref())
                .map(|login| login.user.clone()),
            Command::Check(_)
            | Command::Peek(_)
            | Command::Renew(..)
            | Command::Logout(_)
            | Command::RecordLogin(_)
            | Command::ListUsers(..)
            | Command::ShowUser(..) => None,
        };
        let action = match &command {
            Command::Login(_) => Action::Login,
            Command::Renew(..) => Action::Renewal,
            Command::Logout(_) => Action::Logout,
            Command::Check(_)
            | Command::Peek(_)
            | Command::RecordLogin(_)
            | Command::ListUsers(..)
            | Command::ShowUser(..) => Action::Check,
        };
        let mut details = EventDetails::default();
        let result = self.dispatch(command, cx, &mut details).await;
        // A login with a valid token opens no session: the event is a use.
        let action = if let Ok(Outcome::Active(..)) = result { Action::Check } else { action };
        let failure = result.as_ref().err().map(|heard| details.actual_failure.unwrap_or(*heard));
        let user_name = match &result {
            Ok(Outcome::LoggedIn(_, user, _)) => Some(user.name.as_str()),
            Ok(_) => details.user_name.as_deref(),
            Err(_) => None,
        };
        let wrong = matches!(failure, Some(Failure::WrongPassword | Failure::OuterCredential));
        let event = Event {
            dialect: cx.token_issuer.dialect(),
            action,
            failure,
            user: details.user,
            user_name,
            presented_name: shown.as_deref(),
            peer: cx.peer,
            unexpected_address: details.unexpected_address,
            previous_failures: details.previous_failures,
            unreadable_hash: wrong && details.unreadable_hash,
        };
        self.observer.observe(&event);
        result
    }

    /// Decides, and fills in the details of the event.
    async fn dispatch(
        &self,
        command: Command,
        cx: Context<'_>,
        details: &mut EventDetails,
    ) -> Result<Outcome, Failure> {
        match command {
            Command::Login(open) => self.login(open, cx, details).await,
            Command::Check(shown) => {
                let (session, user) = self.active_session(&shown, cx, details).await?;
                Ok(Outcome::Active(self.slide_expiry(session, cx), user))
            }
            Command::Peek(shown) => self
                .active_session(&shown, cx, details)
                .await
                .map(|(session, user)| Outcome::Active(session, user)),
            Command::Renew(shown, lifetime) => self.renew(&shown, lifetime, cx, details).await,
            Command::Logout(shown) => {
                let (session, user) = self.active_session(&shown, cx, details).await?;
                details.user_name = Some(user.name);
                self.change_session(Change::EndSession { id: session.id, now: cx.now })
                    .await
                    .map(|()| Outcome::LoggedOut)
            }
            Command::RecordLogin(shown) => {
                let (session, _) = self.active_session(&shown, cx, details).await?;
                self.change_session(Change::RecordLogin { user: session.user, now: cx.now })
                    .await
                    .map(|()| Outcome::LoginRecorded(cx.now))
            }
            Command::ListUsers(shown, offset, limit) => {
                self.active_session(&shown, cx, details).await?;
                self.list_users(offset, limit).await.map(Outcome::Users)
            }
            Command::ShowUser(shown, name) => {
                self.active_session(&shown, cx, details).await?;
                let Some(name) = canonical_name(&name) else { return Ok(Outcome::User(None)) };
                self.find_user_by_name(name).await.map(Outcome::User)
            }
        }
    }

    /// The session that a credential stands for. The order of the refusals is the order in which cluster-api's document
    /// lists them.
    async fn active_session(
        &self,
        shown: &Credential,
        cx: Context<'_>,
        details: &mut EventDetails,
    ) -> Result<(Session, User), Failure> {
        let session_policy = cx.token_issuer.session_policy();
        let (session, user) =
            self.look_up_session(shown, cx.now).await?.ok_or(Failure::UnknownCredential)?;
        details.user = Some(user.id);
        match check_credential(&session, &user, shown, session_policy, cx) {
            Ok(()) => {
                details.unexpected_address =
                    session_policy.address_binding.is_unexpected(session.address, cx.peer);
                Ok((session, user))
            }
            Err(Failure::RevokedOrExpired) if session_policy.report_end_once => {
                // Only the request that drops the row reports the end.
                let forget = Change::DeleteDeadSession { id: session.id, now: cx.now };
                match self.report_error(self.store.apply(forget).await)? {
                    Applied::Refused => Err(Failure::UnknownCredential),
                    Applied::Done
                    | Applied::Rows(_)
                    | Applied::Opened(_)
                    | Applied::Admitted(_)
                    | Applied::Conflict => Err(Failure::RevokedOrExpired),
                }
            }
            Err(failure) => Err(failure),
        }
    }

    /// Counts a use: slides a sliding expiry (write-behind).
    pub(crate) fn slide_expiry(&self, mut session: Session, cx: Context<'_>) -> Session {
        let lifetime = cx.token_issuer.session_policy().lifetime;
        if let Lifetime::Sliding(_) = lifetime {
            // The later of the two ends; no end is later than any end.
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
        details: &mut EventDetails,
    ) -> Result<Outcome, Failure> {
        let (mut session, user) = self.active_session(shown, cx, details).await?;
        session.expires = lifetime.expiry(cx.now, session.hard_end);
        let secret = if cx.token_issuer.reissues_on_renewal() {
            let (token_issuer, user, shown, now, expires) =
                (Arc::clone(cx.token_issuer), user.clone(), shown.clone(), cx.now, session.expires);
            let permit = self.hash_queue.renewal_permit(self.client_key(cx.peer))?;
            let reissue = move |_: &mut WorkerState| {
                token_issuer.reissue(&IssueContext { user: &user, now, expires }, &shown)
            };
            self.report_error(self.hash_queue.sign(permit, reissue).await?)?
        } else {
            shown.secret.clone()
        };
        self.change_session(Change::RenewSession {
            id: session.id,
            now: cx.now,
            expires: session.expires,
        })
        .await?;
        session.last_used = Some(cx.now);
        session.version += 1;
        Ok(Outcome::Renewed(session, user, secret))
    }

    /// The address under which limits count a client, so that no client gets more than any other. `None` for an address
    /// that stands for many clients, and without a rate limiter.
    pub(crate) fn client_key(&self, peer: Option<IpAddr>) -> Option<IpAddr> {
        self.rate_limiter.as_ref().and_then(|throttle| throttle.client_key(peer))
    }

    /// Changes a session that was active a moment ago. A refused change means that the session has ended in between.
    async fn change_session(&self, change: Change) -> Result<(), Failure> {
        let applied = self.report_error(self.store.apply(change).await)?;
        if applied.is_done() { Ok(()) } else { Err(Failure::RevokedOrExpired) }
    }
}

/// Checks a presented credential against its session: dialect, user, `sid`, address, end.
pub(crate) fn check_credential(
    session: &Session,
    user: &User,
    shown: &Credential,
    session_policy: SessionPolicy,
    cx: Context<'_>,
) -> Result<(), Failure> {
    if session.dialect != cx.token_issuer.dialect() {
        return Err(Failure::UnknownCredential);
    }
    if shown
        .user
        .as_ref()
        .is_some_and(|name| canonical_name(name).as_ref() != Some(&user.canonical))
    {
        return Err(Failure::UnexpectedUser);
    }
    if let Some(public_id) = &shown.public_id {
        let own = session.public_id.as_deref();
        if !own.is_some_and(|own| bool::from(public_id.as_bytes().ct_eq(own.as_bytes()))) {
            return Err(Failure::UnexpectedUser);
        }
    }
    let unexpected_address = session_policy.address_binding.is_unexpected(session.address, cx.peer);
    if unexpected_address && session_policy.address_binding != AddressBinding::Log {
        return Err(Failure::UnexpectedAddress);
    }
    let outlived = shown.not_after.is_some_and(|end| cx.now >= end);
    if outlived || !session.is_live(user, cx.now) { Err(Failure::RevokedOrExpired) } else { Ok(()) }
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority")
            .field("hash_queue", &self.hash_queue)
            .field("password_policy", &self.password_policy)
            .finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Context<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Context")
            .field("now", &self.now)
            .field("peer", &self.peer)
            .field("dialect", &self.token_issuer.dialect())
            .finish()
    }
}

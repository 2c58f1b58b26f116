//! The one decision-maker.

use std::net::IpAddr;
use std::sync::Arc;

use subtle::ConstantTimeEq as _;

use crate::hashing::Bench;
use crate::ports::{Action, Applied, Change, Entropy, Event, Observer, Store, Touch};
use crate::session::{Grant, Mint, Minted, Terms};
use crate::{
    CanonicalName, Command, Credential, Failure, HashThreads, Lifetime, Login, Open, Outcome,
    PasswordHash, PasswordPolicy, Secret, Session, SessionId, Timestamp, User, canonical_name,
    password, uuid_v4,
};

/// How often a login draws again when another session already has its `sid`.
const DRAWS: usize = 4;

/// Decides about users, credentials and sessions. Shared by all dialects and all requests.
pub struct Authority {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) threads: HashThreads,
    pub(crate) policy: PasswordPolicy,
    pub(crate) entropy: Arc<dyn Entropy>,
    observer: Arc<dyn Observer>,
}

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

/// What a hashing thread found out about a login.
struct Verified {
    id: SessionId,
    minted: Minted,
    rehash: Option<PasswordHash>,
}

impl Authority {
    /// An authority over a store.
    #[must_use]
    pub fn new(
        store: Arc<dyn Store>,
        threads: HashThreads,
        policy: PasswordPolicy,
        entropy: Arc<dyn Entropy>,
        observer: Arc<dyn Observer>,
    ) -> Self {
        Self { store, threads, policy, entropy, observer }
    }

    /// The store, for those who read it without changing a session.
    #[must_use]
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// Does what is asked, or says why not. Answers after the commit.
    ///
    /// # Errors
    /// Every refusal is a [`Failure`]; after [`Failure::Unavailable`] it is unknown whether the command was done.
    pub async fn execute(&self, command: Command, cx: Context<'_>) -> Result<Outcome, Failure> {
        // `::ffff:192.0.2.7` is 192.0.2.7, whoever asks.
        let cx = Context { peer: cx.peer.map(|peer| peer.to_canonical()), ..cx };
        let shown = match &command {
            Command::Open(open) => open.login.as_ref().map(|login| login.user.clone()),
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
        let result = self.decide(command, cx).await;
        let (action, user) = match &result {
            // A login that showed a good token opened nothing: it was a use.
            Ok(Outcome::Standing(_, user)) => (Action::Check, Some(user.id)),
            Ok(Outcome::Opened(_, user, _) | Outcome::Renewed(_, user, _)) => {
                (action, Some(user.id))
            }
            Ok(Outcome::Closed | Outcome::Bumped(_) | Outcome::Users(_) | Outcome::Named(_))
            | Err(_) => (action, None),
        };
        let failure = result.as_ref().err().copied();
        let event = Event {
            dialect: cx.mint.dialect(),
            action,
            failure,
            user,
            shown: shown.as_deref(),
            peer: cx.peer,
        };
        self.observer.observe(&event);
        result
    }

    async fn decide(&self, command: Command, cx: Context<'_>) -> Result<Outcome, Failure> {
        match command {
            Command::Open(open) => self.open(open, cx).await,
            Command::Check(shown) => {
                let (session, user) = self.standing(&shown, cx).await?;
                Ok(Outcome::Standing(self.slide(session, cx), user))
            }
            Command::Look(shown) => self
                .standing(&shown, cx)
                .await
                .map(|(session, user)| Outcome::Standing(session, user)),
            Command::Renew(shown, lifetime) => self.renew(&shown, lifetime, cx).await,
            Command::Close(shown) => {
                let (session, _) = self.standing(&shown, cx).await?;
                self.change(Change::Close { id: session.id, now: cx.now })
                    .await
                    .map(|()| Outcome::Closed)
            }
            Command::Bump(shown) => {
                let (session, _) = self.standing(&shown, cx).await?;
                self.change(Change::Bump { user: session.user, now: cx.now })
                    .await
                    .map(|()| Outcome::Bumped(cx.now))
            }
            Command::ListUsers(shown, offset, limit) => {
                self.standing(&shown, cx).await?;
                Ok(Outcome::Users(self.store.users(offset, limit).await?))
            }
            Command::ShowUser(shown, name) => {
                self.standing(&shown, cx).await?;
                let Some(name) = canonical_name(&name) else { return Ok(Outcome::Named(None)) };
                Ok(Outcome::Named(self.store.user(name).await?))
            }
        }
    }

    /// The session that a credential stands for. The order of the refusals is the order in which cluster-api's document lists them.
    async fn standing(
        &self,
        shown: &Credential,
        cx: Context<'_>,
    ) -> Result<(Session, User), Failure> {
        let terms = cx.mint.terms();
        let (session, user) =
            self.store.session(shown.digest).await?.ok_or(Failure::UnknownCredential)?;
        match judge(&session, &user, shown, terms, cx) {
            Ok(()) => Ok((session, user)),
            Err(Failure::EndedSession) if terms.tell_end_once => {
                // Whoever drops the row is the one who is told.
                match self.store.apply(Change::Forget { id: session.id, now: cx.now }).await? {
                    Applied::Refused => Err(Failure::UnknownCredential),
                    Applied::Done | Applied::Rows(_) | Applied::Opened(_) | Applied::Taken => {
                        Err(Failure::EndedSession)
                    }
                }
            }
            Err(failure) => Err(failure),
        }
    }

    /// Counts a use.
    fn slide(&self, mut session: Session, cx: Context<'_>) -> Session {
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
    ) -> Result<Outcome, Failure> {
        let (mut session, user) = self.standing(shown, cx).await?;
        session.expires = lifetime.expiry(cx.now, session.hard_end);
        let secret = if cx.mint.remints() {
            let (mint, user, shown, now, expires) =
                (Arc::clone(cx.mint), user.clone(), shown.clone(), cx.now, session.expires);
            self.threads
                .run(move |_| mint.remint(&Grant { user: &user, now, expires }, &shown))
                .await??
        } else {
            shown.secret.clone()
        };
        self.change(Change::Renew { id: session.id, now: cx.now, expires: session.expires })
            .await?;
        session.last_used = Some(cx.now);
        session.version += 1;
        Ok(Outcome::Renewed(session, user, secret))
    }

    /// Makes a change to a session that stood a moment ago; if the change finds it fallen, somebody has ended it in between.
    async fn change(&self, change: Change) -> Result<(), Failure> {
        match self.store.apply(change).await? {
            Applied::Done | Applied::Rows(_) | Applied::Opened(_) => Ok(()),
            Applied::Refused | Applied::Taken => Err(Failure::EndedSession),
        }
    }

    async fn open(&self, open: Open, cx: Context<'_>) -> Result<Outcome, Failure> {
        let terms = cx.mint.terms();
        if let Some(shown) = &open.shown
            && let Some((session, user)) = self.store.session(shown.digest).await?
            && judge(&session, &user, shown, terms, cx).is_ok()
        {
            return Ok(Outcome::Standing(self.slide(session, cx), user));
        }
        let login = open.login.ok_or(Failure::UnknownUser)?;
        // The usual case of a double login: the same twice, which is verified once, and whose refusals are the outer's.
        let same = open.outer.as_ref() == Some(&login);
        let refusal = |failure| if same { Failure::OuterCredential } else { failure };
        if let Some(outer) = open.outer.filter(|_| !same) {
            self.outer(outer, &login.user).await?;
        }
        let found = self.user(&login.user).await?;
        let (policy, entropy, mint) =
            (self.policy.clone(), Arc::clone(&self.entropy), Arc::clone(cx.mint));
        let now = cx.now;
        let expires = open.lifetime.expiry(now, terms.max_lifetime.map(|max| now.plus(max)));
        let grant = move |user: &User, hash: &PasswordHash, password: &str, bench: &mut Bench| {
            let rehash = if policy.made(hash) {
                None
            } else {
                Some(policy.hash(password, &*entropy, &mut bench.scratch)?)
            };
            let id = SessionId(uuid_v4(&*entropy)?);
            let minted = mint.mint(&Grant { user, now, expires }, &*entropy)?;
            Ok(Verified { id, minted, rehash })
        };
        let mut verified =
            self.verify(found.clone(), login.password, grant).await?.map_err(refusal)?;
        let mut user = found.ok_or(Failure::UnknownUser)?;

        for _ in 0..DRAWS {
            let session = Box::new(self.session(&verified, &user, open.lifetime, terms, cx));
            let rehash = verified.rehash.clone();
            match self.store.apply(Change::Open { session, rivals: open.rivals, rehash }).await? {
                Applied::Opened(session) => {
                    user.last_login = Some(now);
                    return Ok(Outcome::Opened(*session, user, verified.minted.secret));
                }
                // He was disabled, or given another password, while we verified the old one.
                Applied::Refused | Applied::Done | Applied::Rows(_) => {
                    return Err(refusal(Failure::WrongPassword));
                }
                Applied::Taken => {
                    let (mint, entropy, user) =
                        (Arc::clone(cx.mint), Arc::clone(&self.entropy), user.clone());
                    let again = move |_: &mut Bench| {
                        mint.mint(&Grant { user: &user, now, expires }, &*entropy)
                    };
                    verified.minted = self.threads.run(again).await??;
                }
            }
        }
        Err(Failure::Unavailable)
    }

    /// Verifies the outer of two logins, which must name the user of the inner.
    async fn outer(&self, outer: Login, inner: &str) -> Result<(), Failure> {
        let user = self.user(&outer.user).await?;
        let verified = self.verify(user, outer.password, |_, _, _, _| Ok(())).await?;
        verified.map_err(|_| Failure::OuterCredential)?;
        let same = canonical_name(&outer.user) == canonical_name(inner);
        if same { Ok(()) } else { Err(Failure::OuterCredential) }
    }

    /// Looks a user up. A name that nobody can have costs the same statement.
    async fn user(&self, shown: &str) -> Result<Option<User>, Failure> {
        let name = canonical_name(shown).unwrap_or_else(|| CanonicalName::stored(String::new()));
        Ok(self.store.user(name).await?)
    }

    /// Verifies a password, and does at once what its being right allows, in one piece of work on a hashing thread. Every way of failing
    /// costs one verification, and no failure but a wrong password is known before the password was right.
    ///
    /// # Errors
    /// The outer failure says that nothing was found out, the inner one refuses.
    async fn verify<T: Send + 'static>(
        &self,
        user: Option<User>,
        password: Secret,
        grant: impl FnOnce(&User, &PasswordHash, &str, &mut Bench) -> Result<T, Failure>
        + Send
        + 'static,
    ) -> Result<Result<T, Failure>, Failure> {
        let policy = self.policy.clone();
        let work = move |bench: &mut Bench| {
            let password = password.expose();
            let usable = password.len() <= password::LONGEST && !password.contains('\0');
            let Some(user) = user.as_ref() else {
                policy.verify_nothing(password, &mut bench.scratch)?;
                return Ok(Err(Failure::UnknownUser));
            };
            let Some(hash) = user.password.as_ref().filter(|_| usable) else {
                policy.verify_nothing(password, &mut bench.scratch)?;
                return Ok(Err(Failure::WrongPassword));
            };
            if !hash.verify(password, &policy, &mut bench.scratch)? {
                return Ok(Err(Failure::WrongPassword));
            }
            if !user.enabled {
                return Ok(Err(Failure::UserDisabled));
            }
            if user.password_expired {
                return Ok(Err(Failure::PasswordExpired));
            }
            grant(user, hash, password, bench).map(Ok)
        };
        self.threads.run(work).await?
    }

    fn session(
        &self,
        verified: &Verified,
        user: &User,
        lifetime: Lifetime,
        terms: Terms,
        cx: Context<'_>,
    ) -> Session {
        let hard_end = terms.max_lifetime.map(|max| cx.now.plus(max));
        Session {
            id: verified.id,
            dialect: cx.mint.dialect().to_owned(),
            user: user.id,
            epoch: user.epoch,
            digest: verified.minted.digest,
            sid: verified.minted.sid.clone(),
            created: cx.now,
            last_used: None,
            expires: lifetime.expiry(cx.now, hard_end),
            hard_end,
            address: cx.peer,
            note: None,
            enabled: true,
            version: 0,
            revoked: None,
        }
    }
}

/// The rules of a shown credential.
fn judge(
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
    if terms.bind_address && session.address != cx.peer {
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

//! A login: verify, mint, open.

use std::sync::Arc;

use crate::authority::{Noted, judge};
use crate::hashing::{Bench, Seat};
use crate::lockout::{Attempt, Slot, account, account_of_nobody, home};
use crate::ports::{Applied, Change};
use crate::session::{Grant, Minted, Terms};
use crate::{
    Authority, CanonicalName, Context, Failure, Lifetime, Login, Open, Outcome, PasswordHash,
    Secret, Session, SessionId, User, canonical_name, password, uuid_v4,
};

/// What a directory is shown in place of a password that cannot be right.
const NO_PASSWORD: &str = "-";

/// How often a login draws again when another session already has its `sid`.
const DRAWS: usize = 4;

/// Whether a login may be verified.
enum Place {
    /// Nothing bounds it.
    Unbounded,
    /// It may: this is given back, or kept.
    Taken(Box<Slot>),
    /// There is none: the account must wait.
    None,
}

/// What a hashing thread found out about a login.
struct Verified {
    id: SessionId,
    minted: Minted,
    rehash: Option<PasswordHash>,
}

impl Authority {
    /// Opens a session, or answers for one that was shown.
    pub(crate) async fn open(
        &self,
        open: Open,
        cx: Context<'_>,
        noted: &mut Noted,
    ) -> Result<Outcome, Failure> {
        let (terms, now) = (cx.mint.terms(), cx.now);
        if let Some(shown) = &open.shown
            && let Some((session, user)) = self.find(shown, now).await?
            && judge(&session, &user, shown, terms, cx).is_ok()
        {
            noted.user = Some(user.id);
            noted.foreign = terms.bind_address.is_foreign(session.address, cx.peer);
            return Ok(Outcome::Standing(self.slide(session, cx), user));
        }
        let Some(subject) = open.outer.as_ref().or(open.login.as_ref()) else {
            return Err(Failure::UnknownUser);
        };
        if self.throttle.as_ref().is_some_and(|throttle| throttle.refuses(cx.peer, now)) {
            return Err(Failure::Throttled);
        }
        let seat = self.threads.seat()?;
        let found = self.shown(&subject.user).await?;
        noted.user = found.as_ref().map(|user| user.id);
        let slot = match self.admit(&subject.user, found.as_ref(), cx).await? {
            Place::Unbounded => None,
            Place::Taken(slot) => Some(slot),
            // As much work as a wrong password, and none of it on the real one.
            Place::None => {
                let _nobody = self.verify(None, subject.password.clone(), |_, _, _| Ok(())).await?;
                return Err(Failure::Locked { known: found.is_some() });
            }
        };
        noted.failures = slot.as_ref().map_or(0, |slot| slot.admission.failures);
        let verified = self.verify_and_open(open, found, slot.as_deref(), seat, cx, noted).await;
        self.settle(slot, &verified, cx);
        verified?
    }

    /// Takes a place for a login on the ladder of the name it shows.
    async fn admit(
        &self,
        shown: &str,
        found: Option<&User>,
        cx: Context<'_>,
    ) -> Result<Place, Failure> {
        let Some(policy) = self.lockout else { return Ok(Place::Unbounded) };
        let name = canonical_name(shown);
        let attempt = Attempt {
            account: name.map_or_else(|| account_of_nobody(shown), |name| account(&name)),
            user: found.map(|user| user.id),
            address: cx.peer.map(home),
            now: cx.now,
            limit: policy.open_to_all(),
        };
        match self.told(self.store.apply(Change::Attempt(Box::new(attempt.clone()))).await)? {
            Applied::Admitted(admission) => Ok(Place::Taken(Box::new(Slot { attempt, admission }))),
            Applied::Refused
            | Applied::Done
            | Applied::Rows(_)
            | Applied::Opened(_)
            | Applied::Taken => Ok(Place::None),
        }
    }

    /// Says what became of a login that opened nothing. Nobody waits for it: what the store is told first it does first, so whoever tries
    /// again finds it done.
    fn settle(
        &self,
        slot: Option<Box<Slot>>,
        verified: &Result<Result<Outcome, Failure>, Failure>,
        cx: Context<'_>,
    ) {
        let change = match verified {
            Ok(Ok(_)) => return,
            Ok(Err(_)) => {
                if let Some(throttle) = &self.throttle {
                    throttle.failed(cx.peer, cx.now);
                }
                Change::Failed
            }
            Err(_) => Change::GiveBack,
        };
        if let Some(slot) = slot {
            drop(self.store.apply(change(slot)));
        }
    }

    /// Verifies a login, whose user is found already, and opens its session.
    ///
    /// # Errors
    /// As [`Self::verify`]: after the outer one no password was found to be wrong.
    async fn verify_and_open(
        &self,
        open: Open,
        found: Option<User>,
        slot: Option<&Slot>,
        seat: Seat<'_>,
        cx: Context<'_>,
        noted: &mut Noted,
    ) -> Result<Result<Outcome, Failure>, Failure> {
        let (terms, now) = (cx.mint.terms(), cx.now);
        let Some(login) = open.login else {
            // Whoever has shown a right outer login hears what is wrong with the inner one, which names nobody.
            if let Some(outer) = open.outer {
                let own = outer.user.clone();
                if let Err(wrong) = self.outer(outer, found, &own).await? {
                    return Ok(Err(wrong));
                }
            }
            return Err(Failure::UnknownUser);
        };
        // The usual case of a double login: the same twice, which is verified once, and whose refusals are the outer's.
        let same = open.outer.as_ref() == Some(&login);
        let refusal = |failure| if same { Failure::OuterCredential } else { failure };
        let found = match open.outer.filter(|_| !same) {
            None => found,
            Some(outer) => {
                if let Err(wrong) = self.outer(outer, found, &login.user).await? {
                    return Ok(Err(wrong));
                }
                self.shown(&login.user).await?
            }
        };
        noted.user = found.as_ref().map(|user| user.id);
        let (policy, entropy, mint) =
            (self.policy.clone(), Arc::clone(&self.entropy), Arc::clone(cx.mint));
        let expires = open.lifetime.expiry(now, terms.max_lifetime.map(|max| now.plus(max)));
        let is_ours = self.users.is_none();
        let grant = move |user: &User, password: &str, bench: &mut Bench| {
            // A directory's hashes are its own business.
            let old = user.password.as_ref().filter(|hash| is_ours && !policy.made(hash));
            let rehash = match old {
                Some(_) => Some(policy.hash(password, &*entropy, &mut bench.scratch)?),
                None => None,
            };
            let id = SessionId(uuid_v4(&*entropy)?);
            let minted = mint.mint(&Grant { user, now, expires }, &*entropy)?;
            Ok(Verified { id, minted, rehash })
        };
        let mut verified = match self.verify(found.clone(), login.password, grant).await? {
            Ok(verified) => verified,
            Err(wrong) => return Ok(Err(refusal(wrong))),
        };
        drop(seat);
        let mut user = self.keep(found.ok_or(Failure::UnknownUser)?).await?;
        if let Err(wrong) = may_open(&user) {
            return Ok(Err(refusal(wrong)));
        }

        for _ in 0..DRAWS {
            let session = Box::new(self.session(&verified, &user, open.lifetime, terms, cx));
            let rehash = verified.rehash.clone();
            let change = Change::Open {
                session,
                rivals: open.rivals,
                rehash,
                max_sessions: Some(self.max_sessions),
                slot: slot.cloned().map(Box::new),
            };
            match self.told(self.store.apply(change).await)? {
                Applied::Opened(session) => {
                    user.last_login = Some(now);
                    return Ok(Ok(Outcome::Opened(*session, user, verified.minted.secret)));
                }
                // He was disabled, or given another password, while we verified the old one.
                Applied::Refused | Applied::Done | Applied::Rows(_) | Applied::Admitted(_) => {
                    return Ok(Err(refusal(Failure::WrongPassword)));
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
    ///
    /// # Errors
    /// As [`Self::verify`].
    async fn outer(
        &self,
        outer: Login,
        user: Option<User>,
        inner: &str,
    ) -> Result<Result<(), Failure>, Failure> {
        let verified = self.verify(user, outer.password, |_, _, _| Ok(())).await?;
        let same = canonical_name(&outer.user) == canonical_name(inner);
        let right = verified.is_ok() && same;
        Ok(if right { Ok(()) } else { Err(Failure::OuterCredential) })
    }

    /// Looks a user up. A name that nobody can have costs the same statement.
    async fn shown(&self, name: &str) -> Result<Option<User>, Failure> {
        let name = canonical_name(name).unwrap_or_else(|| CanonicalName::stored(String::new()));
        let found = match &self.users {
            Some(users) => users.user(name),
            None => self.store.user(name),
        };
        self.told(found.await)
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
        grant: impl FnOnce(&User, &str, &mut Bench) -> Result<T, Failure> + Send + 'static,
    ) -> Result<Result<T, Failure>, Failure> {
        let policy = self.policy.clone();
        let verifier = self.users.clone().filter(|users| users.verifies());
        let work = move |bench: &mut Bench| {
            let password = password.expose();
            let usable = password.len() <= password::LONGEST && !password.contains('\0');
            if let Some(verifier) = verifier {
                // A bind to an LDAP server without a password succeeds whoever it is for (RFC 4513, 5.1.2).
                let (known, password) = match user.as_ref() {
                    Some(user) if usable && !password.is_empty() => (Some(user), password),
                    Some(_) | None => (None, NO_PASSWORD),
                };
                let right = verifier.verify(known, password)?;
                return match (&user, known) {
                    (None, _) => Ok(Err(Failure::UnknownUser)),
                    (Some(_), Some(user)) if right => allow(user, password, bench, grant),
                    (Some(_), _) => Ok(Err(Failure::WrongPassword)),
                };
            }
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
            allow(user, password, bench, grant)
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

/// Whether a user whose password was right may open a session.
fn may_open(user: &User) -> Result<(), Failure> {
    if !user.enabled {
        Err(Failure::UserDisabled)
    } else if user.password_expired {
        Err(Failure::PasswordExpired)
    } else {
        Ok(())
    }
}

/// Does what a right password allows.
fn allow<T>(
    user: &User,
    password: &str,
    bench: &mut Bench,
    grant: impl FnOnce(&User, &str, &mut Bench) -> Result<T, Failure>,
) -> Result<Result<T, Failure>, Failure> {
    match may_open(user) {
        Ok(()) => grant(user, password, bench).map(Ok),
        Err(refused) => Ok(Err(refused)),
    }
}

//! A login: verify, mint, open.

use std::sync::Arc;

use crate::authority::{Noted, judge};
use crate::hashing::{Bench, Seat};
use crate::lockout::{Attempt, Slot, account, account_of_nobody, home};
use crate::ports::{Applied, Change};
use crate::session::{Grant, Minted, Terms};
use crate::{
    Authority, CanonicalName, Context, Failure, Lifetime, Login, Open, Outcome, PasswordHash,
    Secret, Session, SessionId, Throttle, User, canonical_name, password, uuid_v4,
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

/// A login whose password is verified.
struct Trial<'a> {
    cx: Context<'a>,
    /// The place it took, where places are bounded.
    slot: Option<Box<Slot>>,
    /// Whether its address was told already.
    is_counted: bool,
}

/// Counts a failure once it is dropped, unless the trial was taken out of it: of a client who hangs up while his password is verified.
struct Abandoned<'a>(&'a Authority, Option<&'a Trial<'a>>);

impl Drop for Abandoned<'_> {
    fn drop(&mut self) {
        if let Some(trial) = self.1 {
            self.0.count_failure(trial);
        }
    }
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
            // Only a token, and a dead one: nobody was named.
            let shown_alone = open.shown.is_some();
            return Err(if shown_alone {
                Failure::UnknownCredential
            } else {
                Failure::UnknownUser
            });
        };
        if self.throttle.as_ref().is_some_and(|throttle| throttle.refuses(cx.peer, now)) {
            return Err(Failure::Throttled);
        }
        let seat = self.threads.seat(self.client(cx.peer))?;
        let found = self.shown(&subject.user).await?;
        self.note_user(found.as_ref(), noted);
        let slot = match self.admit(&subject.user, found.as_ref(), cx).await? {
            Place::Unbounded => None,
            Place::Taken(slot) => Some(slot),
            // As much work as a wrong password, and none of it on the real one.
            Place::None => {
                if let Some(throttle) = &self.throttle {
                    throttle.waited(cx.peer, now);
                }
                let trial = Trial { cx, slot: None, is_counted: true };
                let password = subject.password.clone();
                let _nobody = self.verify(None, password, &seat, &trial, |_, _, _| Ok(())).await?;
                return Err(Failure::Locked { known: found.is_some() });
            }
        };
        noted.failures = slot.as_ref().map_or(0, |slot| slot.admission.failures);
        let is_reserved = slot.as_ref().is_some_and(|slot| slot.admission.reserved);
        let trial = Trial { cx, slot, is_counted: false };
        let verified = self.verify_and_open(open, found, seat, &trial, noted).await;
        self.settle(trial, &verified);
        match verified? {
            // From anywhere else, and for a name that nobody has, there would have been no place: what is heard must not tell.
            Err(why) if is_reserved => {
                noted.failure = Some(why);
                Err(Failure::Locked { known: true })
            }
            opened => opened,
        }
    }

    /// Notes whom a login is about, and whether a password of theirs can be verified at all.
    fn note_user(&self, found: Option<&User>, noted: &mut Noted) {
        noted.user = found.map(|user| user.id);
        let verifies_itself = self.users.as_ref().is_some_and(|users| users.verifies());
        let hash = found.and_then(|user| user.password.as_ref()).filter(|_| !verifies_itself);
        noted.unreadable_hash = hash.is_some_and(|hash| !hash.is_readable());
    }

    /// Takes a place for a login on the ladder of the name it shows.
    async fn admit(
        &self,
        shown: &str,
        found: Option<&User>,
        cx: Context<'_>,
    ) -> Result<Place, Failure> {
        let Some(policy) = self.lockout() else { return Ok(Place::Unbounded) };
        let name = canonical_name(shown);
        let account = name.map_or_else(|| account_of_nobody(shown), |name| account(&name));
        let share = policy.open_to_a_network();
        let has_taken_its_share =
            |throttle: &Throttle| throttle.has_taken_its_share(account, share, cx.peer, cx.now);
        let attempt = Attempt {
            account,
            user: found.map(|user| user.id),
            address: cx.peer.map(home),
            now: cx.now,
            limit: match &self.throttle {
                Some(throttle) if has_taken_its_share(throttle) => share,
                Some(_) | None => policy.open_to_all(),
            },
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

    /// Says what became of a login. Nobody waits for it: what the store is told first it does first, so whoever tries again finds it done.
    fn settle(&self, trial: Trial<'_>, verified: &Result<Result<Outcome, Failure>, Failure>) {
        let change = match verified {
            Ok(Ok(_)) => {
                if let (Some(throttle), Some(slot)) = (&self.throttle, &trial.slot) {
                    throttle.succeeded_on(slot.attempt.account, trial.cx.peer);
                }
                return;
            }
            Ok(Err(_)) => {
                self.count_failure(&trial);
                Change::Failed
            }
            Err(Failure::UnservedCall) => {
                // It has cost a hash and opened nothing.
                if let Some(throttle) = &self.throttle {
                    throttle.waited(trial.cx.peer, trial.cx.now);
                }
                Change::GiveBack
            }
            Err(_) => Change::GiveBack,
        };
        if let Some(slot) = trial.slot {
            drop(self.store.apply(change(slot)));
        }
    }

    /// Counts a wrong password against the address it came from.
    fn count_failure(&self, trial: &Trial<'_>) {
        let Some(throttle) = self.throttle.as_ref().filter(|_| !trial.is_counted) else { return };
        let Context { peer, now, .. } = trial.cx;
        match &trial.slot {
            // As one that found no place: what becomes of the address must not tell the two apart either.
            Some(slot) if slot.admission.reserved => throttle.waited(peer, now),
            slot => {
                throttle.failed(peer, now);
                if let (Some(slot), Some(policy)) = (slot, self.lockout()) {
                    let share = policy.open_to_a_network();
                    throttle.failed_on(slot.attempt.account, share, peer, now);
                }
            }
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
        seat: Seat,
        trial: &Trial<'_>,
        noted: &mut Noted,
    ) -> Result<Result<Outcome, Failure>, Failure> {
        let cx = trial.cx;
        let (terms, now) = (cx.mint.terms(), cx.now);
        let Some(login) = open.login else {
            let Some(outer) = open.outer else { return Err(Failure::UnknownUser) };
            let own = outer.user.clone();
            return match self.outer(outer, found, &own, &seat, trial).await? {
                // Whoever has shown a right outer login hears what is wrong with the call.
                Ok(()) => Err(Failure::UnservedCall),
                Err(wrong) => Ok(Err(wrong)),
            };
        };
        // The usual case of a double login: the same twice, which is verified once, and whose refusals are the outer's.
        let same = open.outer.as_ref() == Some(&login);
        let refusal = |failure| if same { Failure::OuterCredential } else { failure };
        let found = match open.outer.filter(|_| !same) {
            None => found,
            Some(outer) => {
                if let Err(wrong) = self.outer(outer, found, &login.user, &seat, trial).await? {
                    return Ok(Err(wrong));
                }
                self.shown(&login.user).await?
            }
        };
        self.note_user(found.as_ref(), noted);
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
        let checked = self.verify(found.clone(), login.password, &seat, trial, grant).await?;
        let mut verified = match checked {
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
                max_sessions: Some(self.max_sessions()),
                slot: trial.slot.clone(),
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
        seat: &Seat,
        trial: &Trial<'_>,
    ) -> Result<Result<(), Failure>, Failure> {
        let verified = self.verify(user, outer.password, seat, trial, |_, _, _| Ok(())).await?;
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
        seat: &Seat,
        trial: &Trial<'_>,
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
            let allowed = if hash.verify(password, &policy, &mut bench.scratch)? {
                allow(user, password, bench, grant)?
            } else {
                Err(Failure::WrongPassword)
            };
            if allowed.is_err() {
                policy.make_up(hash, password, &mut bench.scratch)?;
            }
            Ok(allowed)
        };
        let mut abandoned = Abandoned(self, Some(trial));
        let verified = self.threads.verify(seat.clone(), work).await;
        abandoned.1 = None;
        verified?
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

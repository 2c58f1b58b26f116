//! A login: verify, mint, open.

use std::sync::Arc;

use crate::authority::{Noted, judge};
use crate::hashing::Bench;
use crate::ports::{Applied, Change};
use crate::session::{Grant, Minted, Terms};
use crate::{
    Authority, CanonicalName, Context, Failure, Lifetime, Login, Open, Outcome, PasswordHash,
    Secret, Session, SessionId, User, canonical_name, password, uuid_v4,
};

/// How often a login draws again when another session already has its `sid`.
const DRAWS: usize = 4;

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
        let terms = cx.mint.terms();
        if let Some(shown) = &open.shown
            && let Some((session, user)) = self.store.session(shown.digest).await?
            && judge(&session, &user, shown, terms, cx).is_ok()
        {
            noted.user = Some(user.id);
            noted.foreign = terms.bind_address.is_foreign(session.address, cx.peer);
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
        noted.user = found.as_ref().map(|user| user.id);
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

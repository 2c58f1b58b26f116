//! Login: verify the password, issue a credential, open a session.

mod attempt;

use std::sync::Arc;

use self::attempt::{AttemptReservation, FailureOnDrop, Verification};
use crate::authority::{EventDetails, check_credential};
use crate::hashing::{HashPermit, WorkerState};
use crate::ports::{Applied, Change};
use crate::session::{IssueContext, IssuedToken, SessionPolicy};
use crate::{
    Authority, CanonicalName, Context, Failure, InternalError, Lifetime, Login, Outcome,
    PasswordCredentials, PasswordHash, Secret, Session, SessionId, User, canonical_name, password,
    uuid_v4,
};

/// Sent to a directory in place of a password that cannot be right.
const PLACEHOLDER_PASSWORD: &str = "-";

/// How often a login tries to open its session. Each try after the first draws a new `sid`, since another session
/// already has the old one.
const MAX_PUBLIC_ID_DRAWS: usize = 4;

/// The result of a right password, from a hashing thread.
struct VerifiedLogin {
    id: SessionId,
    issued: IssuedToken,
    rehash: Option<PasswordHash>,
}

impl Authority {
    /// Opens a session, or answers with the session of a valid credential.
    pub(crate) async fn login(
        &self,
        request: Login,
        cx: Context<'_>,
        details: &mut EventDetails,
    ) -> Result<Outcome, Failure> {
        let (session_policy, now) = (cx.token_issuer.session_policy(), cx.now);
        if let Some(shown) = &request.existing_credential
            && let Some((session, user)) = self.look_up_session(shown, now).await?
            && check_credential(&session, &user, shown, session_policy, cx).is_ok()
        {
            details.user = Some(user.id);
            details.unexpected_address =
                session_policy.address_binding.is_unexpected(session.address, cx.peer);
            return Ok(Outcome::Active(self.slide_expiry(session, cx), user));
        }
        let Some(subject) = request.outer_credentials.as_ref().or(request.credentials.as_ref())
        else {
            // The request has only a token, and a dead one. No user was named.
            let shown_alone = request.existing_credential.is_some();
            return Err(if shown_alone {
                Failure::UnknownCredential
            } else {
                Failure::UnknownUser
            });
        };
        if self.rate_limiter.as_ref().is_some_and(|throttle| throttle.is_limited(cx.peer, now)) {
            return Err(Failure::RateLimited);
        }
        let permit = self.hash_queue.login_permit(self.client_key(cx.peer))?;
        let found = self.look_up_user(&subject.user).await?;
        self.note_user(found.as_ref(), details);
        let reservation = match self.reserve_attempt(&subject.user, found.as_ref(), cx).await? {
            AttemptReservation::Unlimited => None,
            AttemptReservation::Reserved(reservation) => Some(reservation),
            // As much work as a wrong password, against timing attacks, and none of the work on the real hash.
            AttemptReservation::Refused => {
                if let Some(throttle) = &self.rate_limiter {
                    throttle.record_locked_login(cx.peer, now);
                }
                let verification = Verification { cx, reservation: None, is_counted: true };
                let password = subject.password.clone();
                let _nobody =
                    self.verify(None, password, &permit, &verification, |_, _, _| Ok(())).await?;
                return Err(Failure::Locked { user_exists: found.is_some() });
            }
        };
        details.previous_failures =
            reservation.as_ref().map_or(0, |reservation| reservation.admission.previous_failures);
        let is_reserved = reservation
            .as_ref()
            .is_some_and(|reservation| reservation.admission.for_trusted_address);
        let verification = Verification { cx, reservation, is_counted: false };
        let verified =
            self.verify_and_open_session(request, found, permit, &verification, details).await;
        self.record_result(verification, &verified);
        match verified? {
            // From an untrusted address, and for an unknown name, no attempt would be left. The answer must not tell.
            Err(why) if is_reserved => {
                details.actual_failure = Some(why);
                Err(Failure::Locked { user_exists: true })
            }
            opened => opened,
        }
    }

    /// Records the user of a login, and whether any password of that user can be verified at all.
    fn note_user(&self, found: Option<&User>, details: &mut EventDetails) {
        details.user = found.map(|user| user.id);
        let verifier =
            self.user_directory.as_ref().and_then(|directory| directory.password_verifier());
        let hash = found.and_then(|user| user.password.as_ref()).filter(|_| verifier.is_none());
        details.unreadable_hash = hash.is_some_and(|hash| !hash.is_readable());
    }

    /// Verifies a login after the look-up of its user, and opens the session.
    ///
    /// # Errors
    /// As [`Self::verify`]. The outer error says that no password was found to be wrong.
    async fn verify_and_open_session(
        &self,
        request: Login,
        found: Option<User>,
        permit: HashPermit,
        verification: &Verification<'_>,
        details: &mut EventDetails,
    ) -> Result<Result<Outcome, Failure>, Failure> {
        let cx = verification.cx;
        let (session_policy, now) = (cx.token_issuer.session_policy(), cx.now);
        let Some(credentials) = request.credentials else {
            let Some(outer) = request.outer_credentials else { return Err(Failure::UnknownUser) };
            let own = outer.user.clone();
            return match self.verify_outer(outer, found, &own, &permit, verification).await? {
                // After a right outer login the client learns the fault of the call.
                Ok(()) => Err(Failure::UnservedCall),
                Err(wrong) => Ok(Err(wrong)),
            };
        };
        // The usual case of a double login: the same twice. One verification covers both, and its refusals are the
        // outer's.
        let same = request.outer_credentials.as_ref() == Some(&credentials);
        let refusal = |failure| if same { Failure::OuterCredential } else { failure };
        let found = match request.outer_credentials.filter(|_| !same) {
            None => found,
            Some(outer) => {
                if let Err(wrong) = self
                    .verify_outer(outer, found, &credentials.user, &permit, verification)
                    .await?
                {
                    return Ok(Err(wrong));
                }
                self.look_up_user(&credentials.user).await?
            }
        };
        self.note_user(found.as_ref(), details);
        let (policy, entropy, token_issuer) =
            (self.password_policy.clone(), Arc::clone(&self.entropy), Arc::clone(cx.token_issuer));
        let expires =
            request.lifetime.expiry(now, session_policy.max_lifetime.map(|max| now.plus(max)));
        let is_ours = self.user_directory.is_none();
        let on_verified = move |user: &User, password: &str, worker: &mut WorkerState| {
            // A directory's hashes are the directory's own business.
            let old = user.password.as_ref().filter(|hash| is_ours && !policy.matches(hash));
            let rehash = match old {
                Some(_) => Some(policy.hash(password, &*entropy, &mut worker.scratch)?),
                None => None,
            };
            let id = SessionId(uuid_v4(&*entropy)?);
            let issued = token_issuer.issue(&IssueContext { user, now, expires }, &*entropy)?;
            Ok(VerifiedLogin { id, issued, rehash })
        };
        let checked = self
            .verify(found.clone(), credentials.password, &permit, verification, on_verified)
            .await?;
        let mut verified = match checked {
            Ok(verified) => verified,
            Err(wrong) => return Ok(Err(refusal(wrong))),
        };
        drop(permit);
        let mut user = self.ensure_user_row(found.ok_or(Failure::UnknownUser)?).await?;
        if let Err(wrong) = check_may_log_in(&user) {
            return Ok(Err(refusal(wrong)));
        }

        for _ in 0..MAX_PUBLIC_ID_DRAWS {
            let session =
                Box::new(self.new_session(&verified, &user, request.lifetime, session_policy, cx));
            let rehash = verified.rehash.clone();
            let change = Change::OpenSession {
                session,
                concurrent_sessions: request.concurrent_sessions,
                rehash,
                session_limit: Some(self.session_limit()),
                reservation: verification.reservation.clone(),
            };
            match self.report_error(self.store.apply(change).await)? {
                Applied::Opened(session) => {
                    user.last_login = Some(now);
                    return Ok(Ok(Outcome::LoggedIn(*session, user, verified.issued.secret)));
                }
                // The user was disabled, or got another password, while the old one was verified.
                Applied::Refused | Applied::Done | Applied::Rows(_) | Applied::Admitted(_) => {
                    return Ok(Err(refusal(Failure::WrongPassword)));
                }
                Applied::Conflict => {
                    let (token_issuer, entropy, user) =
                        (Arc::clone(cx.token_issuer), Arc::clone(&self.entropy), user.clone());
                    let again = move |_: &mut WorkerState| {
                        token_issuer.issue(&IssueContext { user: &user, now, expires }, &*entropy)
                    };
                    verified.issued = self.report_error(self.hash_queue.run(again).await?)?;
                }
            }
        }
        Err(Failure::Unavailable)
    }

    /// Verifies the outer of two logins, which must name the user of the inner.
    ///
    /// # Errors
    /// As [`Self::verify`].
    async fn verify_outer(
        &self,
        outer: PasswordCredentials,
        user: Option<User>,
        inner: &str,
        permit: &HashPermit,
        verification: &Verification<'_>,
    ) -> Result<Result<(), Failure>, Failure> {
        let verified =
            self.verify(user, outer.password, permit, verification, |_, _, _| Ok(())).await?;
        let same = canonical_name(&outer.user) == canonical_name(inner);
        let right = verified.is_ok() && same;
        Ok(if right { Ok(()) } else { Err(Failure::OuterCredential) })
    }

    /// Looks a user up. An impossible name costs the same statement, against user enumeration.
    async fn look_up_user(&self, name: &str) -> Result<Option<User>, Failure> {
        let name =
            canonical_name(name).unwrap_or_else(|| CanonicalName::from_stored(String::new()));
        let found = match &self.user_directory {
            Some(directory) => directory.user(name),
            None => self.store.user(name),
        };
        self.report_error(found.await)
    }

    /// Verifies a password, and runs `on_verified` in the same job on a hashing thread. Against timing attacks, every
    /// failure costs one verification, and no failure but a wrong password is known before the password was right.
    ///
    /// # Errors
    /// The outer failure says that nothing was found out; the inner one refuses.
    async fn verify<T: Send + 'static>(
        &self,
        user: Option<User>,
        password: Secret,
        permit: &HashPermit,
        verification: &Verification<'_>,
        on_verified: impl FnOnce(&User, &str, &mut WorkerState) -> Result<T, InternalError>
        + Send
        + 'static,
    ) -> Result<Result<T, Failure>, Failure> {
        let policy = self.password_policy.clone();
        let directory = self.user_directory.clone();
        let work = move |worker: &mut WorkerState| {
            let password = password.expose();
            let usable = password.len() <= password::MAX_PASSWORD_BYTES && !password.contains('\0');
            let verifier = directory.as_ref().and_then(|directory| directory.password_verifier());
            if let Some(verifier) = verifier {
                // A bind to an LDAP server without a password succeeds for every user (RFC 4513, 5.1.2).
                let (known, password) = match user.as_ref() {
                    Some(user) if usable && !password.is_empty() => (Some(user), password),
                    Some(_) | None => (None, PLACEHOLDER_PASSWORD),
                };
                let right = verifier.verify_password(known, password)?;
                return match (&user, known) {
                    (None, _) => Ok(Err(Failure::UnknownUser)),
                    (Some(_), Some(user)) if right => {
                        run_if_allowed(user, password, worker, on_verified)
                    }
                    (Some(_), _) => Ok(Err(Failure::WrongPassword)),
                };
            }
            let Some(user) = user.as_ref() else {
                policy.verify_dummy(password, &mut worker.scratch)?;
                return Ok(Err(Failure::UnknownUser));
            };
            let Some(hash) = user.password.as_ref().filter(|_| usable) else {
                policy.verify_dummy(password, &mut worker.scratch)?;
                return Ok(Err(Failure::WrongPassword));
            };
            let allowed = if hash.verify(password, &policy, &mut worker.scratch)? {
                run_if_allowed(user, password, worker, on_verified)?
            } else {
                Err(Failure::WrongPassword)
            };
            if allowed.is_err() {
                policy.equalise_work(hash, password, &mut worker.scratch)?;
            }
            Ok(allowed)
        };
        let mut failure_on_drop = FailureOnDrop(self, Some(verification));
        let verified = self.hash_queue.verify(permit.clone(), work).await;
        failure_on_drop.1 = None;
        self.report_error(verified?)
    }

    fn new_session(
        &self,
        verified: &VerifiedLogin,
        user: &User,
        lifetime: Lifetime,
        session_policy: SessionPolicy,
        cx: Context<'_>,
    ) -> Session {
        let hard_end = session_policy.max_lifetime.map(|max| cx.now.plus(max));
        Session {
            id: verified.id,
            dialect: cx.token_issuer.dialect().to_owned(),
            user: user.id,
            epoch: user.epoch,
            digest: verified.issued.digest,
            public_id: verified.issued.public_id.clone(),
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

/// Whether a user with the right password may open a session.
fn check_may_log_in(user: &User) -> Result<(), Failure> {
    if !user.enabled {
        Err(Failure::UserDisabled)
    } else if user.password_expired {
        Err(Failure::PasswordExpired)
    } else {
        Ok(())
    }
}

/// Runs `on_verified` if the user may log in.
fn run_if_allowed<T>(
    user: &User,
    password: &str,
    worker: &mut WorkerState,
    on_verified: impl FnOnce(&User, &str, &mut WorkerState) -> Result<T, InternalError>,
) -> Result<Result<T, Failure>, InternalError> {
    match check_may_log_in(user) {
        Ok(()) => on_verified(user, password, worker).map(Ok),
        Err(refused) => Ok(Err(refused)),
    }
}

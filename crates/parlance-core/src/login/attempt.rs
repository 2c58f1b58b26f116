//! The attempt of a login: reserved on the account before the password is verified, and released, reset or kept as a
//! failure afterwards.

use crate::lockout::{Attempt, Reservation, account_digest, client_prefix, unknown_account_digest};
use crate::ports::{Applied, Change};
use crate::{Authority, Context, Failure, Outcome, RateLimiter, User, canonical_name};

/// The result of reserving an attempt for a login.
pub(super) enum AttemptReservation {
    /// No account lock-out is configured.
    Unlimited,
    /// The login may be verified; the attempt is then released or kept.
    Reserved(Box<Reservation>),
    /// No attempt is left: the account must wait.
    Refused,
}

/// A login during the verification of its password.
pub(super) struct Verification<'a> {
    pub(super) cx: Context<'a>,
    /// The reserved attempt, where attempts are limited.
    pub(super) reservation: Option<Box<Reservation>>,
    /// Whether the rate limit has counted the login already.
    pub(super) is_counted: bool,
}

/// Counts a failure when dropped, unless the verification was taken out before: for a client that hangs up while the
/// password is verified.
pub(super) struct FailureOnDrop<'a>(
    pub(super) &'a Authority,
    pub(super) Option<&'a Verification<'a>>,
);

impl Drop for FailureOnDrop<'_> {
    fn drop(&mut self) {
        if let Some(verification) = self.1 {
            self.0.count_failure(verification);
        }
    }
}

impl Authority {
    /// Reserves an attempt for a login, on the account of the presented name.
    pub(super) async fn reserve_attempt(
        &self,
        shown: &str,
        found: Option<&User>,
        cx: Context<'_>,
    ) -> Result<AttemptReservation, Failure> {
        let Some(policy) = self.lockout() else { return Ok(AttemptReservation::Unlimited) };
        let name = canonical_name(shown);
        let account =
            name.map_or_else(|| unknown_account_digest(shown), |name| account_digest(&name));
        let share = policy.network_limit();
        let is_network_limited =
            |throttle: &RateLimiter| throttle.is_network_limited(account, share, cx.peer, cx.now);
        let attempt = Attempt {
            account,
            user: found.map(|user| user.id),
            address: cx.peer.map(client_prefix),
            now: cx.now,
            limit: match &self.rate_limiter {
                Some(throttle) if is_network_limited(throttle) => share,
                Some(_) | None => policy.untrusted_limit(),
            },
        };
        match self.report_error(
            self.store.apply(Change::ReserveAttempt(Box::new(attempt.clone()))).await,
        )? {
            Applied::Admitted(admission) => {
                Ok(AttemptReservation::Reserved(Box::new(Reservation { attempt, admission })))
            }
            Applied::Refused
            | Applied::Done
            | Applied::Rows(_)
            | Applied::Opened(_)
            | Applied::Conflict => Ok(AttemptReservation::Refused),
        }
    }

    /// Records the result of a login, without a wait: the store applies changes in order, so the next try of the same
    /// client finds this change done.
    pub(super) fn record_result(
        &self,
        verification: Verification<'_>,
        verified: &Result<Result<Outcome, Failure>, Failure>,
    ) {
        let change = match verified {
            Ok(Ok(_)) => {
                if let (Some(throttle), Some(reservation)) =
                    (&self.rate_limiter, &verification.reservation)
                {
                    throttle
                        .clear_account_failures(reservation.attempt.account, verification.cx.peer);
                }
                return;
            }
            Ok(Err(_)) => {
                self.count_failure(&verification);
                Change::RecordFailure
            }
            Err(Failure::UnservedCall) => {
                // The login has cost a hash and opened nothing.
                if let Some(throttle) = &self.rate_limiter {
                    throttle.record_locked_login(verification.cx.peer, verification.cx.now);
                }
                Change::ReleaseAttempt
            }
            Err(_) => Change::ReleaseAttempt,
        };
        if let Some(reservation) = verification.reservation {
            drop(self.store.apply(change(reservation)));
        }
    }

    /// Counts a wrong password against the client's address (rate limit).
    fn count_failure(&self, verification: &Verification<'_>) {
        let Some(throttle) = self.rate_limiter.as_ref().filter(|_| !verification.is_counted) else {
            return;
        };
        let Context { peer, now, .. } = verification.cx;
        match &verification.reservation {
            // Counted as a login without an attempt: the effect on the address must not tell the two apart either.
            Some(reservation) if reservation.admission.for_trusted_address => {
                throttle.record_locked_login(peer, now)
            }
            reservation => {
                throttle.record_failure(peer, now);
                if let (Some(reservation), Some(policy)) = (reservation, self.lockout()) {
                    let share = policy.network_limit();
                    throttle.record_account_failure(reservation.attempt.account, share, peer, now);
                }
            }
        }
    }
}

//! Brute-force protection, in memory: attempt states and trusted addresses.

use std::collections::HashMap;
use std::net::IpAddr;

use crate::lockout::{
    Admission, Attempt, AttemptState, DAILY_FAILURES_ALL_TRUSTED_ADDRESSES,
    DAILY_FAILURES_PER_TRUSTED_ADDRESS, Reservation, TRUSTED_ADDRESSES_PER_USER, account_digest,
    delay_after_failures, utc_day,
};
use crate::ports::Applied;
use crate::{CanonicalName, Digest, Timestamp, UserId};

/// The attempts counted for each account, and the trusted addresses of each user.
#[derive(Debug, Default)]
pub(super) struct LoginAttempts {
    states: HashMap<Digest, (AttemptState, bool)>,
    /// The day and the number of attempts taken on that day from those reserved for trusted addresses, for each
    /// account.
    trusted_used: HashMap<Digest, (i64, u32)>,
    trusted: HashMap<(UserId, IpAddr), TrustedAddress>,
}

#[derive(Debug)]
struct TrustedAddress {
    last_login: Timestamp,
    day: i64,
    used: i64,
}

fn move_count<T>(counts: &mut HashMap<Digest, T>, old: Digest, new: Digest) {
    let counted = counts.remove(&old);
    // Failures that strangers caused on a name without a user do not count against the user renamed to that name.
    counts.remove(&new);
    if let Some(counted) = counted {
        counts.insert(new, counted);
    }
}

fn trusted_key(attempt: &Attempt) -> Option<(UserId, IpAddr)> {
    attempt.user.zip(attempt.address)
}

impl LoginAttempts {
    pub(super) fn state(&self, account: Digest) -> Option<AttemptState> {
        self.states.get(&account).map(|(state, _)| *state)
    }

    pub(super) fn reserve(&mut self, attempt: &Attempt) -> Applied {
        let today = utc_day(attempt.now);
        let fresh = AttemptState {
            day: today,
            used: 0,
            consecutive_failures: 0,
            wait_until: attempt.now,
            consecutive_refusals: 0,
        };
        let entry = self.states.entry(attempt.account).or_insert((fresh, false));
        let (state, is_known_name) = entry;
        if state.day < today {
            *state = fresh;
        }
        *is_known_name = attempt.user.is_some();
        if state.used < attempt.limit.into() && !state.must_wait(attempt.now) {
            state.used += 1;
            state.consecutive_refusals = 0;
            state.wait_until = attempt.now.plus(delay_after_failures(state.consecutive_failures));
            let AttemptState { day, consecutive_failures: failures, .. } = *state;
            return Applied::Admitted(Admission {
                day,
                previous_failures: failures,
                for_trusted_address: false,
            });
        }
        state.consecutive_refusals += 1;
        let day = state.day;
        let Some(trusted) = trusted_key(attempt).and_then(|key| self.trusted.get_mut(&key)) else {
            return Applied::Refused;
        };
        let (reserved_day, reserved) = self.trusted_used.entry(attempt.account).or_default();
        if *reserved_day < day {
            (*reserved_day, *reserved) = (day, 0);
        }
        if trusted.day < day {
            (trusted.day, trusted.used) = (day, 0);
        }
        if trusted.used >= DAILY_FAILURES_PER_TRUSTED_ADDRESS
            || *reserved >= DAILY_FAILURES_ALL_TRUSTED_ADDRESSES
        {
            return Applied::Refused;
        }
        trusted.used += 1;
        *reserved += 1;
        Applied::Admitted(Admission { day, previous_failures: 0, for_trusted_address: true })
    }

    /// The attempt state that holds a reservation, unless a new day has begun since.
    fn state_of(&mut self, reservation: &Reservation) -> Option<&mut AttemptState> {
        let state = self.states.get_mut(&reservation.attempt.account).map(|(state, _)| state)?;
        (!reservation.admission.for_trusted_address && state.day == reservation.admission.day)
            .then_some(state)
    }

    fn trusted_address_of(&mut self, reservation: &Reservation) -> Option<&mut TrustedAddress> {
        let trusted = self.trusted.get_mut(&trusted_key(&reservation.attempt)?)?;
        (reservation.admission.for_trusted_address && trusted.day == reservation.admission.day)
            .then_some(trusted)
    }

    pub(super) fn record_failure(&mut self, reservation: &Reservation) -> Applied {
        let Some(state) = self.state_of(reservation) else { return Applied::Done };
        state.consecutive_failures += 1;
        state.wait_until = state
            .wait_until
            .max(reservation.attempt.now.plus(delay_after_failures(state.consecutive_failures)));
        Applied::Done
    }

    pub(super) fn release(&mut self, reservation: &Reservation) -> Applied {
        if let Some(state) = self.state_of(reservation) {
            state.used = (state.used - 1).max(0);
        }
        if let Some(trusted) = self.trusted_address_of(reservation) {
            trusted.used = (trusted.used - 1).max(0);
        }
        let reserved = self.trusted_used.get_mut(&reservation.attempt.account);
        if let Some((_, taken)) = reserved.filter(|(day, _)| {
            reservation.admission.for_trusted_address && *day == reservation.admission.day
        }) {
            *taken = taken.saturating_sub(1);
        }
        Applied::Done
    }

    pub(super) fn reset(&mut self, reservation: &Reservation) {
        self.release(reservation);
        let now = reservation.attempt.now;
        if let Some(state) = self.state_of(reservation) {
            (state.consecutive_failures, state.wait_until) = (0, now);
        }
        if let Some((user, address)) = trusted_key(&reservation.attempt) {
            self.trust(user, address, now);
        }
    }

    pub(super) fn trust(&mut self, user: UserId, address: IpAddr, now: Timestamp) -> Applied {
        let fresh = TrustedAddress { last_login: now, day: utc_day(now), used: 0 };
        self.trusted.entry((user, address)).or_insert(fresh).last_login = now;
        let mut of_user: Vec<_> = self
            .trusted
            .iter()
            .filter(|((owner, _), _)| *owner == user)
            .map(|((_, address), trusted)| (trusted.last_login, *address))
            .collect();
        of_user.sort_by_key(|(seen, other)| (std::cmp::Reverse(*seen), *other != address));
        for (_, address) in of_user.into_iter().skip(TRUSTED_ADDRESSES_PER_USER) {
            self.trusted.remove(&(user, address));
        }
        Applied::Done
    }

    pub(super) fn unlock(&mut self, name: &CanonicalName, user: Option<UserId>) -> Applied {
        self.states.remove(&account_digest(name));
        self.trusted_used.remove(&account_digest(name));
        self.trusted
            .iter_mut()
            .filter(|((owner, _), _)| Some(*owner) == user)
            .for_each(|(_, trusted)| trusted.used = 0);
        Applied::Done
    }

    /// Moves the attempt state of a name to another name, in place of the attempt state there.
    pub(super) fn rename(&mut self, old: &CanonicalName, new: &CanonicalName) {
        move_count(&mut self.states, account_digest(old), account_digest(new));
        move_count(&mut self.trusted_used, account_digest(old), account_digest(new));
    }

    /// Drops the trusted addresses of a removed user.
    pub(super) fn remove_user(&mut self, user: UserId) {
        self.trusted.retain(|(owner, _), _| *owner != user);
    }

    pub(super) fn purge(
        &mut self,
        before: Timestamp,
        max_unknown_names: u32,
        limit: u32,
    ) -> Applied {
        let mut unknowns: Vec<_> = self
            .states
            .iter()
            .filter(|(_, (_, known))| !known)
            .map(|(account, (state, _))| (state.wait_until, *account))
            .collect();
        unknowns.sort_unstable();
        let beyond = unknowns.len().saturating_sub(max_unknown_names as usize);
        let old = self.states.iter().filter(|(_, (state, _))| state.wait_until < before);
        let mut dropped: Vec<_> = old.map(|(account, _)| *account).collect();
        dropped.extend(unknowns.into_iter().take(beyond).map(|(_, account)| account));
        let mut rows = 0;
        for account in dropped {
            if rows < limit && self.states.remove(&account).is_some() {
                rows += 1;
            }
        }
        Applied::Rows(rows.into())
    }
}

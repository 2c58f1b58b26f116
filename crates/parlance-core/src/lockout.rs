//! Account lock-out, the brute-force protection of one account: bounds wrong passwords, with waits that grow. The
//! lock-out counts for every name, whether a user has that name or not.
//!
//! A login reserves an attempt before its password is verified, and releases the attempt if the password was right.
//! Guesses made at the same time are thus counted as they begin, and logins with the right password do not stand in
//! each other's way. No account is locked for good: at midnight (UTC) every count starts anew.

use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use crate::{CanonicalName, Digest, Timestamp, UserId};

/// The wait of the next login after so many failures in a row, from the first step up: failures up to, wait in
/// milliseconds.
pub const LOCKOUT_DELAYS_MILLIS: [(i64, i64); 5] =
    [(FREE_FAILURES, 0), (30, 1_000), (40, 3_000), (60, 5_000), (i64::MAX, 10_000)];
/// So many failures in a row cost no wait. No login wire has a word for waiting, and a client that tries an old
/// password a few times must not make the right one fail.
pub const FREE_FAILURES: i64 = 20;
/// How many trusted addresses a user has: those of the latest logins.
pub const TRUSTED_ADDRESSES_PER_USER: usize = 4;
/// How many wrong passwords a day each trusted address may try while the account is locked for all others.
pub const DAILY_FAILURES_PER_TRUSTED_ADDRESS: i64 = 5;

/// How many unknown names have a state in the store. Each purge of rows drops the excess, the longest untried first.
pub const MAX_UNKNOWN_NAMES: u32 = 100_000;

const DAY_MILLIS: i64 = 24 * 60 * 60 * 1000;
/// How many wrong passwords a day the trusted addresses may try together, whichever they are in the course of the day.
pub const DAILY_FAILURES_ALL_TRUSTED_ADDRESSES: u32 = 20;
/// How many networks are needed to lock an account until midnight.
const MIN_NETWORKS_TO_EXHAUST: u32 = 3;

/// The limit of wrong passwords for one account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LockoutPolicy {
    failures_per_day: u32,
}

impl LockoutPolicy {
    /// The fewest wrong passwords a day: 30.
    pub const MIN_FAILURES_PER_DAY: u32 = 30;
    /// The most: a million.
    pub const MAX_FAILURES_PER_DAY: u32 = 1_000_000;

    /// At most so many passwords are verified and wrong on one account in one day (UTC), 20 of them reserved for the
    /// trusted addresses of the user. `None` unless the number lies between [`Self::MIN_FAILURES_PER_DAY`] and [`Self::MAX_FAILURES_PER_DAY`].
    #[must_use]
    pub fn new(failures_per_day: u32) -> Option<Self> {
        (Self::MIN_FAILURES_PER_DAY..=Self::MAX_FAILURES_PER_DAY)
            .contains(&failures_per_day)
            .then_some(Self { failures_per_day })
    }

    /// How many of them any address may take.
    #[must_use]
    pub fn untrusted_limit(self) -> u32 {
        self.failures_per_day.saturating_sub(DAILY_FAILURES_ALL_TRUSTED_ADDRESSES)
    }

    /// How many of those one network may take, on each node. A network that has taken them gets an attempt only on an
    /// account of which all logins together have taken fewer attempts.
    pub(crate) fn network_limit(self) -> u32 {
        self.untrusted_limit().div_ceil(MIN_NETWORKS_TO_EXHAUST)
    }
}

impl Default for LockoutPolicy {
    /// A hundred a day (NIST SP 800-63B).
    fn default() -> Self {
        Self { failures_per_day: 100 }
    }
}

/// A login, before its password is verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// The account: the digest of the canonical name, so that the store keeps no text that people type for a name.
    pub account: Digest,
    /// The user with that name, if any.
    pub user: Option<UserId>,
    /// The client's address, reduced by [`client_prefix`].
    pub address: Option<IpAddr>,
    /// Now.
    pub now: Timestamp,
    /// How many passwords may be wrong in a day.
    pub limit: u32,
}

/// The attempt that the store has granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Admission {
    /// The day that the attempt counts for, in days since 1970.
    pub day: i64,
    /// Whether the attempt is one of those reserved for a trusted address.
    pub for_trusted_address: bool,
    /// Failures in a row before the attempt.
    pub previous_failures: i64,
}

/// An attempt that a login has reserved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reservation {
    /// The login.
    pub attempt: Attempt,
    /// The granted attempt.
    pub admission: Admission,
}

/// The lock-out state of an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AttemptState {
    /// The day of the counts, in days since 1970. Counts of an earlier day are void.
    pub day: i64,
    /// Attempts reserved on that day and not released: wrong passwords, and those being verified.
    pub used: i64,
    /// Failures in a row.
    pub consecutive_failures: i64,
    /// End of the wait of the next login.
    pub wait_until: Timestamp,
    /// Logins in a row that got no regular attempt, including those that a trusted address then let pass.
    pub consecutive_refusals: i64,
}

/// The account that a name counts for.
#[must_use]
pub fn account_digest(name: &CanonicalName) -> Digest {
    Digest::of("account", name.as_str())
}

/// The account of a name that no user can have. Never equal to the account of a name that a user can have.
pub(crate) fn unknown_account_digest(shown: &str) -> Digest {
    Digest::of("no-account", shown)
}

/// The address by which a client is recognised: an IPv4 address itself; of an IPv6 address the network (/64), in which
/// a machine changes its own address at will.
#[must_use]
pub fn client_prefix(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => {
            IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64)))
        }
    }
}

/// The wait after so many failures in a row.
#[must_use]
pub fn delay_after_failures(failures: i64) -> Duration {
    let step = LOCKOUT_DELAYS_MILLIS.iter().find(|(upto, _)| failures <= *upto);
    Duration::from_millis(step.map_or(0, |(_, wait)| u64::try_from(*wait).unwrap_or(0)))
}

/// The day of a moment, in days since 1970 (UTC).
#[must_use]
pub fn utc_day(now: Timestamp) -> i64 {
    now.millis().div_euclid(DAY_MILLIS)
}

impl AttemptState {
    /// The end of the lock-out, if a login now would be refused.
    #[must_use]
    pub fn locked_until(&self, policy: LockoutPolicy, now: Timestamp) -> Option<Timestamp> {
        if self.day < utc_day(now) {
            return None;
        }
        if self.used >= policy.untrusted_limit().into() {
            return Some(Timestamp::from_millis((self.day + 1).saturating_mul(DAY_MILLIS)));
        }
        Some(self.wait_until).filter(|_| self.must_wait(now))
    }

    /// Whether the next login waits. While failures are free the moment does not count: logins at the same time, or
    /// through a node with a clock that is a little ahead, may have made the moment later than now.
    #[must_use]
    pub(crate) fn must_wait(&self, now: Timestamp) -> bool {
        self.consecutive_failures > FREE_FAILURES && self.wait_until > now
    }
}

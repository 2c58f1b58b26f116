//! How guesses at one account are bounded: a soft ladder that every name climbs, whether anybody has it or not.
//!
//! A login takes a place before its password is verified and gives it back if it was right, so that guesses made at the same time are
//! counted as they begin, and logins with the right password do not stand in each other's way. Nobody waits for good: at midnight (UTC)
//! every ladder is at its foot again.

use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use crate::{CanonicalName, Digest, Timestamp, UserId};

/// How long the next login waits after so many failures in a row, from the foot of the ladder up: failures up to, wait in milliseconds.
pub const LADDER: [(i64, i64); 5] =
    [(FREE, 0), (30, 1_000), (40, 3_000), (60, 5_000), (i64::MAX, 10_000)];
/// So many failures in a row cost no wait: no login wire has a word for waiting, and a client that tries an old password a few times
/// must not make the right one fail.
pub const FREE: i64 = 20;
/// From how many addresses a user is known: those of his latest logins.
pub const KNOWN_ADDRESSES: usize = 4;
/// How many wrong passwords a day each of them may try when the ladder lets nobody pass.
pub const RESERVE: i64 = 5;

/// Of how many unknown names the store keeps a ladder. What is more is dropped, the longest untried first, whenever rows are purged.
pub const UNKNOWN_NAMES: u32 = 100_000;

const DAY: i64 = 24 * 60 * 60 * 1000;
/// How many wrong passwords a day the known addresses may try together, whichever they are in the course of it.
pub const RESERVED: u32 = 20;
/// How many networks it takes to make an account wait until midnight.
const NETWORKS: u32 = 3;

/// How many wrong passwords one account bears.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LockoutPolicy {
    failures_per_day: u32,
}

impl LockoutPolicy {
    /// The fewest wrong passwords a day: 30.
    pub const LEAST: u32 = 30;
    /// The most: a million.
    pub const MOST: u32 = 1_000_000;

    /// At most so many passwords are verified and wrong on one account in one day (UTC), 20 of them kept for the addresses from which its
    /// owner has logged in. `None` unless it lies between [`Self::LEAST`] and [`Self::MOST`].
    #[must_use]
    pub fn new(failures_per_day: u32) -> Option<Self> {
        (Self::LEAST..=Self::MOST).contains(&failures_per_day).then_some(Self { failures_per_day })
    }

    /// How many of them anybody may take.
    #[must_use]
    pub fn open_to_all(self) -> u32 {
        self.failures_per_day.saturating_sub(RESERVED)
    }

    /// How many of those one network may take, on each node: once it has taken them it finds no place, but on an account of which everybody
    /// together has taken fewer.
    pub(crate) fn open_to_a_network(self) -> u32 {
        self.open_to_all().div_ceil(NETWORKS)
    }
}

impl Default for LockoutPolicy {
    /// A hundred a day (NIST SP 800-63B).
    fn default() -> Self {
        Self { failures_per_day: 100 }
    }
}

/// A login whose password is about to be verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// Whose ladder: the digest of the canonical name, so that what people type for a name is not kept.
    pub account: Digest,
    /// Who has the name.
    pub user: Option<UserId>,
    /// From where, as [`home`] has it.
    pub address: Option<IpAddr>,
    /// Now.
    pub now: Timestamp,
    /// How many may be wrong in a day.
    pub limit: u32,
}

/// What was taken for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Admission {
    /// The day it counts for, in days since 1970.
    pub day: i64,
    /// Whether it is one of those kept for a known address.
    pub reserved: bool,
    /// How many failures in a row came before it.
    pub failures: i64,
}

/// A place that a login has taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slot {
    /// The login.
    pub attempt: Attempt,
    /// The place.
    pub admission: Admission,
}

/// How far up its ladder an account stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rung {
    /// The day it is about, in days since 1970; what is older counts for nothing.
    pub day: i64,
    /// Places taken on that day and not given back: wrong passwords, and those being verified.
    pub taken: i64,
    /// Failures in a row.
    pub failures: i64,
    /// Until when the next one waits.
    pub until: Timestamp,
    /// Logins in a row that have found no place, those included that a known address then let pass.
    pub refused: i64,
}

/// Whose ladder a name climbs.
#[must_use]
pub fn account(name: &CanonicalName) -> Digest {
    Digest::of("account", name.as_str())
}

/// Whose ladder a name climbs that nobody can have: none that anybody climbs who can be somebody.
pub(crate) fn account_of_nobody(shown: &str) -> Digest {
    Digest::of("no-account", shown)
}

/// The address by which a user is known again: an IPv4 address itself, of an IPv6 address the network (/64), in which a machine changes its
/// own as it likes.
#[must_use]
pub fn home(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => {
            IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64)))
        }
    }
}

/// The wait after so many failures in a row.
#[must_use]
pub fn wait_after(failures: i64) -> Duration {
    let rung = LADDER.iter().find(|(upto, _)| failures <= *upto);
    Duration::from_millis(rung.map_or(0, |(_, wait)| u64::try_from(*wait).unwrap_or(0)))
}

/// The day of a moment, in days since 1970 (UTC).
#[must_use]
pub fn day(now: Timestamp) -> i64 {
    now.millis().div_euclid(DAY)
}

impl Rung {
    /// Until when no login is let pass, if one that comes now is not.
    #[must_use]
    pub fn locked_until(&self, policy: LockoutPolicy, now: Timestamp) -> Option<Timestamp> {
        if self.day < day(now) {
            return None;
        }
        if self.taken >= policy.open_to_all().into() {
            return Some(Timestamp::from_millis((self.day + 1).saturating_mul(DAY)));
        }
        Some(self.until).filter(|_| self.waits(now))
    }

    /// Whether the next login waits. While failures are free the moment counts for nothing: logins that came at the same time, or through
    /// a node whose clock is a little ahead, may have made it later than now.
    #[must_use]
    pub(crate) fn waits(&self, now: Timestamp) -> bool {
        self.failures > FREE && self.until > now
    }
}

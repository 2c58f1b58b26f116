//! What lives between a login and its end.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use uuid::Uuid;

use crate::ports::{Entropy, EntropyError};
use crate::{Credential, Digest, Failure, Secret, Timestamp, User, UserId};

/// A session's own name. It never travels on a dialect's wire and opens nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId(pub Uuid);

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A session as the store keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Identity.
    pub id: SessionId,
    /// The dialect that opened it, and the only one in which its credential counts.
    pub dialect: String,
    /// Whose it is.
    pub user: UserId,
    /// The user's epoch when it was opened.
    pub epoch: i64,
    /// The digest of its secret.
    pub digest: Digest,
    /// Its name on the 1010-cookie wire: a string of digits, unique among the living.
    pub sid: Option<String>,
    /// When it was opened.
    pub created: Timestamp,
    /// When a use last slid it, or a renewal or a possessing login moved it; `None` until then. A use that slides nothing is not noted.
    pub last_used: Option<Timestamp>,
    /// From when on it is dead; `None` if it has no such moment.
    pub expires: Option<Timestamp>,
    /// What no use and no renewal passes.
    pub hard_end: Option<Timestamp>,
    /// The only address from which it counts.
    pub address: Option<IpAddr>,
    /// A remark, in the words of the flask-usertoken document.
    pub note: Option<String>,
    /// A session that is not enabled is refused whatever its expiry.
    pub enabled: bool,
    /// Counts the changes to it, from 0.
    pub version: i64,
    /// When it was ended: a tombstone.
    pub revoked: Option<Timestamp>,
}

impl Session {
    /// Whether it counts at this moment. The one rule; a store's conditional statements say the same in SQL.
    #[must_use]
    pub fn is_live(&self, user: &User, now: Timestamp) -> bool {
        self.revoked.is_none()
            && self.enabled
            && user.enabled
            && self.epoch == user.epoch
            && self.expires.is_none_or(|expires| now < expires)
            && self.hard_end.is_none_or(|end| now < end)
    }
}

/// How long a session lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lifetime {
    /// So long from the login or the renewal.
    Fixed(Duration),
    /// So long from the last use.
    Sliding(Duration),
    /// Until it is ended.
    Unlimited,
}

impl Lifetime {
    /// When a session that is opened, renewed or used now expires.
    #[must_use]
    pub fn expiry(self, now: Timestamp, hard_end: Option<Timestamp>) -> Option<Timestamp> {
        let expires = match self {
            Self::Fixed(span) | Self::Sliding(span) => Some(now.plus(span)),
            Self::Unlimited => None,
        };
        match (expires, hard_end) {
            (Some(expires), Some(end)) => Some(expires.min(end)),
            (expires, end) => expires.or(end),
        }
    }
}

/// What a login does to the user's other sessions in the same dialect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rivals {
    /// They go on.
    Allow,
    /// A living one goes on under a new secret; its old secret is dead. With none, a new session.
    Possess,
    /// They end.
    Kill,
}

/// From where a session counts, seen from the address of its login.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Binding {
    /// From that address only.
    Exact,
    /// From its network: the first 24 bits of an IPv4 address, the first 64 of an IPv6 address.
    Prefix,
    /// From anywhere; a use from another address is told to the observer.
    Log,
    /// From anywhere.
    Off,
}

impl Binding {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Exact, Self::Prefix, Self::Log, Self::Off];

    /// Its name in a configuration.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::Prefix => "prefix",
            Self::Log => "log",
            Self::Off => "off",
        }
    }

    /// Whether `here` is foreign to a session that was opened from `home`. An address that is not known is the same as itself alone.
    #[must_use]
    pub fn is_foreign(self, home: Option<IpAddr>, here: Option<IpAddr>) -> bool {
        match self {
            Self::Exact | Self::Log => home != here,
            Self::Prefix => home.map(network) != here.map(network),
            Self::Off => false,
        }
    }
}

/// The first address of the network that an address is of.
fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(address) => IpAddr::V4(Ipv4Addr::from_bits(address.to_bits() & (u32::MAX << 8))),
        IpAddr::V6(address) => {
            IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64)))
        }
    }
}

/// The rules under which a dialect's sessions live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// The lifetime of a use; a login may ask for another.
    pub lifetime: Lifetime,
    /// The hard end, from the login.
    pub max_lifetime: Option<Duration>,
    /// From where a session counts.
    pub bind_address: Binding,
    /// Whether the first request that shows an ended session hears so, and later ones that it is unknown.
    pub tell_end_once: bool,
}

/// A session about to be opened or renewed: what a dialect may write into its credential.
#[derive(Debug, Clone, Copy)]
pub struct Grant<'g> {
    /// Whose session.
    pub user: &'g User,
    /// Now.
    pub now: Timestamp,
    /// When the session, or its renewal, expires.
    pub expires: Option<Timestamp>,
}

/// A fresh credential.
#[derive(Debug, Clone)]
pub struct Minted {
    /// What the client gets.
    pub secret: Secret,
    /// What is stored of it.
    pub digest: Digest,
    /// The 1010-cookie wire's name for the session.
    pub sid: Option<String>,
}

/// How one dialect makes its credentials, and the terms of its sessions. Runs on the hashing threads, so signing may take its time.
pub trait Mint: fmt::Debug + Send + Sync + 'static {
    /// The dialect's name, which separates its digests from the others'.
    fn dialect(&self) -> &'static str;

    /// The rules under which its sessions live.
    fn terms(&self) -> Terms;

    /// Makes the credential of a new session.
    ///
    /// # Errors
    /// The source of randomness failed.
    fn mint(&self, grant: &Grant<'_>, entropy: &dyn Entropy) -> Result<Minted, EntropyError>;

    /// Whether a renewal hands out a new credential for the same session.
    fn remints(&self) -> bool {
        false
    }

    /// Makes the new credential of a renewed session, if [`Self::remints`].
    ///
    /// # Errors
    /// The credential cannot be made.
    fn remint(&self, _grant: &Grant<'_>, shown: &Credential) -> Result<Secret, Failure> {
        Ok(shown.secret.clone())
    }
}

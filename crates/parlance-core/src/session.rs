//! Sessions, their lifetimes, and the issuers of their credentials.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use uuid::Uuid;

use crate::ports::Entropy;
use crate::{Credential, Digest, IssueError, Secret, Timestamp, User, UserId};

/// The id of a session. Never travels on a dialect's wire and opens nothing.
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
    /// The dialect that opened the session, and the only one in which its credential counts.
    pub dialect: String,
    /// The user of the session.
    pub user: UserId,
    /// The user's epoch when the session was opened.
    pub epoch: i64,
    /// The digest of the secret.
    pub digest: Digest,
    /// The session number of the 1010-cookie wire: a string of digits, unique among the living.
    pub public_id: Option<String>,
    /// When the session was opened.
    pub created: Timestamp,
    /// When a use last slid the expiry, or a renewal or a login that took over moved the expiry; `None` until then. A
    /// use that slides nothing is not noted.
    pub last_used: Option<Timestamp>,
    /// From this moment on the session is dead; `None` if there is no such moment.
    pub expires: Option<Timestamp>,
    /// The end that no use and no renewal passes.
    pub hard_end: Option<Timestamp>,
    /// The address of the login, to which the dialect's [`AddressBinding`] binds the session.
    pub address: Option<IpAddr>,
    /// A remark, in the words of the flask-usertoken document.
    pub note: Option<String>,
    /// A session that is not enabled is refused, regardless of its expiry.
    pub enabled: bool,
    /// Counts the changes to the session, from 0.
    pub version: i64,
    /// When the session was ended: a tombstone.
    pub revoked: Option<Timestamp>,
}

impl Session {
    /// Whether the session is active at this moment. The one rule; a store's conditional statements say the same in
    /// SQL.
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
    /// Until the session is ended.
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

/// The effect of a login on the user's other sessions in the same dialect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConcurrentSessions {
    /// The others go on.
    Allow,
    /// Take over: the newest living one goes on under a new secret, and its old secret is dead. With none, a new
    /// session.
    TakeOver,
    /// The others end.
    EndOthers,
}

/// Address binding: the addresses from which a session is valid, relative to the address of its login.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AddressBinding {
    /// That address only.
    Exact,
    /// Its network: the first 24 bits of an IPv4 address, the first 64 of an IPv6 address.
    Prefix,
    /// Any address; a use from another address is reported to the observer.
    Log,
    /// Any address.
    Off,
}

impl AddressBinding {
    /// Every variant.
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

    /// Whether the address of a request is unexpected for a session that was opened from the address of the login. An
    /// unknown address equals only another unknown address.
    #[must_use]
    pub fn is_unexpected(
        self,
        login_address: Option<IpAddr>,
        request_address: Option<IpAddr>,
    ) -> bool {
        match self {
            Self::Exact | Self::Log => login_address != request_address,
            Self::Prefix => login_address.map(network) != request_address.map(network),
            Self::Off => false,
        }
    }
}

/// The first address of an address's network.
fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(address) => IpAddr::V4(Ipv4Addr::from_bits(address.to_bits() & (u32::MAX << 8))),
        IpAddr::V6(address) => {
            IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64)))
        }
    }
}

/// The rules for the sessions of a dialect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionPolicy {
    /// The lifetime from a use; a login may ask for another.
    pub lifetime: Lifetime,
    /// The span from the login to the hard end.
    pub max_lifetime: Option<Duration>,
    /// The address binding of the sessions.
    pub address_binding: AddressBinding,
    /// Whether the end of a session is reported once: the first request with the credential of an ended session hears
    /// of the end, and later ones hear that the credential is unknown. The request that drops the row is the first, so
    /// that across nodes exactly one hears of the end, without a lock. A request from an unexpected address, and a
    /// login that merely presents the token, drop nothing.
    pub report_end_once: bool,
}

/// The input of a token issuer about a session to be opened or renewed: the facts that a dialect may write into its
/// credential.
#[derive(Debug, Clone, Copy)]
pub struct IssueContext<'g> {
    /// The user of the session.
    pub user: &'g User,
    /// Now.
    pub now: Timestamp,
    /// When the session, or its renewal, expires.
    pub expires: Option<Timestamp>,
}

/// A new credential.
#[derive(Debug, Clone)]
pub struct IssuedToken {
    /// The secret for the client.
    pub secret: Secret,
    /// The digest for the store.
    pub digest: Digest,
    /// The session number of the 1010-cookie wire.
    pub public_id: Option<String>,
}

/// Issues the credentials of one dialect, and states the policy of its sessions. Runs on the hashing threads, so
/// signing may take its time.
pub trait TokenIssuer: fmt::Debug + Send + Sync + 'static {
    /// The dialect's name, which separates its digests from the others'.
    fn dialect(&self) -> &'static str;

    /// The rules for the sessions of the dialect.
    fn session_policy(&self) -> SessionPolicy;

    /// Makes the credential of a new session.
    ///
    /// # Errors
    /// There is no random secret, or the token cannot be signed.
    fn issue(
        &self,
        context: &IssueContext<'_>,
        entropy: &dyn Entropy,
    ) -> Result<IssuedToken, IssueError>;

    /// Whether a renewal hands out a new credential for the same session.
    fn reissues_on_renewal(&self) -> bool {
        false
    }

    /// Makes the new credential of a renewed session, if [`Self::reissues_on_renewal`].
    ///
    /// # Errors
    /// The credential cannot be made.
    fn reissue(
        &self,
        _context: &IssueContext<'_>,
        shown: &Credential,
    ) -> Result<Secret, IssueError> {
        Ok(shown.secret.clone())
    }
}

//! Observability: the port that receives events for metrics and logs.

use std::net::IpAddr;

use crate::{Failure, InternalError, UserId};

/// A decision of the authority, for metrics and logs.
#[derive(Debug, Clone, Copy)]
pub struct Event<'e> {
    /// The dialect of the request.
    pub dialect: &'static str,
    /// The requested action.
    pub action: Action,
    /// The refusal, if the request was refused.
    pub failure: Option<Failure>,
    /// The user concerned, if known. Also set for a refusal: for the record, never for the client.
    pub user: Option<UserId>,
    /// That user's own name, for a successful login or logout.
    pub user_name: Option<&'e str>,
    /// The name presented at a login; untrusted.
    pub presented_name: Option<&'e str>,
    /// The client's address.
    pub peer: Option<IpAddr>,
    /// Whether a request from an unexpected address was admitted ([`crate::AddressBinding::Log`]).
    pub unexpected_address: bool,
    /// How many failures in a row on the account came before this login, as far as known.
    pub previous_failures: i64,
    /// Whether a login was refused because the user's stored hash is not readable by this program: no password matches
    /// such a hash.
    pub unreadable_hash: bool,
}

impl Event<'_> {
    /// The reason of the refusal in one word, for metrics and logs; never for a wire.
    #[must_use]
    pub fn reason(&self) -> Option<&'static str> {
        if self.unreadable_hash { Some(UNREADABLE_HASH) } else { self.failure.map(Failure::reason) }
    }
}

/// The reason of [`Event::unreadable_hash`].
pub const UNREADABLE_HASH: &str = "unreadable_hash";

/// The requested action, as metrics name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// A login.
    Login,
    /// A use of a session.
    Check,
    /// A renewal.
    Renewal,
    /// A logout.
    Logout,
}

/// Why a request was refused before the authority was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TurnedAway {
    /// The request has no credential that can be looked up: none at all, or one that no issuer can have made.
    NoCredential,
    /// The request is no call of its dialect: unreadable, or a call that is not served.
    Malformed,
    /// The body has a media type that the call does not accept: JSON in place of a form, for example.
    WrongMediaType,
    /// The request lacks a required field: no field has that name.
    MissingField,
}

impl TurnedAway {
    /// All reasons.
    pub const ALL: [Self; 4] =
        [Self::NoCredential, Self::Malformed, Self::WrongMediaType, Self::MissingField];

    /// The reason in one word, for metrics and logs.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::NoCredential => Failure::NoCredential.reason(),
            Self::Malformed => "malformed",
            Self::WrongMediaType => "wrong_media_type",
            Self::MissingField => "missing_field",
        }
    }
}

/// A receiver of events for metrics and logs.
pub trait Observer: Send + Sync + 'static {
    /// Records a decision of the authority.
    fn observe(&self, event: &Event<'_>);

    /// Records a request that a dialect refused without asking the authority.
    fn turned_away(&self, dialect: &'static str, why: TurnedAway, peer: Option<IpAddr>);

    /// Records the cause of a [`Failure::Busy`] or [`Failure::Unavailable`]. Called for each failed call, so an observer
    /// that logs the error must bound the log rate.
    fn internal_error(&self, error: &InternalError);
}

/// Records nothing.
#[derive(Debug, Clone, Copy)]
pub struct NoopObserver;

impl Observer for NoopObserver {
    fn observe(&self, _: &Event<'_>) {}

    fn turned_away(&self, _: &'static str, _: TurnedAway, _: Option<IpAddr>) {}

    fn internal_error(&self, _: &InternalError) {}
}

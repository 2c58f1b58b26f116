//! Who counts and logs, and what he is told.

use std::net::IpAddr;

use super::StoreError;
use crate::{Failure, UserId};

/// What happened, for those who count and log.
#[derive(Debug, Clone, Copy)]
pub struct Event<'e> {
    /// The dialect it came through.
    pub dialect: &'static str,
    /// What was asked.
    pub action: Action,
    /// The refusal, if it was refused.
    pub failure: Option<Failure>,
    /// The user that it was about, where he is known: of a refusal too, for the record and never for the client.
    pub user: Option<UserId>,
    /// That user's own name, of a login and a logout that were done.
    pub name: Option<&'e str>,
    /// The name that was shown at a login; untrusted.
    pub shown: Option<&'e str>,
    /// The client's address.
    pub peer: Option<IpAddr>,
    /// Whether it was let pass though the address is foreign to the session ([`crate::Binding::Log`]).
    pub foreign: bool,
    /// How many failures in a row on the account came before this login, as far as it is known.
    pub failures: i64,
    /// Whether a login was refused because the user's stored hash is none that this program can read: no password opens it.
    pub unreadable_hash: bool,
}

impl Event<'_> {
    /// Why it was refused, in one word, for metrics and logs; never for a wire.
    #[must_use]
    pub fn reason(&self) -> Option<&'static str> {
        if self.unreadable_hash { Some(UNREADABLE_HASH) } else { self.failure.map(Failure::reason) }
    }
}

/// The reason of [`Event::unreadable_hash`].
pub const UNREADABLE_HASH: &str = "unreadable_hash";

/// What was asked, in the words of the counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// A login.
    Login,
    /// A use.
    Check,
    /// A renewal.
    Renewal,
    /// A logout.
    End,
}

/// Why a request was refused before the authority was asked anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TurnedAway {
    /// It shows no credential that could be looked up: none, or one that nobody can have minted.
    NoCredential,
    /// It is no call of its dialect: it cannot be read, or asks for what is not served.
    Malformed,
    /// Its body is of a media type that the call does not take: JSON in place of a form, say.
    WrongMediaType,
    /// It lacks a field that the call cannot do without: it has none of that name.
    MissingField,
}

impl TurnedAway {
    /// All of them.
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

/// Somebody who counts and logs.
pub trait Observer: Send + Sync + 'static {
    /// Takes note of what the authority decided.
    fn observe(&self, event: &Event<'_>);

    /// Takes note of a request that a dialect refused by itself.
    fn turned_away(&self, _dialect: &'static str, _why: TurnedAway, _peer: Option<IpAddr>) {}

    /// Takes note of why the store did not answer. Called for each call that fails, so whoever logs it must bound how often.
    fn store_failed(&self, _error: &StoreError) {}
}

/// Takes no note.
#[derive(Debug, Clone, Copy)]
pub struct Unobserved;

impl Observer for Unobserved {
    fn observe(&self, _: &Event<'_>) {}
}

//! What a wire format is to parlance.
//!
//! A [`Dialect`] turns the bytes of a [`Request`] into a call in its own words, the call into a [`Command`] of the core, and what the
//! core says back into the bytes of a [`Response`]. It is pure: no I/O, no clock, no entropy, no async. [`Desk`] puts a dialect and an
//! [`Authority`](parlance_core::Authority) together; everything that serves, guards, tests or fuzzes a dialect comes through it.

mod basic;
mod desk;
mod form;
mod guard;
mod json;
mod multipart;
mod object;
mod settings;

#[cfg(feature = "testing")]
pub mod testing;
#[cfg(test)]
mod tests;
mod undoubled;
mod wire;

use std::fmt;

pub use basic::{basic, encode_user_and_secret, user_and_secret};
pub use desk::{Answer, Caller, Desk, Refusal, Service};
pub use form::{Fields, FormError};
pub use guard::Guard;
pub use json::{calendar_date, from_json, moment};
pub use multipart::{Multipart, Part};
pub use object::Object;
use parlance_core::ports::TurnedAway;
use parlance_core::{
    Command, Credential, Failure, Mint, Outcome, Secret, Session, Timestamp, User,
};
pub use settings::{Configure, Kind, Setting, Value, Values};
pub use wire::{Header, Request, Response, Shown};

/// How long a client should wait before it tries again, in seconds (`Retry-After`, RFC 9110, 10.2.3), when the store is away or too
/// much is waiting.
pub const RETRY_AFTER: &str = "1";

/// The same for a client from whose address too many logins failed: by then one more is borne, as a rule.
pub const RETRY_AFTER_THROTTLED: &str = "10";

/// The longest body that is read, in bytes.
pub const BODY_LIMIT: usize = 16 * 1024;

/// A body that was not read to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unread {
    /// It is longer than [`BODY_LIMIT`].
    TooLong,
    /// It took longer than ten seconds.
    TooSlow,
    /// The connection broke, or the framing was wrong.
    Broken,
}

impl Unread {
    /// All of them, for tests that must cover each.
    pub const ALL: [Self; 3] = [Self::TooLong, Self::TooSlow, Self::Broken];

    /// The status that HTTP has for it (RFC 9110, 15.5.14, 15.5.9, 15.5.1); a wire may have another.
    #[must_use]
    pub fn status(self) -> u16 {
        match self {
            Self::TooLong => 413,
            Self::TooSlow => 408,
            Self::Broken => 400,
        }
    }
}

impl fmt::Display for Unread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooLong => "Request body too large.",
            Self::TooSlow => "Request body took too long.",
            Self::Broken => "Request body could not be read.",
        })
    }
}

/// A request that a dialect answers by itself, before the authority is asked anything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    /// What the client hears.
    pub answer: Response,
    /// What the client must change, for the record; `None` where nothing is refused: a page that is the same for everyone.
    pub why: Option<TurnedAway>,
}

impl Rejection {
    /// A refusal for this reason, whatever the words of its answer.
    #[must_use]
    pub fn new(why: TurnedAway, answer: Response) -> Self {
        Self { answer, why: Some(why) }
    }
}

/// A refusal for the reason that its status names. A wire that says more, or hides it behind another status, gives its own.
impl From<Response> for Rejection {
    fn from(answer: Response) -> Self {
        let why = match answer.status {
            401 => Some(TurnedAway::NoCredential),
            415 => Some(TurnedAway::WrongMediaType),
            400.. => Some(TurnedAway::Malformed),
            _ => None,
        };
        Self { answer, why }
    }
}

/// A login wire format.
///
/// The five that come with parlance are five crates of one shape; `docs.md` of each says which document it follows.
pub trait Dialect: Mint {
    /// One parsed call, in this wire's words.
    type Call: fmt::Debug + Send + Sync;

    /// The name: cargo feature, configuration key, vector folder.
    const NAME: &'static str;

    /// The documented paths, for people.
    const PATHS: &'static [&'static str];

    /// Whether a path, as it stands in the request line and without the mount's prefix, belongs to this dialect.
    fn claims(path: &str) -> bool;

    /// Reads a request to a claimed path.
    ///
    /// # Errors
    /// What cannot be read is answered at once, without the core.
    fn decode(&self, request: &Request<'_>) -> Result<Self::Call, Rejection>;

    /// What the call asks of the core.
    fn command(&self, call: &Self::Call) -> Command;

    /// Words the core's answer. `now` is the time that the core was told.
    fn encode(
        &self,
        call: &Self::Call,
        result: Result<&Outcome, &Failure>,
        now: Timestamp,
    ) -> Response;

    /// Whether the credential of a guarded request may stand in its body, as far as its head tells: a guard then reads the body first, and
    /// gives it back to what it guards. The body of `head` is not to be looked at.
    fn needs_body(&self, _head: &Request<'_>) -> bool {
        false
    }

    /// The credential that a guarded request shows, if it shows one that can be read.
    fn present(&self, request: &Request<'_>) -> Option<Credential>;

    /// The credential in what a client holds, as a bare text: a service that was shown it asks about it. How it travels on a request is
    /// for [`Self::present`].
    fn credential(&self, shown: &str) -> Option<Credential>;

    /// What a client puts on a guarded request to show this session: what [`Self::present`] reads.
    fn show(&self, session: &Session, user: &User, secret: &Secret) -> Shown;

    /// How a guarded request is refused.
    fn deny(&self, why: &Failure) -> Response;

    /// How a request is refused whose body was not read to its end.
    fn unread(&self, why: Unread) -> Response;
}

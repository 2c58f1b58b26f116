//! The trait of a dialect: the interface between a login wire format and parlance-core.
//!
//! A [`Dialect`] decodes the bytes of a [`Request`] into a call of its own format, maps the call to a [`Command`] of the core, and encodes
//! the result of the core as the bytes of a [`Response`]. A dialect is pure: no I/O, no clock, no entropy, no async. [`DialectService`] combines a
//! dialect with an [`Authority`](parlance_core::Authority); all code that serves, guards, tests or fuzzes a dialect goes through [`DialectService`].

mod basic;
mod form;
mod guard;
mod json;
mod multipart;
mod service;
mod settings;
mod strict_object;

mod strict_json;
#[cfg(feature = "testing")]
pub mod testing;
#[cfg(test)]
mod tests;
mod wire;

use std::fmt;

pub use basic::{basic_credentials, decode_user_and_secret, encode_user_and_secret};
pub use form::{Fields, FormError};
pub use guard::Guard;
pub use json::{format_rfc3339, from_json, to_date_time};
pub use multipart::{Multipart, Part};
use parlance_core::ports::TurnedAway;
use parlance_core::{
    Command, Credential, Failure, Outcome, Secret, Session, Timestamp, TokenIssuer, User,
};
pub use service::{BoxFuture, Caller, DialectHandler, DialectService, Refusal};
pub use settings::{Configure, Setting, SettingKind, SettingValue, SettingValues};
pub use strict_object::StrictObject;
pub use wire::{Header, Request, RequestCredential, Response};

/// How long a client should wait before a retry, in seconds (`Retry-After`, RFC 9110, 10.2.3), while the store is unavailable or a full
/// queue sheds load.
pub const RETRY_AFTER: &str = "1";

/// How long a client should wait before a retry, in seconds, after too many failed logins from its address. By then the rate limit admits
/// one more failure, as a rule.
pub const RETRY_AFTER_THROTTLED: &str = "10";

/// The maximum length of a request body, in bytes.
pub const MAX_BODY_BYTES: usize = 16 * 1024;

/// The reason why a request body was not read to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unread {
    /// The body is longer than [`MAX_BODY_BYTES`].
    TooLong,
    /// The body took longer than ten seconds to arrive.
    TooSlow,
    /// The connection broke, or the framing was wrong.
    Broken,
}

impl Unread {
    /// All variants, for tests that must cover each.
    pub const ALL: [Self; 3] = [Self::TooLong, Self::TooSlow, Self::Broken];

    /// The HTTP status of this error (RFC 9110, 15.5.14, 15.5.9, 15.5.1); a dialect may answer with another.
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

/// A request that a dialect answers by itself, without a call to the authority.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    /// The response to the client.
    pub response: Response,
    /// The part of the request that the client must correct, for logs and metrics; `None` where nothing is refused, as for a fixed page.
    pub reason: Option<TurnedAway>,
}

impl Rejection {
    /// A refusal for this reason; the response may have any status and body.
    #[must_use]
    pub fn new(reason: TurnedAway, response: Response) -> Self {
        Self { response, reason: Some(reason) }
    }
}

/// A refusal for the reason that the status implies. A dialect that knows more, or hides the reason behind another status, gives its own.
impl From<Response> for Rejection {
    fn from(response: Response) -> Self {
        let reason = match response.status {
            401 => Some(TurnedAway::NoCredential),
            415 => Some(TurnedAway::WrongMediaType),
            400.. => Some(TurnedAway::Malformed),
            _ => None,
        };
        Self { response, reason }
    }
}

/// A login wire format.
///
/// The five dialects of parlance are five crates of one layout; `docs.md` in each names the document that the dialect follows.
pub trait Dialect: TokenIssuer {
    /// One parsed call of this wire format.
    type Call: fmt::Debug + Send + Sync;

    /// The name: cargo feature, configuration key, and folder of the conformance vectors.
    const NAME: &'static str;

    /// The documented paths, for human readers.
    const PATHS: &'static [&'static str];

    /// Whether a path, as it stands in the request line and without the mount's prefix, belongs to this dialect.
    fn claims(path: &str) -> bool;

    /// Decodes a request to a claimed path.
    ///
    /// # Errors
    /// A request that cannot be decoded is answered at once, without the core.
    fn decode(&self, request: &Request<'_>) -> Result<Self::Call, Rejection>;

    /// The command of the core for this call.
    fn command(&self, call: &Self::Call) -> Command;

    /// Encodes the result of the core. `now` is the time that was passed to the core.
    fn encode(
        &self,
        call: &Self::Call,
        result: Result<&Outcome, &Failure>,
        now: Timestamp,
    ) -> Response;

    /// Whether the credential of a guarded request may stand in the request body, as far as the head tells. A guard then reads the body
    /// first, and restores the body for the guarded handler. The body of `head` must not be read.
    fn needs_body(&self, _head: &Request<'_>) -> bool {
        false
    }

    /// The credential of a guarded request; `None` if there is none that can be parsed.
    fn extract_credential(&self, request: &Request<'_>) -> Option<Credential>;

    /// Parses the bare text of a credential, for introspection and revocation by a service that received the text from a client.
    /// [`Self::extract_credential`] handles the transport on a request.
    fn parse_credential(&self, shown: &str) -> Option<Credential>;

    /// The headers or the body that carry the credential of this session on a guarded request, as [`Self::extract_credential`] reads them.
    fn attach_credential(
        &self,
        session: &Session,
        user: &User,
        secret: &Secret,
    ) -> RequestCredential;

    /// The response that refuses a guarded request.
    fn challenge(&self, why: &Failure) -> Response;

    /// The response to a request with a body that was not read to its end.
    fn body_error(&self, why: Unread) -> Response;
}

//! The rules of parlance, and nothing else.
//!
//! An [`Authority`] decides about users, credentials and sessions. Its callers pass the time and the peer's address,
//! and the ports of [`ports`] lead to everything else outside: no HTTP, no SQL, no serialisation, no clock and no
//! entropy live below this crate. Under a given clock and entropy an authority is deterministic.
//!
//! A request is a [`Command`]; the answer is an [`Outcome`] or a [`Failure`]. Dialects translate bytes into commands,
//! and answers into bytes.

mod authority;
mod client;
mod command;
pub mod connections;
mod external_users;
mod failure;
mod hashing;
mod internal_error;
mod introspect;
pub mod lockout;
mod login;
mod name;
mod operator;
mod password;
pub mod ports;
mod rate_limit;
#[cfg(any(test, feature = "testing"))]
pub mod reference;
mod secret;
mod session;
#[cfg(any(test, feature = "suite"))]
pub mod suite;
mod time;
mod user;

#[cfg(test)]
mod tests;

pub use authority::{Authority, Context, DEFAULT_SESSION_LIMIT};
pub use client::Client;
pub use command::{Command, Credential, Login, Outcome, PasswordCredentials};
pub use failure::Failure;
pub use hashing::HashQueue;
pub use internal_error::{HashingError, InternalError, IssueError};
pub use lockout::LockoutPolicy;
pub use name::{CanonicalName, ForbiddenChar, NameError, UserName, canonical_name};
pub use operator::{ImportOutcome, ImportedUser, NewUser, OperatorError};
pub use password::{HashError, PasswordHash, PasswordPolicy, PolicyError};
pub use rate_limit::{RateLimitPolicy, RateLimiter};
pub use secret::{Digest, LOWER_AND_DIGITS, Secret, UPPER, random_hex, random_string, uuid_v4};
pub use session::{
    AddressBinding, ConcurrentSessions, IssueContext, IssuedToken, Lifetime, Session, SessionId,
    SessionPolicy, TokenIssuer,
};
pub use time::Timestamp;
pub use user::{User, UserId};

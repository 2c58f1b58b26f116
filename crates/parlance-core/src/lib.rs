//! The rules of parlance, and nothing else.
//!
//! An [`Authority`] decides about users, credentials and sessions. It is told the time and the peer's address, and reaches
//! everything outside itself through the ports of [`ports`]: no HTTP, no SQL, no serialisation, no clock and no entropy live below
//! this crate. Under a given clock and entropy it is deterministic.
//!
//! What may be asked is a [`Command`]; what comes back is an [`Outcome`] or a [`Failure`]. Dialects translate bytes into the one and
//! the others into bytes.

mod authority;
mod client;
mod command;
pub mod connections;
mod directory;
mod failure;
mod hashing;
mod inspection;
pub mod lockout;
mod name;
mod opening;
mod operator;
mod password;
pub mod ports;
#[cfg(any(test, feature = "testing"))]
pub mod reference;
mod secret;
mod session;
#[cfg(any(test, feature = "suite"))]
pub mod suite;
mod throttle;
mod time;
mod user;

#[cfg(test)]
mod tests;

pub use authority::{Authority, Context, MAX_SESSIONS_PER_USER};
pub use client::Client;
pub use command::{Command, Credential, Login, Open, Outcome};
pub use failure::Failure;
pub use hashing::HashThreads;
pub use lockout::LockoutPolicy;
pub use name::{CanonicalName, Forbidden, NameError, UserName, canonical_name};
pub use operator::{Imported, ImportedUser, NewUser, OperatorError};
pub use password::{HashError, PasswordHash, PasswordPolicy, PolicyError};
pub use secret::{Digest, LOWER_AND_DIGITS, Secret, UPPER, draw, hex, uuid_v4};
pub use session::{Binding, Grant, Lifetime, Mint, Minted, Rivals, Session, SessionId, Terms};
pub use throttle::{Throttle, ThrottlePolicy};
pub use time::Timestamp;
pub use user::{User, UserId};

//! The shell: the only crate that names actix-web.
//!
//! [`mount`] puts dialects into an app. Everything that a dialect must not know lives here: the routes, the limits of a body's size and
//! time, the time an answer may take, and whose word counts for the client's address.

mod mount;
mod peer;
#[cfg(test)]
mod tests;

pub use mount::{
    ANSWER_PATIENCE, BODY_LIMIT, BODY_PATIENCE, Mount, Served, Shell, body, cut_off, mount, respond,
};
pub use peer::TrustedProxies;

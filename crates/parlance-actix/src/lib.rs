//! The shell: the only crate that names actix-web.
//!
//! [`mount`] puts dialects into an app, [`guard`](guard()) lets only requests with a session through to your own handlers, and [`Caller`] tells
//! them whose it is. Everything that a dialect must not know lives here: the routes, the limits of a body's size and
//! time, the time an answer may take, and whose word counts for the client's address.

mod caller;
mod exchange;
mod guard;
mod mount;
mod peer;
#[cfg(test)]
mod tests;
mod turn;

pub use caller::{Caller, Unguarded};
pub use exchange::{ANSWER_PATIENCE, BODY_LIMIT, BODY_PATIENCE, body, cut_off, respond};
pub use guard::{Guarded, GuardedService, guard};
pub use mount::{Mount, Served, Shell, mount};
pub use peer::TrustedProxies;
pub use turn::soon;

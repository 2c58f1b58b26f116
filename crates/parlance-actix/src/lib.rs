//! The shell: the only crate that names actix-web.
//!
//! [`mount`] puts dialects into an app, [`Guard`] stands before an app's own handlers, and [`Caller`] tells them who calls. Everything
//! that a dialect must not know lives here: the routes, the limits of a body's size and time, the time an answer may take, and whose
//! word counts for the client's address.

mod caller;
mod connection;
mod guard;
mod mount;
mod peer;
mod server;
mod shell;
#[cfg(test)]
mod tests;
mod turn;
mod unread;

pub use caller::{Caller, Unguarded};
pub use guard::{Guard, Guarded};
pub use mount::{Mount, Served, Site, mount};
pub use peer::TrustedProxies;
pub use server::BoundedServer;
pub use shell::{
    ANSWER_PATIENCE, BODY_LIMIT, BODY_PATIENCE, Head, Shell, Silence, answered, body, cut_off,
    respond, silent,
};
pub use turn::soon;
pub use unread::AnswerBody;

//! The shell: the only crate that names actix-web.
//!
//! [`mount`] puts dialects into an app, [`AuthGuard`] stands before an app's own handlers, and [`Caller`] tells handlers
//! the caller's identity. Everything that a dialect must not know lives here: the routes, the limits of a body's size
//! and time, the deadline of an answer, and the trusted proxies that may state the client's address.

mod caller;
mod connection;
mod defer;
mod guard;
mod http;
mod mount;
mod server;
#[cfg(test)]
mod tests;
mod trusted_proxies;
mod unread_body;

pub use caller::{Caller, MissingGuard};
pub use defer::defer;
pub use guard::{AuthGuard, AuthGuardMiddleware};
pub use http::{
    AppContext, BODY_TIMEOUT, HandlerFailure, MAX_BODY_BYTES, RESPONSE_TIMEOUT, RequestHead,
    await_response, failure_response, read_limited_body, respond, respond_and_close,
};
pub use mount::{DialectSet, Mount, ServedBy, mount};
pub use server::BoundedServer;
pub use trusted_proxies::TrustedProxies;
pub use unread_body::ResponseBody;

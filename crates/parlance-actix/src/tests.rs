//! Claims about what an app is given: over sockets, before dialects of the real kind.

mod caller;
mod guard;
mod peer;
mod server;
mod unread;

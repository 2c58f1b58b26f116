//! Claims about the interface of an app: over sockets, with real dialects.

mod caller;
mod guard;
mod server;
mod trusted_proxies;
mod unread_body;

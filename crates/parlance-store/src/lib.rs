#![doc = include_str!("docs.md")]

#[cfg(not(any(feature = "sqlite", feature = "postgres")))]
compile_error!("parlance-store needs a database: enable its feature `sqlite` or `postgres`");

mod any;
mod cap;
mod changes;
mod checks;
mod connection;
mod fragments;
mod gather;
mod ladder;
mod lane;
mod live;
mod lockout;
mod many;
mod migrations;
mod options;
mod queue;
#[cfg(feature = "sqlite")]
mod readers;
mod reports;
mod rows;
mod schema;
mod services;
mod store;
mod touches;
mod turn;
mod url;
mod writer;

#[cfg(test)]
mod tests;

pub use migrations::{make, migrate};
pub use options::{OpenError, Options, Soon};
pub use store::{Database, advice, open};
pub use url::UrlError;

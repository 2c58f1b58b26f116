#![doc = include_str!("docs.md")]

#[cfg(not(any(feature = "sqlite", feature = "postgres")))]
compile_error!("parlance-store needs a database: enable its feature `sqlite` or `postgres`");

mod any;
mod backup;
mod cap;
mod changes;
mod checks;
mod connection;
#[cfg(feature = "sqlite")]
mod file;
mod fragments;
mod gather;
mod ladder;
mod lane;
mod live;
mod lockout;
mod many;
mod migrations;
mod options;
#[cfg(feature = "sqlite")]
mod owner;
mod patience;
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

pub use backup::{BackedUp, BackupError, Restored, backup, partial, restore};
pub use migrations::{is_there, make, migrate};
pub use options::{FILE_REPLACED, OpenError, Options, Soon, Told};
pub use store::{Database, advice, open};
pub use url::UrlError;

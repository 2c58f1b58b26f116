#![doc = include_str!("docs.md")]

#[cfg(not(any(feature = "sqlite", feature = "postgres")))]
compile_error!("parlance-store needs a database: enable its feature `sqlite` or `postgres`");

mod attempts;
mod backend;
mod backup;
mod batch_order;
mod bulk_update;
mod changes;
mod coalesce;
mod connection;
mod failure_budget;
#[cfg(feature = "sqlite")]
mod file;
mod fragments;
mod keys_and_clients;
mod liveness;
mod lockout;
mod lookups;
mod migrations;
mod options;
#[cfg(feature = "sqlite")]
mod owner;
mod queue;
#[cfg(feature = "sqlite")]
mod readers;
mod reports;
mod revocation;
mod rows;
mod schema;
mod session_limit;
mod store;
mod touches;
mod url;
mod worker;
mod writes;

#[cfg(test)]
mod tests;

pub use backup::{BackupError, BackupSummary, RestoreSummary, backup, partial_file, restore};
pub use migrations::{database_exists, migrate, migrate_if_empty};
pub use options::{Defer, FILE_REPLACED_PREFIX, FileReplacedCallback, OpenError, Options};
pub use store::{Database, open, security_warning};
pub use url::UrlError;

//! parlance for your own actix-web app: a cargo feature for each dialect, one table that registers them, and everything an integrator
//! needs from the other crates.
//!
//! A feature makes a dialect available; [`table::TABLE`] lists those that are. Time and randomness come from [`system`], or from a
//! clock and entropy of your own.

#[cfg(any(feature = "axxon-jsonrpc", feature = "assertions"))]
pub mod assertion;
#[cfg(any(feature = "axxon-jsonrpc", feature = "assertions"))]
pub mod keys;
pub mod setup;
pub mod system;
pub mod table;
#[cfg(feature = "testing")]
pub mod testing;

/// The shell: dialects in an actix-web app.
pub use parlance_actix as actix;
/// The native gRPC of axxon-jsonrpc, beside the app.
#[cfg(feature = "axxon-grpc")]
pub use parlance_axxon_grpc as axxon_grpc;
/// The rules: users, credentials, sessions.
pub use parlance_core as core;
/// What a wire format is.
pub use parlance_dialect as dialect;
/// SQLite and PostgreSQL.
#[cfg(any(feature = "sqlite", feature = "postgres"))]
pub use parlance_store as store;
pub use setup::Setup;

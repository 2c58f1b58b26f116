#![doc = include_str!("docs.md")]

#[cfg(any(feature = "axxon-jsonrpc", feature = "assertions"))]
pub mod assertion;
pub mod builder;
pub mod clock;
#[cfg(any(feature = "axxon-jsonrpc", feature = "assertions"))]
pub mod keys;
pub mod maintenance;
pub mod system;
pub mod table;
#[cfg(feature = "testing")]
pub mod testing;

pub use builder::Builder;
/// The shell: dialects in an actix-web app.
pub use parlance_actix as actix;
/// The native gRPC of axxon-jsonrpc, beside the app.
#[cfg(feature = "axxon-grpc")]
pub use parlance_axxon_grpc as axxon_grpc;
/// The rules: users, credentials, sessions.
pub use parlance_core as core;
/// The traits and types of a wire format.
pub use parlance_dialect as dialect;
/// SQLite and PostgreSQL.
#[cfg(any(feature = "sqlite", feature = "postgres"))]
pub use parlance_store as store;

/// The page for integrators. Its examples are compiled and run with the others.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/integrating.md")]
struct Integrating;

//! The real binary with real clients, databases and faults.
//!
//! Every test starts `parlance` itself, in a folder and on a database of its own, and talks to the server as clients
//! do: over sockets, with `curl`, with the Python clients that the documents print. Nothing of parlance is linked.
//! `cargo xtask test` runs the tests. By hand the tests need `PARLANCE_TEST_POSTGRES`, the URL of a PostgreSQL server
//! on which databases may be made.

#[cfg(test)]
mod harness;

#[cfg(test)]
mod brute_force;
#[cfg(test)]
mod client_address;
#[cfg(test)]
mod client_quirks;
#[cfg(test)]
mod clients;
#[cfg(test)]
mod commands;
#[cfg(test)]
mod configuration;
#[cfg(test)]
mod conformance;
#[cfg(test)]
mod connections;
#[cfg(test)]
mod database_outage;
#[cfg(test)]
mod demo;
#[cfg(test)]
mod examples;
#[cfg(test)]
mod external_crate;
#[cfg(test)]
mod forward_auth;
#[cfg(test)]
mod graceful_shutdown;
#[cfg(test)]
mod grpc;
#[cfg(test)]
mod import;
#[cfg(test)]
mod introspection;
#[cfg(test)]
mod issuer;
#[cfg(test)]
mod keys;
#[cfg(test)]
mod log_records;
#[cfg(test)]
mod malformed;
#[cfg(test)]
mod metrics;
#[cfg(test)]
mod nodes;
#[cfg(test)]
mod openapi;
#[cfg(test)]
mod operator;
#[cfg(test)]
mod pooler;
#[cfg(test)]
mod proxies;
#[cfg(test)]
mod reload;
#[cfg(test)]
mod secrets;
#[cfg(test)]
mod sessions;
#[cfg(test)]
mod single_dialect;
#[cfg(test)]
mod sqlite_files;
#[cfg(test)]
mod startup;
#[cfg(test)]
mod thread_limit;
#[cfg(test)]
mod torture;
#[cfg(test)]
mod users;

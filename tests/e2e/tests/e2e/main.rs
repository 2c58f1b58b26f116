//! The real binary with real clients, databases and faults.
//!
//! Every test starts `parlance` itself, in a folder and on a database of its own, and talks to it as clients do: over sockets, with
//! `curl`, with the Python clients that the documents print. Nothing of parlance is linked. `cargo xtask test` runs them; by hand they
//! need `PARLANCE_TEST_POSTGRES`, the URL of a PostgreSQL on which databases may be made.

#[cfg(test)]
mod harness;

#[cfg(test)]
mod alone;
#[cfg(test)]
mod away;
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
mod demo;
#[cfg(test)]
mod examples;
#[cfg(test)]
mod files;
#[cfg(test)]
mod forward_auth;
#[cfg(test)]
mod grpc;
#[cfg(test)]
mod guesses;
#[cfg(test)]
mod habits;
#[cfg(test)]
mod import;
#[cfg(test)]
mod issuer;
#[cfg(test)]
mod keys;
#[cfg(test)]
mod malformed;
#[cfg(test)]
mod nodes;
#[cfg(test)]
mod openapi;
#[cfg(test)]
mod operator;
#[cfg(test)]
mod outside;
#[cfg(test)]
mod peers;
#[cfg(test)]
mod pooler;
#[cfg(test)]
mod proxies;
#[cfg(test)]
mod records;
#[cfg(test)]
mod reload;
#[cfg(test)]
mod scrape;
#[cfg(test)]
mod secrets;
#[cfg(test)]
mod services;
#[cfg(test)]
mod sessions;
#[cfg(test)]
mod start;
#[cfg(test)]
mod stop;
#[cfg(test)]
mod threads;
#[cfg(test)]
mod torture;
#[cfg(test)]
mod users;

//! The infrastructure of the tests: servers, databases, clients, clocks, fault injection.

pub(crate) mod app;
pub(crate) mod binary;
pub(crate) mod clock;
pub(crate) mod cluster;
pub(crate) mod database;
pub(crate) mod faketime;
pub(crate) mod fault_proxy;
pub(crate) mod history;
pub(crate) mod http;
pub(crate) mod lock_holder;
pub(crate) mod log;
pub(crate) mod python;
pub(crate) mod recording_client;
pub(crate) mod server;
pub(crate) mod tmpfs;
pub(crate) mod trace;
pub(crate) mod wires;

pub(crate) use clock::{Rng, StopOnDrop, Stopwatch, sleep};
pub(crate) use database::Database;
pub(crate) use http::{Request, Response};
pub(crate) use server::{Installation, Output, Server};
pub(crate) use wires::{HeldSession, Verdict, Wire};

/// The user of most tests.
pub(crate) const USER: &str = "csmith";
/// The password of [`USER`].
pub(crate) const PASSWORD: &str = "correct horse battery";

/// Runs each of these functions, which take a [`Database`], as a test on SQLite and on PostgreSQL.
macro_rules! on_both_databases {
    ($($claim:ident),* $(,)?) => {
        mod on_sqlite {
            $(#[test] fn $claim() { super::$claim(crate::harness::Database::sqlite()); })*
        }
        mod on_postgres {
            $(#[test] fn $claim() { super::$claim(crate::harness::Database::postgres()); })*
        }
    };
}
pub(crate) use on_both_databases;

//! What the tests stand on.

pub(crate) mod app;
pub(crate) mod binary;
pub(crate) mod client;
pub(crate) mod clock;
pub(crate) mod cluster;
pub(crate) mod database;
pub(crate) mod faketime;
pub(crate) mod history;
pub(crate) mod holder;
pub(crate) mod http;
pub(crate) mod log;
pub(crate) mod mount;
pub(crate) mod python;
pub(crate) mod server;
pub(crate) mod tap;
pub(crate) mod trace;
pub(crate) mod wires;

pub(crate) use clock::{Dice, EndOnDrop, Watch, pace};
pub(crate) use database::Database;
pub(crate) use http::{Request, Response};
pub(crate) use server::{Output, Server, Site};
pub(crate) use wires::{Held, Verdict, Wire};

/// The user that most tests have.
pub(crate) const USER: &str = "csmith";
/// His password.
pub(crate) const PASSWORD: &str = "correct horse battery";

/// Runs each of these functions, which take a [`Database`], as a test on both of them.
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

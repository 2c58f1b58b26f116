//! Faults, each in a short form that runs with all other tests, and in a long one by `cargo xtask torture NAME`.
//!
//! A scenario is a file here and a line below; its name is the file's, and its first line says what it does.

mod checker;
mod clocks;
mod failover;
mod kill;
mod line;
mod nodes;
mod postgres;
mod rolling;
mod upgrade;

use std::time::Duration;

/// Whether this is the long form.
fn is_long() -> bool {
    std::env::var("PARLANCE_TORTURE").is_ok_and(|form| form == "long")
}

/// How often: in the long form as often as `--times` says, if it says so.
fn times(short: usize, long: usize) -> usize {
    if !is_long() {
        return short;
    }
    std::env::var("PARLANCE_TORTURE_TIMES").map_or(long, |times| times.parse().unwrap())
}

/// How long: in the long form as long as `--for` says, if it says so.
#[expect(dead_code, reason = "for scenarios that last")]
fn span(short: Duration, long: Duration) -> Duration {
    if !is_long() {
        return short;
    }
    let told = std::env::var("PARLANCE_TORTURE_SECONDS");
    told.map_or(long, |seconds| Duration::from_secs(seconds.parse().unwrap()))
}

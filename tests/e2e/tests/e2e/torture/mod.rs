//! Faults, each in a short form that runs with all other tests, and in a long one by `cargo xtask torture NAME`.
//!
//! A scenario is a file here and a line below; its name is the file's, and its first line says what it does.

mod checker;
mod checkpoint;
mod clocks;
mod crowd;
mod disk;
mod equal_times;
mod failover;
mod flood;
mod kill;
mod limits;
mod line;
mod locked;
mod log_flood;
mod log_stall;
mod mutations;
mod nodes;
mod pipelining;
mod postgres;
mod races;
mod restore;
mod rolling;
mod slow;
mod strangers;
mod sync;
mod unfinished;
mod upgrade;

use std::fmt;
use std::time::Duration;

use crate::harness::clock::until;
use crate::harness::http::{Connection, exchange};
use crate::harness::{Held, PASSWORD, Server, Verdict, Watch, Wire, pace};

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
fn span(short: Duration, long: Duration) -> Duration {
    if !is_long() {
        return short;
    }
    let told = std::env::var("PARLANCE_TORTURE_SECONDS");
    told.map_or(long, |seconds| Duration::from_secs(seconds.parse().unwrap()))
}

/// How long answers took.
#[derive(Default)]
struct Answers(Vec<Duration>);

impl Answers {
    /// That so many percent took no longer.
    fn percentile(&self, percent: usize) -> Duration {
        let mut all = self.0.clone();
        all.sort_unstable();
        all.get((all.len() * percent).div_ceil(100).saturating_sub(1)).copied().unwrap_or_default()
    }

    /// In the long form, which has the machine to itself, no more than one in a hundred may take longer.
    #[track_caller]
    fn assert_p99(&self, most: Duration) {
        assert!(!is_long() || self.percentile(99) <= most, "{self}");
    }
}

impl fmt::Display for Answers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [median, p99, worst] = [50, 99, 100].map(|percent| self.percentile(percent));
        write!(
            f,
            "{} answers in {median:.1?} (median), {p99:.1?} (p99), {worst:.1?} (worst)",
            self.0.len()
        )
    }
}

/// A good client, which uses a session over a new connection each time, every 20 ms as long as `goes_on`. Each use must count.
fn good_client(server: &Server, held: &Held, goes_on: impl Fn() -> bool) -> Answers {
    let mut answers = Answers::default();
    while goes_on() {
        let watch = Watch::start();
        let answer = Connection::open(server.dialects).unwrap().exchange(&held.using()).unwrap();
        answers.0.push(watch.elapsed());
        assert_eq!(held.used(&answer), Verdict::Yes, "{}", held.wire.name());
        pace(Duration::from_millis(20));
    }
    answers
}

/// Waits until a login works, over a connection of its own.
fn recovers(server: &Server, user: &str) {
    until("a login to work again", || {
        let wire = Wire::Polish;
        let answer = exchange(server.dialects, &wire.login(user, PASSWORD)).ok()?;
        wire.opened(user, &answer).ok()
    });
}

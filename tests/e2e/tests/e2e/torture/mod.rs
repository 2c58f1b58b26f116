//! Fault injection: each fault in a short form with all other tests, and in a long form by `cargo xtask torture NAME`.
//!
//! A scenario is a file here and a line below. The scenario has the name of the file, and the first line of the file
//! describes the scenario: `cargo xtask torture list` prints that line alone.
//!
//! Five hundred kills take a quarter of an hour, and slow clients take any length of time. A test that is run by hand
//! alone rots. So the short forms run with all other tests. `PARLANCE_TORTURE=long` selects the long forms: on the
//! release build, one after the other, without a time limit. Figures that depend on the machine's speed (the time to
//! the first good answer, the latency of a good client) are printed in both forms and asserted only in the long form,
//! which has the machine to itself. Root mounts the small disks and makes the control group. Where no control group can
//! be made, a limit on the memory that the process allocates takes its place, and the figures say which of the two
//! applied. Without the right to mount, the disk scenario fails and says so.

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

use crate::harness::clock::wait_for;
use crate::harness::http::{Connection, exchange};
use crate::harness::{HeldSession, PASSWORD, Server, Stopwatch, Verdict, Wire, sleep};

fn is_long() -> bool {
    std::env::var("PARLANCE_TORTURE").is_ok_and(|form| form == "long")
}

/// The number of repetitions; `--times` overrides the number of the long form.
fn repetitions(short: usize, long: usize) -> usize {
    if !is_long() {
        return short;
    }
    std::env::var("PARLANCE_TORTURE_TIMES").map_or(long, |times| times.parse().unwrap())
}

/// The duration; `--for` overrides the duration of the long form.
fn run_time(short: Duration, long: Duration) -> Duration {
    if !is_long() {
        return short;
    }
    let told = std::env::var("PARLANCE_TORTURE_SECONDS");
    told.map_or(long, |seconds| Duration::from_secs(seconds.parse().unwrap()))
}

/// Durations of answers.
#[derive(Default)]
struct ResponseTimes(Vec<Duration>);

impl ResponseTimes {
    /// The duration that this percentage of answers did not exceed.
    fn percentile(&self, percent: usize) -> Duration {
        let mut all = self.0.clone();
        all.sort_unstable();
        all.get((all.len() * percent).div_ceil(100).saturating_sub(1)).copied().unwrap_or_default()
    }

    /// Asserts the 99th percentile in the long form, which has the machine to itself.
    #[track_caller]
    fn assert_p99(&self, most: Duration) {
        assert!(!is_long() || self.percentile(99) <= most, "{self}");
    }
}

impl fmt::Display for ResponseTimes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [median, p99, worst] = [50, 99, 100].map(|percent| self.percentile(percent));
        write!(
            f,
            "{} answers in {median:.1?} (median), {p99:.1?} (p99), {worst:.1?} (worst)",
            self.0.len()
        )
    }
}

/// A good client: uses a session over a new connection each time, every 20 ms while `goes_on` returns true. Each use
/// must succeed.
fn run_good_client(
    server: &Server,
    held: &HeldSession,
    goes_on: impl Fn() -> bool,
) -> ResponseTimes {
    let mut answers = ResponseTimes::default();
    while goes_on() {
        let watch = Stopwatch::start();
        let answer =
            Connection::open(server.dialects).unwrap().exchange(&held.use_request()).unwrap();
        answers.0.push(watch.elapsed());
        assert_eq!(held.use_verdict(&answer), Verdict::Accepted, "{}", held.wire.name());
        sleep(Duration::from_millis(20));
    }
    answers
}

/// Waits until a login works over a new connection.
fn wait_for_login(server: &Server, user: &str) {
    wait_for("a login to work again", || {
        let wire = Wire::Polish;
        let answer = exchange(server.dialects, &wire.login_request(user, PASSWORD)).ok()?;
        wire.parse_login(user, &answer).ok()
    });
}

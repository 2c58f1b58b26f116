//! The rounds: all contestants take turns, so that a disturbance of the machine hits all of them.

use std::fmt::Display;
use std::net::SocketAddr;

use anyhow::{Result, bail};

use crate::Plan;
use crate::figures::Figures;
use crate::load::{Load, Run};
use crate::server::Server;

/// A measured contestant, with the result of each round.
#[derive(Debug)]
pub(crate) struct Candidate {
    pub(crate) name: &'static str,
    runs: Vec<Run>,
}

impl Candidate {
    pub(crate) fn new(name: &'static str) -> Self {
        Self { name, runs: Vec::new() }
    }

    /// Answers a second.
    pub(crate) fn rates(&self) -> Figures {
        self.figures(|run| run.rate)
    }

    /// The rates of the contestant with this name.
    pub(crate) fn rates_of(all: &[Self], name: &str) -> Figures {
        Self::figures_of(all, name, |run| run.rate)
    }

    /// One figure of each run of the contestant with this name.
    pub(crate) fn figures_of(all: &[Self], name: &str, figure: fn(&Run) -> f64) -> Figures {
        let one = all.iter().find(|one| one.name == name);
        one.map(|one| one.figures(figure)).unwrap_or_default()
    }

    /// One figure of each run.
    pub(crate) fn figures(&self, figure: impl Fn(&Run) -> f64) -> Figures {
        self.runs.iter().map(figure).collect()
    }

    pub(crate) fn record(&mut self, round: u32, run: Run) {
        let Run { rate, p50, p99, .. } = run;
        print_round(
            round,
            self.name,
            format_args!("{rate:>9.0}/s  p50 {p50:.1} ms  p99 {p99:.1} ms"),
        );
        self.runs.push(run);
    }
}

pub(crate) fn print_round(round: u32, name: &str, what: impl Display) {
    println!("round {round}  {name:<24} {what}");
}

/// A server, and the load of checks for the server.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Entry<'e> {
    pub(crate) name: &'static str,
    pub(crate) load: &'e Load,
    pub(crate) at: SocketAddr,
    /// The server and the dialect of the counter that must confirm the figures; `None` for a server without metrics.
    pub(crate) counted: Option<(&'e Server, &'static str)>,
}

/// Measures checks, all entries in turn.
pub(crate) fn checks(plan: Plan, entries: &[Entry<'_>]) -> Result<Vec<Candidate>> {
    warm_up(plan, entries)?;
    in_turn(plan, entries, "checks")
}

/// Sends the load for the warm-up, without measuring.
pub(crate) fn warm_up(plan: Plan, entries: &[Entry<'_>]) -> Result<()> {
    entries.iter().try_for_each(|entry| entry.load.run(entry.at, plan.warm).map(drop))
}

/// Measures the requests that a server counts under this name, all entries in turn.
pub(crate) fn in_turn(plan: Plan, entries: &[Entry<'_>], what: &str) -> Result<Vec<Candidate>> {
    let mut contestants: Vec<_> = entries.iter().map(|entry| Candidate::new(entry.name)).collect();
    for round in 1..=plan.rounds {
        for (contestant, entry) in contestants.iter_mut().zip(entries) {
            contestant.record(round, measure(*entry, what, plan.checks)?);
        }
    }
    Ok(contestants)
}

/// One run. The server's own counter must confirm that every answer granted its request: wrk alone takes every status
/// below 400 for success.
pub(crate) fn measure(entry: Entry<'_>, what: &str, seconds: u32) -> Result<Run> {
    let Entry { name, load, at, counted } = entry;
    let count =
        || counted.map_or(Ok(None), |(server, dialect)| server.granted_count(what, dialect));
    let before = count()?;
    let run = load.run(at, seconds)?;
    let granted = count()?.zip(before).map(|(after, before)| after - before);
    let refused = granted.map_or(0, |granted| run.answers.saturating_sub(granted));
    if run.errors > 0 || refused > 0 {
        bail!(
            "{name}: {what}: {} of {} answers were errors or missing, {refused} were not granted",
            run.errors,
            run.answers
        );
    }
    Ok(run)
}

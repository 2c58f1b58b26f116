//! The rounds: everybody in turn, so that what disturbs the machine disturbs all of them.

use std::fmt::Display;
use std::net::SocketAddr;

use anyhow::{Result, bail};

use crate::Plan;
use crate::figures::Figures;
use crate::load::{Load, Run};
use crate::server::Server;

/// Somebody who is measured, and what came of it in each round.
#[derive(Debug)]
pub(crate) struct Contestant {
    pub(crate) name: &'static str,
    runs: Vec<Run>,
}

impl Contestant {
    pub(crate) fn new(name: &'static str) -> Self {
        Self { name, runs: Vec::new() }
    }

    /// Answers a second.
    pub(crate) fn rates(&self) -> Figures {
        self.figures(|run| run.rate)
    }

    /// The rates of the one of this name.
    pub(crate) fn rates_of(all: &[Self], name: &str) -> Figures {
        Self::figures_of(all, name, |run| run.rate)
    }

    /// One figure of each run of the one of this name.
    pub(crate) fn figures_of(all: &[Self], name: &str, figure: fn(&Run) -> f64) -> Figures {
        let one = all.iter().find(|one| one.name == name);
        one.map(|one| one.figures(figure)).unwrap_or_default()
    }

    /// One figure of each run.
    pub(crate) fn figures(&self, figure: impl Fn(&Run) -> f64) -> Figures {
        self.runs.iter().map(figure).collect()
    }

    pub(crate) fn note(&mut self, round: u32, run: Run) {
        let Run { rate, p50, p99, .. } = run;
        say(round, self.name, format_args!("{rate:>9.0}/s  p50 {p50:.1} ms  p99 {p99:.1} ms"));
        self.runs.push(run);
    }
}

pub(crate) fn say(round: u32, name: &str, what: impl Display) {
    println!("round {round}  {name:<24} {what}");
}

/// Who is loaded with checks, and how.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Entry<'e> {
    pub(crate) name: &'static str,
    pub(crate) load: &'e Load,
    pub(crate) at: SocketAddr,
    /// Whose counter of which dialect must bear it out; nobody's if the server does not count.
    pub(crate) counted: Option<(&'e Server, &'static str)>,
}

/// Checks: all entries in turn.
pub(crate) fn checks(plan: Plan, entries: &[Entry<'_>]) -> Result<Vec<Contestant>> {
    warm(plan, entries)?;
    in_turn(plan, entries, "checks")
}

/// Sends for a while what does not count.
pub(crate) fn warm(plan: Plan, entries: &[Entry<'_>]) -> Result<()> {
    entries.iter().try_for_each(|entry| entry.load.run(entry.at, plan.warm).map(drop))
}

/// What a server counts under this name: all entries in turn.
pub(crate) fn in_turn(plan: Plan, entries: &[Entry<'_>], what: &str) -> Result<Vec<Contestant>> {
    let mut contestants: Vec<_> = entries.iter().map(|entry| Contestant::new(entry.name)).collect();
    for round in 1..=plan.rounds {
        for (contestant, entry) in contestants.iter_mut().zip(entries) {
            contestant.note(round, measure(*entry, what, plan.checks)?);
        }
    }
    Ok(contestants)
}

/// One run. An answer counts only if the server has granted what was asked: its own count must bear out wrk's, which takes every
/// status below 400 for good.
pub(crate) fn measure(entry: Entry<'_>, what: &str, seconds: u32) -> Result<Run> {
    let Entry { name, load, at, counted } = entry;
    let count = || counted.map_or(Ok(None), |(server, dialect)| server.granted(what, dialect));
    let before = count()?;
    let run = load.run(at, seconds)?;
    let granted = count()?.zip(before).map(|(after, before)| after - before);
    let refused = granted.map_or(0, |granted| run.answers.saturating_sub(granted));
    if run.errors > 0 || refused > 0 {
        bail!(
            "{name}: {what}: {} of {} answers were errors or never came, {refused} were not granted",
            run.errors,
            run.answers
        );
    }
    Ok(run)
}

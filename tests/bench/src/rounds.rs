//! The rounds: everybody in turn, so that what disturbs the machine disturbs all of them.

use std::fmt::Display;
use std::net::SocketAddr;

use anyhow::{Result, bail};

use crate::figures::Figures;
use crate::load::{Load, Run};
use crate::machine::cores;
use crate::server::Server;
use crate::{Plan, bare};

/// Somebody who is measured, and what came of it in each round.
#[derive(Debug)]
pub(crate) struct Contestant {
    pub(crate) name: &'static str,
    runs: Vec<Run>,
}

impl Contestant {
    fn new(name: &'static str) -> Self {
        Self { name, runs: Vec::new() }
    }

    /// Answers a second.
    pub(crate) fn rates(&self) -> Figures {
        self.figures(|run| run.rate)
    }

    /// One figure of each run.
    pub(crate) fn figures(&self, figure: impl Fn(&Run) -> f64) -> Figures {
        self.runs.iter().map(figure).collect()
    }

    fn note(&mut self, round: u32, run: Run) {
        let Run { rate, p50, p99, .. } = run;
        say(round, self.name, format_args!("{rate:>9.0}/s  p50 {p50:.1} ms  p99 {p99:.1} ms"));
        self.runs.push(run);
    }
}

fn say(round: u32, name: &str, what: impl Display) {
    println!("round {round}  {name:<24} {what}");
}

/// Who is loaded with checks, and how.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Entry<'e> {
    pub(crate) name: &'static str,
    pub(crate) load: &'e Load,
    pub(crate) at: SocketAddr,
    /// Whose counter must bear it out; nobody's if the server does not count.
    pub(crate) counted: Option<&'e Server>,
}

/// Checks: all entries in turn.
pub(crate) fn checks(plan: Plan, entries: &[Entry<'_>]) -> Result<Vec<Contestant>> {
    for entry in entries {
        entry.load.run(entry.at, plan.warm)?;
    }
    let mut contestants: Vec<_> = entries.iter().map(|entry| Contestant::new(entry.name)).collect();
    for round in 1..=plan.rounds {
        for (contestant, entry) in contestants.iter_mut().zip(entries) {
            contestant.note(round, measure(*entry, "checks", plan.checks)?);
        }
    }
    Ok(contestants)
}

/// Logins: the bare hash first, then the servers.
pub(crate) fn logins(
    plan: Plan,
    load: &Load,
    servers: &[(&'static str, &Server)],
) -> Result<(Figures, Vec<Contestant>)> {
    let mut contestants: Vec<_> = servers.iter().map(|(name, _)| Contestant::new(name)).collect();
    let mut hashes = Vec::new();
    for round in 1..=plan.rounds {
        let rate = bare::run(cores(), plan.logins)?;
        say(round, "argon2id alone", format_args!("{rate:>9.1}/s"));
        hashes.push(rate);
        for (contestant, (name, server)) in contestants.iter_mut().zip(servers) {
            let entry = Entry { name, load, at: server.address, counted: Some(*server) };
            contestant.note(round, measure(entry, "logins", plan.logins)?);
        }
    }
    Ok((hashes.into_iter().collect(), contestants))
}

/// One run. An answer counts only if the server has granted what was asked: its own count must bear out wrk's, which takes every
/// status below 400 for good.
fn measure(entry: Entry<'_>, what: &str, seconds: u32) -> Result<Run> {
    let Entry { name, load, at, counted } = entry;
    let count = || counted.map_or(Ok(None), |server| server.granted(what));
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

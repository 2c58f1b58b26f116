//! Logins beside argon2id alone, and the latency of checks during a flood of logins.

use std::process::{Child, Command, Stdio};

use anyhow::Result;

use crate::checks::{POSTGRES, SQLITE, load};
use crate::figures::Figures;
use crate::load::{Load, Request};
use crate::machine::cores;
use crate::report::{Aimed, Section};
use crate::rounds::{Candidate, Entry, measure, print_round};
use crate::seed::SeededDatabases;
use crate::server::Server;
use crate::{BenchContext, argon2_baseline, counted_entry, seed};

/// Connections that send checks: few enough that the machine is idle at times without the logins.
const CHECK_CONNECTIONS: usize = 4;
/// The average pause before each check, in milliseconds.
const PAUSE_MS: u32 = 5;
/// Number of sessions that are checked.
const CHECK_SESSIONS: usize = 10_000;

pub(crate) fn logins(bench: &mut BenchContext) -> Result<Section> {
    let databases = bench.databases(bench.sessions)?.clone();
    // wrk's threads wait for each other's requests over open connections, which the server closes after five idle
    // seconds.
    let some = SeededDatabases {
        secrets: databases.secrets.iter().take(CHECK_SESSIONS).cloned().collect(),
        ..databases.clone()
    };
    let checks = load(&bench.home, &some, "/login")?
        .with_connections(CHECK_CONNECTIONS)
        .with_pause(PAUSE_MS);
    let forms = seed::login_forms().map(|form| Request::form("/login", &[], &form));
    // Enough connections that no hashing thread ever idles, and few enough that no login is rejected by load shedding.
    let at_once = (4 * cores()).clamp(8, 64);
    let load = Load::new(&bench.home, "logins", forms, at_once)?.with_connections(at_once);
    let on_sqlite = bench.serve("sqlite", &databases.sqlite, &[])?;
    let on_postgres = bench.serve("postgres", &databases.postgres, &[])?;
    let servers = [(SQLITE, &on_sqlite), (POSTGRES, &on_postgres)];
    let mut contestants = servers.map(|(name, _)| Candidate::new(name));
    let mut hashes = Vec::new();
    let plan = bench.plan;
    for round in 1..=plan.rounds {
        let rate = argon2_baseline::hashes_per_second(cores(), plan.logins)?;
        print_round(round, "argon2id alone", format_args!("{rate:>9.1}/s"));
        hashes.push(rate);
        for (contestant, (name, server)) in contestants.iter_mut().zip(servers) {
            let at = server.address;
            let entry =
                Entry { name, load: &load, at, counted: Some((server, "polish-longtoken")) };
            contestant.record(round, measure(entry, "logins", plan.logins)?);
        }
    }
    let hashes = Figures::from_iter(hashes);
    let mut aimed: Vec<_> = contestants
        .iter()
        .map(|one| {
            let what = format!("logins: {}, of argon2id alone", one.name);
            Aimed::at_least(what, 0.95, one.rates().relative_to(&hashes))
        })
        .collect();
    for (name, server) in servers {
        let (mut alone, mut beside) = (Vec::new(), Vec::new());
        for round in 1..=plan.rounds {
            let entry = counted_entry(name, &checks, server);
            let hashing = HashingProcess::start()?;
            let run = measure(entry, "checks", plan.logins)?;
            drop(hashing);
            print_round(round, name, format_args!("p99 {:.1} ms beside argon2id alone", run.p99));
            alone.push(run.p99);
            let run = p99_during_logins(&load, entry, server, plan.logins)?;
            print_round(round, name, format_args!("p99 {:.1} ms beside logins", run));
            beside.push(run);
        }
        let (alone, beside) = (Figures::from_iter(alone), Figures::from_iter(beside));
        let what = format!("checks: p99 while logins use up the machine, {name}, ms");
        let times = format!("the same, of its value while argon2id alone does ({alone:.1} ms)");
        let of = beside.relative_to(&alone);
        aimed.push(Aimed::at_most(what, 25.0, beside));
        aimed.push(Aimed::at_most(times, 3.0, of));
    }
    let note = format!("{} sessions; {at_once} log in at once.", databases.sessions);
    let bare = format!("argon2id alone: {hashes:.1} hashes a second.\n\n");
    Ok(Section::new(aimed).note(note).more(&bare).candidates(&contestants))
}

/// The 99th percentile of the latency of checks during a constant flood of logins.
fn p99_during_logins(
    logins: &Load,
    checks: Entry<'_>,
    server: &Server,
    seconds: u32,
) -> Result<f64> {
    std::thread::scope(|scope| {
        let before = server.granted_count("logins", "polish-longtoken")?;
        // Longer than the checks, so that the flood covers all of them.
        let flood = scope.spawn(|| logins.run(server.address, seconds + 2));
        while server.granted_count("logins", "polish-longtoken")? == before && !flood.is_finished()
        {
            std::thread::yield_now();
        }
        let run = measure(checks, "checks", seconds);
        let flooded = flood.join().map_err(|_| anyhow::anyhow!("a thread panicked"))?;
        flooded?;
        Ok(run?.p99)
    })
}

/// Another process that hashes on every core.
struct HashingProcess(Child);

impl HashingProcess {
    fn start() -> Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        Ok(Self(command.arg(argon2_baseline::HASH_ARGUMENT).stdin(Stdio::null()).spawn()?))
    }
}

impl Drop for HashingProcess {
    fn drop(&mut self) {
        let _killed = self.0.kill().and_then(|()| self.0.wait());
    }
}

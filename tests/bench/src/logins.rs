//! Logins beside argon2id alone, and what checks feel of them.

use std::process::{Child, Command, Stdio};

use anyhow::Result;

use crate::checks::{POSTGRES, SQLITE, load};
use crate::figures::Figures;
use crate::load::{Load, Request};
use crate::machine::cores;
use crate::report::{Aimed, Section};
use crate::rounds::{Contestant, Entry, measure, say};
use crate::seed::World;
use crate::server::Server;
use crate::{Bench, bare, counted, seed};

/// So many checks at once: few enough that by themselves they leave the machine idle at times.
const FEW: usize = 4;
/// Of their pauses, in milliseconds on average.
const PAUSE: u32 = 5;
/// With so many sessions.
const SOME: usize = 10_000;

pub(crate) fn logins(bench: &mut Bench) -> Result<Section> {
    let world = bench.world(bench.sessions)?.clone();
    // wrk's threads wait for each other's requests over open connections, which the server ends after five silent seconds.
    let some =
        World { secrets: world.secrets.iter().take(SOME).cloned().collect(), ..world.clone() };
    let checks = load(&bench.home, &some, "/login")?.over(FEW).pausing(PAUSE);
    let forms = seed::forms().map(|form| Request::form("/login", &[], &form));
    // Enough that no hashing thread ever waits, few enough that none is turned away.
    let at_once = (4 * cores()).clamp(8, 64);
    let load = Load::new(&bench.home, "logins", forms, at_once)?.over(at_once);
    let on_sqlite = bench.serve("sqlite", &world.sqlite, &[])?;
    let on_postgres = bench.serve("postgres", &world.postgres, &[])?;
    let servers = [(SQLITE, &on_sqlite), (POSTGRES, &on_postgres)];
    let mut contestants = servers.map(|(name, _)| Contestant::new(name));
    let mut hashes = Vec::new();
    let plan = bench.plan;
    for round in 1..=plan.rounds {
        let rate = bare::run(cores(), plan.logins)?;
        say(round, "argon2id alone", format_args!("{rate:>9.1}/s"));
        hashes.push(rate);
        for (contestant, (name, server)) in contestants.iter_mut().zip(servers) {
            let at = server.address;
            let entry =
                Entry { name, load: &load, at, counted: Some((server, "polish-longtoken")) };
            contestant.note(round, measure(entry, "logins", plan.logins)?);
        }
    }
    let hashes = Figures::from_iter(hashes);
    let mut aimed: Vec<_> = contestants
        .iter()
        .map(|one| {
            let what = format!("logins: {}, of argon2id alone", one.name);
            Aimed::at_least(what, 0.95, one.rates().of(&hashes))
        })
        .collect();
    for (name, server) in servers {
        let (mut alone, mut beside) = (Vec::new(), Vec::new());
        for round in 1..=plan.rounds {
            let entry = counted(name, &checks, server);
            let hashing = Hashing::start()?;
            let run = measure(entry, "checks", plan.logins)?;
            drop(hashing);
            say(round, name, format_args!("p99 {:.1} ms beside argon2id alone", run.p99));
            alone.push(run.p99);
            let run = while_logging_in(&load, entry, server, plan.logins)?;
            say(round, name, format_args!("p99 {:.1} ms beside logins", run));
            beside.push(run);
        }
        let (alone, beside) = (Figures::from_iter(alone), Figures::from_iter(beside));
        let what = format!("checks: p99 while logins use up the machine, {name}, ms");
        let times = format!("the same, of its value while argon2id alone does ({alone:.1} ms)");
        let of = beside.of(&alone);
        aimed.push(Aimed::at_most(what, 25.0, beside));
        aimed.push(Aimed::at_most(times, 3.0, of));
    }
    let note = format!("{} sessions; {at_once} log in at once.", world.sessions);
    let bare = format!("argon2id alone: {hashes:.1} hashes a second.\n\n");
    Ok(Section::new(aimed).note(note).more(&bare).contestants(&contestants))
}

/// The p99 of checks while others log in without end.
fn while_logging_in(
    logins: &Load,
    checks: Entry<'_>,
    server: &Server,
    seconds: u32,
) -> Result<f64> {
    std::thread::scope(|scope| {
        let before = server.granted("logins", "polish-longtoken")?;
        // Longer, so that they are there from beginning to end.
        let flood = scope.spawn(|| logins.run(server.address, seconds + 2));
        while server.granted("logins", "polish-longtoken")? == before && !flood.is_finished() {
            std::thread::yield_now();
        }
        let run = measure(checks, "checks", seconds);
        let flooded = flood.join().map_err(|_| anyhow::anyhow!("a thread panicked"))?;
        flooded?;
        Ok(run?.p99)
    })
}

/// Another process that hashes on every core.
struct Hashing(Child);

impl Hashing {
    fn start() -> Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        Ok(Self(command.arg(bare::HASHING).stdin(Stdio::null()).spawn()?))
    }
}

impl Drop for Hashing {
    fn drop(&mut self) {
        let _killed = self.0.kill().and_then(|()| self.0.wait());
    }
}

//! What a check and a login cost, beside what they cannot be cheaper than: an empty handler, and argon2id alone.

#![expect(clippy::print_stdout, reason = "a command line tool")]

mod bare;
mod figures;
mod guards;
mod load;
mod machine;
mod report;
mod rounds;
mod seed;
mod server;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result, bail};

use crate::guards::Guards;
use crate::load::Load;
use crate::machine::Machine;
use crate::report::Aimed;
use crate::rounds::{Contestant, Entry};
use crate::seed::Seed;
use crate::server::Server;

const HELP: &str = "\
cargo xtask bench [--quick] [--guards] [--write]

  --quick    short rounds
  --write    write the figures into docs/benchmarks/README.md
  --guards   what guards by sessions as well: an app, forward auth, nginx";
/// How many sessions live while checks are measured.
const SESSIONS: usize = 100_000;
/// How many connections the checks come over.
const CONNECTIONS: usize = 128;
/// Where `cargo xtask bench` has started PostgreSQL.
const POSTGRES: &str = "PARLANCE_BENCH_POSTGRES";

/// How many rounds, and how many seconds of each.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    rounds: u32,
    warm: u32,
    checks: u32,
    logins: u32,
}

const FULL: Plan = Plan { rounds: 5, warm: 3, checks: 10, logins: 10 };
const QUICK: Plan = Plan { rounds: 3, warm: 1, checks: 4, logins: 4 };

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let words: Vec<_> = arguments.iter().map(String::as_str).collect();
    let said = |flag: &str| words.contains(&flag);
    let flags = ["--quick", "--guards", "--write"];
    let done = match words.as_slice() {
        words if words.iter().all(|word| flags.contains(word)) => {
            let plan = if said("--quick") { QUICK } else { FULL };
            bench(plan, said("--guards"), said("--write"))
        }
        [server::EMPTY] => server::serve_empty(),
        [server::GUARDED, database] => server::serve_guarded(database),
        ["--help" | "-h"] => {
            println!("{HELP}");
            Ok(())
        }
        _ => {
            eprintln!("{HELP}");
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn bench(plan: Plan, guarded: bool, write: bool) -> Result<()> {
    let Ok(postgres) = std::env::var(POSTGRES) else {
        bail!(
            "{POSTGRES} names no PostgreSQL to measure on: run `cargo xtask bench`, which starts one"
        );
    };
    let machine = Machine::look(&postgres);
    println!("{machine}");
    let home = folder()?;
    let home = home.path();
    let sqlite = format!("sqlite:{}", home.join("parlance.db").display());

    println!("sowing {SESSIONS} sessions into each database");
    let seed = Seed::new(SESSIONS)?;
    seed.sow(&sqlite)?;
    seed.sow(&postgres)?;
    settle(&postgres)?;

    let program = server::program(home)?;
    let empty = Server::empty(home)?;
    let start = |name: &str, database: &str, more: &[&str]| {
        Server::parlance(&program, &home.join(name), database, more)
    };
    let on_sqlite = start("sqlite", &sqlite, &[])?;
    let on_postgres = start("postgres", &postgres, &[])?;
    let servers = [("parlance on SQLite", &on_sqlite), ("parlance on PostgreSQL", &on_postgres)];
    let load = Load::checks(home, &seed.tokens, CONNECTIONS)?;
    let plain = |name, server: &'_ Server, counted| Entry {
        name,
        load: &load,
        at: server.address,
        counted,
    };
    let mut entries = vec![plain("an empty handler", &empty, None)];
    entries.extend(servers.iter().map(|(name, server)| plain(name, server, Some(*server))));
    let guards =
        if guarded { Some(Guards::start(home, &sqlite, &empty, &load, &start)?) } else { None };
    entries.extend(guards.iter().flat_map(Guards::entries));
    let checks = rounds::checks(plan, &entries)?;

    let mut aimed = Vec::new();
    let rates = |name: &str| {
        let found = checks.iter().find(|contestant| contestant.name == name);
        found.map(Contestant::rates).unwrap_or_default()
    };
    let mut fraction = |name: &'static str, whole: &'static str, aim| {
        let what = format!("checks: {name}, of {whole}");
        aimed.push(Aimed { what, aim, figures: rates(name).of(&rates(whole)) });
    };
    for (name, aim) in [("parlance on SQLite", 0.45), ("parlance on PostgreSQL", 0.40)] {
        fraction(name, "an empty handler", aim);
    }
    if guarded {
        for (name, whole, aim) in guards::AIMS {
            fraction(name, whole, *aim);
        }
    }
    drop(guards);

    // Enough that no hashing thread ever waits, few enough that none is turned away.
    let load = Load::logins(home, &Seed::forms(), (4 * machine::cores()).clamp(8, 64))?;
    let (hashes, logins) = rounds::logins(plan, &load, &servers)?;
    for contestant in &logins {
        let what = format!("logins: {}, of argon2id alone", contestant.name);
        aimed.push(Aimed { what, aim: 0.90, figures: contestant.rates().of(&hashes) });
    }
    let named = checks.iter().map(|contestant| ("checks", contestant));
    let named: Vec<_> = named.chain(logins.iter().map(|login| ("logins", login))).collect();
    let fractions = report::fractions(&aimed);
    let absolutes = report::absolutes(&named, &hashes);
    println!("\n{fractions}\n{absolutes}");
    if write {
        let rounds = plan.rounds;
        let how = std::env::args().skip(1).map(|flag| format!(" {flag}")).collect::<String>();
        let text = format!(
            "`cargo xtask bench{how}`, median of {rounds} rounds (least to most), on: {machine}.\n\n{fractions}\n{absolutes}"
        );
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/benchmarks/README.md");
        std::fs::write(
            &file,
            report::replaced(&std::fs::read_to_string(&file)?, SESSIONS, &text)?,
        )?;
    }
    Ok(())
}

/// A folder below `target/bench` that goes with us: databases, tokens, logs.
fn folder() -> Result<tempfile::TempDir> {
    let own = std::env::current_exe()?;
    let target = own.ancestors().nth(2).context("this program lies nowhere")?;
    let bench: PathBuf = target.join("bench");
    std::fs::create_dir_all(&bench)?;
    Ok(tempfile::Builder::new().prefix("run-").tempdir_in(bench)?)
}

/// What autovacuum and a checkpoint would do within minutes, and must not do during a round.
fn settle(postgres: &str) -> Result<()> {
    let commands = ["-X", "-q", "-c", "VACUUM ANALYZE", "-c", "CHECKPOINT", postgres];
    let done = Command::new("psql").args(commands).status().context("cannot run psql")?;
    if done.success() { Ok(()) } else { bail!("psql failed: {done}") }
}

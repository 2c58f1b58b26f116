//! What a check and a login cost, beside what they cannot be cheaper than: an empty handler, and argon2id alone.

#![expect(clippy::print_stdout, reason = "a command line tool")]

mod bare;
mod figures;
mod load;
mod machine;
mod report;
mod rounds;
mod seed;
mod server;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result, bail};

use crate::load::Load;
use crate::machine::Machine;
use crate::report::Aimed;
use crate::seed::Seed;
use crate::server::Server;

const HELP: &str = "\
cargo xtask bench [--quick | --write]

  --quick   short rounds: under two minutes, once everything is built
  --write   write the figures into docs/benchmarks/README.md";
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
    let done = match words.as_slice() {
        [] => bench(FULL, false),
        ["--quick"] => bench(QUICK, false),
        ["--write"] => bench(FULL, true),
        [server::EMPTY] => server::serve_empty(),
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

fn bench(plan: Plan, write: bool) -> Result<()> {
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
    let on_sqlite = Server::parlance(&program, &home.join("sqlite"), &sqlite)?;
    let on_postgres = Server::parlance(&program, &home.join("postgres"), &postgres)?;
    let servers = [("parlance on SQLite", &on_sqlite), ("parlance on PostgreSQL", &on_postgres)];
    let all = [&[("an empty handler", &empty)], servers.as_slice()].concat();

    let load = Load::checks(home, &seed.tokens, CONNECTIONS)?;
    let checks = rounds::checks(plan, &load, &all)?;
    // Enough that no hashing thread ever waits, few enough that none is turned away.
    let load = Load::logins(home, &Seed::forms(), (4 * machine::cores()).clamp(8, 64))?;
    let (hashes, logins) = rounds::logins(plan, &load, &servers)?;

    let mut aimed = Vec::new();
    if let Some((empty, checked)) = checks.split_first() {
        for (contestant, aim) in checked.iter().zip([0.45, 0.40]) {
            let what = format!("checks: {}, of {}", contestant.name, empty.name);
            aimed.push(Aimed { what, aim, figures: contestant.rates().of(&empty.rates()) });
        }
    }
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
        let text = format!(
            "`cargo xtask bench --write`, median of {rounds} rounds (least to most), on: {machine}.\n\n{fractions}\n{absolutes}"
        );
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/benchmarks/README.md");
        std::fs::write(&file, report::replaced(&std::fs::read_to_string(&file)?, &text)?)?;
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

//! The benchmark of parlance, beside baselines that bound its cost from below: an empty handler, argon2id alone, a
//! transaction a request.

#![expect(clippy::print_stdout, reason = "a command line tool")]

mod argon2_baseline;
mod changes;
mod checks;
mod dialects;
mod figures;
mod footprint;
mod guards;
mod load;
mod logins;
mod machine;
mod naive;
mod peers;
mod plot;
mod report;
mod rounds;
mod seed;
mod server;
mod sliding;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use parlance::core::TokenIssuer;
use parlance_polish_longtoken::PolishLongtoken;

use crate::machine::Machine;
use crate::report::Section;
use crate::rounds::Entry;
use crate::seed::SeededDatabases;
use crate::server::Server;

const HELP: &str = "\
cargo xtask bench [SUBJECT...] [--quick] [--sessions N] [--write]

  checks         a check on both databases, compared with an empty handler
  guards         guards by sessions: an app, forward auth, nginx
  scale          checks with 10 thousand, a million and ten million sessions
  connections    checks over 1, 32, 128 and 1000 connections, and at half load
  dialects       checks of each dialect
  sliding        a dialect with a sliding expiry, compared with one without, and the rows that it writes
  logins         logins compared with argon2id alone, and checks while logins use up the machine
  changes        renewals, logouts and revocations, compared with one transaction a request
  footprint      memory, and the time from start to ready
  peers          checks compared with django-rest-knox, Better Auth, oidc-provider, and actix-session with Redis, installed below target/bench-peers

  Without a subject: checks and logins. `all` is all of them.

  --quick        short rounds, and ten thousand sessions
  --sessions N   number of live sessions (default: a million)
  --write        write the figures into docs/benchmarks";
/// Connections of most loads.
pub(crate) const CONNECTIONS: usize = 128;
/// The variable with the URL of the PostgreSQL that `cargo xtask bench` has started.
const POSTGRES_URL_VARIABLE: &str = "PARLANCE_BENCH_POSTGRES";

/// The number of rounds, and the seconds of each phase of a round.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) rounds: u32,
    pub(crate) warm: u32,
    pub(crate) checks: u32,
    pub(crate) logins: u32,
}

const FULL: Plan = Plan { rounds: 5, warm: 3, checks: 5, logins: 8 };
const QUICK: Plan = Plan { rounds: 3, warm: 1, checks: 3, logins: 3 };

/// The environment of a subject: plan, databases, program.
pub(crate) struct BenchContext {
    pub(crate) plan: Plan,
    /// Number of sessions where the subject sets none.
    pub(crate) sessions: usize,
    /// A temporary folder: databases, requests, logs.
    pub(crate) home: PathBuf,
    /// The PostgreSQL cluster in which databases are created.
    pub(crate) cluster: String,
    program: PathBuf,
    seeded: Vec<SeededDatabases>,
}

impl BenchContext {
    /// The databases with this many sessions of polish-longtoken.
    pub(crate) fn databases(&mut self, sessions: usize) -> Result<&SeededDatabases> {
        let at = match self.seeded.iter().position(|databases| databases.sessions == sessions) {
            Some(at) => at,
            None => {
                self.seeded.push(self.seed_databases(&PolishLongtoken::default(), sessions)?);
                self.seeded.len() - 1
            }
        };
        self.seeded.get(at).context("no such databases")
    }

    /// New databases, which no other subject uses.
    pub(crate) fn seed_databases(
        &self,
        wire: &dyn TokenIssuer,
        sessions: usize,
    ) -> Result<SeededDatabases> {
        SeededDatabases::seed(&self.home, &self.cluster, wire, sessions)
    }

    /// The key file that opens the signing keys of every database.
    pub(crate) fn key_file(&self) -> PathBuf {
        self.home.join("parlance.key")
    }

    /// Starts the released program with its defaults on this database, in a folder of this name.
    pub(crate) fn serve(&self, name: &str, database: &str, more: &[&str]) -> Result<Server> {
        Server::parlance(&self.program, &self.home.join(name), database, &self.key_file(), more)
    }
}

type Subject = fn(&mut BenchContext) -> Result<Section>;

const SUBJECTS: &[(&str, Subject)] = &[
    ("checks", checks::checks),
    ("guards", guards::guards),
    ("scale", checks::scale),
    ("connections", checks::connections),
    ("dialects", dialects::dialects),
    ("sliding", sliding::sliding),
    ("logins", logins::logins),
    ("changes", changes::changes),
    ("footprint", footprint::footprint),
    ("peers", peers::peers),
];

/// The parsed arguments.
struct Arguments {
    subjects: Vec<(&'static str, Subject)>,
    quick: bool,
    sessions: Option<usize>,
    write: bool,
}

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let words: Vec<_> = arguments.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        [server::EMPTY_ARGUMENT] => server::serve_empty(),
        [server::GUARDED_ARGUMENT, database, key_file] => server::serve_guarded(database, key_file),
        [naive::NAIVE_ARGUMENT, database] => naive::serve(database),
        [argon2_baseline::HASH_ARGUMENT] => argon2_baseline::hash_until_killed(),
        ["--help" | "-h"] => {
            println!("{HELP}");
            Ok(())
        }
        words => match parse_arguments(words) {
            Ok(arguments) => run(&arguments),
            Err(wrong) => {
                eprintln!("error: {wrong}\n\n{HELP}");
                return ExitCode::from(2);
            }
        },
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Parses the arguments; the error is the message for the user.
fn parse_arguments(words: &[&str]) -> Result<Arguments, String> {
    let mut arguments =
        Arguments { subjects: Vec::new(), quick: false, sessions: None, write: false };
    let mut words = words.iter();
    while let Some(word) = words.next() {
        match *word {
            "--quick" => arguments.quick = true,
            "--write" => arguments.write = true,
            "--sessions" => {
                let number = words.next().and_then(|word| word.parse().ok()).filter(|&n| n > 0);
                arguments.sessions = Some(number.ok_or("--sessions needs a number from 1 on")?);
            }
            "all" => arguments.subjects = SUBJECTS.to_vec(),
            name => {
                let subject = SUBJECTS.iter().find(|(known, _)| *known == name);
                let subject =
                    subject.ok_or_else(|| format!("there is no subject or flag `{name}`"))?;
                arguments.subjects.push(*subject);
            }
        }
    }
    if arguments.subjects.is_empty() {
        let usual = |(name, _): &&(&str, Subject)| ["checks", "logins"].contains(name);
        arguments.subjects = SUBJECTS.iter().filter(usual).copied().collect();
    }
    Ok(arguments)
}

fn run(arguments: &Arguments) -> Result<()> {
    let Ok(cluster) = std::env::var(POSTGRES_URL_VARIABLE) else {
        bail!(
            "{POSTGRES_URL_VARIABLE} does not name a PostgreSQL to measure on: run `cargo xtask bench`, which starts one"
        );
    };
    let machine = Machine::detect(&cluster);
    println!("{machine}");
    let home = folder()?;
    let mut bench = BenchContext {
        plan: if arguments.quick { QUICK } else { FULL },
        sessions: arguments.sessions.unwrap_or(if arguments.quick { 10_000 } else { 1_000_000 }),
        home: home.path().to_owned(),
        cluster,
        program: server::copy_program(home.path())?,
        seeded: Vec::new(),
    };
    for (name, subject) in &arguments.subjects {
        let section =
            subject(&mut bench).with_context(|| format!("{name} could not be measured"))?;
        let how = std::env::args().skip(1).map(|word| format!(" {word}")).collect::<String>();
        let text = section.text(&format!(
            "`cargo xtask bench{how}`, median of {} rounds (least to most), on: {machine}.",
            bench.plan.rounds
        ));
        println!("\n## {name}\n\n{text}");
        if arguments.write {
            report::write(name, &text)?;
            if let Some(plot) = &section.plot {
                std::fs::write(report::folder().join(format!("{name}.svg")), plot)?;
            }
        }
    }
    Ok(())
}

/// A temporary folder below `target/bench`, removed at the end.
fn folder() -> Result<tempfile::TempDir> {
    let own = std::env::current_exe()?;
    let target = own.ancestors().nth(2).context("this program is not below a target folder")?;
    let bench: PathBuf = target.join("bench");
    std::fs::create_dir_all(&bench)?;
    Ok(tempfile::Builder::new().prefix("run-").tempdir_in(bench)?)
}

/// An entry with checks that the server's own counter must confirm.
pub(crate) fn counted_entry<'e>(
    name: &'static str,
    load: &'e load::Load,
    server: &'e Server,
) -> Entry<'e> {
    Entry { name, load, at: server.address, counted: Some((server, "polish-longtoken")) }
}

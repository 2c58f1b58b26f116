//! What parlance costs, beside what it cannot be cheaper than: an empty handler, argon2id alone, a transaction a request.

#![expect(clippy::print_stdout, reason = "a command line tool")]

mod bare;
mod changes;
mod checks;
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
mod samples;
mod seed;
mod server;
mod sliding;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use parlance::core::Mint;
use parlance_polish_longtoken::PolishLongtoken;

use crate::machine::Machine;
use crate::report::Section;
use crate::rounds::Entry;
use crate::seed::World;
use crate::server::Server;

const HELP: &str = "\
cargo xtask bench [SUBJECT...] [--quick] [--sessions N] [--write]

  checks         a check on both databases, beside an empty handler
  guards         what guards by sessions: an app, forward auth, nginx
  scale          checks with 10 thousand, a million and ten million sessions
  connections    checks over 1, 32, 128 and 1000 connections, and at half load
  dialects       checks of each dialect
  sliding        a dialect whose sessions slide, beside one whose do not, and the rows that it writes
  logins         logins beside argon2id alone, and checks while logins use up the machine
  changes        renewals, logouts and revocations, beside one transaction a request
  footprint      memory, and the time from start to ready
  peers          checks beside django-rest-knox, Better Auth, oidc-provider, and actix-session with Redis, put below target/bench-peers

  Without a subject: checks and logins. `all` is all of them.

  --quick        short rounds, and ten thousand sessions
  --sessions N   so many sessions live; a million
  --write        write the figures into docs/benchmarks";
/// How many connections most loads come over.
pub(crate) const CONNECTIONS: usize = 128;
/// Where `cargo xtask bench` has started PostgreSQL.
const POSTGRES: &str = "PARLANCE_BENCH_POSTGRES";

/// How many rounds, and how many seconds of each.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) rounds: u32,
    pub(crate) warm: u32,
    pub(crate) checks: u32,
    pub(crate) logins: u32,
}

const FULL: Plan = Plan { rounds: 5, warm: 3, checks: 5, logins: 8 };
const QUICK: Plan = Plan { rounds: 3, warm: 1, checks: 3, logins: 3 };

/// What a subject measures with.
pub(crate) struct Bench {
    pub(crate) plan: Plan,
    /// How many sessions live where the subject does not say.
    pub(crate) sessions: usize,
    /// A folder that goes with us: databases, requests, logs.
    pub(crate) home: PathBuf,
    /// The PostgreSQL that databases are made in.
    pub(crate) cluster: String,
    program: PathBuf,
    worlds: Vec<World>,
}

impl Bench {
    /// The databases with so many sessions of polish-longtoken.
    pub(crate) fn world(&mut self, sessions: usize) -> Result<&World> {
        let at = match self.worlds.iter().position(|world| world.sessions == sessions) {
            Some(at) => at,
            None => {
                self.worlds.push(self.fresh(&PolishLongtoken::default(), sessions)?);
                self.worlds.len() - 1
            }
        };
        self.worlds.get(at).context("no such world")
    }

    /// Databases of one's own.
    pub(crate) fn fresh(&self, wire: &dyn Mint, sessions: usize) -> Result<World> {
        World::make(&self.home, &self.cluster, wire, sessions)
    }

    /// What opens the signing keys of every database.
    pub(crate) fn key_file(&self) -> PathBuf {
        self.home.join("parlance.key")
    }

    /// The released program on this database, as it comes, in a folder of this name.
    pub(crate) fn serve(&self, name: &str, database: &str, more: &[&str]) -> Result<Server> {
        Server::parlance(&self.program, &self.home.join(name), database, &self.key_file(), more)
    }
}

type Subject = fn(&mut Bench) -> Result<Section>;

const SUBJECTS: &[(&str, Subject)] = &[
    ("checks", checks::checks),
    ("guards", guards::guards),
    ("scale", checks::scale),
    ("connections", checks::connections),
    ("dialects", samples::dialects),
    ("sliding", sliding::sliding),
    ("logins", logins::logins),
    ("changes", changes::changes),
    ("footprint", footprint::footprint),
    ("peers", peers::peers),
];

/// What is wanted.
struct Wish {
    subjects: Vec<(&'static str, Subject)>,
    quick: bool,
    sessions: Option<usize>,
    write: bool,
}

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let words: Vec<_> = arguments.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        [server::EMPTY] => server::serve_empty(),
        [server::GUARDED, database, key_file] => server::serve_guarded(database, key_file),
        [naive::NAIVE, database] => naive::serve(database),
        [bare::HASHING] => bare::hash_for_ever(),
        ["--help" | "-h"] => {
            println!("{HELP}");
            Ok(())
        }
        words => match wish(words) {
            Ok(wish) => bench(&wish),
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

/// Reads the arguments, or says what is wrong with them.
fn wish(words: &[&str]) -> Result<Wish, String> {
    let mut wish = Wish { subjects: Vec::new(), quick: false, sessions: None, write: false };
    let mut words = words.iter();
    while let Some(word) = words.next() {
        match *word {
            "--quick" => wish.quick = true,
            "--write" => wish.write = true,
            "--sessions" => {
                let number = words.next().and_then(|word| word.parse().ok()).filter(|&n| n > 0);
                wish.sessions = Some(number.ok_or("--sessions wants a number from 1 on")?);
            }
            "all" => wish.subjects = SUBJECTS.to_vec(),
            name => {
                let subject = SUBJECTS.iter().find(|(known, _)| *known == name);
                let subject =
                    subject.ok_or_else(|| format!("there is no subject or flag `{name}`"))?;
                wish.subjects.push(*subject);
            }
        }
    }
    if wish.subjects.is_empty() {
        let usual = |(name, _): &&(&str, Subject)| ["checks", "logins"].contains(name);
        wish.subjects = SUBJECTS.iter().filter(usual).copied().collect();
    }
    Ok(wish)
}

fn bench(wish: &Wish) -> Result<()> {
    let Ok(cluster) = std::env::var(POSTGRES) else {
        bail!(
            "{POSTGRES} names no PostgreSQL to measure on: run `cargo xtask bench`, which starts one"
        );
    };
    let machine = Machine::look(&cluster);
    println!("{machine}");
    let home = folder()?;
    let mut bench = Bench {
        plan: if wish.quick { QUICK } else { FULL },
        sessions: wish.sessions.unwrap_or(if wish.quick { 10_000 } else { 1_000_000 }),
        home: home.path().to_owned(),
        cluster,
        program: server::program(home.path())?,
        worlds: Vec::new(),
    };
    for (name, subject) in &wish.subjects {
        let section =
            subject(&mut bench).with_context(|| format!("{name} could not be measured"))?;
        let how = std::env::args().skip(1).map(|word| format!(" {word}")).collect::<String>();
        let text = section.text(&format!(
            "`cargo xtask bench{how}`, median of {} rounds (least to most), on: {machine}.",
            bench.plan.rounds
        ));
        println!("\n## {name}\n\n{text}");
        if wish.write {
            report::write(name, &text)?;
            if let Some(plot) = &section.plot {
                std::fs::write(report::folder().join(format!("{name}.svg")), plot)?;
            }
        }
    }
    Ok(())
}

/// A folder below `target/bench` that goes with us.
fn folder() -> Result<tempfile::TempDir> {
    let own = std::env::current_exe()?;
    let target = own.ancestors().nth(2).context("this program lies nowhere")?;
    let bench: PathBuf = target.join("bench");
    std::fs::create_dir_all(&bench)?;
    Ok(tempfile::Builder::new().prefix("run-").tempdir_in(bench)?)
}

/// An entry of a server whose own count of checks must bear it out.
pub(crate) fn counted<'e>(
    name: &'static str,
    load: &'e load::Load,
    server: &'e Server,
) -> Entry<'e> {
    Entry { name, load, at: server.address, counted: Some((server, "polish-longtoken")) }
}

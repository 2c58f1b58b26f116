//! `cargo xtask`: the commands of a developer.

#![expect(clippy::print_stdout, reason = "a command line tool")]

mod ci;
mod coverage;
mod new_dialect;
mod postgres;
mod proxies;
mod shell;
mod test;
#[cfg(test)]
mod tests;
mod tidy;
mod torture;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Result;

const HELP: &str = "\
cargo xtask COMMAND

  test [ARGS]         every test, with a private PostgreSQL; ARGS go to the test runner
  proxies             real proxies in front of parlance, each with every dialect: the results as a table
  ci                  all checks that a change must pass: format, lints, tidy, coverage, tests, features, docs
  tidy                the architecture's rules: imports, sizes, completeness of every dialect, decisions
  decisions           writes docs/decisions/README.md, the index of the decisions
  coverage            which vector shows which statement of the documents
  features            every dialect alone, none, PostgreSQL alone: each builds
  new-dialect NAME    a sixth dialect: a crate that answers one path, and every line that it needs in other files
  fuzz                100,000 broken inputs for every reader of untrusted input
  torture [NAME]...    fault injection in its long form, with its counts: list, --times N, --for SECONDS, --short, --debug
  bench [ARGS]        the cost of a check and a login on SQLite and PostgreSQL, and more subjects: --help lists them";

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let command = arguments.next().unwrap_or_default();
    match run(&command, &arguments.collect::<Vec<_>>()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: &str, arguments: &[String]) -> Result<ExitCode> {
    match (command, arguments) {
        ("test", arguments) => return test::run(arguments),
        ("proxies", []) => return proxies::run(),
        ("ci", []) => ci::run()?,
        ("tidy", []) => tidy::run()?,
        ("decisions", []) => tidy::decisions::write(&root())?,
        ("coverage", []) => coverage::run()?,
        ("features", []) => ci::features()?,
        ("new-dialect", [name]) => new_dialect::run(&root(), name)?,
        ("fuzz", []) => ci::fuzz()?,
        ("torture", arguments) => return torture::run(arguments),
        ("bench", arguments) => return ci::bench(arguments),
        ("help" | "--help" | "-h", _) => println!("{HELP}"),
        _ => {
            eprintln!("{HELP}");
            return Ok(ExitCode::from(2));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The workspace's folder.
fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_owned()
}

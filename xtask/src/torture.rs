//! `cargo xtask torture`: the long form of a fault's test, and what it counted.

use std::fs;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};

use crate::shell::has;
use crate::test;

/// What is asked for.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Wanted {
    names: Vec<String>,
    variables: Vec<(&'static str, String)>,
    /// As it is built every day, and not as it is released.
    debug: bool,
}

/// A scenario, and what it does.
type Scenario = (String, String);

/// Where they are: those that drive the program, and those in simulated time.
const FOLDERS: [&str; 2] =
    ["tests/e2e/tests/e2e/torture", "crates/parlance-store/src/tests/torture"];

/// Runs scenarios in their long form, by default all of them, on the program as it is released.
pub(crate) fn run(arguments: &[String]) -> Result<ExitCode> {
    let known = scenarios()?;
    if arguments == ["list"] {
        let width = known.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
        known.iter().for_each(|(name, what)| println!("{name:width$}  {what}"));
        return Ok(ExitCode::SUCCESS);
    }
    let wanted = read(arguments, &known)?;
    let nextest = has("cargo-nextest", &["nextest", "--version"]);
    let mut words = vec!["-p", "parlance-e2e", "-p", "parlance-store"];
    if !wanted.debug {
        words.push("--release");
    }
    if nextest {
        // Without a limit of time, one after the other, and what they print is not kept back.
        words.extend(["--profile", "torture", "--no-capture", "--final-status-level", "none"]);
    } else {
        words.extend(["--", "--nocapture", "--test-threads=1"]);
    }
    let filters = wanted.names.iter().map(|name| format!("torture::{name}::"));
    let words: Vec<_> = words.into_iter().map(str::to_owned).chain(filters).collect();
    test::run_with(&words, &wanted.variables)
}

/// The scenarios: every file but `mod.rs` in their folders, with its first line.
pub(crate) fn scenarios() -> Result<Vec<Scenario>> {
    let mut found = Vec::new();
    for folder in FOLDERS.map(|folder| crate::root().join(folder)) {
        scenarios_in(&folder, &mut found)?;
    }
    found.sort();
    Ok(found)
}

fn scenarios_in(folder: &Path, found: &mut Vec<Scenario>) -> Result<()> {
    for entry in folder.read_dir().with_context(|| format!("cannot read {}", folder.display()))? {
        let path = entry?.path();
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        if name != "mod" {
            let text = fs::read_to_string(&path)?;
            let first = text.lines().next().unwrap_or_default();
            found.push((name, first.trim_start_matches("//!").trim().to_owned()));
        }
    }
    Ok(())
}

/// Reads the command's arguments.
pub(crate) fn read(arguments: &[String], known: &[Scenario]) -> Result<Wanted> {
    let mut wanted =
        Wanted { variables: vec![("PARLANCE_TORTURE", "long".to_owned())], ..Wanted::default() };
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        let mut value = |what: &str| {
            words.next().with_context(|| format!("{word} wants {what}, such as `{word} 30`"))
        };
        match word.as_str() {
            "--debug" => wanted.debug = true,
            "--short" => wanted.variables.retain(|(name, _)| *name != "PARLANCE_TORTURE"),
            "--times" => {
                wanted.variables.push(("PARLANCE_TORTURE_TIMES", number(value("a number")?)?))
            }
            "--for" => {
                wanted.variables.push(("PARLANCE_TORTURE_SECONDS", number(value("seconds")?)?))
            }
            name if known.iter().any(|(other, _)| other == name) => {
                wanted.names.push(name.to_owned())
            }
            other => {
                let names: Vec<_> = known.iter().map(|(name, _)| name.as_str()).collect();
                bail!(
                    "there is no scenario or flag `{other}`; scenarios are {}; flags are --times N, --for SECONDS, --short, --debug",
                    names.join(", ")
                );
            }
        }
    }
    if wanted.names.is_empty() {
        wanted.names = known.iter().map(|(name, _)| name.clone()).collect();
    }
    Ok(wanted)
}

fn number(text: &str) -> Result<String> {
    let number: u64 = text.parse().with_context(|| format!("`{text}` is no number"))?;
    Ok(number.to_string())
}

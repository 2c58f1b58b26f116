//! `cargo xtask torture`: fault injection in its long form, and the counts.

use std::fs;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};

use crate::shell::can_run;
use crate::test;

/// The parsed arguments.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Arguments {
    names: Vec<String>,
    variables: Vec<(&'static str, String)>,
    /// Whether to use the debug build instead of the release build.
    debug: bool,
}

/// The name of a scenario, and the description.
type Scenario = (String, String);

/// The folders of the scenarios: those that drive the program, and those in simulated time.
const SCENARIO_FOLDERS: [&str; 2] =
    ["tests/e2e/tests/e2e/torture", "crates/parlance-store/src/tests/torture"];

/// Runs scenarios in their long form on the release build; without names, all scenarios.
pub(crate) fn run(arguments: &[String]) -> Result<ExitCode> {
    let known = scenarios()?;
    if arguments == ["list"] {
        let width = known.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
        known.iter().for_each(|(name, what)| println!("{name:width$}  {what}"));
        return Ok(ExitCode::SUCCESS);
    }
    let wanted = parse_arguments(arguments, &known)?;
    let nextest = can_run("cargo-nextest", &["nextest", "--version"]);
    let mut words = vec!["-p", "parlance-e2e", "-p", "parlance-store"];
    if !wanted.debug {
        words.push("--release");
    }
    if nextest {
        // Without a time limit, one after the other, with live output.
        words.extend(["--profile", "torture", "--no-capture", "--final-status-level", "none"]);
    } else {
        words.extend(["--", "--nocapture", "--test-threads=1"]);
    }
    let filters = wanted.names.iter().map(|name| format!("torture::{name}::"));
    let words: Vec<_> = words.into_iter().map(str::to_owned).chain(filters).collect();
    test::run_with(&words, &wanted.variables)
}

/// The scenarios: every file but `mod.rs` in the folders, with its first line as description.
pub(crate) fn scenarios() -> Result<Vec<Scenario>> {
    let mut found = Vec::new();
    for folder in SCENARIO_FOLDERS.map(|folder| crate::root().join(folder)) {
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

/// Parses the arguments of the command.
pub(crate) fn parse_arguments(arguments: &[String], known: &[Scenario]) -> Result<Arguments> {
    let mut wanted = Arguments {
        variables: vec![("PARLANCE_TORTURE", "long".to_owned())],
        ..Arguments::default()
    };
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        let mut value = |what: &str| {
            words.next().with_context(|| format!("{word} needs {what}, such as `{word} 30`"))
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
    let number: u64 = text.parse().with_context(|| format!("`{text}` is not a number"))?;
    Ok(number.to_string())
}

//! `cargo xtask test`: every test there is.

use std::process::ExitCode;

use anyhow::Result;

use crate::postgres::{Cluster, provide};
use crate::shell::{cargo, has, status};

/// Where the tests find PostgreSQL.
const POSTGRES: &str = "PARLANCE_TEST_POSTGRES";

/// Runs the tests against a private PostgreSQL. The runner's summary is the last that is printed, and its code is the code.
pub(crate) fn run(arguments: &[String]) -> Result<ExitCode> {
    run_with(arguments, &[])
}

/// As [`run`], with these variables of the environment.
pub(crate) fn run_with(
    arguments: &[String],
    variables: &[(&'static str, String)],
) -> Result<ExitCode> {
    provide()?;
    let cluster = Cluster::start()?;
    let nextest = has("cargo-nextest", &["nextest", "--version"]);
    // Who names packages means those, and no examples of documentation.
    let named = arguments
        .iter()
        .any(|argument| argument.starts_with("-p") || argument.starts_with("--package"));
    let scope: &[&str] =
        if named { &["--all-features"] } else { &["--workspace", "--all-features"] };
    let mut docs_pass = true;
    if nextest && arguments.is_empty() {
        docs_pass =
            status(cargo(["test", "--doc", "--quiet"]).args(scope).env(POSTGRES, cluster.url()))?
                .success();
    }
    let runner: &[&str] = if nextest { &["nextest", "run"] } else { &["test"] };
    let mut tests = cargo(runner);
    tests.args(scope).args(arguments).envs(variables.iter().map(|(name, value)| (name, value)));
    let status = status(tests.env(POSTGRES, cluster.url()))?;
    drop(cluster);
    Ok(match status.code().and_then(|code| u8::try_from(code).ok()) {
        Some(0) if docs_pass => ExitCode::SUCCESS,
        Some(0) | None => ExitCode::FAILURE,
        Some(code) => ExitCode::from(code),
    })
}

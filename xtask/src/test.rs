//! `cargo xtask test`: runs every test.

use std::process::ExitCode;

use anyhow::Result;

use crate::postgres::{Cluster, install_test_packages};
use crate::shell::{can_run, cargo, status};

/// The variable that tells the tests the URL of PostgreSQL.
const POSTGRES_URL_VARIABLE: &str = "PARLANCE_TEST_POSTGRES";

/// Runs the tests against a private PostgreSQL. The summary of the runner is printed last, and its exit code is passed
/// on.
pub(crate) fn run(arguments: &[String]) -> Result<ExitCode> {
    run_with(arguments, &[])
}

/// As [`run`], with these variables of the environment.
pub(crate) fn run_with(
    arguments: &[String],
    variables: &[(&'static str, String)],
) -> Result<ExitCode> {
    install_test_packages()?;
    let cluster = Cluster::start()?;
    let nextest = can_run("cargo-nextest", &["nextest", "--version"]);
    // Named packages mean only those, without the documentation examples.
    let named = arguments
        .iter()
        .any(|argument| argument.starts_with("-p") || argument.starts_with("--package"));
    let scope: &[&str] =
        if named { &["--all-features"] } else { &["--workspace", "--all-features"] };
    let mut docs_pass = true;
    if nextest && arguments.is_empty() {
        docs_pass = status(
            cargo(["test", "--doc", "--quiet"])
                .args(scope)
                .env(POSTGRES_URL_VARIABLE, cluster.url()),
        )?
        .success();
    }
    let runner: &[&str] = if nextest { &["nextest", "run"] } else { &["test"] };
    let mut tests = cargo(runner);
    tests.args(scope).args(arguments).envs(variables.iter().map(|(name, value)| (name, value)));
    let status = status(tests.env(POSTGRES_URL_VARIABLE, cluster.url()))?;
    drop(cluster);
    Ok(match status.code().and_then(|code| u8::try_from(code).ok()) {
        Some(0) if docs_pass => ExitCode::SUCCESS,
        Some(0) | None => ExitCode::FAILURE,
        Some(code) => ExitCode::from(code),
    })
}

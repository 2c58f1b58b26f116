//! `cargo xtask ci`, and the steps that run cargo.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use cargo_metadata::MetadataCommand;

use crate::postgres::Cluster;
use crate::shell::{can_run, cargo, run_ok, status};
use crate::{coverage, postgres, test, tidy};

/// Runs everything that must pass before a change counts; the steps that fail soonest come first.
pub(crate) fn run() -> Result<()> {
    postgres::install_test_packages()?;
    let mut done = Vec::new();
    let mut step = |name: &'static str, run: &dyn Fn() -> Result<()>| -> Result<()> {
        println!("==> {name}");
        let watch = start_timer();
        run()?;
        let took = watch.elapsed();
        println!("    {name}: {}", seconds(took));
        done.push((name, took));
        Ok(())
    };
    let all = ["--workspace", "--all-features"];
    step("format", &|| run_ok(&mut cargo(["fmt", "--all", "--check"])))?;
    step("tidy", &tidy::run)?;
    step("coverage", &coverage::run)?;
    step("lints", &|| {
        run_ok(cargo(["clippy", "--all-targets"]).args(all).args(["--", "-D", "warnings"]))
    })?;
    step("test", &|| {
        let code = test::run(&[])?;
        if code == ExitCode::SUCCESS { Ok(()) } else { bail!("a test failed") }
    })?;
    step("features", &features)?;
    step("docs", &|| {
        run_ok(cargo(["doc", "--no-deps"]).args(all).env("RUSTDOCFLAGS", "-D warnings"))
    })?;
    if can_run("cargo-deny", &["--version"]) {
        // Advisories need the network: `cargo deny check advisories` fetches them.
        let check = ["deny", "check", "bans", "licenses", "sources"];
        step("deny", &|| run_ok(&mut cargo(check)))?;
    } else {
        println!("==> deny: skipped, cargo-deny is not installed");
    }
    for (name, took) in done {
        println!("{name:>10}  {}", seconds(took));
    }
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "the duration of a step is not a rule of parlance")]
fn start_timer() -> Instant {
    Instant::now()
}

fn seconds(took: Duration) -> String {
    format!("{:.1} s", took.as_secs_f64())
}

/// Builds with each dialect alone, with the gRPC of one, with no dialect, and with PostgreSQL alone.
pub(crate) fn features() -> Result<()> {
    let metadata = MetadataCommand::new().current_dir(crate::root()).no_deps().exec()?;
    let server =
        metadata.packages.iter().find(|package| package.name.as_str() == "parlance-server");
    let features = server.into_iter().flat_map(|server| server.features.keys());
    let doors = features.filter(|name| !matches!(name.as_str(), "default" | "sqlite" | "postgres"));
    let mut sets: Vec<_> = doors.map(|door| format!("sqlite,{door}")).collect();
    sets.extend(["sqlite".to_owned(), "postgres".to_owned()]);
    for set in sets {
        println!("    {set}");
        let build =
            ["build", "--quiet", "-p", "parlance-server", "--no-default-features", "--features"];
        run_ok(cargo(build).arg(&set))?;
    }
    Ok(())
}

/// Runs every fuzz target in its long form, in a debug build, where integer overflow panics.
pub(crate) fn fuzz() -> Result<()> {
    let test = ["test", "-p", "parlance-fuzz", "--", "--nocapture", "--test-threads=2"];
    // One target fails on purpose; its backtrace would only be noise.
    run_ok(cargo(test).env("PARLANCE_TORTURE", "long").env("RUST_BACKTRACE", "0"))
}

/// Measures the cost of a check and of a login on the released binary.
pub(crate) fn bench(arguments: &[String]) -> Result<ExitCode> {
    let peers = arguments.iter().any(|word| ["peers", "all"].contains(&word.as_str()));
    postgres::install_bench_packages(peers)?;
    run_ok(&mut cargo(["build", "--release", "-p", "parlance-server", "--features", "postgres"]))?;
    run_ok(&mut cargo(["build", "--release", "-p", "parlance-bench"]))?;
    let cluster = Cluster::start_with(postgres::DEFAULT_SETTINGS)?;
    let run = ["run", "--release", "--quiet", "-p", "parlance-bench", "--"];
    let mut run = cargo(run);
    let status = status(run.args(arguments).env("PARLANCE_BENCH_POSTGRES", cluster.url()))?;
    drop(cluster);
    Ok(status
        .code()
        .and_then(|code| u8::try_from(code).ok())
        .map_or(ExitCode::FAILURE, ExitCode::from))
}

//! `cargo xtask ci`, and the steps that are cargo's.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use cargo_metadata::MetadataCommand;

use crate::postgres::Cluster;
use crate::shell::{cargo, has, status, succeed};
use crate::{coverage, postgres, test, tidy};

/// Everything that must pass before a change counts, in the order of what fails soonest.
pub(crate) fn run() -> Result<()> {
    postgres::provide()?;
    let mut done = Vec::new();
    let mut step = |name: &'static str, run: &dyn Fn() -> Result<()>| -> Result<()> {
        println!("==> {name}");
        let watch = start();
        run()?;
        let took = watch.elapsed();
        println!("    {name}: {}", seconds(took));
        done.push((name, took));
        Ok(())
    };
    let all = ["--workspace", "--all-features"];
    step("format", &|| succeed(&mut cargo(["fmt", "--all", "--check"])))?;
    step("tidy", &tidy::run)?;
    step("coverage", &coverage::run)?;
    step("lints", &|| {
        succeed(cargo(["clippy", "--all-targets"]).args(all).args(["--", "-D", "warnings"]))
    })?;
    step("test", &|| {
        let code = test::run(&[])?;
        if code == ExitCode::SUCCESS { Ok(()) } else { bail!("a test failed") }
    })?;
    step("features", &features)?;
    step("docs", &|| {
        succeed(cargo(["doc", "--no-deps"]).args(all).env("RUSTDOCFLAGS", "-D warnings"))
    })?;
    if has("cargo-deny", &["--version"]) {
        // Advisories have to be fetched: `cargo deny check advisories`, where there is a network.
        let check = ["deny", "check", "bans", "licenses", "sources"];
        step("deny", &|| succeed(&mut cargo(check)))?;
    } else {
        println!("==> deny: skipped, cargo-deny is not installed");
    }
    for (name, took) in done {
        println!("{name:>10}  {}", seconds(took));
    }
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "how long a step takes is no rule of parlance")]
fn start() -> Instant {
    Instant::now()
}

fn seconds(took: Duration) -> String {
    format!("{:.1} s", took.as_secs_f64())
}

/// Each dialect alone, the gRPC of one, none at all, PostgreSQL alone: each builds.
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
        succeed(cargo(build).arg(&set))?;
    }
    Ok(())
}

/// Every fuzz target in its long form. In debug, where sums that overflow panic.
pub(crate) fn fuzz() -> Result<()> {
    let test = ["test", "-p", "parlance-fuzz", "--", "--nocapture", "--test-threads=2"];
    // One target is meant to fail; nobody wants to see where.
    succeed(cargo(test).env("PARLANCE_TORTURE", "long").env("RUST_BACKTRACE", "0"))
}

/// What a check and a login cost, measured on the binary that is released.
pub(crate) fn bench(arguments: &[String]) -> Result<ExitCode> {
    let peers = arguments.iter().any(|word| ["peers", "all"].contains(&word.as_str()));
    postgres::provide_for_bench(peers)?;
    succeed(&mut cargo(["build", "--release", "-p", "parlance-server", "--features", "postgres"]))?;
    succeed(&mut cargo(["build", "--release", "-p", "parlance-bench"]))?;
    let cluster = Cluster::start_with(postgres::AS_IT_COMES)?;
    let run = ["run", "--release", "--quiet", "-p", "parlance-bench", "--"];
    let mut run = cargo(run);
    let status = status(run.args(arguments).env("PARLANCE_BENCH_POSTGRES", cluster.url()))?;
    drop(cluster);
    Ok(status
        .code()
        .and_then(|code| u8::try_from(code).ok())
        .map_or(ExitCode::FAILURE, ExitCode::from))
}

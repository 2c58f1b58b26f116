//! `parlance`: one session authority that speaks many login dialects.

mod admin;
mod app;
mod cli;
mod commands;
mod config;
mod connections;
mod demo;
mod descriptors;
mod escape;
mod grpc;
mod logging;
mod metrics;
mod output;
mod reload;
mod serve;
mod threads;

use std::process::ExitCode;

use clap::Parser as _;
use rustix::process::{DumpableBehavior, set_dumpable_behavior};

/// A check allocates some forty times; the system's allocator took a tenth of its time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // Passwords and keys are in this memory: no core file gets them, and no other process of the same user reads them.
    let _unheard_of = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    let done = match cli::Cli::try_parse() {
        Ok(cli) => cli.run(),
        // Help and the version are data, on standard output; what is wrong with a command line goes to standard error.
        Err(other) if !other.use_stderr() => output::print_help(&other),
        Err(wrong) => {
            let _nobody_hears = wrong.print();
            return ExitCode::from(cli::USAGE);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            output::tell_last(&format!("parlance: {error}"));
            ExitCode::from(error.code())
        }
    }
}

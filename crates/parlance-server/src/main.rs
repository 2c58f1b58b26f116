//! `parlance`: one session authority that speaks many login dialects.

mod admin;
mod app;
mod cli;
mod commands;
mod config;
mod connections;
mod demo;
mod grpc;
mod logging;
mod metrics;
mod serve;

use std::process::ExitCode;

use clap::Parser as _;

/// A check allocates some forty times; the system's allocator took a tenth of its time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    match cli.run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("parlance: {error}");
            ExitCode::from(error.code())
        }
    }
}

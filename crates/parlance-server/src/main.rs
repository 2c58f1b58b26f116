//! `parlance`: one session authority that speaks many login dialects.

mod admin;
mod app;
mod cli;
mod commands;
mod config;
mod demo;
mod grpc;
mod logging;
mod metrics;
mod serve;

use std::process::ExitCode;

use clap::Parser as _;

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

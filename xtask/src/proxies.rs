//! `cargo xtask proxies`: tests real proxies, each with every dialect, and prints the results as a table.

use std::fs;
use std::process::ExitCode;

use anyhow::Result;
use cargo_metadata::MetadataCommand;

use crate::test;

const DIALECTS: [&str; 5] =
    ["1010-cookie", "axxon-jsonrpc", "cluster-api", "flask-usertoken", "polish-longtoken"];

/// Runs the tests and prints their notes.
pub(crate) fn run() -> Result<ExitCode> {
    let metadata = MetadataCommand::new().current_dir(crate::root()).no_deps().exec()?;
    let folder = metadata.target_directory.join("e2e/matrix");
    // Notes of an earlier run must not reach the table.
    let _absent = fs::remove_dir_all(&folder);
    let arguments = ["-p", "parlance-e2e", "--no-fail-fast", "proxies::", "forward_auth::"];
    let code = test::run(&arguments.map(str::to_owned))?;
    println!("{:8} {:17} shown", "proxy", "dialect");
    for proxy in ["nginx", "caddy", "haproxy", "envoy"] {
        for dialect in DIALECTS {
            let noted = fs::read_to_string(folder.join(format!("{proxy} {dialect}")));
            let noted = noted.unwrap_or_default().lines().collect::<Vec<_>>().join(", ");
            let noted = if noted.is_empty() { "NOTHING" } else { noted.as_str() };
            println!("{proxy:8} {dialect:17} {noted}");
        }
    }
    Ok(code)
}

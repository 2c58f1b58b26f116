//! Running other programs.

use std::ffi::OsStr;
use std::process::{Command, ExitStatus, Stdio};

use anyhow::{Context as _, Result, bail};

/// `cargo` with these arguments, in the workspace.
pub(crate) fn cargo<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Command {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(arguments).current_dir(crate::root());
    // The variables that `cargo run` sets for xtask would make cargo rebuild unchanged packages.
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("CARGO_PKG_") || name == "CARGO_MANIFEST_DIR" {
            command.env_remove(name);
        }
    }
    command
}

/// Runs a command to its end.
pub(crate) fn status(command: &mut Command) -> Result<ExitStatus> {
    let name = command.get_program().to_string_lossy().into_owned();
    command.status().with_context(|| format!("cannot run {name}"))
}

/// Runs a command that must succeed.
pub(crate) fn run_ok(command: &mut Command) -> Result<()> {
    let status = status(command)?;
    if !status.success() {
        let words = command.get_args().map(OsStr::to_string_lossy);
        bail!("`{}` failed: {status}", words.collect::<Vec<_>>().join(" "));
    }
    Ok(())
}

/// The output of a command, if the command succeeds.
pub(crate) fn output(command: &mut Command) -> Option<String> {
    let output = command.stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    output.status.success().then_some(text)
}

/// Whether a program runs.
pub(crate) fn can_run(program: &str, probe: &[&str]) -> bool {
    output(Command::new(program).args(probe)).is_some()
}

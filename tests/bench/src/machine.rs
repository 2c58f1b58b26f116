//! The machine that the figures come from, without paths and host names.

use std::ffi::OsStr;
use std::fmt;
use std::fs;
use std::process::{Command, Stdio};

/// The number of cores that this process may use.
pub(crate) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// The machine and its programs.
#[derive(Debug)]
pub(crate) struct Machine {
    processor: String,
    memory_gib: u64,
    kernel: String,
    rustc: String,
    postgres: String,
    commit: String,
}

impl Machine {
    /// Reads the facts from the system.
    pub(crate) fn detect(postgres: &str) -> Self {
        let version = "SHOW server_version";
        let commit = command_output("git", &["rev-parse", "--short=12", "HEAD"]);
        let changed = command_output("git", &["status", "--porcelain", "--untracked-files=no"]);
        Self {
            processor: field("/proc/cpuinfo", "model name"),
            memory_gib: kib(&field("/proc/meminfo", "MemTotal")).div_ceil(1024 * 1024),
            kernel: fs::read_to_string("/proc/sys/kernel/osrelease")
                .map_or_else(|_| UNKNOWN.to_owned(), |text| text.trim().to_owned()),
            rustc: command_output("rustc", &["--version"]),
            postgres: command_output("psql", &["-X", "-At", "-c", version, postgres]),
            commit: if changed.is_empty() || changed == UNKNOWN {
                commit
            } else {
                commit + " with changes"
            },
        }
    }
}

/// The text for an unknown fact.
pub(crate) const UNKNOWN: &str = "unknown";

/// The output of a program.
pub(crate) fn command_output(program: impl AsRef<OsStr>, arguments: &[&str]) -> String {
    let mut command = Command::new(program);
    let output = command.args(arguments).stdin(Stdio::null()).stderr(Stdio::null()).output();
    let output = output.ok().filter(|output| output.status.success());
    output.map_or_else(
        || UNKNOWN.to_owned(),
        |output| String::from_utf8_lossy(&output.stdout).trim().to_owned(),
    )
}

/// The first value of a name in a file such as `/proc/cpuinfo`.
fn field(file: &str, name: &str) -> String {
    let text = fs::read_to_string(file).unwrap_or_default();
    let mut fields = text.lines().filter_map(|line| line.split_once(':'));
    let found = fields.find(|(key, _)| key.trim() == name);
    found.map_or_else(|| UNKNOWN.to_owned(), |(_, value)| value.trim().to_owned())
}

fn kib(text: &str) -> u64 {
    text.trim_end_matches(" kB").parse().unwrap_or(0)
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { processor, memory_gib, kernel, rustc, postgres, commit } = self;
        let cores = cores();
        write!(
            f,
            "{processor}, {cores} cores, {memory_gib} GiB; Linux {kernel}; {rustc}; PostgreSQL {postgres}; commit {commit}"
        )
    }
}

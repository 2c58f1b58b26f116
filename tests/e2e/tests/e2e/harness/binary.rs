//! The binary under test, built once per run, and other programs.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

/// The features of the program under test.
pub(crate) const FLAGS: &[&str] = &["--features", "postgres"];

static BINARY: LazyLock<PathBuf> = LazyLock::new(|| {
    // A copy: a long run on the release profile is not disturbed by later builds.
    let kept = target_folder().join(profile().file_name().unwrap());
    fs::create_dir_all(&kept).unwrap();
    let binary = kept.join("parlance");
    let _lock = lock("build");
    // nextest runs every test in a process of its own; the first process builds for all.
    let run = std::env::var("NEXTEST_RUN_ID").ok();
    let stamp = kept.join("run");
    if run.is_some() && fs::read_to_string(&stamp).ok() == run && binary.exists() {
        return binary;
    }
    build(FLAGS, &binary);
    fs::write(stamp, run.unwrap_or_default()).unwrap();
    binary
});

/// The program under test.
pub(crate) fn program() -> &'static Path {
    &BINARY
}

/// This test program runs from `target/<profile>/deps/e2e-...`; returns `target/<profile>`.
fn profile() -> PathBuf {
    let own = std::env::current_exe().unwrap();
    own.ancestors().nth(2).unwrap().to_owned()
}

/// The folder of files that outlive a run: `target/e2e`.
pub(crate) fn target_folder() -> PathBuf {
    let folder = profile().parent().unwrap().join("e2e");
    fs::create_dir_all(&folder).unwrap();
    folder
}

/// Takes a lock that all test processes share, until the file is dropped.
pub(crate) fn lock(name: &str) -> File {
    let file = File::create(target_folder().join(format!("{name}.lock"))).unwrap();
    file.lock().unwrap();
    file
}

/// Builds `parlance` with these flags and copies the binary: the next build with other flags replaces cargo's own. The
/// caller holds the lock `build`.
pub(crate) fn build(flags: &[&str], copy: &Path) {
    cargo_build(&[&["--package", "parlance-server", "--bin", "parlance"], flags].concat());
    let new = copy.with_extension("new");
    fs::copy(profile().join("parlance"), &new).unwrap();
    fs::rename(new, copy).unwrap();
}

/// Builds the examples for integrators where needed, and returns the path of this one. The caller holds the lock
/// `build`.
pub(crate) fn example(name: &str) -> PathBuf {
    cargo_build(&["--package", "parlance", "--examples", "--features", "testing"]);
    profile().join("examples").join(name)
}

/// The `cargo build` command, by the cargo that built the tests.
pub(crate) fn cargo() -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["build", "--quiet"]);
    cargo
}

fn cargo_build(flags: &[&str]) {
    let profile = profile();
    let mut command = cargo();
    command.args(flags).arg("--target-dir").arg(profile.parent().unwrap());
    match profile.file_name().and_then(|name| name.to_str()) {
        Some("debug") => {}
        name => {
            command.arg("--profile").arg(name.unwrap());
        }
    }
    command.current_dir(env!("CARGO_MANIFEST_DIR"));
    let built = command.output().unwrap();
    assert!(
        built.status.success(),
        "{flags:?} does not build:\n{}",
        String::from_utf8_lossy(&built.stderr)
    );
}

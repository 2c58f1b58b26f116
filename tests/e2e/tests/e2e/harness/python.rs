//! Python with the packages that the documents' clients import.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use super::binary;

static PYTHON: LazyLock<PathBuf> = LazyLock::new(|| environment("venv", "requirements.txt"));
static SCHEMATHESIS: LazyLock<PathBuf> =
    LazyLock::new(|| environment("schemathesis", "schemathesis.txt"));

/// Creates a virtual environment with the packages of this file; returns the interpreter.
fn environment(name: &str, requirements: &str) -> PathBuf {
    let requirements = scripts().join(requirements);
    let wanted = fs::read_to_string(&requirements).unwrap();
    let folder = binary::target_folder().join(name);
    let python = folder.join("bin/python");
    let _lock = binary::lock(name);
    let stamp = folder.join("requirements.txt");
    if fs::read_to_string(&stamp).is_ok_and(|made| made == wanted) && python.exists() {
        return python;
    }
    let _absent = fs::remove_dir_all(&folder);
    run(Command::new("python3").args(["-m", "venv"]).arg(&folder));
    run(Command::new(&python)
        .args(["-m", "pip", "install", "--quiet", "--requirement"])
        .arg(requirements));
    fs::write(stamp, wanted).unwrap();
    python
}

/// An interpreter with `requests`, `Authlib`, `PyJWT`, `cryptography`, `grpcio` and the program Envoy, in the versions
/// of `clients/requirements.txt`.
pub(crate) fn python() -> &'static Path {
    &PYTHON
}

/// A client script, to run in this folder.
pub(crate) fn script(folder: &Path, name: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(python());
    command.arg(scripts().join(name)).args(arguments).current_dir(folder).env("NO_PROXY", "*");
    command
}

/// An interpreter with `schemathesis`, in the version of `clients/schemathesis.txt`.
pub(crate) fn schemathesis() -> &'static Path {
    &SCHEMATHESIS
}

/// The folder of the client scripts.
pub(crate) fn scripts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("clients")
}

fn run(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

//! An integrator's app: the app of `docs/integrating.md`, word for word, in a crate outside the workspace, with each
//! dialect in turn as the only one.

use std::path::{Path, PathBuf};

use crate::harness::app::App;
use crate::harness::{Wire, binary};

#[test]
fn the_app_of_the_page_for_integrators_works_with_each_dialect() {
    let _lock = binary::lock("outside");
    for wire in Wire::ALL {
        let home = tempfile::tempdir().unwrap();
        let page = std::fs::read_to_string(repository().join("docs/integrating.md")).unwrap();
        let page = page.replace("cluster-api", wire.name());
        let path = repository().join("crates/parlance").display().to_string();
        let manifest = block(&page, "toml").replace("../parlance/crates/parlance", &path);
        std::fs::create_dir(home.path().join("src")).unwrap();
        std::fs::write(home.path().join("Cargo.toml"), manifest).unwrap();
        std::fs::write(home.path().join("src/main.rs"), block(&page, "rust,no_run")).unwrap();
        // Pins the versions that all other tests use.
        std::fs::copy(repository().join("Cargo.lock"), home.path().join("Cargo.lock")).unwrap();
        App::start(&build(home.path()), home.path(), "/legacy").run_session(wire);
    }
}

/// The first code block in this language.
fn block<'p>(page: &'p str, language: &str) -> &'p str {
    let (_, rest) = page.split_once(&format!("```{language}\n")).unwrap();
    rest.split_once("```").unwrap().0
}

/// Builds the app in this folder. Its dependencies stay built from run to run.
fn build(folder: &Path) -> PathBuf {
    let target = binary::target_folder().join("outside");
    let mut command = binary::cargo();
    let built = command.current_dir(folder).env("CARGO_TARGET_DIR", &target).output().unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    target.join("debug/my-app")
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

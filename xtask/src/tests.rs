//! The rules themselves, and that they see what breaks them.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use parlance_conformance::{Folder, load, parse_statements, parse_vector};

use crate::shell::succeed;
use crate::tidy::{decision, imports, migrations, module, promises};
use crate::{coverage, new_dialect, root, tidy, torture};

#[test]
fn a_test_that_a_promise_names_is_told_from_other_words() {
    let named =
        promises::named("`a_b_c_d` and `trusted_proxies`, `lockouts.rs`, `a_b_c_D`, not a_b_c_e");
    assert_eq!(named.into_iter().collect::<Vec<_>>(), ["a_b_c_d"]);
}

#[test]
fn the_workspace_is_tidy() {
    assert_eq!(tidy::check(&root()).unwrap(), Vec::<String>::new());
}

#[test]
fn every_statement_is_shown() {
    let decisions = coverage::decisions(&root().join("docs/decisions")).unwrap();
    for folder in load(&root().join("tests/conformance")).unwrap() {
        assert_eq!(coverage::table(&folder, &decisions).1, Vec::<String>::new());
    }
}

/// What is wrong with the coverage of these statements by a step that cites `cites`.
#[track_caller]
fn check_coverage(statement: &str, cites: &str, wrong: &[&str]) {
    let statements = format!("document = \"wire\"\nsource = \"s\"\n[[statement]]\n{statement}\n");
    let vector = format!(
        "title = \"t\"\n[[step]]\n{cites}\nrequest = {{ method = \"GET\", path = \"/\" }}\nstatus = 200\n"
    );
    let folder = Folder {
        dialect: "wire".to_owned(),
        statements: parse_statements("wire/statements.toml", &statements).unwrap(),
        vectors: vec![parse_vector("wire/a.toml", &vector).unwrap()],
    };
    let decisions = [("0001".to_owned(), "0001-x.md".to_owned())];
    assert_eq!(coverage::table(&folder, &decisions).1, wrong);
}

#[test]
fn a_gap_in_the_coverage_is_seen() {
    let statement = "id = \"a.b\"\nsays = \"x\"";
    let without = &format!("{statement}\nwithout = \"no exchange shows it\"");
    check_coverage(statement, "source = [\"a.b\"]\ndecision = [\"0001\"]", &[]);
    check_coverage(without, "decision = [\"0001\"]", &[]);
    check_coverage(statement, "decision = [\"0001\"]", &["wire: no step shows a.b: x"]);
    check_coverage(
        without,
        "source = [\"a.b\"]",
        &["wire: a.b is shown, and says that it cannot be"],
    );
    check_coverage(
        without,
        "source = [\"a.c\"]",
        &["wire/a.toml:2 cites a.c, which no statement is"],
    );
    check_coverage(
        without,
        "decision = [\"0002\"]",
        &["wire: decision 0002 is nowhere, but cited by a.toml:2"],
    );
}

#[test]
fn a_module_without_a_first_word_or_too_long_is_seen() {
    assert_eq!(module("//! A module.\n"), Vec::<String>::new());
    assert_eq!(module("#![doc = include_str!(\"docs.md\")]\n"), Vec::<String>::new());
    assert_eq!(module("use std::fs;\n").len(), 1);
    assert_eq!(module(&("//! A module.\n".to_owned() + &"\n".repeat(450))).len(), 1);
}

#[test]
fn a_decision_out_of_shape_is_seen() {
    let good = "# 0001. Title\nStatus: accepted\n## Context\n## Decision\n## Consequences\n";
    assert_eq!(decision("0001", good), Vec::<String>::new());
    assert_eq!(decision("0002", good).len(), 1);
    assert_eq!(decision("1", &good.replace("0001", "1")).len(), 1);
    assert_eq!(decision("0001", &good.replace("## Context", "")).len(), 1);
    assert_eq!(decision("0001", &(good.to_owned() + &"\n".repeat(60))).len(), 1);
}

#[test]
fn migrations_that_are_no_twins_are_seen() {
    let home = tempfile::tempdir().unwrap();
    let make = |path: &str| {
        fs::create_dir_all(home.path().join(path)).unwrap();
        fs::write(home.path().join(path).join("up.sql"), "").unwrap();
        fs::write(home.path().join(path).join("down.sql"), "").unwrap();
    };
    make("sqlite/0001_first");
    make("postgres/0001_first");
    assert_eq!(migrations(home.path()).unwrap(), Vec::<String>::new());
    make("sqlite/0001_again");
    fs::remove_file(home.path().join("sqlite/0001_first/down.sql")).unwrap();
    assert_eq!(
        migrations(home.path()).unwrap(),
        [
            "migrations/sqlite/0001_first: down.sql is missing",
            "migrations/sqlite: 0001 stands twice",
            "migrations: 0001_again is for sqlite alone",
        ]
    );
}

/// A copy of the workspace as git knows it, with what is not yet committed.
fn copy() -> tempfile::TempDir {
    let home = tempfile::tempdir().unwrap();
    copy_to(home.path());
    home
}

fn copy_to(home: &Path) {
    let list = ["ls-files", "--cached", "--others", "--exclude-standard", "-z"];
    let output = Command::new("git").args(list).current_dir(root()).output().unwrap();
    assert!(output.status.success());
    for path in
        String::from_utf8(output.stdout).unwrap().split('\0').filter(|path| !path.is_empty())
    {
        let to = home.join(path);
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        // What was removed and is not committed yet is not there.
        if root().join(path).exists() {
            fs::copy(root().join(path), to).unwrap();
        }
    }
}

fn replace(root: &Path, file: &str, from: &str, to: &str) {
    let path = root.join(file);
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains(from), "{file} holds no {from}");
    fs::write(path, text.replacen(from, to, 1)).unwrap();
}

#[test]
fn an_import_against_the_direction_is_seen() {
    #[track_caller]
    fn check(krate: &str, import: &str) {
        let copy = copy();
        let manifest = format!("crates/{krate}/Cargo.toml");
        let line = format!("[dependencies]\n{import}.workspace = true\n");
        replace(copy.path(), &manifest, "[dependencies]\n", &line);
        let wrong = imports::check(&tidy::metadata(copy.path()).unwrap());
        assert_eq!(wrong, [format!("{krate} may not import {import}")]);
    }
    check("parlance-core", "serde");
    check("parlance-dialect", "actix-web");
    check("parlance-cluster-api", "parlance-1010-cookie");
    check("parlance-polish-longtoken", "tokio");
    check("parlance-store", "parlance-dialect");
    check("parlance-actix", "parlance-cluster-api");
    check("parlance-server", "diesel");
    check("parlance-server", "tonic");
    check("parlance-axxon-grpc", "actix-web");
    check("parlance-conformance", "parlance-store");
}

#[test]
fn a_dialect_that_is_missing_somewhere_is_seen() {
    #[track_caller]
    fn check(file: &str, from: &str, to: &str) {
        let copy = copy();
        replace(copy.path(), file, from, to);
        assert_eq!(tidy::check(copy.path()).unwrap().len(), 1, "{file}");
    }
    check("crates/parlance/src/table.rs", "    \"cluster-api\" =>", "    // \"cluster-api\" =>");
    check("crates/parlance-server/Cargo.toml", "cluster-api = [", "cluster = []\ncluster-api = [");
    check("README.md", "| [`cluster-api`]", "| [`cluster`]");
}

#[test]
fn a_new_dialect_is_tidy_and_answers_its_vector() {
    // Always in one place, so that nothing of the last time is left over, and what was built then need not be built again.
    let target = root().join("target/new-dialect");
    let home = &target.join("workspace");
    let _ = fs::remove_dir_all(home);
    copy_to(home);
    new_dialect::write(home, "acme-login").unwrap();
    assert_eq!(tidy::check(home).unwrap(), Vec::<String>::new());
    for name in [
        "cluster-api",
        "core",
        "sqlite",
        "axxon-grpc",
        "Acme",
        "acme_login",
        "-acme",
        "acme--login",
        "",
    ] {
        assert!(new_dialect::write(home, name).is_err(), "{name:?}");
    }
    new_dialect::write(home, "3d").unwrap();
    let test = |arguments: &str, update: bool| {
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(["test", "--offline", "--quiet"]).args(arguments.split(' '));
        cargo.current_dir(home).env("CARGO_TARGET_DIR", &target).stdout(Stdio::null());
        if update {
            cargo.env("UPDATE_EXPECT", "1");
        }
        succeed(&mut cargo).unwrap();
    };
    let vectors = "-p parlance --test conformance --no-default-features --features acme-login,3d";
    test(vectors, true);
    test(vectors, false);
    test("-p parlance-acme-login -p parlance-3d", false);
    assert!(home.join("tests/conformance/acme-login/hello.snap").exists());
}

/// What a torture's arguments ask for, as text.
#[track_caller]
fn check_torture(arguments: &str, wanted: &str) {
    let arguments: Vec<_> = arguments.split_whitespace().map(str::to_owned).collect();
    let known =
        [("kill", "a"), ("slow", "b")].map(|(name, what)| (name.to_owned(), what.to_owned()));
    let read = torture::read(&arguments, &known);
    let read = read.map_or_else(|error| format!("{error:#}"), |wanted| format!("{wanted:?}"));
    assert!(read.contains(wanted), "{read}");
}

#[test]
fn a_torture_is_named_and_bounded_as_it_is_asked_for() {
    check_torture(
        "",
        r#"names: ["kill", "slow"], variables: [("PARLANCE_TORTURE", "long")], debug: false"#,
    );
    check_torture(
        "slow --for 60",
        r#"["slow"], variables: [("PARLANCE_TORTURE", "long"), ("PARLANCE_TORTURE_SECONDS", "60")]"#,
    );
    check_torture("kill --times 7 --debug", r#"("PARLANCE_TORTURE_TIMES", "7")], debug: true"#);
    check_torture("kill --short", r#"variables: []"#);
    check_torture("quick", "there is no scenario or flag `quick`; scenarios are kill, slow");
    check_torture("kill --times", "--times wants a number");
    check_torture("kill --times many", "`many` is no number");
}

#[test]
fn every_scenario_is_found_and_says_what_it_does() {
    let found = torture::scenarios().unwrap();
    for known in ["kill", "guesses"] {
        assert!(found.iter().any(|(name, _)| name == known), "{found:?}");
    }
    assert!(found.iter().all(|(name, what)| name != "mod" && what.len() > 20), "{found:?}");
}

//! Tests of the rules: the workspace follows them, and each rule sees its violation.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use parlance_conformance::{VectorFolder, load, parse_statements, parse_vector};

use crate::shell::run_ok;
use crate::tidy::decisions::{self, Code, Record, Sections};
use crate::tidy::{check_migrations, check_module, imports, named_tests, prose};
use crate::{coverage, new_dialect, root, tidy, torture};

#[test]
fn test_names_in_backquotes_are_told_from_other_words() {
    let named = named_tests::named_tests(
        "`a_b_c_d` and `trusted_proxies`, `lockouts.rs`, `a_b_c_D`, not a_b_c_e",
    );
    assert_eq!(named.into_iter().collect::<Vec<_>>(), ["a_b_c_d"]);
}

#[test]
fn the_workspace_is_tidy() {
    assert_eq!(tidy::check(&root()).unwrap(), Vec::<String>::new());
}

#[test]
fn every_statement_is_shown() {
    for folder in load(&root().join("tests/conformance")).unwrap() {
        let decisions = decisions::citable(&root(), &folder.dialect).unwrap();
        assert_eq!(coverage::table(&folder, &decisions).1, Vec::<String>::new());
    }
}

/// Checks the faults in the coverage of these statements by a step with the citations `cites`.
#[track_caller]
fn check_coverage(statement: &str, cites: &str, wrong: &[&str]) {
    let statements = format!("document = \"wire\"\nsource = \"s\"\n[[statement]]\n{statement}\n");
    let vector = format!(
        "title = \"t\"\n[[step]]\n{cites}\nrequest = {{ method = \"GET\", path = \"/\" }}\nstatus = 200\n"
    );
    let folder = VectorFolder {
        dialect: "wire".to_owned(),
        statements: parse_statements("wire/statements.toml", &statements).unwrap(),
        vectors: vec![parse_vector("wire/a.toml", &vector).unwrap()],
    };
    let decisions = ["0001", "a-token-ends"].map(str::to_owned);
    assert_eq!(coverage::table(&folder, &decisions).1, wrong);
}

#[test]
fn a_gap_in_the_coverage_is_seen() {
    let statement = "id = \"a.b\"\nsays = \"x\"";
    let without = &format!("{statement}\nwithout = \"no exchange shows it\"");
    check_coverage(statement, "source = [\"a.b\"]\ndecision = [\"0001\"]", &[]);
    check_coverage(statement, "source = [\"a.b\"]\ndecision = [\"a-token-ends\"]", &[]);
    check_coverage(without, "decision = [\"0001\"]", &[]);
    check_coverage(statement, "decision = [\"0001\"]", &["wire: no step shows a.b: x"]);
    check_coverage(
        without,
        "source = [\"a.b\"]",
        &["wire: a.b is shown by a step, but `without` says that no step can show it"],
    );
    check_coverage(
        without,
        "source = [\"a.c\"]",
        &["wire/a.toml:2 cites a.c, but there is no such statement"],
    );
    check_coverage(
        without,
        "decision = [\"0002\"]",
        &["wire: decision 0002 does not exist, but is cited by a.toml:2"],
    );
}

#[test]
fn a_module_without_a_first_word_or_too_long_is_seen() {
    assert_eq!(check_module("//! A module.\n"), Vec::<String>::new());
    assert_eq!(check_module("#![doc = include_str!(\"docs.md\")]\n"), Vec::<String>::new());
    assert_eq!(check_module("use std::fs;\n").len(), 1);
    assert_eq!(check_module(&("//! A module.\n".to_owned() + &"\n".repeat(450))).len(), 1);
}

const RECORD: &str =
    "# 0001. A `use` is kept\nStatus: accepted\n## Context\n## Decision\n## Consequences\n";

#[test]
fn prose_beyond_the_limits_is_seen() {
    let plain = "The store answers after the commit. ".repeat(200);
    let check = |added: &str, is_within: bool| {
        let document = prose::Figures::of_document(&format!("{plain}{added}"));
        assert_eq!(document.are_within(), is_within, "{added}");
        let comments = format!("{plain}{added}").replace(". ", ".\n/// ");
        let comments = prose::Figures::of_comments(&format!("/// {comments}"));
        assert_eq!(comments.are_within(), is_within, "{added}");
    };
    check("", true);
    check("What nobody asks for, whoever asks, is sent. ", true);
    check("What nobody asks for, whoever asks, is sent to somebody. ", false);
    check(&"The caller gets it. ".repeat(13), false);
    check(&"The caller gets it. ".repeat(12), true);
    check("A user ends his session. ", false);
    // Code is no prose.
    check("The field `who` and `it` of [what](who.md). ", true);
}

#[test]
fn a_decision_out_of_shape_is_seen() {
    #[track_caller]
    fn check(records: &[(&str, &str)], count: usize) {
        let records: Vec<_> = records.iter().map(|(name, text)| Record::new(name, text)).collect();
        let faults = decisions::faults(&records);
        assert_eq!(faults.len(), count, "{faults:?}");
    }
    let name = "0001-a-use-is-kept.md";
    let second = RECORD.replace("0001", "0002");
    let other = ("0002-a-use-is-kept.md", second.as_str());
    check(&[(name, RECORD)], 0);
    check(&[(name, &second)], 1);
    check(&[("1-a-use-is-kept.md", &RECORD.replace("0001", "1"))], 1);
    check(&[("0001-a-use-is-lost.md", RECORD)], 1);
    check(&[(name, &RECORD.replace("## Context", ""))], 1);
    check(&[(name, &format!("{RECORD}{}", "\n".repeat(60)))], 1);
    check(&[(name, RECORD), (name, RECORD)], 2);
    check(&[(name, &RECORD.replace("accepted", "superseded by 0002")), other], 0);
    for status in ["superseded by 0003", "superseded by 0001", "amended by 0002", ""] {
        check(&[(name, &RECORD.replace("accepted", status)), other], 1);
    }
}

#[test]
fn an_index_that_is_not_what_the_records_say_is_seen() {
    let records = [Record::new("0001-a-use-is-kept.md", RECORD)];
    let wires =
        [Sections::new("acme", "# Decisions of acme\n\n## A token ends, at `/login`\n\nWhy.\n")];
    let index = decisions::index(&records, &wires);
    for line in [
        "| [0001](0001-a-use-is-kept.md) | A `use` is kept | accepted |",
        "- [A token ends, at `/login`](../../crates/parlance-acme/decisions.md#a-token-ends-at-login)",
    ] {
        assert!(index.lines().any(|found| found == line), "{index}");
    }
    assert_eq!(decisions::stale(&index, &records, &wires), None);
    let wrong = decisions::stale(&index, &records, &[]).unwrap();
    assert!(wrong.contains("cargo xtask decisions"), "{wrong}");
    assert!(decisions::stale(&index, &[], &wires).is_some());
    assert!(decisions::stale("", &records, &wires).is_some());
}

#[test]
fn a_word_of_code_is_told_from_other_words() {
    #[track_caller]
    fn check(text: &str, wanted: &[&str]) {
        let named: Vec<_> =
            decisions::identifiers(text).into_iter().map(|(_, name)| name).collect();
        assert_eq!(named, wanted);
    }
    check(
        "`Session::is_live`, `a_b`, `A_B`, `Secret`",
        &["Session::is_live", "a_b", "A_B", "Secret"],
    );
    check(
        "`system.rs`, `src/x-y/system.rs`, `floor.lowest_one`",
        &["system.rs", "src/x-y/system.rs", "floor.lowest_one"],
    );
    check("`decode()`, `base64(user:token)`, `verify(a, b)`", &["decode", "base64", "verify"]);
    check(
        "`___`, `log`, `0.0.4`, `Z`, `X-Auth-User`, `/a_b`, `a_b=c`, `GET /x`, `a.toml`, `Ωμ`, A_B",
        &[],
    );
    check("```text\n`a_b`\n```\n", &[]);
}

#[test]
fn code_that_a_decision_names_and_that_is_gone_is_seen() {
    let mut code = Code::default();
    code.add("crates/a/src/authority.rs", "impl Session { fn is_live() {} }");
    code.add("migrations/up.sql", "CREATE TABLE schema_floor (lowest)");
    let text =
        "`Session::is_live` in `authority.rs` and `a/src/authority.rs`\n`schema_floor.lowest`\n";
    assert_eq!(code.missing("x.md", text), Vec::<String>::new());
    assert_eq!(
        code.missing("x.md", "`is_live`\n`Session::is_alive`, `ority.rs` and `Sess`"),
        [
            "x.md:2 names `Session::is_alive`, which does not exist in the code",
            "x.md:2 names `ority.rs`, which does not exist in the code",
            "x.md:2 names `Sess`, which does not exist in the code",
        ]
    );
}

#[test]
fn a_reference_to_a_decision_that_is_gone_is_seen() {
    let records = [Record::new("0001-a-use-is-kept.md", RECORD)];
    let wires = [Sections::new("acme", "## A token ends\n"), Sections::new("b", "## It starts\n")];
    let broken = |name: &str, text: &str| decisions::broken(name, text, &records, &wires);
    let none = Vec::<String>::new();
    assert_eq!(broken("docs/x.md", "([0001](decisions/0001-a-use-is-kept.md)), decisions/"), none);
    assert_eq!(broken("crates/parlance-acme/src/call.rs", "(decisions.md#a-token-ends)"), none);
    let both = "(crates/parlance-acme/decisions.md#a-token-ends, crates/parlance-b/decisions.md#it-starts)";
    assert_eq!(broken("SECURITY.md", both), none);
    assert_eq!(
        broken("docs/x.md", "\n([0391](decisions/0391-how.md))"),
        ["docs/x.md:2 refers to decisions/0391-how.md, which does not exist"]
    );
    assert_eq!(
        broken("crates/parlance-b/src/docs.md", "[why](../decisions.md#a-token-ends)"),
        [
            "crates/parlance-b/src/docs.md:1 refers to decisions.md#a-token-ends, which does not exist"
        ]
    );
    assert_eq!(broken("SECURITY.md", "decisions.md#a-token-ends").len(), 1);
}

#[test]
fn unpaired_migrations_are_reported() {
    let home = tempfile::tempdir().unwrap();
    let make = |path: &str| {
        fs::create_dir_all(home.path().join(path)).unwrap();
        fs::write(home.path().join(path).join("up.sql"), "").unwrap();
        fs::write(home.path().join(path).join("down.sql"), "").unwrap();
    };
    make("sqlite/0001_first");
    make("postgres/0001_first");
    assert_eq!(check_migrations(home.path()).unwrap(), Vec::<String>::new());
    make("sqlite/0001_again");
    fs::remove_file(home.path().join("sqlite/0001_first/down.sql")).unwrap();
    assert_eq!(
        check_migrations(home.path()).unwrap(),
        [
            "migrations/sqlite/0001_first: down.sql is missing",
            "migrations/sqlite: 0001 is a duplicate",
            "migrations: 0001_again is for sqlite alone",
        ]
    );
}

/// A copy of the workspace as tracked by git, with uncommitted changes.
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
        // A file is missing here after an uncommitted removal.
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
    check("docs/decisions/README.md", "| [0001]", "| [0000]");
    check(
        "docs/decisions/0002-a-session-is-judged-in-one-place-and-changed-by-conditional-statements.md",
        "`authority.rs`",
        "`authorities.rs`",
    );
}

#[test]
fn a_new_dialect_is_tidy_and_answers_its_vector() {
    // Always the same place: nothing of the last run is left over, and the last build is reused.
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
        run_ok(&mut cargo).unwrap();
    };
    let vectors = "-p parlance --test conformance --no-default-features --features acme-login,3d";
    test(vectors, true);
    test(vectors, false);
    test("-p parlance-acme-login -p parlance-3d", false);
    assert!(home.join("tests/conformance/acme-login/hello.snap").exists());
}

/// Checks the parsed arguments of a torture run, as text.
#[track_caller]
fn check_torture(arguments: &str, wanted: &str) {
    let arguments: Vec<_> = arguments.split_whitespace().map(str::to_owned).collect();
    let known =
        [("kill", "a"), ("slow", "b")].map(|(name, what)| (name.to_owned(), what.to_owned()));
    let read = torture::parse_arguments(&arguments, &known);
    let read = read.map_or_else(|error| format!("{error:#}"), |wanted| format!("{wanted:?}"));
    assert!(read.contains(wanted), "{read}");
}

#[test]
fn torture_arguments_select_scenarios_and_bounds() {
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
    check_torture("kill --times", "--times needs a number");
    check_torture("kill --times many", "`many` is not a number");
}

#[test]
fn every_scenario_is_found_and_says_what_it_does() {
    let found = torture::scenarios().unwrap();
    for known in ["kill", "guesses"] {
        assert!(found.iter().any(|(name, _)| name == known), "{found:?}");
    }
    assert!(found.iter().all(|(name, what)| name != "mod" && what.len() > 20), "{found:?}");
}

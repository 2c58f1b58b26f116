//! The examples for integrators, run as they stand.

use std::path::PathBuf;

use crate::harness::app::{ALICE, App};
use crate::harness::{Request, Verdict, Wire, binary, clock, faketime, server};

/// Builds an example, unless it is built.
fn example(name: &str) -> PathBuf {
    let _lock = binary::lock("build");
    binary::example(name)
}

/// Starts an example whose dialects stand under this prefix, and drives it over these wires.
#[track_caller]
fn check(name: &str, prefix: &'static str, wires: &[Wire]) {
    let folder = tempfile::tempdir().unwrap();
    let app = App::start(&example(name), folder.path(), prefix);
    wires.iter().for_each(|wire| app.drive(*wire));
}

#[test]
fn one_dialect_lets_its_clients_in_and_nobody_else() {
    check("one_dialect", "/legacy", &[Wire::Cluster]);
}

#[test]
fn an_app_drops_the_rows_of_dead_sessions() {
    let folder = tempfile::tempdir().unwrap();
    let program = example("one_dialect");
    let rows = || {
        let script = "import sqlite3,sys; c=sqlite3.connect(sys.argv[1],60); \
                      print(c.execute('SELECT count(*) FROM sessions').fetchone()[0])";
        let mut command = std::process::Command::new("python3");
        command.args(["-c", script]).arg(folder.path().join("one_dialect.db"));
        let ran = server::run(command, "");
        ran.stdout.trim().parse::<u32>().unwrap_or_else(|_| panic!("{ran:?}"))
    };
    let app = App::start(&program, folder.path(), "/legacy");
    let login = Wire::Cluster.login(ALICE.0, ALICE.1);
    let login = Request { target: format!("/legacy{}", login.target), ..login };
    assert!(Wire::Cluster.opened(ALICE.0, &app.send(&login)).is_ok());
    drop(app);
    assert_eq!(rows(), 1);
    // It died after ten minutes, and its row stays for an hour.
    let later = faketime::shifted(2 * 60 * 60);
    let _app = App::start_with(&program, folder.path(), "/legacy", later);
    clock::until("the rows of the dead to go", || (rows() == 0).then_some(()));
}

#[test]
fn all_dialects_takes_the_session_of_any() {
    check("all_dialects", "", &Wire::ALL);
}

#[test]
fn all_dialects_gives_bodies_back_whole_over_the_socket() {
    let folder = tempfile::tempdir().unwrap();
    let app = App::start(&example("all_dialects"), folder.path(), "");
    let held = |wire: Wire| {
        wire.opened(ALICE.0, &app.send(&wire.login(ALICE.0, ALICE.1)))
            .unwrap_or_else(|odd| panic!("{odd:?}"))
    };
    let form = held(Wire::Cluster).shown(Request::post("/private/upload"));
    assert_eq!(app.send(&form).body, form.body);
    // Far beyond what a guard would read.
    let body = b"a large upload ".repeat(10_000);
    let mut upload = held(Wire::Flask).shown(Request::post("/private/upload"));
    upload.body.clone_from(&body);
    assert_eq!(app.send(&upload).body, body);
}

#[test]
fn own_users_decides_at_every_request() {
    let folder = tempfile::tempdir().unwrap();
    let app = App::start(&example("own_users"), folder.path(), "");
    app.drive(Wire::Polish);
    let log_in = || Wire::Polish.opened(ALICE.0, &app.send(&Wire::Polish.login(ALICE.0, ALICE.1)));
    let held = log_in().unwrap();
    assert_eq!(app.whoami(&held).text(), "alice by polish-longtoken\n");
    assert_eq!(app.send(&Request::post("/dismiss/alice")).status, 200);
    assert_eq!(app.whoami(&held).status, 401);
    assert_eq!(log_in(), Err(Verdict::No));
}

#[test]
fn own_store_is_told_of_every_change() {
    let folder = tempfile::tempdir().unwrap();
    let app = App::start(&example("own_store"), folder.path(), "");
    app.drive(Wire::Polish);
    for change in ["changed: AddUser\n", "changed: Open\n", "changed: Close\n"] {
        assert!(app.out.line_with(change.trim_end()).is_some(), "{change}{}", app.out.text());
    }
}

#[test]
fn test_authority_passes_its_own_test() {
    let ran = server::run(std::process::Command::new(example("test_authority")), "");
    assert_eq!((ran.code, ran.stdout.as_str()), (0, "ok\n"), "{ran:?}");
}

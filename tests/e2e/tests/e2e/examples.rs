//! The examples for integrators, unchanged.

use std::path::PathBuf;

use crate::harness::app::{ALICE, App};
use crate::harness::{Request, Verdict, Wire, binary, clock, faketime, server};

/// Builds an example unless already built.
fn example(name: &str) -> PathBuf {
    let _lock = binary::lock("build");
    binary::example(name)
}

/// Starts an example with its dialects under this prefix, and drives these wires.
#[track_caller]
fn check(name: &str, prefix: &'static str, wires: &[Wire]) {
    let folder = tempfile::tempdir().unwrap();
    let app = App::start(&example(name), folder.path(), prefix);
    wires.iter().for_each(|wire| app.run_session(*wire));
}

#[test]
fn one_dialect_admits_its_own_clients_only() {
    check("one_dialect", "/legacy", &[Wire::Cluster]);
}

#[test]
fn an_app_purges_the_rows_of_expired_sessions() {
    let folder = tempfile::tempdir().unwrap();
    let program = example("one_dialect");
    let rows = || {
        let script = "import sqlite3,sys; c=sqlite3.connect(sys.argv[1],60); \
                      print(c.execute('SELECT count(*) FROM sessions').fetchone()[0])";
        let mut command = std::process::Command::new("python3");
        command.args(["-c", script]).arg(folder.path().join("one_dialect.db"));
        let ran = server::run_to_end(command, "");
        ran.stdout.trim().parse::<u32>().unwrap_or_else(|_| panic!("{ran:?}"))
    };
    let app = App::start(&program, folder.path(), "/legacy");
    let login = Wire::Cluster.login_request(ALICE.0, ALICE.1);
    let login = Request { target: format!("/legacy{}", login.target), ..login };
    assert!(Wire::Cluster.parse_login(ALICE.0, &app.send(&login)).is_ok());
    drop(app);
    assert_eq!(rows(), 1);
    // The session expired after ten minutes; its row stays for an hour.
    let later = faketime::environment_with_offset(2 * 60 * 60);
    let _app = App::start_with(&program, folder.path(), "/legacy", later);
    clock::wait_for("the rows of the dead to go", || (rows() == 0).then_some(()));
}

#[test]
fn all_dialects_accepts_the_session_of_any_dialect() {
    check("all_dialects", "", &Wire::ALL);
}

#[test]
fn all_dialects_echoes_whole_bodies_over_the_socket() {
    let folder = tempfile::tempdir().unwrap();
    let app = App::start(&example("all_dialects"), folder.path(), "");
    let held = |wire: Wire| {
        wire.parse_login(ALICE.0, &app.send(&wire.login_request(ALICE.0, ALICE.1)))
            .unwrap_or_else(|odd| panic!("{odd:?}"))
    };
    let form = held(Wire::Cluster).attach_to(Request::post("/private/upload"));
    assert_eq!(app.send(&form).body, form.body);
    // Far beyond the body limit of a guard.
    let body = b"a large upload ".repeat(10_000);
    let mut upload = held(Wire::Flask).attach_to(Request::post("/private/upload"));
    upload.body.clone_from(&body);
    assert_eq!(app.send(&upload).body, body);
}

#[test]
fn own_users_decides_at_every_request() {
    let folder = tempfile::tempdir().unwrap();
    let app = App::start(&example("own_users"), folder.path(), "");
    app.run_session(Wire::Polish);
    let log_in = || {
        Wire::Polish.parse_login(ALICE.0, &app.send(&Wire::Polish.login_request(ALICE.0, ALICE.1)))
    };
    let held = log_in().unwrap();
    assert_eq!(app.whoami(&held).text(), "alice by polish-longtoken\n");
    assert_eq!(app.send(&Request::post("/dismiss/alice")).status, 200);
    assert_eq!(app.whoami(&held).status, 401);
    assert_eq!(log_in(), Err(Verdict::Refused));
}

#[test]
fn own_store_receives_every_change() {
    let folder = tempfile::tempdir().unwrap();
    let app = App::start(&example("own_store"), folder.path(), "");
    app.run_session(Wire::Polish);
    for change in ["changed: AddUser\n", "changed: OpenSession\n", "changed: EndSession\n"] {
        assert!(app.out.wait_for_line(change.trim_end()).is_some(), "{change}{}", app.out.text());
    }
}

#[test]
fn test_authority_passes_its_own_test() {
    let ran = server::run_to_end(std::process::Command::new(example("test_authority")), "");
    assert_eq!((ran.code, ran.stdout.as_str()), (0, "ok\n"), "{ran:?}");
}

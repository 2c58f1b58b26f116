//! Log records of requests, and traces of a crash.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::process::Command;

use serde_json::Value;

use crate::harness::server::wrap_command;
use crate::harness::{Database, Installation, PASSWORD, Request, Server, USER, Wire};

/// The program's whole log, after its end.
fn whole_log(mut server: Server) -> String {
    server.signal("TERM");
    assert_eq!(server.wait_for_exit().code(), Some(0));
    server.log.wait_for_end()
}

#[test]
fn a_login_and_a_logout_are_recorded_with_the_user_s_id_and_name() {
    let installation = Installation::new(Database::sqlite());
    let server = installation.start();
    installation.add_user("Łukasz Nowak", PASSWORD);
    let user: Value =
        serde_json::from_str(&installation.run_ok(&["user", "show", "Łukasz Nowak", "--json"]))
            .unwrap();
    for wire in Wire::ALL {
        let held = server.log_in_as(wire, "łukasz nowak", PASSWORD);
        server.log_out(&held);
    }
    let log = whole_log(server);
    let whom = format!("user={} name=\"Łukasz Nowak\"", user["id"].as_str().unwrap());
    let records = |what: &str| log.lines().filter(|line| line.contains(what)).count();
    for what in ["login dialect", "logout dialect"] {
        assert_eq!(records(&format!(" {what}")), Wire::ALL.len(), "{log}");
    }
    assert_eq!(records(&whom), 2 * Wire::ALL.len(), "{log}");
}

#[test]
fn a_hash_of_another_program_is_a_reason_of_its_own_and_no_other_answer() {
    let installation = Installation::new(Database::sqlite());
    let server = installation.start_with_user();
    let answers =
        || Wire::ALL.map(|wire| format!("{:?}", server.refused_login(wire, USER, "wrong")));
    let wrong = answers();
    installation.database.execute("UPDATE users SET password = '$2b$10$abcdefghijklmnopqrstuu'");
    assert_eq!(answers(), wrong, "the wire says nothing of it");
    for wire in Wire::ALL {
        let labels = format!("dialect=\"{}\",action=\"login\"", wire.name());
        let refused = |reason: &str| {
            server.metric(&format!("parlance_refusals_total{{{labels},reason=\"{reason}\"}}"))
        };
        assert_eq!(refused("unreadable_hash"), 1, "{}", wire.name());
    }
    let log = whole_log(server);
    assert_eq!(log.matches("reason=\"unreadable_hash\"").count(), Wire::ALL.len(), "{log}");
}

#[test]
fn an_unclaimed_path_is_counted_and_logged_at_debug_without_its_query() {
    let installation = Installation::with_config(Database::sqlite(), "log_level = \"debug\"\n");
    let server = installation.start();
    let counted = |listener: &str| {
        server.metric(&format!("parlance_unclaimed_requests_total{{listener=\"{listener}\"}}"))
    };
    assert_eq!((counted("dialects"), counted("admin")), (0, 0));
    let long = format!("/{}", "x".repeat(4000));
    for target in
        ["/legacy/login?token=canary", "/xx/login&token=canary", "/%1b%0a?pw=canary", &long]
    {
        assert_eq!(server.send(&Request::post(target)).status, 404);
    }
    assert_eq!(server.get_admin("/health?token=canary").status, 404);
    assert_eq!((counted("dialects"), counted("admin")), (4, 1));
    let log = whole_log(server);
    let told = |listener: &str, method: &str, path: &str| {
        let record =
            format!("no such path listener=\"{listener}\" method=\"{method}\" path=\"{path}\"\n");
        assert!(log.contains(&record), "{record}{log}");
    };
    told("dialects", "POST", "/legacy/login");
    told("dialects", "POST", "/xx/login");
    told("dialects", "POST", "/%1b%0a");
    told("dialects", "POST", &format!("/{}", "x".repeat(127)));
    told("admin", "GET", "/health");
    assert!(!log.contains("canary"), "{log}");
}

#[test]
fn a_fatal_error_is_one_line() {
    let installation = Installation::new(Database::sqlite());
    let mut command = installation.bare_command(&["serve", "--database"]);
    command.arg("postgres://nobody:x@127.0.0.1:1/nowhere").args(["--listen", "127.0.0.1:0"]);
    let output = crate::harness::server::run_to_end(command, "");
    let said: Vec<_> = output.stderr.lines().filter(|line| !line.starts_with("20")).collect();
    assert_eq!((output.code, said.len()), (1, 1), "{}", output.stderr);
}

/// Whether a process that SIGABRT ended left a core dump, where core files are allowed.
fn leaves_a_core(installation: &Installation, program: &Command, is_ready: bool) -> bool {
    let limit = ["prlimit", "--core=unlimited", "--"];
    if !is_ready {
        let status = wrap_command(&limit, program).status().unwrap();
        return status.core_dumped();
    }
    let (mut server, _) = Server::spawn(wrap_command(&limit, program));
    // A process that is not dumpable belongs to root, whichever user started the program.
    assert_eq!(fs::metadata(format!("/proc/{}", server.pid())).unwrap().uid(), 0);
    installation.add_user(USER, PASSWORD);
    server.log_in(Wire::Polish);
    server.signal("ABRT");
    let status = server.wait_for_exit();
    assert_eq!(status.signal(), Some(6));
    status.core_dumped()
}

#[test]
fn the_program_writes_no_core_file() {
    let installation = Installation::new(Database::sqlite());
    let mut other = Command::new("sh");
    other.args(["-c", "kill -ABRT $$"]).current_dir(installation.folder());
    if !leaves_a_core(&installation, &other, false) {
        eprintln!("no core file is written of any program here: nothing to see");
    }
    assert!(!leaves_a_core(&installation, &installation.serve_command(), true));
}

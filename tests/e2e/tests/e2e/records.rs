//! What the log says of a request, and what a fault leaves behind.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::process::Command;

use serde_json::Value;

use crate::harness::server::under;
use crate::harness::{Database, PASSWORD, Request, Server, Site, USER, Wire};

/// The program's whole log, once it has ended.
fn whole_log(mut server: Server) -> String {
    server.signal("TERM");
    assert_eq!(server.ended().code(), Some(0));
    server.log.whole()
}

#[test]
fn a_login_and_a_logout_are_recorded_with_the_user_s_id_and_name() {
    let site = Site::new(Database::sqlite());
    let server = site.start();
    site.add_user("Łukasz Nowak", PASSWORD);
    let user: Value =
        serde_json::from_str(&site.must(&["user", "show", "Łukasz Nowak", "--json"])).unwrap();
    for wire in Wire::ALL {
        let held = server.login(wire, "łukasz nowak", PASSWORD);
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
    let site = Site::new(Database::sqlite());
    let server = site.start_with_user();
    let answers = || Wire::ALL.map(|wire| format!("{:?}", server.refusal(wire, USER, "wrong")));
    let wrong = answers();
    site.database.run("UPDATE users SET password = '$2b$10$abcdefghijklmnopqrstuu'");
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
fn a_path_that_nothing_answers_is_counted_and_told_at_debug_without_its_query() {
    let site = Site::with(Database::sqlite(), "log_level = \"debug\"\n");
    let server = site.start();
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
    assert_eq!(server.admin("/health?token=canary").status, 404);
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
fn a_fatal_sentence_is_one_line() {
    let site = Site::new(Database::sqlite());
    let mut command = site.bare_command(&["serve", "--database"]);
    command.arg("postgres://nobody:x@127.0.0.1:1/nowhere").args(["--listen", "127.0.0.1:0"]);
    let output = crate::harness::server::run(command, "");
    let said: Vec<_> = output.stderr.lines().filter(|line| !line.starts_with("20")).collect();
    assert_eq!((output.code, said.len()), (1, 1), "{}", output.stderr);
}

/// How a process ended that SIGABRT has ended, where core files are allowed.
fn leaves_a_core(site: &Site, program: &Command, is_ready: bool) -> bool {
    let limit = ["prlimit", "--core=unlimited", "--"];
    if !is_ready {
        let status = under(&limit, program).status().unwrap();
        return status.core_dumped();
    }
    let (mut server, _) = Server::spawn(under(&limit, program));
    // A process that is not dumpable belongs to root, whoever started it.
    assert_eq!(fs::metadata(format!("/proc/{}", server.pid())).unwrap().uid(), 0);
    site.add_user(USER, PASSWORD);
    server.log_in(Wire::Polish);
    server.signal("ABRT");
    let status = server.ended();
    assert_eq!(status.signal(), Some(6));
    status.core_dumped()
}

#[test]
fn no_core_file_has_the_memory_of_the_program() {
    let site = Site::new(Database::sqlite());
    let mut other = Command::new("sh");
    other.args(["-c", "kill -ABRT $$"]).current_dir(site.folder());
    if !leaves_a_core(&site, &other, false) {
        eprintln!("no core file is written of any program here: nothing to see");
    }
    assert!(!leaves_a_core(&site, &site.serve(), true));
}

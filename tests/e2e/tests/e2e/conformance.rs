//! `parlance conformance` against the binary: green, and red when one byte is wrong.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use serde_json::Value;

use crate::harness::server::run_to_end;
use crate::harness::{Database, Installation, Output, PASSWORD, USER, Wire, on_both_databases};

on_both_databases!(the_binary_conforms_to_every_document);

/// Runs the vectors against a base address.
#[track_caller]
fn run_conformance(installation: &Installation, base: &str, more: &[&str]) -> Output {
    let arguments =
        [&["conformance", "--base", base, "--user", USER, "--password-stdin"], more].concat();
    run_to_end(installation.bare_command(&arguments), &format!("{PASSWORD}\n"))
}

/// Counts the test cases and failures of a `JUnit` file with an independent parser.
#[track_caller]
fn count_junit(installation: &Installation, name: &str) -> (usize, usize) {
    let script = "import sys, xml.etree.ElementTree as t; r = t.parse(sys.argv[1]).getroot(); \
                  print(sum(1 for _ in r.iter('testcase')), sum(1 for e in r.iter() if e.tag in ('failure', 'error')))";
    let mut command = Command::new("python3");
    command.args(["-c", script, name]).current_dir(installation.folder());
    let output = run_to_end(command, "");
    let (cases, failures) =
        output.stdout.trim().split_once(' ').unwrap_or_else(|| panic!("{output:?}"));
    (cases.parse().unwrap(), failures.parse().unwrap())
}

fn the_binary_conforms_to_every_document(database: Database) {
    let installation = Installation::new(database);
    let server = installation.start_with_user();
    let text = run_conformance(&installation, &server.base_url(), &["--junit", "report.xml"]);
    assert_eq!(text.code, 0, "{}\n{}", text.stdout, text.stderr);
    for wire in Wire::ALL {
        assert!(text.stdout.contains(wire.name()), "{}", text.stdout);
    }
    let (cases, failures) = count_junit(&installation, "report.xml");
    assert!(cases > 50 && failures == 0, "{cases} cases, {failures} failures");
    let json = run_conformance(
        &installation,
        &server.base_url(),
        &["--json", "--dialect", "cluster-api", "--dialect", "1010-cookie"],
    );
    assert_eq!(json.code, 0, "{json:?}");
    let report: Value = serde_json::from_str(&json.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", json.stdout));
    assert!(!report.to_string().contains("flask-usertoken"), "only what was asked for: {report}");
    // No output may hold a secret.
    for output in [&text.stdout, &text.stderr, &json.stdout] {
        assert!(!output.contains(PASSWORD) && !output.contains("_______"), "{output}");
    }
}

#[test]
fn one_wrong_byte_in_one_answer_is_found() {
    // The first matching answer is changed; the rest of the vector depends on that answer.
    check_report_fails(
        1,
        &[
            ("cluster-api", "\"status\": \"success\"", "\"status\": \"succesS\""),
            ("polish-longtoken", "\"token\"", "\"tokem\""),
            ("flask-usertoken", "\"token\"", "\"tokem\""),
            ("1010-cookie", "{\"error\": ", "{\"errar\": "),
            ("axxon-jsonrpc", "\"token_value\"", "\"token_valve\""),
        ],
    );
}

#[test]
fn one_wrong_byte_in_all_answers_of_a_kind_is_found() {
    check_report_fails(
        usize::MAX,
        &[
            ("cluster-api", "Wrong password.", "Wrong password!"),
            ("polish-longtoken", "\"validTo\"", "\"validto\""),
            ("flask-usertoken", "lastLoginTime", "lastLoginTine"),
            ("flask-usertoken", "vary: Accept", "vary: Accepx"),
            ("1010-cookie", "\"rc\": \"0\"", "\"rc\": \"1\""),
            ("1010-cookie", "SameSite=Lax", "SameSite=Lay"),
            ("axxon-jsonrpc", "AUTHENTICATE_CODE_OK", "AUTHENTICATE_CODE_0K"),
            ("axxon-jsonrpc", "www-authenticate: Bearer", "www-authenticate: Bearex"),
        ],
    );
}

/// Asserts that each of these changes, applied to at most `times` answers of a good server, turns the report red.
#[track_caller]
fn check_report_fails(times: usize, changes: &[(&str, &'static str, &'static str)]) {
    let installation = Installation::new(Database::sqlite());
    let server = installation.start_with_user();
    for (dialect, good, bad) in changes {
        let changed = Arc::new(AtomicUsize::new(0));
        let address = altering_proxy(
            server.dialects,
            Fault { good, bad, times, changed: Arc::clone(&changed) },
        );
        let output = run_conformance(
            &installation,
            &format!("http://{address}"),
            &["--dialect", dialect, "--junit", "red.xml"],
        );
        assert!(changed.load(Ordering::Relaxed) > 0, "{dialect}: no answer has {good}");
        assert_eq!(output.code, 1, "{dialect} {bad}: {}\n{}", output.stdout, output.stderr);
        assert!(count_junit(&installation, "red.xml").1 > 0, "{dialect} {bad}");
    }
}

#[test]
fn an_unreachable_server_and_an_unknown_dialect_are_errors() {
    let installation = Installation::new(Database::sqlite());
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let base = format!("http://{nobody}");
    let away = run_conformance(&installation, &base, &[]);
    assert_eq!(away.code, 1, "{away:?}");
    let unknown = run_conformance(&installation, &base, &["--dialect", "esperanto"]);
    assert!(
        matches!(unknown.code, 1 | 2)
            && unknown.stderr.contains("esperanto")
            && unknown.stderr.contains("cluster-api"),
        "{unknown:?}"
    );
    let usage = run_to_end(installation.bare_command(&["conformance"]), "");
    assert!(usage.code == 2 && usage.stderr.contains("--base"), "{usage:?}");
}

#[test]
fn a_wrong_password_fails_the_conformance_run() {
    let installation = Installation::new(Database::sqlite());
    let server = installation.start_with_user();
    let arguments =
        ["conformance", "--base", &server.base_url(), "--user", USER, "--password-stdin"];
    let output = run_to_end(installation.bare_command(&arguments), "wrong\n");
    assert_eq!(output.code, 1, "{output:?}");
}

/// A change that a proxy makes to answers.
#[derive(Clone)]
struct Fault {
    good: &'static str,
    bad: &'static str,
    /// The most answers to change.
    times: usize,
    changed: Arc<AtomicUsize>,
}

impl Fault {
    fn change(&self, answer: &mut [u8]) {
        let good = self.good.as_bytes();
        if let Some(at) = answer.windows(good.len()).position(|window| window == good)
            && self.changed.fetch_add(1, Ordering::Relaxed) < self.times
        {
            answer[at..at + good.len()].copy_from_slice(self.bad.as_bytes());
        }
    }
}

/// Starts a proxy that changes answers.
fn altering_proxy(server: SocketAddr, fault: Fault) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let server = TcpStream::connect(server).unwrap();
            let (mut from_client, mut to_server) =
                (client.try_clone().unwrap(), server.try_clone().unwrap());
            thread::spawn(move || {
                let _closed = std::io::copy(&mut from_client, &mut to_server);
                let _closed = to_server.shutdown(Shutdown::Write);
            });
            let fault = fault.clone();
            thread::spawn(move || forward(server, client, &fault));
        }
    });
    address
}

/// Relies on answers of these wires being short and arriving in one piece.
fn forward(mut server: TcpStream, mut client: TcpStream, fault: &Fault) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(length @ 1..) = server.read(&mut buffer) {
        fault.change(&mut buffer[..length]);
        if client.write_all(&buffer[..length]).is_err() {
            return;
        }
    }
    let _closed = client.shutdown(Shutdown::Both);
}

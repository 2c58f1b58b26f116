//! `parlance conformance`, pointed at the binary: green, and red where one byte is wrong.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use serde_json::Value;

use crate::harness::server::run;
use crate::harness::{Database, Output, PASSWORD, Site, USER, Wire, on_both_databases};

on_both_databases!(the_binary_conforms_to_every_document);

/// Runs the vectors against a base address.
#[track_caller]
fn conformance(site: &Site, base: &str, more: &[&str]) -> Output {
    let arguments =
        [&["conformance", "--base", base, "--user", USER, "--password-stdin"], more].concat();
    run(site.bare_command(&arguments), &format!("{PASSWORD}\n"))
}

/// How many test cases and failures a `JUnit` file has, by a parser that is not ours.
#[track_caller]
fn junit(site: &Site, name: &str) -> (usize, usize) {
    let script = "import sys, xml.etree.ElementTree as t; r = t.parse(sys.argv[1]).getroot(); \
                  print(sum(1 for _ in r.iter('testcase')), sum(1 for e in r.iter() if e.tag in ('failure', 'error')))";
    let mut command = Command::new("python3");
    command.args(["-c", script, name]).current_dir(site.folder());
    let output = run(command, "");
    let (cases, failures) =
        output.stdout.trim().split_once(' ').unwrap_or_else(|| panic!("{output:?}"));
    (cases.parse().unwrap(), failures.parse().unwrap())
}

fn the_binary_conforms_to_every_document(database: Database) {
    let site = Site::new(database);
    let server = site.start_with_user();
    let text = conformance(&site, &server.base(), &["--junit", "report.xml"]);
    assert_eq!(text.code, 0, "{}\n{}", text.stdout, text.stderr);
    for wire in Wire::ALL {
        assert!(text.stdout.contains(wire.name()), "{}", text.stdout);
    }
    let (cases, failures) = junit(&site, "report.xml");
    assert!(cases > 50 && failures == 0, "{cases} cases, {failures} failures");
    let json = conformance(
        &site,
        &server.base(),
        &["--json", "--dialect", "cluster-api", "--dialect", "1010-cookie"],
    );
    assert_eq!(json.code, 0, "{json:?}");
    let report: Value = serde_json::from_str(&json.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", json.stdout));
    assert!(!report.to_string().contains("flask-usertoken"), "only what was asked for: {report}");
    // The secrets that were seen are nobody's business.
    for output in [&text.stdout, &text.stderr, &json.stdout] {
        assert!(!output.contains(PASSWORD) && !output.contains("_______"), "{output}");
    }
}

#[test]
fn one_wrong_byte_in_one_answer_is_found() {
    let site = Site::new(Database::sqlite());
    let server = site.start_with_user();
    for (dialect, good, bad) in [
        ("cluster-api", "\"status\": \"success\"", "\"status\": \"succesS\""),
        ("polish-longtoken", "\"validTo\"", "\"validto\""),
        ("flask-usertoken", "\"enabled\":true", "\"enabled\":tru3"),
        ("1010-cookie", "\"rc\": \"0\"", "\"rc\": \"1\""),
        ("axxon-jsonrpc", "AUTHENTICATE_CODE_OK", "AUTHENTICATE_CODE_0K"),
    ] {
        let flipped = Arc::new(AtomicBool::new(false));
        let base = format!("http://{}", proxy(server.dialects, good, bad, Arc::clone(&flipped)));
        let output = conformance(&site, &base, &["--dialect", dialect, "--junit", "red.xml"]);
        assert!(flipped.load(Ordering::Relaxed), "{dialect}: no answer has {good}");
        assert_eq!(output.code, 1, "{dialect}: {}\n{}", output.stdout, output.stderr);
        assert!(junit(&site, "red.xml").1 > 0, "{dialect}");
    }
}

#[test]
fn a_server_that_is_not_there_and_a_dialect_that_is_not_are_errors() {
    let site = Site::new(Database::sqlite());
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let base = format!("http://{nobody}");
    let away = conformance(&site, &base, &[]);
    assert_eq!(away.code, 1, "{away:?}");
    let unknown = conformance(&site, &base, &["--dialect", "esperanto"]);
    assert!(
        matches!(unknown.code, 1 | 2)
            && unknown.stderr.contains("esperanto")
            && unknown.stderr.contains("cluster-api"),
        "{unknown:?}"
    );
    let usage = run(site.bare_command(&["conformance"]), "");
    assert!(usage.code == 2 && usage.stderr.contains("--base"), "{usage:?}");
}

#[test]
fn a_wrong_password_is_not_green() {
    let site = Site::new(Database::sqlite());
    let server = site.start_with_user();
    let arguments = ["conformance", "--base", &server.base(), "--user", USER, "--password-stdin"];
    let output = run(site.bare_command(&arguments), "wrong\n");
    assert_eq!(output.code, 1, "{output:?}");
}

/// A proxy that, once, writes `bad` where the server wrote `good`.
fn proxy(
    server: SocketAddr,
    good: &'static str,
    bad: &'static str,
    flipped: Arc<AtomicBool>,
) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let server = TcpStream::connect(server).unwrap();
            let (mut from_client, mut to_server) =
                (client.try_clone().unwrap(), server.try_clone().unwrap());
            thread::spawn(move || {
                let _closed = std::io::copy(&mut from_client, &mut to_server);
                let _closed = to_server.shutdown(std::net::Shutdown::Write);
            });
            let flipped = Arc::clone(&flipped);
            thread::spawn(move || {
                forward(server, client, good.as_bytes(), bad.as_bytes(), &flipped)
            });
        }
    });
    address
}

/// An answer of these wires is short and comes in one piece.
fn forward(
    mut server: TcpStream,
    mut client: TcpStream,
    good: &[u8],
    bad: &[u8],
    flipped: &AtomicBool,
) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(length @ 1..) = server.read(&mut buffer) {
        let piece = &mut buffer[..length];
        if let Some(at) = piece.windows(good.len()).position(|window| window == good)
            && !flipped.swap(true, Ordering::Relaxed)
        {
            piece[at..at + bad.len()].copy_from_slice(bad);
        }
        if client.write_all(piece).is_err() {
            return;
        }
    }
    let _closed = client.shutdown(std::net::Shutdown::Both);
}

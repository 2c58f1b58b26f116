//! Bodies and heads that never end, on each listener: their connections end, whether an answer was sent or not.

use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use super::is_long;
use crate::harness::http::Connection;
use crate::harness::{Database, Installation, Server, Stopwatch};

/// How long a connection may outlive the answer.
const LINGER_TIMEOUT: Duration = Duration::from_secs(2);
/// Bytes of an endless body that the server and the system may take: some full buffers.
const MAX_SWALLOWED_BYTES: usize = 64 * 1024 * 1024;

/// The framing of a body, and the part that is sent.
pub(super) const BODIES: [(&str, &str); 6] = [
    ("Transfer-Encoding: chunked", ""),
    ("Transfer-Encoding: chunked", "5\r\nab"),
    ("Transfer-Encoding: chunked", "2\r\nab\r\n"),
    ("Content-Length: 10", ""),
    ("Content-Length: 10", "abc"),
    ("Content-Length: 20000", "abc"),
];
/// Unclaimed paths, claimed paths, and paths that want another method.
const DIALECTS: [&str; 6] = [
    "POST /nowhere",
    "GET /nowhere",
    "POST /login",
    "POST /api/login",
    "DELETE /login",
    "PUT /v1/authentication/authenticate",
];
const ADMIN: [&str; 5] =
    ["POST /nowhere", "GET /readyz", "POST /healthz", "POST /introspect", "POST /forward-auth"];

pub(super) fn head(line: &str, header: &str) -> String {
    format!("{line} HTTP/1.1\r\nHost: parlance.test\r\n{header}\r\n\r\n")
}

/// Sends these bytes and nothing more: the answer comes, and then the end of the connection.
#[track_caller]
fn check_connection_ends(address: SocketAddr, sent: &str) {
    let mut connection = Connection::open(address).unwrap();
    connection.write(sent.as_bytes()).unwrap();
    let answer = connection.read(false).unwrap_or_else(|error| panic!("{sent:?}: {error}"));
    let watch = Stopwatch::start();
    let rest = connection.read_to_end().unwrap_or_else(|error| panic!("{sent:?} goes on: {error}"));
    assert!(rest.is_empty(), "{sent:?}: after {answer:?}");
    let took = watch.elapsed();
    assert!(!is_long() || took < LINGER_TIMEOUT, "{sent:?}: {took:?} after {}", answer.status);
}

fn request_lines(server: &Server) -> impl Iterator<Item = (SocketAddr, &'static str)> {
    let dialects = DIALECTS.map(|line| (server.dialects, line));
    dialects.into_iter().chain(ADMIN.map(|line| (server.admin, line)))
}

#[test]
fn an_answer_to_a_body_that_never_ends_ends_the_connection() {
    let installation = Installation::new(Database::sqlite());
    let server = installation.start();
    thread::scope(|scope| {
        for (address, line) in request_lines(&server) {
            for (header, body) in BODIES {
                scope.spawn(move || check_connection_ends(address, &(head(line, header) + body)));
            }
        }
    });
}

#[test]
fn an_endless_body_is_not_read_to_its_end() {
    let installation = Installation::new(Database::sqlite());
    let server = installation.start();
    let chunk = format!("10000\r\n{}\r\n", "x".repeat(0x10000));
    thread::scope(|scope| {
        for (address, line) in request_lines(&server) {
            for header in ["Transfer-Encoding: chunked", "Content-Length: 99999999999"] {
                let chunk = &chunk;
                scope.spawn(move || {
                    let mut connection = Connection::open(address).unwrap();
                    connection.write(head(line, header).as_bytes()).unwrap();
                    let mut sent = 0;
                    while sent < MAX_SWALLOWED_BYTES && connection.write(chunk.as_bytes()).is_ok() {
                        sent += chunk.len();
                    }
                    assert!(
                        sent < MAX_SWALLOWED_BYTES,
                        "{line}, {header}: {sent} bytes were taken"
                    );
                });
            }
        }
    });
}

#[test]
fn a_head_that_never_ends_ends_the_connection_also_after_an_answer() {
    let installation = Installation::new(Database::sqlite());
    let server = installation.start();
    let whole = head("GET /nowhere", "Accept: */*");
    thread::scope(|scope| {
        for (address, _) in request_lines(&server).step_by(DIALECTS.len()) {
            for before in [0, 1, 3] {
                let whole = &whole;
                scope.spawn(move || {
                    let mut connection = Connection::open(address).unwrap();
                    for _ in 0..before {
                        connection.write(whole.as_bytes()).unwrap();
                        assert_eq!(connection.read(false).unwrap().status, 404);
                    }
                    connection.write(&whole.as_bytes()[..20]).unwrap();
                    let rest = connection.read_to_end();
                    assert!(rest.is_ok(), "after {before} answers: {rest:?}");
                });
            }
        }
    });
}

//! Bodies and heads that never end, on each listener: their connections do, whatever was answered.

use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use super::is_long;
use crate::harness::http::Connection;
use crate::harness::{Database, Server, Site, Watch};

/// How long a connection may outlive the answer.
const LINGER_TIMEOUT: Duration = Duration::from_secs(2);
/// What the server and the system may take of a body that goes on and on, in bytes: some buffers full.
const SWALLOWED: usize = 64 * 1024 * 1024;

/// How a body is framed, and what is sent of it.
pub(super) const BODIES: [(&str, &str); 6] = [
    ("Transfer-Encoding: chunked", ""),
    ("Transfer-Encoding: chunked", "5\r\nab"),
    ("Transfer-Encoding: chunked", "2\r\nab\r\n"),
    ("Content-Length: 10", ""),
    ("Content-Length: 10", "abc"),
    ("Content-Length: 20000", "abc"),
];
/// Nobody's path, claimed ones, and ones that want another method.
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

/// Sends this and nothing more: the answer comes, and then the end.
#[track_caller]
fn ends(address: SocketAddr, sent: &str) {
    let mut connection = Connection::open(address).unwrap();
    connection.write(sent.as_bytes()).unwrap();
    let answer = connection.read(false).unwrap_or_else(|error| panic!("{sent:?}: {error}"));
    let watch = Watch::start();
    let rest = connection.rest().unwrap_or_else(|error| panic!("{sent:?} goes on: {error}"));
    assert!(rest.is_empty(), "{sent:?}: after {answer:?}");
    let took = watch.elapsed();
    assert!(!is_long() || took < LINGER_TIMEOUT, "{sent:?}: {took:?} after {}", answer.status);
}

fn everywhere(server: &Server) -> impl Iterator<Item = (SocketAddr, &'static str)> {
    let dialects = DIALECTS.map(|line| (server.dialects, line));
    dialects.into_iter().chain(ADMIN.map(|line| (server.admin, line)))
}

#[test]
fn an_answer_to_a_body_that_never_ends_ends_the_connection() {
    let site = Site::new(Database::sqlite());
    let server = site.start();
    thread::scope(|scope| {
        for (address, line) in everywhere(&server) {
            for (header, body) in BODIES {
                scope.spawn(move || ends(address, &(head(line, header) + body)));
            }
        }
    });
}

#[test]
fn a_body_that_goes_on_and_on_is_not_swallowed() {
    let site = Site::new(Database::sqlite());
    let server = site.start();
    let chunk = format!("10000\r\n{}\r\n", "x".repeat(0x10000));
    thread::scope(|scope| {
        for (address, line) in everywhere(&server) {
            for header in ["Transfer-Encoding: chunked", "Content-Length: 99999999999"] {
                let chunk = &chunk;
                scope.spawn(move || {
                    let mut connection = Connection::open(address).unwrap();
                    connection.write(head(line, header).as_bytes()).unwrap();
                    let mut sent = 0;
                    while sent < SWALLOWED && connection.write(chunk.as_bytes()).is_ok() {
                        sent += chunk.len();
                    }
                    assert!(sent < SWALLOWED, "{line}, {header}: {sent} bytes were taken");
                });
            }
        }
    });
}

#[test]
fn a_head_that_never_ends_ends_the_connection_also_after_an_answer() {
    let site = Site::new(Database::sqlite());
    let server = site.start();
    let whole = head("GET /nowhere", "Accept: */*");
    thread::scope(|scope| {
        for (address, _) in everywhere(&server).step_by(DIALECTS.len()) {
            for before in [0, 1, 3] {
                let whole = &whole;
                scope.spawn(move || {
                    let mut connection = Connection::open(address).unwrap();
                    for _ in 0..before {
                        connection.write(whole.as_bytes()).unwrap();
                        assert_eq!(connection.read(false).unwrap().status, 404);
                    }
                    connection.write(&whole.as_bytes()[..20]).unwrap();
                    let rest = connection.rest();
                    assert!(rest.is_ok(), "after {before} answers: {rest:?}");
                });
            }
        }
    });
}

//! Claims about the end of a connection after a request with an unread body, in an app on actix's own server.

use std::io::{Read as _, Write as _};
use std::thread;

use super::server::{FORM, TestDialect, TestServer};

/// Sends a head and a piece of a body, and nothing more: the answer has this status, and the connection ends.
#[track_caller]
fn check(server: &TestServer, line: &str, headers: &[&str], body: &str, status: u16) {
    let mut stream = server.connect();
    let head = format!("{line} HTTP/1.1\r\nHost: app.test\r\n{}\r\n\r\n", headers.join("\r\n"));
    stream.write_all((head + body).as_bytes()).unwrap();
    let mut answer = Vec::new();
    let end = stream.read_to_end(&mut answer);
    let answer = String::from_utf8_lossy(&answer);
    assert!(end.is_ok(), "{line} {headers:?}: {end:?} after {answer}");
    assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{line} {headers:?}: {answer}");
}

#[test]
fn an_unread_body_ends_its_connection_through_the_guard_and_on_claimed_paths() {
    let server = TestServer::start(&[TestDialect::Flask, TestDialect::Cluster]);
    let (name, value) = server.log_in(0).headers.remove(0);
    let shown = format!("{name}: {value}");
    let chunked = ["Transfer-Encoding: chunked", "Content-Type: text/plain"];
    let good = [shown.as_str(), "Transfer-Encoding: chunked"];
    let sized = [shown.as_str(), "Content-Length: 10"];
    thread::scope(|scope| {
        let check = |line: &'static str, headers: Vec<&'static str>, body, status| {
            let server = &server;
            scope.spawn(move || check(server, line, &headers, body, status));
        };
        // Refused by the guard: a form is waited for, other bodies are not read.
        check("POST /app/whoami", chunked.to_vec(), "5\r\nab", 401);
        check("POST /app/whoami", vec!["Content-Length: 10"], "ab", 401);
        check("POST /app/whoami", vec![FORM, "Transfer-Encoding: chunked"], "5\r\nab", 200);
        // A dialect's own paths: waited for, refused for their length, and no such method.
        check("POST /legacy/api/login", vec![FORM, "Transfer-Encoding: chunked"], "5\r\nab", 200);
        check("POST /legacy/api/login", vec![FORM, "Content-Length: 20000"], "ab", 200);
        check("PUT /legacy/auth/login", chunked.to_vec(), "5\r\nab", 408);
    });
    // Admitted to handlers that do not read the body to its end, one of them with an empty answer.
    for headers in [good, sized] {
        check(&server, "POST /app/whoami", &headers, "5\r\nab", 200);
        check(&server, "POST /app/nothing", &headers, "5\r\nab", 204);
        check(&server, "POST /app/nowhere", &headers, "5\r\nab", 404);
        check(&server, "POST /app/first", &headers, "5\r\nab\r\n", 200);
    }
}

#[test]
fn a_body_that_came_whole_keeps_the_connection() {
    let server = TestServer::start(&[TestDialect::Flask]);
    let (name, value) = server.log_in(0).headers.remove(0);
    let mut stream = server.connect();
    let head = format!("POST /app/whoami HTTP/1.1\r\nHost: app.test\r\n{name}: {value}\r\n");
    for framed in
        ["Content-Length: 2\r\n\r\nab", "Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n"]
    {
        stream.write_all(format!("{head}{framed}").as_bytes()).unwrap();
        let mut answer = [0; 4096];
        let read = stream.read(&mut answer).unwrap();
        let answer = String::from_utf8_lossy(&answer[..read]);
        assert!(answer.starts_with("HTTP/1.1 200"), "{framed:?}: {answer}");
        assert!(!answer.to_lowercase().contains("connection: close"), "{framed:?}: {answer}");
    }
}

//! The bytes on the wire of a vector that runs against a URL.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::sync::Arc;
use std::thread;

use chrono::DateTime;
use expect_test::{Expect, expect};

use crate::SentRequest;
use crate::http::HttpTarget;
use crate::target::Target as _;

fn target(base: &str) -> HttpTarget {
    HttpTarget::new(base, Arc::new(|| DateTime::from_timestamp(0, 0).unwrap())).unwrap()
}

/// Checks the bytes that a server on a socket of its own receives, and the reading of its answer.
#[track_caller]
fn check(request: &SentRequest, answer: &'static str, sent: Expect, received: Expect) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let server = thread::spawn(move || {
        let mut stream = BufReader::new(listener.accept().unwrap().0);
        let (mut seen, mut length) = (String::new(), 0);
        while !seen.ends_with("\r\n\r\n") {
            let start = seen.len();
            stream.read_line(&mut seen).unwrap();
            if let Some(value) = seen[start..].to_ascii_lowercase().strip_prefix("content-length:")
            {
                length = value.trim().parse().unwrap();
            }
        }
        let mut body = vec![0; length];
        stream.read_exact(&mut body).unwrap();
        stream.get_mut().write_all(answer.as_bytes()).unwrap();
        seen + &String::from_utf8(body).unwrap()
    });
    let mut target = target(&format!("http://{address}/legacy/"));
    let answer = target.send(request).unwrap();
    let seen = server.join().unwrap().replace("\r\n", "\n").replace(&address.to_string(), "HOST");
    sent.assert_eq(&seen);
    let body = String::from_utf8(answer.body).unwrap();
    received.assert_eq(&format!("{} {:?} {body}", answer.status, answer.headers));
}

fn request(method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> SentRequest {
    let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    SentRequest {
        method: method.to_owned(),
        target: path.to_owned(),
        headers: headers.collect(),
        body: body.as_bytes().to_vec(),
        peer: None,
        secure: false,
    }
}

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

#[test]
fn a_request_target_is_sent_as_it_is() {
    for path in ["/login&token=x", "/v/api/!login", "/v/api/%21login:json", "/a//b/../c?d=|&d=%zz"]
    {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut target = target(&format!("http://{}", listener.local_addr().unwrap()));
        let server = thread::spawn(move || {
            let mut stream = BufReader::new(listener.accept().unwrap().0);
            let mut line = String::new();
            stream.read_line(&mut line).unwrap();
            stream.get_mut().write_all(OK.as_bytes()).unwrap();
            line
        });
        target.send(&request("GET", path, &[], "")).unwrap();
        assert_eq!(server.join().unwrap(), format!("GET {path} HTTP/1.1\r\n"));
    }
}

#[test]
fn header_lines_may_repeat_and_any_method_may_have_a_body() {
    let doubled = [("X-Auth-Token", "a"), ("X-Auth-Token", "b"), ("Content-Type", "text/plain")];
    check(
        &request("GET", "/login", &doubled, "body"),
        OK,
        expect![[r#"
        GET /legacy/login HTTP/1.1
        content-length: 4
        user-agent: parlance-conformance
        host: HOST
        x-auth-token: a
        x-auth-token: b
        content-type: text/plain

        body"#]],
        expect![[r#"200 [("content-length", "0")] "#]],
    );
    check(
        &request("DELETE", "/login", &[], "body"),
        OK,
        expect![[r#"
        DELETE /legacy/login HTTP/1.1
        content-length: 4
        user-agent: parlance-conformance
        host: HOST

        body"#]],
        expect![[r#"200 [("content-length", "0")] "#]],
    );
    check(
        &request("PUT", "/login", &[], ""),
        OK,
        expect![[r#"
        PUT /legacy/login HTTP/1.1
        content-length: 0
        user-agent: parlance-conformance
        host: HOST

    "#]],
        expect![[r#"200 [("content-length", "0")] "#]],
    );
    check(
        &request("DELETE", "/login", &[], ""),
        OK,
        expect![[r#"
        DELETE /legacy/login HTTP/1.1
        user-agent: parlance-conformance
        host: HOST

    "#]],
        expect![[r#"200 [("content-length", "0")] "#]],
    );
}

#[test]
fn a_refusal_and_a_redirect_are_answers_like_others() {
    check(
        &request("POST", "/", &[], ""),
        "HTTP/1.1 503 Busy\r\nRetry-After: 1\r\nContent-Length: 4\r\n\r\nbusy",
        expect![[r#"
            POST /legacy/ HTTP/1.1
            content-length: 0
            user-agent: parlance-conformance
            host: HOST

        "#]],
        expect![[r#"503 [("retry-after", "1"), ("content-length", "4")] busy"#]],
    );
    check(
        &request("GET", "/", &[], ""),
        "HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n",
        expect![[r#"
            GET /legacy/ HTTP/1.1
            user-agent: parlance-conformance
            host: HOST

        "#]],
        expect![[r#"302 [("location", "/elsewhere"), ("content-length", "0")] "#]],
    );
}

#[test]
fn time_is_the_servers() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut target = target(&format!("http://{}", listener.local_addr().unwrap()));
    assert_eq!(target.now().timestamp(), 0);
    let server = thread::spawn(move || {
        let mut stream = BufReader::new(listener.accept().unwrap().0);
        stream.read_line(&mut String::new()).unwrap();
        let date = "Date: Sun, 01 May 2022 12:00:00 GMT\r\n";
        let answer = format!("HTTP/1.1 200 OK\r\n{date}Content-Length: 0\r\n\r\n");
        stream.get_mut().write_all(answer.as_bytes()).unwrap();
    });
    target.send(&request("GET", "/", &[], "")).unwrap();
    server.join().unwrap();
    assert_eq!(target.now().timestamp(), 1_651_406_400);
}

#[test]
fn what_is_no_base_url_is_refused() {
    for base in
        ["", "127.0.0.1:8080", "ftp://host", "http://host?x", "http://user:secret@host", "/x"]
    {
        let clock = Arc::new(|| DateTime::from_timestamp(0, 0).unwrap());
        assert!(HttpTarget::new(base, clock).is_err(), "{base}");
    }
}

#[test]
fn an_unreachable_server_is_an_error() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut target = target(&format!("http://{}", listener.local_addr().unwrap()));
    drop(listener);
    assert!(target.send(&request("GET", "/", &[], "")).is_err());
}

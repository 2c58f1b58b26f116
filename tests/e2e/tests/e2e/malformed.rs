//! Malformed bytes over raw sockets, which no honest client sends.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::harness::http::Connection;
use crate::harness::wires::basic;
use crate::harness::{
    Database, HeldSession, Installation, PASSWORD, Request, Response, Server, Stopwatch, USER,
    Verdict, Wire,
};

/// A login with this password in its body, already percent-encoded or JSON-escaped.
pub(crate) fn with_password(wire: Wire, password: &[u8]) -> Request {
    const MARK: &str = "MARK";
    let mut request = wire.login_request(USER, MARK);
    if wire == Wire::Axxon {
        // Basic is right, so that `data` decides.
        request.headers.retain(|(name, _)| name != "Authorization");
        request = request.header("Authorization", basic(USER, PASSWORD));
    }
    if wire == Wire::Flask {
        let credentials = [USER.as_bytes(), b":", password].concat();
        request.headers.retain(|(name, _)| name != "Authorization");
        return request.header("Authorization", format!("Basic {}", STANDARD.encode(credentials)));
    }
    let at = request.body.windows(MARK.len()).position(|window| window == MARK.as_bytes()).unwrap();
    request.body.splice(at..at + MARK.len(), password.iter().copied());
    request
}

/// The ids of all sessions.
#[track_caller]
fn ids(installation: &Installation) -> BTreeSet<String> {
    installation
        .sessions()
        .iter()
        .map(|session| session["id"].as_str().unwrap().to_owned())
        .collect()
}

/// Asserts the status of the answer, and that its body has the wire's own form.
#[track_caller]
fn check(server: &Server, wire: Wire, what: &str, request: &Request, status: u16) -> Response {
    let answer = server.send(request);
    assert_eq!(answer.status, status, "{} {what}: {}", wire.name(), answer.text());
    let own = match wire {
        Wire::Cluster => answer.text_at("/status") == "error",
        Wire::Polish | Wire::Cookie => !answer.text_at("/error").is_empty(),
        Wire::Flask => !answer.text_at("/message").is_empty(),
        Wire::Axxon => !answer.text_at("/error_code").is_empty(),
    };
    assert!(own, "{} {what}: {}", wire.name(), answer.text());
    answer
}

/// Runs a sweep on a server that must survive and open no session.
#[track_caller]
pub(crate) fn with_unharmed_server(work: impl FnOnce(&Server, &[HeldSession])) {
    // A sweep sends hundreds of wrong passwords of one user, so the account lock-out is off.
    let installation =
        Installation::with_config(Database::sqlite(), "[lockout]\nenabled = false\n");
    let mut server = installation.start_with_user();
    let held = server.log_in_everywhere();
    let before = ids(&installation);
    work(&server, &held);
    assert!(server.is_running(), "{}", server.log.text());
    assert!(ids(&installation).is_subset(&before), "a session was made");
    assert!(!server.log.text().contains("panicked"), "{}", server.log.text());
    server.log_in_everywhere();
}

#[test]
fn a_body_beyond_16_kib_is_refused_however_it_is_framed() {
    with_unharmed_server(|server, _| {
        for wire in Wire::ALL {
            let status = if wire == Wire::Cluster { 200 } else { 413 };
            let mut long = wire.login_request(USER, PASSWORD);
            long.body.resize(17 * 1024, b' ');
            check(server, wire, "long body", &long, status);

            let mut connection = Connection::open(server.dialects).unwrap();
            let head = String::from_utf8(Request { body: Vec::new(), ..long.clone() }.bytes(false))
                .unwrap();
            let head = head.replace("Content-Length: 0\r\n", "Transfer-Encoding: chunked\r\n");
            connection.write(head.as_bytes()).unwrap();
            for chunk in long.body.chunks(1024) {
                // The answer and the close of the connection may come before the end.
                let _closed = connection.write(format!("{:x}\r\n", chunk.len()).as_bytes());
                let _closed = connection.write(chunk).and_then(|()| connection.write(b"\r\n"));
            }
            let answer =
                connection.read(false).unwrap_or_else(|error| panic!("{}: {error}", wire.name()));
            assert_eq!(answer.status, status, "{} chunked: {}", wire.name(), answer.text());
        }
    });
}

#[test]
fn a_parameter_that_stands_twice_is_refused() {
    with_unharmed_server(|server, _| {
        let form = |path: &str, body: &str| {
            let mut request =
                Request::post(path).header("Content-Type", "application/x-www-form-urlencoded");
            request.body = body.as_bytes().to_vec();
            request
        };
        let json = |path: &str, body: &str| {
            let mut request = Request::post(path).header("Content-Type", "application/json");
            request.body = body.as_bytes().to_vec();
            request
        };
        let password = crate::harness::http::percent_encode(PASSWORD);
        let login = "/beta-latest/api/!login";
        let cases = [
            (
                Wire::Cluster,
                200,
                form("/api/login", &format!("username={USER}&password=wrong&password={password}")),
            ),
            (
                Wire::Cluster,
                200,
                form("/api/login", &format!("username={USER}&username={USER}&password={password}")),
            ),
            (
                Wire::Cluster,
                200,
                form(
                    &format!("/api/login?username={USER}"),
                    &format!("username={USER}&password={password}"),
                ),
            ),
            (
                Wire::Polish,
                400,
                form("/login", &format!("login={USER}&pass=wrong&pass={password}")),
            ),
            (Wire::Polish, 400, form("/login", &format!("login={USER}&login=x&pass={password}"))),
            (Wire::Cookie, 400, form(login, &format!("uid={USER}&pw=wrong&pw={password}"))),
            (
                Wire::Cookie,
                400,
                form(login, &format!("uid={USER}&pw={password}&kill=yes&kill=possess")),
            ),
            (
                Wire::Cookie,
                400,
                form(&format!("{login}?uid={USER}"), &format!("uid={USER}&pw={password}")),
            ),
            (
                Wire::Cookie,
                400,
                json(login, &format!(r#"{{"uid":"{USER}","pw":"x","pw":"{PASSWORD}"}}"#)),
            ),
            (
                Wire::Flask,
                401,
                Wire::Flask
                    .login_request(USER, PASSWORD)
                    .header("Authorization", basic(USER, PASSWORD)),
            ),
            (
                Wire::Axxon,
                401,
                Wire::Axxon
                    .login_request(USER, PASSWORD)
                    .header("Authorization", basic(USER, PASSWORD)),
            ),
            (
                Wire::Axxon,
                400,
                json(
                    "/v1/authentication/authenticate_ex2",
                    &format!(r#"{{"user_name":"{USER}","password":"x","password":"{PASSWORD}"}}"#),
                ),
            ),
        ];
        for (wire, status, request) in cases {
            check(server, wire, "doubled parameter", &request, status);
        }
    });
}

#[test]
fn a_password_that_is_not_valid_text_is_refused_as_wrong() {
    with_unharmed_server(|server, _| {
        for wire in Wire::ALL {
            let wrong = server.send(&with_password(wire, b"wrong"));
            let (bad, nul): (&[u8], &[u8]) = match wire {
                Wire::Cluster | Wire::Polish | Wire::Cookie => {
                    (b"correct%FFhorse", b"correct%00horse")
                }
                Wire::Flask => (b"correct\xFFhorse", b"correct\0horse"),
                Wire::Axxon => (b"correct\xFFhorse", b"correct\\u0000horse"),
            };
            let mut cases = vec![bad, nul];
            if wire == Wire::Flask {
                cases.extend([
                    &b"correct\r\nhorse"[..],
                    b"correct\x1b[31m",
                    b"correct\x7f",
                    b"correct\xc2\x85",
                ]);
            }
            for password in cases {
                let answer = server.send(&with_password(wire, password));
                assert_eq!(
                    (answer.status, answer.text()),
                    (wrong.status, wrong.text()),
                    "{} {password:?}",
                    wire.name()
                );
            }
        }
        for credentials in [
            &b"csmith\r\nenabled=1:x"[..],
            b"csmith\0:correct horse battery",
            b"csmith",
            b":",
            b"\xff:\xff",
            b"",
        ] {
            for wire in [Wire::Flask, Wire::Axxon] {
                let mut request = wire.login_request(USER, PASSWORD);
                request.headers.retain(|(name, _)| name != "Authorization");
                let request = request
                    .header("Authorization", format!("Basic {}", STANDARD.encode(credentials)));
                let answer = check(server, wire, "odd Basic", &request, 401);
                assert!(
                    answer
                        .header("www-authenticate")
                        .is_some_and(|challenge| challenge.starts_with("Basic "))
                );
            }
        }
    });
}

/// Sends bytes and reads the status of the answer; `None` if the connection is closed without an answer.
fn send_raw(address: SocketAddr, bytes: &[u8]) -> Option<u16> {
    let mut connection = Connection::open(address).unwrap();
    connection.write(bytes).unwrap();
    connection.shutdown_write();
    connection.read(false).ok().map(|answer| answer.status)
}

#[test]
fn request_smuggling_is_refused() {
    with_unharmed_server(|server, _| {
        for wire in Wire::ALL {
            let whole = String::from_utf8(wire.login_request(USER, PASSWORD).bytes(false)).unwrap();
            let length = whole.lines().find(|line| line.starts_with("Content-Length")).unwrap();
            let tricks = [
                ("two hosts", whole.replacen("Host: ", "Host: other.test\r\nHost: ", 1)),
                ("no host", whole.replacen("Host: parlance.test\r\n", "", 1)),
                (
                    "both framings",
                    whole.replacen(length, &format!("{length}\r\nTransfer-Encoding: chunked"), 1),
                ),
                (
                    "both framings, the other way",
                    whole.replacen(length, &format!("Transfer-Encoding: chunked\r\n{length}"), 1),
                ),
                (
                    "two lengths",
                    whole.replacen(length, &format!("{length}\r\nContent-Length: 1"), 1),
                ),
                ("a signed length", whole.replacen("Content-Length: ", "Content-Length: +", 1)),
                ("a length that is none", whole.replacen(length, "Content-Length: many", 1)),
                (
                    "an unknown framing",
                    whole.replacen(length, "Transfer-Encoding: chunked, identity", 1),
                ),
                ("a header without a name", whole.replacen("Host", ": x\r\nHost", 1)),
                (
                    "a blank before the colon",
                    whole.replacen("Content-Length:", "Content-Length :", 1),
                ),
                (
                    "a folded header",
                    whole.replacen("\r\nContent-Length", "\r\n folded\r\nContent-Length", 1),
                ),
            ];
            for (what, bytes) in tricks {
                let status = send_raw(server.dialects, bytes.as_bytes());
                assert!(
                    matches!(status, None | Some(400 | 408 | 431 | 501)),
                    "{} {what}: {status:?}",
                    wire.name()
                );
            }
        }
    });
}

#[test]
fn a_slow_body_is_cut_off_after_ten_seconds() {
    with_unharmed_server(|server, _| {
        thread::scope(|scope| {
            for wire in Wire::ALL {
                scope.spawn(move || send_slowly(server, wire));
            }
        });
    });
}

fn send_slowly(server: &Server, wire: Wire) {
    let request = wire.login_request(USER, PASSWORD);
    let head = String::from_utf8(Request { body: Vec::new(), ..request }.bytes(false)).unwrap();
    let mut connection = Connection::open(server.dialects).unwrap();
    connection.write(head.replace("Content-Length: 0", "Content-Length: 1000").as_bytes()).unwrap();
    let watch = Stopwatch::start();
    let (answered, silence) = std::sync::mpsc::channel();
    thread::scope(|scope| {
        let mut reader = connection.try_clone();
        scope.spawn(move || {
            let answer = reader.read(false);
            answered.send((answer, watch.elapsed())).unwrap();
        });
        let (answer, took) = loop {
            if let Ok(answer) = silence.recv_timeout(Duration::from_millis(500)) {
                break answer;
            }
            let _closed = connection.write(b" ");
        };
        let answer = answer.unwrap_or_else(|error| {
            panic!("{} has no answer after {took:?}: {error}", wire.name())
        });
        let expected = if wire == Wire::Cluster { 200 } else { 408 };
        assert_eq!(answer.status, expected, "{}: {}", wire.name(), answer.text());
        assert!((9..20).contains(&took.as_secs()), "{} after {took:?}", wire.name());
    });
}

#[test]
fn a_request_to_change_the_protocol_is_answered_at_once_as_without_it() {
    let upgrades: [&[(&str, &str)]; 4] = [
        &[("Connection", "Upgrade"), ("Upgrade", "websocket")],
        &[("Connection", "keep-alive, Upgrade"), ("Upgrade", "WebSocket")],
        // Java's client, and curl's with --http2.
        &[
            ("Connection", "Upgrade, HTTP2-Settings"),
            ("Upgrade", "h2c"),
            ("HTTP2-Settings", "AAEA"),
        ],
        &[("Connection", "Upgrade"), ("Upgrade", "h2c, websocket")],
    ];
    let installation = Installation::new(Database::sqlite());
    let server = installation.start_with_user();
    for upgrade in upgrades {
        // Far below the ten seconds that a body may take.
        let ask = |address: SocketAddr, request: Request| {
            let watch = Stopwatch::start();
            let request =
                upgrade.iter().fold(request, |request, (name, value)| request.header(name, *value));
            let answer = Connection::open(address).unwrap().exchange(&request).unwrap();
            assert!(watch.elapsed().as_secs() < 8, "{upgrade:?}: {request:?}");
            answer
        };
        for wire in Wire::ALL {
            let answer = ask(server.dialects, wire.login_request(USER, PASSWORD));
            let held = wire.parse_login(USER, &answer).unwrap_or_else(|verdict| {
                panic!("{} {upgrade:?}: {verdict:?} {answer:?}", wire.name())
            });
            let used = ask(server.dialects, held.use_request());
            assert_eq!(held.use_verdict(&used), Verdict::Accepted, "{} {upgrade:?}", wire.name());
            // The credential is in a form, and a GET has none.
            if wire == Wire::Cluster {
                continue;
            }
            let asked = Request::get("/forward-auth")
                .header("X-Original-Method", "GET")
                .header("X-Original-URI", "/");
            let passed = ask(server.admin, held.attach_to(asked));
            assert_eq!(passed.status, 200, "{} {upgrade:?}: {passed:?}", wire.name());
        }
    }
}

#[test]
fn a_client_that_offers_h2c_and_one_that_wants_a_websocket_are_answered() {
    let installation = Installation::new(Database::sqlite());
    let server = installation.start_with_user();
    let form =
        format!("username={USER}&password={}", crate::harness::http::percent_encode(PASSWORD));
    for offers in [&["--http2"][..], &["-H", "Connection: Upgrade", "-H", "Upgrade: websocket"]] {
        let mut command = std::process::Command::new("curl");
        command.args(["-sS", "-m", "8", "-d", &form]).args(offers);
        command.arg(format!("{}/api/login", server.base_url()));
        let said = crate::harness::server::run_to_end(command, "");
        assert!(said.stdout.contains("\"success\""), "{offers:?}: {said:?}");
    }
}

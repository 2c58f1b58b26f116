//! Claims about the requests that a guard admits, and about their bodies on the way.

use std::io::{Read as _, Write as _};
use std::time::Duration;

use super::server::{FORM, MULTIPART, TestDialect, TestServer};
use crate::MAX_BODY_BYTES;

/// The body comes back byte for byte, with every framing.
#[track_caller]
fn check(server: &TestServer, headers: &[&str], body: &[u8]) {
    let whole = server.send("POST /app/echo", headers, body);
    assert_eq!((whole.status, whole.body == body), (200, true), "{whole:?}");
    let mut chunked = Vec::new();
    for piece in body.chunks(1000) {
        chunked.extend(format!("{:x}\r\n", piece.len()).bytes());
        chunked.extend([piece, b"\r\n"].concat());
    }
    chunked.extend(b"0\r\n\r\n");
    let framed = [headers, &["Transfer-Encoding: chunked"]].concat();
    let pieces = server.send("POST /app/echo", &framed, &chunked);
    assert_eq!((pieces.status, pieces.body == body), (200, true), "{pieces:?}");
}

fn form_of(length: usize, token: &str) -> Vec<u8> {
    let mut body = format!("access_token={token}&rest=").into_bytes();
    body.resize(length, b'\xff');
    body
}

#[test]
fn each_dialect_is_admitted_and_refused_in_its_own_format() {
    for (wire, status, words) in [
        (TestDialect::Cluster, 200, "Token not found, please log in."),
        (TestDialect::Flask, 401, "message"),
        (TestDialect::Cookie, 401, "error"),
    ] {
        let server = TestServer::start(&[wire]);
        let shown = server.log_in(0);
        let pass = server.send_with_credential("POST /app/whoami", &shown);
        assert!(pass.status == 200 && pass.text().starts_with("csmith by"), "{wire:?} {pass:?}");
        let refused = server.send("POST /app/whoami", &[], b"");
        assert_eq!(refused.status, status, "{wire:?} {refused:?}");
        assert!(refused.text().contains(words), "{wire:?} {refused:?}");
        assert!(refused.head.contains("no-store"), "{wire:?} {refused:?}");
        server.world.clock.advance(Duration::from_secs(40 * 24 * 60 * 60));
        let ended = server.send_with_credential("POST /app/whoami", &shown);
        assert!(ended.status == status && !ended.text().contains("csmith"), "{wire:?} {ended:?}");
    }
}

#[test]
fn a_logout_takes_effect_on_the_next_request() {
    let server = TestServer::start(&[TestDialect::Cluster]);
    let shown = server.log_in(0);
    assert!(server.send_with_credential("POST /app/whoami", &shown).text().starts_with("csmith"));
    assert!(
        server.send_with_credential("POST /legacy/api/logout", &shown).text().contains("success")
    );
    assert!(
        server.send_with_credential("POST /app/whoami", &shown).text().contains("Token expired")
    );
}

#[test]
fn a_form_is_passed_on_whole() {
    let server = TestServer::start(&[TestDialect::Cluster]);
    let token = server.token(0);
    check(&server, &[FORM], format!("access_token={token}").as_bytes());
    check(&server, &[FORM], format!("a=1&a=2&access_token={token}&b=%ff+").as_bytes());
    check(&server, &[FORM], &form_of(5000, &token));
    check(&server, &[FORM], &form_of(MAX_BODY_BYTES, &token));
}

#[test]
fn a_short_multipart_form_carries_its_token_and_is_passed_on_whole() {
    let server = TestServer::start(&[TestDialect::Cluster]);
    let head = "--b\r\nContent-Disposition: form-data; name=";
    let body = format!(
        "{head}\"access_token\"\r\n\r\n{}\r\n{head}\"f\"; filename=\"f\"\r\n\r\n\0\r\n--b--\r\n",
        server.token(0)
    );
    let answer = server.send("POST /app/echo", &[MULTIPART], body.as_bytes());
    assert_eq!((answer.status, answer.body == body.as_bytes()), (200, true), "{answer:?}");
    // A form of unknown length may be an upload, so the guard has not looked for a token there.
    let chunked = format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len());
    let framed = [MULTIPART, "Transfer-Encoding: chunked"];
    let refused = server.send("POST /app/echo", &framed, chunked.as_bytes());
    assert!(refused.text().contains("Token not found"), "{refused:?}");
}

#[test]
fn an_empty_body_stays_empty() {
    let server = TestServer::start(&[TestDialect::Cluster, TestDialect::Flask]);
    let (name, value) = server.log_in(1).headers.remove(0);
    check(&server, &[&format!("{name}: {value}")], b"");
    check(&server, &[&format!("{name}: {value}"), FORM], b"");
}

#[test]
fn a_form_beyond_the_limit_is_refused_in_the_dialects_words() {
    let server = TestServer::start(&[TestDialect::Cluster]);
    let body = form_of(MAX_BODY_BYTES + 1, &server.token(0));
    let said = server.send("POST /app/echo", &[FORM], &body);
    assert!(said.text().contains("Request body too large."), "{said:?}");
    let chunked = [format!("{:x}\r\n", body.len()).as_bytes(), &body, b"\r\n0\r\n\r\n"].concat();
    let unsaid = server.send("POST /app/echo", &[FORM, "Transfer-Encoding: chunked"], &chunked);
    assert!(unsaid.text().contains("Request body too large."), "{unsaid:?}");
    assert!(unsaid.head.to_lowercase().contains("connection: close"), "{unsaid:?}");
}

#[test]
fn a_body_that_breaks_off_is_refused() {
    let server = TestServer::start(&[TestDialect::Cluster]);
    let broken = b"5\r\nacces\r\nnonsense\r\n";
    let answer = server.send("POST /app/echo", &[FORM, "Transfer-Encoding: chunked"], broken);
    assert!(answer.text().contains("Request body could not be read."), "{answer:?}");
}

/// The handler gets the first piece of a large upload before the second is sent: the guard has not waited for the
/// whole.
#[track_caller]
fn check_streams(server: &TestServer, headers: &[&str]) {
    let mut stream = server.connect();
    let length = 64 * 1024 * 1024;
    let head = format!(
        "POST /app/first HTTP/1.1\r\nHost: app.test\r\nContent-Length: {length}\r\n{}\r\n\r\nfirst",
        headers.join("\r\n")
    );
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = [0; 4096];
    let read = stream.read(&mut answer).unwrap();
    let answer = String::from_utf8_lossy(&answer[..read]).into_owned();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("first"), "{answer}");
}

#[test]
fn an_upload_that_carries_no_token_is_not_read_by_the_guard() {
    let server = TestServer::start(&[TestDialect::Cluster, TestDialect::Flask]);
    let (name, value) = server.log_in(1).headers.remove(0);
    check_streams(
        &server,
        &[&format!("{name}: {value}"), "Content-Type: application/octet-stream"],
    );
    check_streams(&server, &[&format!("{name}: {value}"), MULTIPART]);
}

#[test]
fn a_guard_of_headers_alone_reads_no_form() {
    let server = TestServer::start(&[TestDialect::Flask]);
    let (name, value) = server.log_in(0).headers.remove(0);
    check_streams(&server, &[&format!("{name}: {value}"), FORM]);
    check(&server, &[&format!("{name}: {value}"), FORM], &form_of(100_000, "none"));
}

#[test]
fn a_valid_credential_passes_beside_an_invalid_one_of_another_dialect() {
    let server = TestServer::start(&[TestDialect::Cookie, TestDialect::Cluster]);
    let dead = "Cookie: session=csmith|123456789|_______0";
    let body = format!("access_token={}", server.token(1));
    let answer = server.send("POST /app/whoami", &[dead, FORM], body.as_bytes());
    assert_eq!((answer.status, answer.text().starts_with("csmith by cluster-api")), (200, true));
    let refused = server.send("POST /app/whoami", &[dead, FORM], b"access_token=NOBODYS");
    assert_eq!(refused.status, 401, "the first that was shown refuses: {refused:?}");
    let unshown = server.send("POST /app/whoami", &[FORM], b"access_token=NOBODYS");
    assert!(unshown.text().contains("Token not found"), "{unshown:?}");
}

#[test]
fn an_unavailable_store_is_503_and_not_a_bad_credential() {
    for wire in [TestDialect::Cluster, TestDialect::Flask, TestDialect::Cookie] {
        let server = TestServer::start(&[wire]);
        let shown = server.log_in(0);
        server.world.store.set_unavailable(true);
        let away = server.send_with_credential("POST /app/whoami", &shown);
        assert_eq!(away.status, 503, "{wire:?} {away:?}");
        assert!(away.head.to_lowercase().contains("retry-after: 1"), "{wire:?} {away:?}");
        server.world.store.set_unavailable(false);
        assert_eq!(server.send_with_credential("POST /app/whoami", &shown).status, 200, "{wire:?}");
    }
}

#[test]
fn a_token_in_a_header_leaves_the_form_alone() {
    let server = TestServer::start(&[TestDialect::ClusterHeader]);
    let header = format!("X-Access-Token: {}", server.token(0));
    check(&server, &[&header, FORM], &form_of(100_000, "none"));
    check_streams(&server, &[&header, FORM]);
    let off = TestServer::start(&[TestDialect::Cluster]);
    let header = format!("X-Access-Token: {}", off.token(0));
    let refused = off.send("POST /app/whoami", &[&header, FORM], b"");
    assert!(refused.text().contains("Token not found"), "{refused:?}");
}

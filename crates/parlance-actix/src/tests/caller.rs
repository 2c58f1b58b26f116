//! Claims about the caller that a handler gets.

use super::server::{TestDialect, TestServer};

#[track_caller]
fn check(path: &str, status: u16, says: &str) {
    let server = TestServer::start(&[TestDialect::Flask]);
    let answer = server.send_with_credential(&format!("GET {path}"), &server.log_in(0));
    assert_eq!(answer.status, status, "{answer:?}");
    assert!(answer.text().contains(says), "{answer:?}");
}

#[test]
fn a_handler_behind_a_guard_receives_the_caller() {
    check(
        "/app/whoami",
        200,
        "csmith by flask-usertoken with 9745b902-2a36-4035-bdd6-012e0dae66c0",
    );
    check("/app/maybe", 200, "csmith");
}

#[test]
fn a_handler_without_a_guard_never_runs_and_says_what_is_missing() {
    check("/bare/whoami", 500, "wrap its resource, scope or app in parlance::actix::AuthGuard");
}

#[test]
fn an_optional_caller_without_a_guard_is_always_none() {
    check("/bare/maybe", 200, "nobody");
}

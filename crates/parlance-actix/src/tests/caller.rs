//! Claims about who a handler is told calls.

use super::server::{Server, Wire};

#[track_caller]
fn check(path: &str, status: u16, says: &str) {
    let server = Server::start(&[Wire::Flask]);
    let answer = server.show(&format!("GET {path}"), &server.log_in(0));
    assert_eq!(answer.status, status, "{answer:?}");
    assert!(answer.text().contains(says), "{answer:?}");
}

#[test]
fn a_handler_behind_a_guard_hears_who_calls() {
    check(
        "/app/whoami",
        200,
        "csmith by flask-usertoken with 9745b902-2a36-4035-bdd6-012e0dae66c0",
    );
    check("/app/maybe", 200, "csmith");
}

#[test]
fn a_handler_without_a_guard_never_runs_and_says_what_is_missing() {
    check("/bare/whoami", 500, "wrap its resource, scope or app in parlance::actix::Guard");
}

#[test]
fn an_optional_caller_without_a_guard_is_nobody_whatever_is_shown() {
    check("/bare/maybe", 200, "nobody");
}

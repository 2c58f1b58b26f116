//! `SIGHUP` and other signals on a running server.

use std::fs;

use crate::harness::http::Connection;
use crate::harness::{
    Database, Installation, PASSWORD, Request, Server, USER, Verdict, Wire, clock, http,
};

const RELOADED: &str = "the configuration was reloaded";
const KEPT_OLD_VALUES: &str = "keep their old values";
const NOT_RELOADED: &str = "was not reloaded";
/// A client behind a proxy on this machine.
const CLIENT: &str = "203.0.113.7";

/// Writes the installation's configuration with these lines in front.
fn prepend_config(installation: &Installation, original: &str, before: &str) {
    fs::write(installation.config(), format!("{before}\n{original}")).unwrap();
}

/// Reloads and waits until the log has one more line with this text. Returns that line.
#[track_caller]
fn reload(server: &Server, says: &str) -> String {
    let lines = |text: &str| text.lines().filter(|line| line.contains(says)).count();
    let before = lines(&server.log.text());
    server.signal("HUP");
    clock::wait_for(says, || {
        let text = server.log.text();
        (lines(&text) > before)
            .then(|| text.lines().rfind(|line| line.contains(says)).unwrap().to_owned())
    })
}

#[test]
fn a_reload_changes_what_can_change_and_drops_no_connection() {
    let installation = Installation::new(Database::sqlite());
    let original = fs::read_to_string(installation.config()).unwrap();
    let server = installation.start_with_user();
    let mut connection = Connection::open(server.dialects).unwrap();
    let held = server.log_in(Wire::Flask);
    let admin = held.attach_to(
        Request::get("/forward-auth")
            .header("X-Original-Method", "GET")
            .header("X-Original-URI", "/admin"),
    );
    assert_eq!(http::send(server.admin, &admin).status, 200);

    prepend_config(
        &installation,
        &original,
        "listen = \"127.0.0.1:9\"\nlog_level = \"debug\"\ntrusted_proxies = [\"127.0.0.1\"]\nmax_sessions_per_user = 1\n\
         [throttle]\nfailures_per_address = 1\n[forward_auth.headers]\nuser = \"remote-user\"\n\
         [[forward_auth.routes]]\npath = \"/admin\"\nroles = [\"9745b902-2a36-4035-bdd6-012e0dae66c0\"]\n\
         [[forward_auth.routes]]\npath = \"/\"\n[dialects.flask-usertoken]\nlifetime = \"2d\"",
    );
    // Moves the installation's own top-level lines back to the top, outside all tables.
    let text = fs::read_to_string(installation.config()).unwrap();
    let (top, rest): (Vec<_>, Vec<_>) = text.lines().partition(|line| line.starts_with("key_file"));
    fs::write(installation.config(), [top, rest].concat().join("\n")).unwrap();
    let line = reload(&server, RELOADED);
    for key in [
        "forward_auth.headers.user",
        "forward_auth.routes",
        "log_level",
        "max_sessions_per_user",
        "throttle.failures_per_address",
        "trusted_proxies",
    ] {
        assert!(line.contains(key), "{key}: {line}");
    }
    let line = server.log.wait_for_line(KEPT_OLD_VALUES).unwrap();
    // A flag for the listen address wins over the file.
    assert!(line.contains("keys=\"dialects.flask-usertoken.lifetime\""), "{line}");

    // The old connection is still served, under the reloaded configuration.
    assert_eq!(http::send(server.admin, &admin).status, 403);
    let answer = connection.exchange(&held.use_request()).unwrap();
    assert_eq!(held.use_verdict(&answer), Verdict::Accepted);
    let mut page = admin.clone();
    page.headers.retain(|(name, _)| name != "X-Original-URI");
    let answer = http::send(server.admin, &page.header("X-Original-URI", "/page"));
    assert_eq!((answer.status, answer.header("remote-user")), (200, Some(USER)));
    let wrong = Wire::Polish.login_request(USER, "wrong").header("X-Forwarded-For", CLIENT);
    assert_eq!(connection.exchange(&wrong).unwrap().status, 401);
    assert_eq!(
        connection.exchange(&wrong).unwrap().status,
        429,
        "one failure of an address is borne"
    );
    assert!(server.log.wait_for_line(&format!("peer={CLIENT}")).is_some());
    server.log_in_as(Wire::Polish, USER, PASSWORD);
    assert_eq!(server.use_session(&held), Verdict::Refused, "one session a user");
    assert!(server.log.wait_for_line("DEBUG").is_some());

    // A broken file changes nothing.
    fs::write(installation.config(), format!("{original}\nno_such_key = 1\n")).unwrap();
    let line = reload(&server, NOT_RELOADED);
    assert!(line.contains("no_such_key") && line.contains("parlance.toml:"), "{line}");
    let held = server.log_in(Wire::Flask);
    let admin = Request { headers: held.attach_to(Request::get("/")).headers, ..admin };
    let admin = admin.header("X-Original-Method", "GET").header("X-Original-URI", "/admin");
    let admin = Request { target: "/forward-auth".to_owned(), ..admin };
    assert_eq!(http::send(server.admin, &admin).status, 403);

    // Back to the original configuration.
    fs::write(installation.config(), &original).unwrap();
    let line = reload(&server, RELOADED);
    assert!(line.contains("forward_auth.routes"), "{line}");
    assert_eq!(http::send(server.admin, &admin).status, 200);
}

#[test]
fn unhandled_signals_do_not_end_the_server() {
    let installation = Installation::new(Database::sqlite());
    let mut server = installation.start_with_user();
    let held = server.log_in(Wire::Polish);
    for name in ["USR1", "USR2", "PIPE", "HUP", "HUP"] {
        server.signal(name);
    }
    assert!(server.log.wait_for_line(RELOADED).is_some());
    assert_eq!(server.use_session(&held), Verdict::Accepted);
    assert!(server.is_running());
    server.signal("TERM");
    assert_eq!(server.wait_for_exit().code(), Some(0), "{}", server.log.text());
    let text = server.log.wait_for_end();
    assert!(!text.contains("DEBUG") && !text.contains(NOT_RELOADED), "{text}");
}

//! `SIGHUP` and the signals beside it, on a server at work.

use std::fs;

use crate::harness::http::Connection;
use crate::harness::{Database, PASSWORD, Request, Server, Site, USER, Verdict, Wire, clock, http};

const RELOADED: &str = "the configuration was reloaded";
const KEPT: &str = "keep their old values";
const REFUSED: &str = "was not reloaded";
/// A client behind a proxy on this machine.
const CLIENT: &str = "203.0.113.7";

/// The site's configuration, with these lines before those that it has.
fn change(site: &Site, original: &str, before: &str) {
    fs::write(site.config(), format!("{before}\n{original}")).unwrap();
}

/// Reloads, and waits until the log has one more line that holds this, which is the answer.
#[track_caller]
fn reload(server: &Server, says: &str) -> String {
    let lines = |text: &str| text.lines().filter(|line| line.contains(says)).count();
    let before = lines(&server.log.text());
    server.signal("HUP");
    clock::until(says, || {
        let text = server.log.text();
        (lines(&text) > before)
            .then(|| text.lines().rfind(|line| line.contains(says)).unwrap().to_owned())
    })
}

#[test]
fn a_reload_changes_what_can_change_and_drops_no_connection() {
    let site = Site::new(Database::sqlite());
    let original = fs::read_to_string(site.config()).unwrap();
    let server = site.start_with_user();
    let mut connection = Connection::open(server.dialects).unwrap();
    let held = server.log_in(Wire::Flask);
    let admin = held.shown(
        Request::get("/forward-auth")
            .header("X-Original-Method", "GET")
            .header("X-Original-URI", "/admin"),
    );
    assert_eq!(http::send(server.admin, &admin).status, 200);

    change(
        &site,
        &original,
        "listen = \"127.0.0.1:9\"\nlog_level = \"debug\"\ntrusted_proxies = [\"127.0.0.1\"]\nmax_sessions_per_user = 1\n\
         [throttle]\nfailures_per_address = 1\n[forward_auth.headers]\nuser = \"remote-user\"\n\
         [[forward_auth.routes]]\npath = \"/admin\"\nroles = [\"9745b902-2a36-4035-bdd6-012e0dae66c0\"]\n\
         [[forward_auth.routes]]\npath = \"/\"\n[dialects.flask-usertoken]\nlifetime = \"2d\"",
    );
    // The lines of the site's own that stood at the top are in no table.
    let text = fs::read_to_string(site.config()).unwrap();
    let (top, rest): (Vec<_>, Vec<_>) = text.lines().partition(|line| line.starts_with("key_file"));
    fs::write(site.config(), [top, rest].concat().join("\n")).unwrap();
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
    let line = server.log.line_with(KEPT).unwrap();
    // A flag says where it listens, whatever the file does.
    assert!(line.contains("keys=\"dialects.flask-usertoken.lifetime\""), "{line}");

    // The connection that was open before is served, and what stands in the log is what it believes now.
    assert_eq!(http::send(server.admin, &admin).status, 403);
    let answer = connection.exchange(&held.using()).unwrap();
    assert_eq!(held.used(&answer), Verdict::Yes);
    let mut page = admin.clone();
    page.headers.retain(|(name, _)| name != "X-Original-URI");
    let answer = http::send(server.admin, &page.header("X-Original-URI", "/page"));
    assert_eq!((answer.status, answer.header("remote-user")), (200, Some(USER)));
    let wrong = Wire::Polish.login(USER, "wrong").header("X-Forwarded-For", CLIENT);
    assert_eq!(connection.exchange(&wrong).unwrap().status, 401);
    assert_eq!(
        connection.exchange(&wrong).unwrap().status,
        429,
        "one failure of an address is borne"
    );
    assert!(server.log.line_with(&format!("peer={CLIENT}")).is_some());
    server.login(Wire::Polish, USER, PASSWORD);
    assert_eq!(server.check(&held), Verdict::No, "one session a user");
    assert!(server.log.line_with("DEBUG").is_some());

    // A broken file changes nothing.
    fs::write(site.config(), format!("{original}\nno_such_key = 1\n")).unwrap();
    let line = reload(&server, REFUSED);
    assert!(line.contains("no_such_key") && line.contains("parlance.toml:"), "{line}");
    let held = server.log_in(Wire::Flask);
    let admin = Request { headers: held.shown(Request::get("/")).headers, ..admin };
    let admin = admin.header("X-Original-Method", "GET").header("X-Original-URI", "/admin");
    let admin = Request { target: "/forward-auth".to_owned(), ..admin };
    assert_eq!(http::send(server.admin, &admin).status, 403);

    // Back to where it was.
    fs::write(site.config(), &original).unwrap();
    let line = reload(&server, RELOADED);
    assert!(line.contains("forward_auth.routes"), "{line}");
    assert_eq!(http::send(server.admin, &admin).status, 200);
}

#[test]
fn a_signal_that_asks_for_nothing_ends_nothing() {
    let site = Site::new(Database::sqlite());
    let mut server = site.start_with_user();
    let held = server.log_in(Wire::Polish);
    for name in ["USR1", "USR2", "PIPE", "HUP", "HUP"] {
        server.signal(name);
    }
    assert!(server.log.line_with(RELOADED).is_some());
    assert_eq!(server.check(&held), Verdict::Yes);
    assert!(server.is_running());
    server.signal("TERM");
    assert_eq!(server.ended().code(), Some(0), "{}", server.log.text());
    let text = server.log.whole();
    assert!(!text.contains("DEBUG") && !text.contains(REFUSED), "{text}");
}

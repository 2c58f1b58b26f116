//! Tests of the wire.

mod refusals;

use std::time::Duration;

use expect_test::{Expect, expect};
use parlance_core::ports::Clock as _;
use parlance_dialect::testing::{TestWorld, text};
use parlance_dialect::{
    Configure as _, Dialect, DialectHandler as _, DialectService, Request, SettingValues,
};

use crate::{PolishLongtoken, Settings};

const HOUR: Duration = Duration::from_secs(60 * 60);

/// A test world with `csmith` and this wire.
struct DialectHarness {
    world: TestWorld,
    service: DialectService<PolishLongtoken>,
}

impl DialectHarness {
    fn new() -> Self {
        Self::with(Settings::default())
    }

    fn with(settings: Settings) -> Self {
        let world = TestWorld::with_csmith();
        Self { service: world.service(PolishLongtoken::new(settings)), world }
    }

    fn send(&self, request: &str) -> String {
        self.world.exchange(&self.service, request)
    }

    fn status(&self, request: &str) -> u16 {
        self.world.send(&self.service, request).status
    }

    fn post(&self, form: &str) -> String {
        self.send(&format!(
            "POST /login\ncontent-type: application/x-www-form-urlencoded\n\n{form}"
        ))
    }

    fn put(&self, json: &str) -> String {
        self.send(&format!("PUT /login\ncontent-type: application/json\n\n{json}"))
    }

    /// Logs in and returns the token.
    fn log_in(&self, longtoken: &str) -> String {
        field(&self.post(&format!("login=csmith&pass=XXX&longtoken={longtoken}")), "token")
    }

    /// Sends bytes that need not be text. The head is not split at `?`.
    fn send_bytes(
        &self,
        method: &str,
        query: Option<&str>,
        headers: &[(&str, &[u8])],
        body: &[u8],
    ) -> u16 {
        let (peer, secure, now) = (self.world.peer, false, self.world.clock.now());
        let request = Request { method, path: "/login", query, headers, body, peer, secure, now };
        self.world.block_on(self.service.serve(&request)).status
    }

    /// A guarded request: the caller's name, or the refusal.
    fn admit(&self, query: Option<&str>, headers: &[(&str, &[u8])]) -> Result<String, String> {
        let (peer, secure, now) = (self.world.peer, false, self.world.clock.now());
        let request = Request {
            method: "GET",
            path: "/orders",
            query,
            headers,
            body: b"",
            peer,
            secure,
            now,
        };
        let admitted = self.world.block_on(self.service.admit(&request));
        admitted.map(|caller| caller.name).map_err(|refusal| text(&refusal.response))
    }
}

/// A string out of an answer.
fn field(answer: &str, name: &str) -> String {
    let (_, rest) = answer.split_once(&format!("\"{name}\":\"")).unwrap();
    rest.split('"').next().unwrap().to_owned()
}

#[track_caller]
fn check(answer: &str, expected: &Expect) {
    expected.assert_eq(answer);
}

#[test]
fn login_answers_token_end_and_user_in_the_order_of_the_document() {
    check(
        &DialectHarness::new().post("login=csmith&pass=XXX"),
        &expect![[r#"
        200
        content-type: application/json; charset=utf-8

        {"token":"jo75kkwiy1wvwtyrp4v3amn0w66s6ae1jz7yfus34gtfic5opdhi1q70lzwinj58","validTo":"2022-05-02T12:00:00+00:00","user":"csmith"}
    "#]],
    );
}

#[test]
fn the_user_is_answered_in_the_operators_spelling() {
    assert_eq!(field(&DialectHarness::new().post("login=CSMITH&pass=XXX"), "user"), "csmith");
}

#[test]
fn only_true_makes_a_login_last_thirty_days() {
    let harness = DialectHarness::new();
    for (form, end) in [
        ("", "2022-05-02T12:00:00+00:00"),
        ("&longtoken=false", "2022-05-02T12:00:00+00:00"),
        ("&longtoken=", "2022-05-02T12:00:00+00:00"),
        ("&longtoken=1", "2022-05-02T12:00:00+00:00"),
        ("&longtoken=TRUE", "2022-05-02T12:00:00+00:00"),
        ("&longtoken=true", "2022-05-31T12:00:00+00:00"),
    ] {
        assert_eq!(
            field(&harness.post(&format!("login=csmith&pass=XXX{form}")), "validTo"),
            end,
            "{form}"
        );
    }
}

#[test]
fn the_end_is_written_in_the_configured_zone() {
    for (zone, lifetime, end) in [
        (chrono_tz::Europe::Warsaw, 24 * HOUR, "2022-05-02T14:00:00+02:00"),
        (chrono_tz::Europe::Warsaw, 250 * 24 * HOUR, "2023-01-06T13:00:00+01:00"),
        (chrono_tz::Asia::Kolkata, HOUR, "2022-05-01T18:30:00+05:30"),
        // Where the local year would have five digits, the date is in UTC.
        (chrono_tz::Asia::Kolkata, Duration::MAX, "9999-12-31T23:59:59+00:00"),
    ] {
        let harness = DialectHarness::with(Settings { lifetime, zone, ..Settings::default() });
        assert_eq!(field(&harness.post("login=csmith&pass=XXX"), "validTo"), end);
    }
}

#[test]
fn get_answers_as_the_login_did_and_extends_nothing() {
    let harness = DialectHarness::new();
    let login = harness.post("login=csmith&pass=XXX");
    let token = field(&login, "token");
    for request in [
        format!("GET /login?token={token}"),
        format!("GET /login&token={token}"),
        format!("GET /login\nX-Auth-Bearer: {token}"),
        format!("GET /login?token={token}\nx-auth-bearer: {token}"),
    ] {
        harness.world.clock.advance(HOUR);
        assert_eq!(harness.send(&request), login, "{request}");
    }
    harness.world.clock.advance(20 * HOUR);
    assert_eq!(harness.status(&format!("GET /login?token={token}")), 404);
}

#[test]
fn put_counts_from_now_and_may_shorten() {
    let harness = DialectHarness::new();
    let token = harness.log_in("true");
    harness.world.clock.advance(HOUR);
    for (rest, end) in [
        ("", "2022-05-02T13:00:00+00:00"),
        (",\"longtoken\":true", "2022-05-31T13:00:00+00:00"),
        (",\"longtoken\":false", "2022-05-02T13:00:00+00:00"),
        (",\"longtoken\":\"true\"", "2022-05-31T13:00:00+00:00"),
        (",\"longtoken\":\"false\"", "2022-05-02T13:00:00+00:00"),
        (",\"longtoken\":null,\"more\":[1]", "2022-05-02T13:00:00+00:00"),
    ] {
        let answer = harness.put(&format!("{{\"token\":\"{token}\"{rest}}}"));
        assert_eq!(
            (field(&answer, "token"), field(&answer, "validTo").as_str()),
            (token.clone(), end),
            "{rest}"
        );
    }
    check(
        &harness.put(&format!("{{\"token\":\"{token}\"}}")),
        &expect![[r#"
        200
        content-type: application/json; charset=utf-8

        {"token":"jo75kkwiy1wvwtyrp4v3amn0w66s6ae1jz7yfus34gtfic5opdhi1q70lzwinj58","validTo":"2022-05-02T13:00:00+00:00","user":"csmith"}
    "#]],
    );
    harness.world.clock.advance(24 * HOUR);
    assert_eq!(harness.status(&format!("GET /login?token={token}")), 404);
}

#[test]
fn delete_ends_the_token_and_no_other() {
    let harness = DialectHarness::new();
    let (token, other) = (harness.log_in("false"), harness.log_in("false"));
    check(
        &harness.send(&format!("DELETE /login?token={token}")),
        &expect![[r#"
        204
    "#]],
    );
    assert_eq!(harness.status(&format!("DELETE /login?token={token}")), 404);
    assert_eq!(harness.status(&format!("GET /login&token={token}")), 404);
    assert_eq!(harness.status(&format!("DELETE /login&token={other}")), 204);
}

#[test]
fn two_paths_are_claimed_and_no_other() {
    for (path, claimed) in [
        ("/login", true),
        ("/login&token=x", true),
        ("/login&", true),
        ("/login/", false),
        ("/loginx", false),
        ("/login%26token=x", false),
        ("/Login", false),
        ("login", false),
        ("/", false),
        ("", false),
    ] {
        assert_eq!(PolishLongtoken::claims(path), claimed, "{path}");
    }
}

#[test]
fn a_guarded_request_shows_its_token_in_the_header_alone() {
    let harness = DialectHarness::new();
    let token = harness.log_in("false");
    assert_eq!(
        harness.admit(None, &[("X-Auth-Bearer", token.as_bytes())]).as_deref(),
        Ok("csmith")
    );
    let refusal = harness.admit(None, &[]).unwrap_err();
    check(
        &refusal,
        &expect![[r#"
        401
        content-type: application/json; charset=utf-8

        {"error":"No valid token in X-Auth-Bearer, please log in."}
    "#]],
    );
    let query = format!("token={token}");
    let bearer = format!("Bearer {token}");
    for headers in [
        vec![],
        vec![("x-auth-bearer", &b"f87x9"[..])],
        vec![("x-auth-bearer", &b"\xff"[..])],
        vec![("x-auth-bearer", bearer.as_bytes())],
        vec![("authorization", bearer.as_bytes())],
        vec![("x-auth-bearer", token.as_bytes()), ("x-auth-bearer", token.as_bytes())],
    ] {
        assert_eq!(harness.admit(Some(&query), &headers).as_ref(), Err(&refusal), "{headers:?}");
    }
    harness.world.block_on(harness.world.authority.set_enabled("csmith", false)).unwrap();
    assert_eq!(harness.admit(None, &[("x-auth-bearer", token.as_bytes())]), Err(refusal));
}

#[test]
fn a_call_shows_no_secret() {
    let headers: &[(&str, &[u8])] =
        &[("content-type", b"application/x-www-form-urlencoded"), ("x-auth-bearer", b"geheim")];
    let now = TestWorld::default().clock.now();
    for (method, body) in [("POST", &b"login=csmith&pass=geheim"[..]), ("GET", b"")] {
        let request = Request {
            method,
            path: "/login",
            query: None,
            headers,
            body,
            peer: None,
            secure: false,
            now,
        };
        let call = PolishLongtoken::default().decode(&request).unwrap();
        assert!(!format!("{call:?}").contains("geheim"), "{call:?}");
    }
}

#[test]
fn the_settings_defaults_are_the_configurations() {
    let values = SettingValues::defaults(PolishLongtoken::SETTINGS, chrono_tz::UTC);
    assert_eq!(PolishLongtoken::configure(&values).settings, Settings::default());
}

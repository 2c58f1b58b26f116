//! Tests of the wire.

mod refusals;
mod users;

use std::time::Duration;

use expect_test::{Expect, expect};
use parlance_core::ports::Clock as _;
use parlance_dialect::testing::{TestWorld, text};
use parlance_dialect::{
    Configure as _, Dialect as _, DialectHandler as _, DialectService, Request, SettingValue,
    SettingValues,
};

use crate::{FlaskUsertoken, Settings};

const HOUR: Duration = Duration::from_secs(60 * 60);
/// `csmith:XXX`
const BASIC: &str = "Basic Y3NtaXRoOlhYWA==";

/// A test world with `csmith` and this wire.
struct DialectHarness {
    world: TestWorld,
    service: DialectService<FlaskUsertoken>,
}

impl DialectHarness {
    fn new() -> Self {
        Self::with(Settings::default())
    }

    fn with(settings: Settings) -> Self {
        let world = TestWorld::with_csmith();
        Self { service: world.service(FlaskUsertoken::new(settings)), world }
    }

    fn send(&self, request: &str) -> String {
        self.world.exchange(&self.service, request)
    }

    fn status(&self, request: &str) -> u16 {
        self.world.send(&self.service, request).status
    }

    fn login_response(&self) -> String {
        self.send(&format!("POST /auth/login\nauthorization: {BASIC}"))
    }

    /// Logs in and returns the token.
    fn log_in(&self) -> String {
        let answer = self.login_response();
        let (_, rest) = answer.split_once("\"token\":\"").unwrap();
        rest.split('"').next().unwrap().to_owned()
    }

    /// A request that shows a token as `csmith`'s.
    fn send_with_token(&self, line: &str, token: &str) -> String {
        self.send(&format!("{line}\nx-auth-token: {}", base64(&format!("csmith:{token}"))))
    }

    /// A guarded request: the caller's name, or the refusal.
    fn admit(&self, headers: &[(&str, &[u8])]) -> Result<String, String> {
        let (peer, secure, now) = (self.world.peer, false, self.world.clock.now());
        let request = Request {
            method: "GET",
            path: "/orders",
            query: None,
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

/// Base64 of RFC 4648, padded.
fn base64(text: &str) -> String {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut encoded = String::new();
    for chunk in text.as_bytes().chunks(3) {
        let bits =
            (0..3).fold(0_usize, |bits, at| bits << 8 | usize::from(*chunk.get(at).unwrap_or(&0)));
        for at in 0..4 {
            let letter =
                if at <= chunk.len() { ALPHABET[bits >> (18 - 6 * at) & 63] } else { b'=' };
            encoded.push(char::from(letter));
        }
    }
    encoded
}

#[track_caller]
fn check(answer: &str, expected: &Expect) {
    expected.assert_eq(answer);
}

#[test]
fn login_answers_a_user_token_in_alphabetical_order() {
    check(
        &DialectHarness::new().login_response(),
        &expect![[r#"
        200
        content-type: application/json
        vary: Accept

        {"creationTime":"2022-05-01T12:00:00+00:00","enabled":true,"expirationTime":"2022-05-31T12:00:00+00:00","token":"e132451f-be9a-422c-bcab-16c93a1384c5","version":0}
    "#]],
    );
}

#[test]
fn a_token_without_an_end_has_no_expiration_time() {
    let harness = DialectHarness::with(Settings { lifetime: None, ..Settings::default() });
    check(
        &harness.login_response(),
        &expect![[r#"
        200
        content-type: application/json
        vary: Accept

        {"creationTime":"2022-05-01T12:00:00+00:00","enabled":true,"token":"e132451f-be9a-422c-bcab-16c93a1384c5","version":0}
    "#]],
    );
    let token = harness.log_in();
    harness.world.clock.advance(100_000 * HOUR);
    assert!(harness.send_with_token("POST /auth/bump", &token).starts_with("200\n"));
}

#[test]
fn dates_are_written_in_the_configured_zone() {
    for (zone, lifetime, end) in [
        // The offset that the document prints.
        (chrono_tz::America::Chicago, 24 * HOUR, "2022-05-02T07:00:00-05:00"),
        (chrono_tz::America::Chicago, 250 * 24 * HOUR, "2023-01-06T06:00:00-06:00"),
        (chrono_tz::Tz::UTC, HOUR, "2022-05-01T13:00:00+00:00"),
        (chrono_tz::Asia::Kolkata, Duration::MAX, "9999-12-31T23:59:59+00:00"),
    ] {
        let answer = DialectHarness::with(Settings {
            lifetime: Some(lifetime),
            zone,
            ..Settings::default()
        })
        .login_response();
        assert!(answer.contains(&format!("\"expirationTime\":\"{end}\"")), "{answer}");
    }
}

#[test]
fn a_password_may_hold_colons() {
    let harness = DialectHarness::new();
    harness.world.add_user("colon", "a:b:");
    assert_eq!(
        harness.status(&format!("POST /auth/login\nauthorization: basic {}", base64("colon:a:b:"))),
        200
    );
    assert_eq!(
        harness.status(&format!("POST /auth/login\nauthorization: Basic {}", base64("colon:a"))),
        401
    );
}

#[test]
fn bump_moves_the_last_login_and_not_the_tokens_end() {
    let harness = DialectHarness::new();
    let token = harness.log_in();
    harness.world.clock.advance(HOUR);
    check(
        &harness.send_with_token("POST /auth/bump", &token),
        &expect![[r#"
        200
        content-type: application/json
        vary: Accept

        {"lastLoginTime":"2022-05-01T13:00:00+00:00"}
    "#]],
    );
    assert!(
        harness
            .send_with_token("GET /user/csmith", &token)
            .contains("\"lastLoginTime\":\"2022-05-01T13:00:00+00:00\"")
    );
    harness.world.clock.advance(30 * 24 * HOUR - HOUR - Duration::from_secs(1));
    assert!(harness.send_with_token("POST /auth/bump", &token).starts_with("200\n"));
    harness.world.clock.advance(Duration::from_secs(1));
    assert!(harness.send_with_token("POST /auth/bump", &token).starts_with("401\n"));
}

#[test]
fn logout_ends_the_token_once_and_no_other() {
    let harness = DialectHarness::new();
    let (token, other) = (harness.log_in(), harness.log_in());
    assert_ne!(token, other);
    check(
        &harness.send_with_token("POST /auth/logout", &token),
        &expect![[r#"
        200
        content-type: application/json
        vary: Accept

        {"success":true}
    "#]],
    );
    check(
        &harness.send_with_token("POST /auth/logout", &token),
        &expect![[r#"
        401
        content-type: application/json
        vary: Accept
        www-authenticate: X-Auth-Token realm="parlance"

        {"message":"Authorization failed"}
    "#]],
    );
    assert!(harness.send_with_token("POST /auth/bump", &other).starts_with("200\n"));
}

#[test]
fn the_name_with_the_token_is_the_users_in_any_spelling() {
    let harness = DialectHarness::new();
    harness.world.add_user("other", "XXX");
    let token = harness.log_in();
    for (shown, status) in [
        (format!("csmith:{token}"), 200),
        (format!("CSmith:{token}"), 200),
        (format!("other:{token}"), 401),
        (format!("nobody:{token}"), 401),
        (format!(":{token}"), 401),
    ] {
        let request = format!("POST /auth/bump\nX-Auth-Token: {}", base64(&shown));
        assert_eq!(harness.status(&request), status, "{shown}");
    }
}

#[test]
fn a_guarded_request_shows_name_and_token() {
    let harness = DialectHarness::new();
    let token = harness.log_in();
    let shown = base64(&format!("csmith:{token}"));
    assert_eq!(harness.admit(&[("X-Auth-Token", shown.as_bytes())]).as_deref(), Ok("csmith"));
    let refusal = harness.admit(&[]).unwrap_err();
    check(
        &refusal,
        &expect![[r#"
        401
        content-type: application/json
        vary: Accept
        www-authenticate: X-Auth-Token realm="parlance"

        {"message":"Authorization failed"}
    "#]],
    );
    for headers in [
        vec![("x-auth-token", token.as_bytes())],
        vec![("x-auth-token", &b"\xff"[..])],
        vec![("authorization", BASIC.as_bytes())],
        vec![("x-auth-token", shown.as_bytes()), ("x-auth-token", shown.as_bytes())],
    ] {
        assert_eq!(harness.admit(&headers).as_ref(), Err(&refusal), "{headers:?}");
    }
}

#[test]
fn a_call_shows_no_secret() {
    let shown = base64("csmith:b94cf5c7-cddc-4610-9d4c-6b8e04088ae8");
    let headers: &[(&str, &[u8])] =
        &[("authorization", BASIC.as_bytes()), ("x-auth-token", shown.as_bytes())];
    let now = TestWorld::default().clock.now();
    for path in ["/auth/login", "/auth/bump"] {
        let request = Request {
            method: "POST",
            path,
            query: None,
            headers,
            body: b"",
            peer: None,
            secure: false,
            now,
        };
        let call = format!("{:?}", FlaskUsertoken::default().decode(&request).unwrap());
        assert!(
            call.contains("csmith") && !call.contains("XXX") && !call.contains("b94cf5c7"),
            "{call}"
        );
    }
}

#[test]
fn the_settings_defaults_are_the_configurations() {
    let mut values = SettingValues::defaults(FlaskUsertoken::SETTINGS, chrono_tz::UTC);
    assert_eq!(FlaskUsertoken::configure(&values).settings, Settings::default());
    values.set("basic_challenge", SettingValue::Boolean(false));
    assert!(!FlaskUsertoken::configure(&values).settings.basic_challenge);
    values.set("lifetime", SettingValue::Never);
    assert_eq!(FlaskUsertoken::configure(&values).settings.lifetime, None);
}

//! Tests of the wire: requests and the bytes of their answers.

mod body;
mod cookie;

use std::time::Duration;

use expect_test::{Expect, expect};
use parlance_core::{Failure, Secret, Timestamp};
use parlance_dialect::testing::{TestWorld, text};
use parlance_dialect::{
    Configure, Dialect, DialectHandler, DialectService, Request, Response, SettingValues, Unread,
};

use crate::{Cookie1010, Settings};

const MINUTE: Duration = Duration::from_secs(60);
const FORM: &str = "Content-Type: application/x-www-form-urlencoded";
const JSON: &str = "Content-Type: application/json";
const VALID_LOGIN: &str = "uid=csmith&pw=XXX";

struct DialectHarness {
    world: TestWorld,
    service: DialectService<Cookie1010>,
}

/// The answer to a login.
#[derive(Debug, Clone, PartialEq, Eq)]
struct SessionCookie {
    uid: String,
    sid: String,
    epw: String,
}

fn harness() -> DialectHarness {
    let world = TestWorld::with_csmith();
    let service = world.service(Cookie1010::new(Settings::default()));
    DialectHarness { world, service }
}

impl DialectHarness {
    fn send(&self, request: &str) -> Response {
        self.world.send(&self.service, request)
    }

    fn post(&self, form: &str) -> Response {
        self.send(&format!("POST /beta-latest/api/!login\n{FORM}\n\n{form}"))
    }

    #[track_caller]
    fn login(&self, form: &str) -> SessionCookie {
        let answer = self.post(form);
        assert_eq!(answer.status, 200, "{}", text(&answer));
        let body: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
        let [uid, sid, epw] =
            ["uid", "sid", "epw"].map(|key| body[key].as_str().unwrap().to_owned());
        SessionCookie { uid, sid, epw }
    }

    /// The status of a guarded call with these bytes as its `Cookie` lines.
    fn guarded_status(&self, cookies: &[&[u8]]) -> u16 {
        let headers: Vec<_> = cookies.iter().map(|cookie| ("Cookie", *cookie)).collect();
        let (path, now) = ("/beta-latest/api/!query", self.now());
        let request = Request {
            method: "GET",
            path,
            query: None,
            headers: &headers,
            body: b"",
            peer: None,
            secure: false,
            now,
        };
        let passed = self.world.block_on(self.service.admit(&request)).map(|caller| caller.name);
        let answer = self.world.block_on(self.service.serve(&request));
        // The guard and the wire agree about every cookie.
        assert_eq!(passed.is_ok(), answer.status == 404, "{}", text(&answer));
        answer.status
    }

    fn is_active(&self, opened: &SessionCookie) -> bool {
        self.guarded_status(&[opened.cookie().as_bytes()]) == 404
    }

    fn logout(&self, opened: &SessionCookie) -> Response {
        self.send(&format!(
            "POST /prime-latest/api/!logout:json\n{JSON}\nCookie: {}\n\n",
            opened.cookie()
        ))
    }

    fn now(&self) -> Timestamp {
        use parlance_core::ports::Clock as _;
        self.world.clock.now()
    }
}

impl SessionCookie {
    fn cookie(&self) -> String {
        format!("session={}|{}|{}", self.uid, self.sid, self.epw)
    }
}

#[track_caller]
fn check(request: &str, expected: &Expect) {
    expected.assert_eq(&text(&harness().send(request)));
}

#[test]
fn login_by_form_answers_as_the_document_prints_it() {
    check(
        "POST /beta-latest/api/!login\nContent-Type: application/x-www-form-urlencoded\n\nuid=csmith&pw=XXX",
        &expect![[r#"
            200
            content-type: application/json; charset=utf-8
            set-cookie: session=csmith|157402581|_______afad915dc32b6a94920541cdbfcb12e30332ce89051d5e2063c4bd0228dfad2e; Path=/; HttpOnly; SameSite=Lax

            {"uid": "csmith", "sid": "157402581", "epw": "_______afad915dc32b6a94920541cdbfcb12e30332ce89051d5e2063c4bd0228dfad2e"}
        "#]],
    );
}

#[test]
fn login_by_json_answers_alike() {
    check(
        "POST /beta-latest/api/%21login%3Ajson\nContent-type: application/json\n\n{\"uid\":\"csmith\", \"pw\":\"XXX\"}",
        &expect![[r#"
            200
            content-type: application/json; charset=utf-8
            set-cookie: session=csmith|157402581|_______afad915dc32b6a94920541cdbfcb12e30332ce89051d5e2063c4bd0228dfad2e; Path=/; HttpOnly; SameSite=Lax

            {"uid": "csmith", "sid": "157402581", "epw": "_______afad915dc32b6a94920541cdbfcb12e30332ce89051d5e2063c4bd0228dfad2e"}
        "#]],
    );
}

#[test]
fn cookie_of_a_secure_request_is_secure() {
    let mut harness = harness();
    harness.world.secure = true;
    expect![[r#"
        200
        content-type: application/json; charset=utf-8
        set-cookie: session=csmith|157402581|_______afad915dc32b6a94920541cdbfcb12e30332ce89051d5e2063c4bd0228dfad2e; Path=/; HttpOnly; SameSite=Lax; Secure

        {"uid": "csmith", "sid": "157402581", "epw": "_______afad915dc32b6a94920541cdbfcb12e30332ce89051d5e2063c4bd0228dfad2e"}
    "#]].assert_eq(&text(&harness.post(VALID_LOGIN)));
}

#[test]
fn logout_answers_as_the_vendor_prints_it() {
    let harness = harness();
    let opened = harness.login(VALID_LOGIN);
    expect![[r#"
        200
        content-type: application/json; charset=utf-8

        {"rc": "0", "msg": "Logged out"}
    "#]]
    .assert_eq(&text(&harness.logout(&opened)));
    expect![[r#"
        401
        content-type: application/json; charset=utf-8

        {"error": "Access denied. There is no such session. Please log in."}
    "#]]
    .assert_eq(&text(&harness.logout(&opened)));
}

#[test]
fn get_is_not_allowed() {
    check(
        "GET /beta-latest/api/!login?uid=csmith&pw=XXX",
        &expect![[r#"
        405
        content-type: application/json; charset=utf-8
        allow: POST

        {"error": "Method not allowed. Use POST."}
    "#]],
    );
}

#[test]
fn unavailable_store_is_503_with_an_error() {
    let harness = harness();
    harness.world.store.set_unavailable(true);
    expect![[r#"
        503
        content-type: application/json; charset=utf-8
        retry-after: 1

        {"error": "Service unavailable. Please try again."}
    "#]]
    .assert_eq(&text(&harness.post(VALID_LOGIN)));
}

#[test]
fn each_failure_has_its_status_and_sentence() {
    let dialect = Cookie1010::default();
    let lines: Vec<_> = Failure::ALL
        .iter()
        .map(|why| failure_line(why, &dialect.challenge(why)))
        .chain(Unread::ALL.iter().map(|why| failure_line(why, &dialect.body_error(*why))))
        .collect();
    expect![[r#"
        UnknownUser: 401 {"error": "Access denied. The user id and/or password are incorrect."}
        WrongPassword: 401 {"error": "Access denied. The user id and/or password are incorrect."}
        UserDisabled: 401 {"error": "Access denied. The user id and/or password are incorrect."}
        PasswordExpired: 403 {"error": "Forbidden. The user id and password combination has expired. Please try logging in again."}
        OuterCredential: 401 {"error": "Access denied. The user id and/or password are incorrect."}
        UnservedCall: 401 {"error": "Access denied. The user id and/or password are incorrect."}
        Locked { user_exists: true }: 401 {"error": "Access denied. The user id and/or password are incorrect."}
        Locked { user_exists: false }: 401 {"error": "Access denied. The user id and/or password are incorrect."}
        RateLimited: 429 {"error": "Too many failed logins. Please try again later."}
        NoCredential: 401 {"error": "Access denied. There is no such session. Please log in."}
        UnknownCredential: 401 {"error": "Access denied. There is no such session. Please log in."}
        RevokedOrExpired: 401 {"error": "Access denied. There is no such session. Please log in."}
        UnexpectedAddress: 401 {"error": "Access denied. There is no such session. Please log in."}
        UnexpectedUser: 401 {"error": "Access denied. There is no such session. Please log in."}
        Busy: 503 {"error": "Service unavailable. Please try again."}
        Unavailable: 503 {"error": "Service unavailable. Please try again."}
        TooLong: 413 {"error": "Request body too large."}
        TooSlow: 408 {"error": "Request body took too long."}
        Broken: 400 {"error": "Request body could not be read."}"#]].assert_eq(&lines.join("\n"));
}

fn failure_line(why: &dyn std::fmt::Debug, answer: &Response) -> String {
    let retry = answer.headers.iter().filter(|(name, _)| *name == "retry-after").count();
    assert_eq!(retry == 1, matches!(answer.status, 429 | 503));
    assert!(
        answer.headers.iter().all(|(name, _)| *name != "set-cookie" && *name != "www-authenticate")
    );
    format!("{why:?}: {} {}", answer.status, String::from_utf8_lossy(&answer.body))
}

#[test]
fn claims_are_one_version_and_one_call() {
    let calls = [
        "!login",
        "!login:json",
        "!logout",
        "!logout:json",
        "%21login",
        "%21logout%3Ajson",
        "!login%3ajson",
        "!query",
        "!",
    ];
    for version in ["beta-latest", "prime-latest", "1", "%61pi", "API", "api.example", "%2e"] {
        for call in calls {
            assert!(Cookie1010::claims(&format!("/{version}/api/{call}")), "{version} {call}");
        }
    }
    for path in [
        "",
        "/",
        "//api/!login",
        "/api/api/!login",
        "/api/!login",
        "/./api/!login",
        "/../api/!login",
        "/a/b/api/!login",
        "/v/api/login",
        "/v/api/",
        "/v/api",
        "/v/API/!login",
        "/v/api/!login/",
        "/v/api/!a/b",
        "/v/api/x!login",
        "v/api/!login",
        "/v/api/%2521login",
    ] {
        assert!(!Cookie1010::claims(path), "{path}");
    }
}

#[test]
fn documented_calls_are_posted_and_others_are_guarded() {
    let harness = harness();
    for method in ["GET", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "post"] {
        for call in ["!login", "%21login:json", "!logout", "!logout%3Ajson"] {
            let answer = harness.send(&format!("{method} /v/api/{call}\n{FORM}\n\n{VALID_LOGIN}"));
            assert_eq!(answer.status, 405, "{method} {call}");
            assert!(answer.headers.contains(&("allow", "POST".to_owned())), "{method} {call}");
        }
        let cookie = harness.login(VALID_LOGIN).cookie();
        for call in
            ["!", "!query", "!Login", "!login:xml", "!loginx", "!%6cogin", "!logout:json:json"]
        {
            assert_eq!(
                harness.send(&format!("{method} /v/api/{call}\nCookie: {cookie}")).status,
                404,
                "{method} {call}"
            );
            assert_eq!(
                harness.send(&format!("{method} /v/api/{call}")).status,
                401,
                "{method} {call}"
            );
        }
    }
}

#[test]
fn sid_round_trips_through_an_integer() {
    let harness = harness();
    for _ in 0..50 {
        let opened = harness.login("uid=csmith&pw=XXX&kill=yes");
        let sid: u64 = opened.sid.parse().unwrap();
        assert_eq!((sid.to_string(), opened.sid.len()), (opened.sid.clone(), 9));
        let hex = opened.epw.strip_prefix("_______").unwrap();
        assert!(
            hex.len() == 64
                && hex.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
        );
        assert!(harness.is_active(&opened));
    }
}

#[test]
fn possess_keeps_the_sid_and_invalidates_the_old_cookie() {
    let harness = harness();
    let mut old = harness.login(VALID_LOGIN);
    for form in [VALID_LOGIN, "uid=csmith&pw=XXX&kill=possess", VALID_LOGIN] {
        let new = harness.login(form);
        assert_eq!(new.sid, old.sid);
        assert_ne!(new.epw, old.epw);
        assert!(harness.is_active(&new) && !harness.is_active(&old));
        old = new;
    }
}

#[test]
fn kill_ends_the_old_session() {
    let harness = harness();
    let old = harness.login("uid=csmith&pw=XXX&kill=yes");
    let new = harness.login("uid=csmith&pw=XXX&kill=yes");
    assert_ne!(new.sid, old.sid);
    assert!(harness.is_active(&new) && !harness.is_active(&old));
}

#[test]
fn possess_after_the_end_opens_a_new_session() {
    let harness = harness();
    let old = harness.login(VALID_LOGIN);
    assert_eq!(harness.logout(&old).status, 200);
    let new = harness.login(VALID_LOGIN);
    assert_ne!(new.sid, old.sid, "after a logout");
    harness.world.clock.advance(60 * MINUTE);
    assert_ne!(harness.login(VALID_LOGIN).sid, new.sid, "after an hour without use");
}

#[test]
fn refused_login_ends_no_session() {
    let harness = harness();
    harness.world.add_user("other", "YYY");
    let opened = harness.login(VALID_LOGIN);
    let refused = [
        "uid=csmith&pw=no&kill=yes",
        "uid=csmith&pw=XXX&kill=no",
        "uid=csmith&kill=yes",
        "uid=csmith&pw=XXX&kill=yes&kill=yes",
    ];
    for form in refused {
        assert_ne!(harness.post(form).status, 200, "{form}");
        assert!(harness.is_active(&opened), "{form}");
    }
    harness.login("uid=other&pw=YYY&kill=yes");
    assert!(harness.is_active(&opened), "another user's login");
}

#[test]
fn session_ends_an_hour_after_its_last_use_and_a_day_after_its_login() {
    let harness = harness();
    let opened = harness.login(VALID_LOGIN);
    for _ in 0..24 {
        assert!(harness.is_active(&opened));
        harness.world.clock.advance(60 * MINUTE - Duration::from_millis(1));
    }
    harness.world.clock.advance(MINUTE);
    assert!(!harness.is_active(&opened), "the whole life");
    let opened = harness.login(VALID_LOGIN);
    harness.world.clock.advance(60 * MINUTE);
    assert!(!harness.is_active(&opened), "the idle time");
}

#[test]
fn expired_password_is_disclosed_only_after_the_correct_password() {
    let harness = harness();
    let opened = harness.login(VALID_LOGIN);
    harness.world.block_on(harness.world.authority.expire_password("csmith")).unwrap();
    assert_eq!(harness.post(VALID_LOGIN).status, 403);
    assert_eq!(harness.post("uid=csmith&pw=no").status, 401);
    assert!(harness.is_active(&opened), "an expired password leaves sessions alone");
}

#[test]
fn disabled_user_is_refused_as_for_a_wrong_password() {
    let harness = harness();
    let (opened, wrong) = (harness.login(VALID_LOGIN), harness.post("uid=csmith&pw=no"));
    harness.world.block_on(harness.world.authority.set_enabled("csmith", false)).unwrap();
    assert_eq!(harness.post(VALID_LOGIN), wrong);
    assert_eq!(harness.post("uid=nobody&pw=no"), wrong);
    assert!(!harness.is_active(&opened));
    harness
        .world
        .block_on(harness.world.authority.set_password("csmith", Secret::new("YYY".to_owned())))
        .unwrap();
    assert_eq!(harness.post("uid=csmith&pw=YYY"), wrong);
}

#[test]
fn configuration_keys_have_the_defaults_of_the_settings() {
    let dialect =
        Cookie1010::configure(&SettingValues::defaults(Cookie1010::SETTINGS, Default::default()));
    assert_eq!(dialect.settings, Settings::default());
}

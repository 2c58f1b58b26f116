//! The wire, exchange by exchange.

mod body;
mod cookie;

use std::time::Duration;

use expect_test::{Expect, expect};
use parlance_core::{Failure, Secret, Timestamp};
use parlance_dialect::testing::{World, text};
use parlance_dialect::{Configure, Desk, Dialect, Request, Response, Service, Unread, Values};

use crate::{Cookie1010, Settings};

const MINUTE: Duration = Duration::from_secs(60);
const FORM: &str = "Content-Type: application/x-www-form-urlencoded";
const JSON: &str = "Content-Type: application/json";
const GOOD: &str = "uid=csmith&pw=XXX";

struct Bench {
    world: World,
    desk: Desk<Cookie1010>,
}

/// What a login answered.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Opened {
    uid: String,
    sid: String,
    epw: String,
}

fn bench() -> Bench {
    let world = World::with_csmith();
    let desk = world.desk(Cookie1010::new(Settings::default()));
    Bench { world, desk }
}

impl Bench {
    fn send(&self, request: &str) -> Response {
        self.world.send(&self.desk, request)
    }

    fn post(&self, form: &str) -> Response {
        self.send(&format!("POST /beta-latest/api/!login\n{FORM}\n\n{form}"))
    }

    #[track_caller]
    fn login(&self, form: &str) -> Opened {
        let answer = self.post(form);
        assert_eq!(answer.status, 200, "{}", text(&answer));
        let body: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
        let [uid, sid, epw] =
            ["uid", "sid", "epw"].map(|key| body[key].as_str().unwrap().to_owned());
        Opened { uid, sid, epw }
    }

    /// The status of a guarded call that shows these bytes as its Cookie lines.
    fn uses(&self, cookies: &[&[u8]]) -> u16 {
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
        let passed = self.world.run(self.desk.admit(&request)).map(|caller| caller.name);
        let answer = self.world.run(self.desk.serve(&request));
        // A guard and the wire agree about every cookie.
        assert_eq!(passed.is_ok(), answer.status == 404, "{}", text(&answer));
        answer.status
    }

    fn lives(&self, opened: &Opened) -> bool {
        self.uses(&[opened.cookie().as_bytes()]) == 404
    }

    fn logout(&self, opened: &Opened) -> Response {
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

impl Opened {
    fn cookie(&self) -> String {
        format!("session={}|{}|{}", self.uid, self.sid, self.epw)
    }
}

#[track_caller]
fn check(request: &str, expected: &Expect) {
    expected.assert_eq(&text(&bench().send(request)));
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
    let mut bench = bench();
    bench.world.secure = true;
    expect![[r#"
        200
        content-type: application/json; charset=utf-8
        set-cookie: session=csmith|157402581|_______afad915dc32b6a94920541cdbfcb12e30332ce89051d5e2063c4bd0228dfad2e; Path=/; HttpOnly; SameSite=Lax; Secure

        {"uid": "csmith", "sid": "157402581", "epw": "_______afad915dc32b6a94920541cdbfcb12e30332ce89051d5e2063c4bd0228dfad2e"}
    "#]].assert_eq(&text(&bench.post(GOOD)));
}

#[test]
fn logout_answers_as_the_vendor_prints_it() {
    let bench = bench();
    let opened = bench.login(GOOD);
    expect![[r#"
        200
        content-type: application/json; charset=utf-8

        {"rc": "0", "msg": "Logged out"}
    "#]]
    .assert_eq(&text(&bench.logout(&opened)));
    expect![[r#"
        401
        content-type: application/json; charset=utf-8

        {"error": "Access denied. There is no such session. Please log in."}
    "#]]
    .assert_eq(&text(&bench.logout(&opened)));
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
fn store_away_is_503_with_an_error() {
    let bench = bench();
    bench.world.store.set_away(true);
    expect![[r#"
        503
        content-type: application/json; charset=utf-8
        retry-after: 1

        {"error": "Service unavailable. Please try again."}
    "#]]
    .assert_eq(&text(&bench.post(GOOD)));
}

#[test]
fn each_failure_has_its_status_and_sentence() {
    let dialect = Cookie1010::default();
    let lines: Vec<_> = Failure::ALL
        .iter()
        .map(|why| line(why, &dialect.deny(why)))
        .chain(Unread::ALL.iter().map(|why| line(why, &dialect.unread(*why))))
        .collect();
    expect![[r#"
        UnknownUser: 401 {"error": "Access denied. The user id and/or password are incorrect."}
        WrongPassword: 401 {"error": "Access denied. The user id and/or password are incorrect."}
        UserDisabled: 401 {"error": "Access denied. The user id and/or password are incorrect."}
        PasswordExpired: 403 {"error": "Forbidden. The user id and password combination has expired. Please try logging in again."}
        OuterCredential: 401 {"error": "Access denied. The user id and/or password are incorrect."}
        UnservedCall: 401 {"error": "Access denied. The user id and/or password are incorrect."}
        Locked { known: true }: 401 {"error": "Access denied. The user id and/or password are incorrect."}
        Locked { known: false }: 401 {"error": "Access denied. The user id and/or password are incorrect."}
        Throttled: 429 {"error": "Too many failed logins. Please try again later."}
        NoCredential: 401 {"error": "Access denied. There is no such session. Please log in."}
        UnknownCredential: 401 {"error": "Access denied. There is no such session. Please log in."}
        EndedSession: 401 {"error": "Access denied. There is no such session. Please log in."}
        ForeignAddress: 401 {"error": "Access denied. There is no such session. Please log in."}
        ForeignUser: 401 {"error": "Access denied. There is no such session. Please log in."}
        Busy: 503 {"error": "Service unavailable. Please try again."}
        Unavailable: 503 {"error": "Service unavailable. Please try again."}
        TooLong: 413 {"error": "Request body too large."}
        TooSlow: 408 {"error": "Request body took too long."}
        Broken: 400 {"error": "Request body could not be read."}"#]].assert_eq(&lines.join("\n"));
}

fn line(why: &dyn std::fmt::Debug, answer: &Response) -> String {
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
    let bench = bench();
    for method in ["GET", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "post"] {
        for call in ["!login", "%21login:json", "!logout", "!logout%3Ajson"] {
            let answer = bench.send(&format!("{method} /v/api/{call}\n{FORM}\n\n{GOOD}"));
            assert_eq!(answer.status, 405, "{method} {call}");
            assert!(answer.headers.contains(&("allow", "POST".to_owned())), "{method} {call}");
        }
        let cookie = bench.login(GOOD).cookie();
        for call in
            ["!", "!query", "!Login", "!login:xml", "!loginx", "!%6cogin", "!logout:json:json"]
        {
            assert_eq!(
                bench.send(&format!("{method} /v/api/{call}\nCookie: {cookie}")).status,
                404,
                "{method} {call}"
            );
            assert_eq!(
                bench.send(&format!("{method} /v/api/{call}")).status,
                401,
                "{method} {call}"
            );
        }
    }
}

#[test]
fn sid_survives_a_client_that_makes_an_integer_of_it() {
    let bench = bench();
    for _ in 0..50 {
        let opened = bench.login("uid=csmith&pw=XXX&kill=yes");
        let sid: u64 = opened.sid.parse().unwrap();
        assert_eq!((sid.to_string(), opened.sid.len()), (opened.sid.clone(), 9));
        let hex = opened.epw.strip_prefix("_______").unwrap();
        assert!(
            hex.len() == 64
                && hex.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
        );
        assert!(bench.lives(&opened));
    }
}

#[test]
fn possess_keeps_the_sid_and_kills_the_old_cookie() {
    let bench = bench();
    let mut old = bench.login(GOOD);
    for form in [GOOD, "uid=csmith&pw=XXX&kill=possess", GOOD] {
        let new = bench.login(form);
        assert_eq!(new.sid, old.sid);
        assert_ne!(new.epw, old.epw);
        assert!(bench.lives(&new) && !bench.lives(&old));
        old = new;
    }
}

#[test]
fn kill_ends_the_old_session() {
    let bench = bench();
    let old = bench.login("uid=csmith&pw=XXX&kill=yes");
    let new = bench.login("uid=csmith&pw=XXX&kill=yes");
    assert_ne!(new.sid, old.sid);
    assert!(bench.lives(&new) && !bench.lives(&old));
}

#[test]
fn possess_after_the_end_opens_a_new_session() {
    let bench = bench();
    let old = bench.login(GOOD);
    assert_eq!(bench.logout(&old).status, 200);
    let new = bench.login(GOOD);
    assert_ne!(new.sid, old.sid, "after a logout");
    bench.world.clock.advance(60 * MINUTE);
    assert_ne!(bench.login(GOOD).sid, new.sid, "after an hour without use");
}

#[test]
fn refused_login_ends_nobodys_session() {
    let bench = bench();
    bench.world.add_user("other", "YYY");
    let opened = bench.login(GOOD);
    let refused = [
        "uid=csmith&pw=no&kill=yes",
        "uid=csmith&pw=XXX&kill=no",
        "uid=csmith&kill=yes",
        "uid=csmith&pw=XXX&kill=yes&kill=yes",
    ];
    for form in refused {
        assert_ne!(bench.post(form).status, 200, "{form}");
        assert!(bench.lives(&opened), "{form}");
    }
    bench.login("uid=other&pw=YYY&kill=yes");
    assert!(bench.lives(&opened), "another user's login");
}

#[test]
fn session_ends_an_hour_after_its_last_use_and_a_day_after_its_login() {
    let bench = bench();
    let opened = bench.login(GOOD);
    for _ in 0..24 {
        assert!(bench.lives(&opened));
        bench.world.clock.advance(60 * MINUTE - Duration::from_millis(1));
    }
    bench.world.clock.advance(MINUTE);
    assert!(!bench.lives(&opened), "the whole life");
    let opened = bench.login(GOOD);
    bench.world.clock.advance(60 * MINUTE);
    assert!(!bench.lives(&opened), "the idle time");
}

#[test]
fn expired_password_is_told_only_after_the_right_one() {
    let bench = bench();
    let opened = bench.login(GOOD);
    bench.world.run(bench.world.authority.expire_password("csmith")).unwrap();
    assert_eq!(bench.post(GOOD).status, 403);
    assert_eq!(bench.post("uid=csmith&pw=no").status, 401);
    assert!(bench.lives(&opened), "an expired password leaves sessions alone");
}

#[test]
fn disabled_user_hears_a_wrong_password() {
    let bench = bench();
    let (opened, wrong) = (bench.login(GOOD), bench.post("uid=csmith&pw=no"));
    bench.world.run(bench.world.authority.set_enabled("csmith", false)).unwrap();
    assert_eq!(bench.post(GOOD), wrong);
    assert_eq!(bench.post("uid=nobody&pw=no"), wrong);
    assert!(!bench.lives(&opened));
    bench
        .world
        .run(bench.world.authority.set_password("csmith", Secret::new("YYY".to_owned())))
        .unwrap();
    assert_eq!(bench.post("uid=csmith&pw=YYY"), wrong);
}

#[test]
fn configuration_keys_have_the_defaults_of_the_settings() {
    let dialect =
        Cookie1010::configure(&Values::defaults(Cookie1010::SETTINGS, Default::default()));
    assert_eq!(dialect.settings, Settings::default());
}

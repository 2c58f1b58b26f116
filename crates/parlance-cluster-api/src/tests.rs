//! Tests of the wire: requests and the bytes of their answers.

mod form;
mod header;

use std::net::IpAddr;
use std::time::Duration;

use expect_test::{Expect, expect};
use parlance_core::{Failure, Secret, Timestamp};
use parlance_dialect::testing::{TestWorld, text};
use parlance_dialect::{
    Configure, Dialect, DialectHandler, DialectService, Request, Response, SettingValue,
    SettingValues, Unread,
};

use crate::{ClusterApi, Settings};

const MINUTE: Duration = Duration::from_secs(60);
const VALID_LOGIN: &str = "username=csmith&password=XXX";
const UNKNOWN_USER: &str = "Username not found, please log in.";
const WRONG_PASSWORD: &str = "Wrong password.";
const UNKNOWN_TOKEN: &str = "Token not found, please log in.";
const EXPIRED_TOKEN: &str = "Token expired please log in.";
const UNEXPECTED_ADDRESS: &str = "The token is not important for this IP address, please log in.";
const WRONG_PATH: &str = "Wrong API path";
const DUPLICATE_PARAMETER: &str = "A parameter is given twice.";

struct DialectHarness {
    world: TestWorld,
    service: DialectService<ClusterApi>,
}

fn harness() -> DialectHarness {
    let world = TestWorld::with_csmith();
    let service = world.service(ClusterApi::new(Settings::default()));
    DialectHarness { world, service }
}

impl DialectHarness {
    fn post(&self, path: &str, form: &str) -> Response {
        let form =
            format!("POST {path}\nContent-Type: application/x-www-form-urlencoded\n\n{form}");
        self.world.send(&self.service, &form)
    }

    #[track_caller]
    fn token(&self) -> String {
        let answer = self.post("/api/login", VALID_LOGIN);
        let body = String::from_utf8(answer.body).unwrap();
        body.split('"')
            .nth(5)
            .filter(|token| token.len() == 60)
            .unwrap_or_else(|| panic!("{body}"))
            .to_owned()
    }

    /// The result of a call: the sentence of the error, or `success`.
    fn post_result(&self, path: &str, form: &str) -> String {
        envelope_result(&self.post(path, form))
    }

    fn guarded_result(&self, token: &str) -> String {
        self.post_result("/api/vm/list", &format!("access_token={token}"))
    }

    fn admits(&self, request: &Request<'_>) -> Result<String, String> {
        let passed = self.world.block_on(self.service.admit(request));
        passed.map(|caller| caller.name).map_err(|refusal| envelope_result(&refusal.response))
    }
}

/// The error of an envelope, or `success`.
fn envelope_result(answer: &Response) -> String {
    assert_eq!(answer.status, 200, "{}", text(answer));
    let envelope: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
    match envelope["status"].as_str() {
        Some("success") if envelope["error"] == "" => "success".to_owned(),
        Some("error") if envelope["msg"] == serde_json::json!({}) => {
            envelope["error"].as_str().unwrap().to_owned()
        }
        _ => panic!("{envelope}"),
    }
}

#[track_caller]
fn check(request: &str, expected: &Expect) {
    let DialectHarness { world, service } = harness();
    expected.assert_eq(&world.exchange(&service, request));
}

#[test]
fn login_answers_as_the_document_prints_it() {
    check(
        "POST /api/login\nContent-Type: application/x-www-form-urlencoded\n\nusername=csmith&password=XXX",
        &expect![[r#"
            200
            content-type: application/json; charset=utf-8

            {
             "msg": {
              "access_token": "RYRFIYASIPWTGTCPNITNOQVKKUKCKUCJJVINWXONFQMDMTLFQLEHEVNGWHNF"
             },
             "status": "success",
             "error": ""
            }
        "#]],
    );
}

#[test]
fn login_with_a_live_token_answers_an_empty_message() {
    let harness = harness();
    let token = harness.token();
    let answer =
        harness.post("/api/login/", &format!("access_token={token}&username=csmith&password=no"));
    expect![[r#"
        200
        content-type: application/json; charset=utf-8

        {
         "msg": {},
         "status": "success",
         "error": ""
        }
    "#]]
    .assert_eq(&text(&answer));
}

#[test]
fn logout_answers_as_the_document_prints_it() {
    let harness = harness();
    let token = harness.token();
    let answer = harness.post("/api/logout", &format!("access_token={token}"));
    expect![[r#"
        200
        content-type: application/json; charset=utf-8

        {
         "msg": "",
         "status": "success",
         "error": ""
        }
    "#]]
    .assert_eq(&text(&answer));
}

#[test]
fn every_error_stands_in_the_same_envelope() {
    check(
        "GET /api/",
        &expect![[r#"
        200
        content-type: application/json; charset=utf-8

        {
         "msg": {},
         "status": "error",
         "error": "Token not found, please log in."
        }
    "#]],
    );
}

#[test]
fn unavailable_store_is_503_in_the_envelope() {
    let harness = harness();
    harness.world.store.set_unavailable(true);
    expect![[r#"
        503
        content-type: application/json; charset=utf-8
        retry-after: 1

        {
         "msg": {},
         "status": "error",
         "error": "Service unavailable, please try again."
        }
    "#]]
    .assert_eq(&text(&harness.post("/api/login", VALID_LOGIN)));
}

#[test]
fn each_failure_has_its_sentence() {
    let dialect = ClusterApi::default();
    let table: Vec<_> = Failure::ALL
        .iter()
        .map(|why| (why, dialect.challenge(why)))
        .map(|(why, answer)| failure_line(why, &answer))
        .collect();
    expect![[r#"
        UnknownUser: 200 "Username not found, please log in."
        WrongPassword: 200 "Wrong password."
        UserDisabled: 200 "Wrong password."
        PasswordExpired: 200 "Wrong password."
        OuterCredential: 200 "Wrong password."
        UnservedCall: 200 "Wrong password."
        Locked { user_exists: true }: 200 "Wrong password."
        Locked { user_exists: false }: 200 "Username not found, please log in."
        RateLimited: 200 "Wrong password."
        NoCredential: 200 "Token not found, please log in."
        UnknownCredential: 200 "Token not found, please log in."
        RevokedOrExpired: 200 "Token expired please log in."
        UnexpectedAddress: 200 "The token is not important for this IP address, please log in."
        UnexpectedUser: 200 "Token not found, please log in."
        Busy: 503 "Service unavailable, please try again."
        Unavailable: 503 "Service unavailable, please try again.""#]]
    .assert_eq(&table.join("\n"));
    let table: Vec<_> =
        Unread::ALL.iter().map(|why| failure_line(why, &dialect.body_error(*why))).collect();
    expect![[r#"
        TooLong: 200 "Request body too large."
        TooSlow: 200 "Request body took too long."
        Broken: 200 "Request body could not be read.""#]]
    .assert_eq(&table.join("\n"));
}

fn failure_line(why: &dyn std::fmt::Debug, answer: &Response) -> String {
    let envelope: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
    let retry = answer.headers.iter().filter(|(name, _)| *name == "retry-after").count();
    assert_eq!(retry == 1, answer.status == 503);
    format!("{why:?}: {} {}", answer.status, envelope["error"])
}

#[test]
fn token_is_required_on_every_other_path() {
    let harness = harness();
    let good = format!("access_token={}", harness.token());
    let path = [
        "/api",
        "/api/",
        "/api/login/x",
        "/api/LOGIN",
        "/api/.//login",
        "/api/%6cogin",
        "/api/vm/list",
        "/api/logout/x",
    ];
    for path in path {
        assert_eq!(harness.post_result(path, &good), WRONG_PATH, "{path}");
        assert_eq!(harness.post_result(path, "access_token=INVENTED"), UNKNOWN_TOKEN, "{path}");
        assert_eq!(harness.post_result(path, VALID_LOGIN), UNKNOWN_TOKEN, "{path}");
        assert_eq!(harness.post_result(path, ""), UNKNOWN_TOKEN, "{path}");
    }
    for form in [
        &format!("{good}&{good}"),
        &format!("{good}%FF"),
        &format!("{good}&x=%FF"),
        &good.to_lowercase(),
    ] {
        assert_ne!(harness.post_result("/api/logout", form), "success", "{form}");
    }
    assert_eq!(harness.post_result("/api/vm/list", &good), WRONG_PATH);
}

#[test]
fn claims_end_at_the_segment() {
    for path in ["/api", "/api/", "/api/login", "/api/login/", "/api/logout", "/api/x/y"] {
        assert!(ClusterApi::claims(path), "{path}");
    }
    for path in
        ["", "/", "/apix", "/ap", "/API/login", "/x/api/login", "api/login", "/beta/api/!login"]
    {
        assert!(!ClusterApi::claims(path), "{path}");
    }
}

#[test]
fn token_slides_ten_minutes_from_its_last_use() {
    let harness = harness();
    let token = harness.token();
    for _ in 0..5 {
        harness.world.clock.advance(10 * MINUTE - Duration::from_millis(1));
        assert_eq!(harness.guarded_result(&token), WRONG_PATH);
    }
    for _ in 0..5 {
        harness.world.clock.advance(9 * MINUTE);
        assert_eq!(harness.post_result("/api/login", &format!("access_token={token}")), "success");
    }
    harness.world.clock.advance(10 * MINUTE);
    assert_eq!(harness.guarded_result(&token), EXPIRED_TOKEN);
    assert_eq!(harness.guarded_result(&token), UNKNOWN_TOKEN);
}

#[test]
fn token_expires_at_its_maximum_lifetime_despite_use() {
    let world = TestWorld::with_csmith();
    let service = world
        .service(ClusterApi::new(Settings { max_lifetime: 25 * MINUTE, ..Settings::default() }));
    let harness = DialectHarness { world, service };
    let token = harness.token();
    for _ in 0..3 {
        harness.world.clock.advance(8 * MINUTE);
        assert_eq!(harness.guarded_result(&token), WRONG_PATH);
    }
    harness.world.clock.advance(MINUTE);
    assert_eq!(harness.guarded_result(&token), EXPIRED_TOKEN);
}

#[test]
fn expired_token_is_reported_once_and_then_unknown() {
    let harness = harness();
    let (ended, kept) = (harness.token(), harness.token());
    let form = format!("access_token={ended}");
    assert_eq!(harness.post_result("/api/logout/", &form), "success");
    assert_eq!(harness.post_result("/api/login", &form), UNKNOWN_USER);
    assert_eq!(harness.post_result("/api/logout", &form), EXPIRED_TOKEN);
    assert_eq!(harness.post_result("/api/logout", &form), UNKNOWN_TOKEN);
    assert_eq!(
        harness.guarded_result(&kept),
        WRONG_PATH,
        "a login and a logout end no other token"
    );
}

#[test]
fn token_is_valid_only_from_its_login_address() {
    let mut harness = harness();
    let home = harness.world.peer;
    let token = harness.token();
    harness.world.peer = Some(IpAddr::from([192, 0, 2, 8]));
    for _ in 0..2 {
        assert_eq!(
            harness.post_result("/api/logout", &format!("access_token={token}")),
            UNEXPECTED_ADDRESS
        );
        assert_eq!(
            harness.post_result("/api/login", &format!("access_token={token}")),
            UNKNOWN_USER
        );
    }
    harness.world.peer = home;
    assert_eq!(harness.guarded_result(&token), WRONG_PATH, "a wrong address ends nothing");
    harness.world.clock.advance(10 * MINUTE);
    harness.world.peer = None;
    assert_eq!(
        harness.guarded_result(&token),
        UNEXPECTED_ADDRESS,
        "the address is judged before the age"
    );
}

#[test]
fn presented_token_is_never_adopted() {
    let harness = harness();
    let dead = harness.token();
    harness.post("/api/logout", &format!("access_token={dead}"));
    for shown in [dead, "A".repeat(60)] {
        let answer = harness.post("/api/login", &format!("access_token={shown}&{VALID_LOGIN}"));
        let body = String::from_utf8(answer.body).unwrap();
        assert!(body.contains("access_token") && !body.contains(&shown), "{body}");
        assert_ne!(harness.guarded_result(&shown), WRONG_PATH);
    }
}

#[test]
fn disabled_user_and_expired_password_are_refused_as_a_wrong_password() {
    let harness = harness();
    let authority = &harness.world.authority;
    let token = harness.token();
    harness.world.block_on(authority.expire_password("csmith")).unwrap();
    assert_eq!(harness.post_result("/api/login", VALID_LOGIN), WRONG_PASSWORD);
    assert_eq!(
        harness.guarded_result(&token),
        WRONG_PATH,
        "an expired password leaves sessions alone"
    );
    harness
        .world
        .block_on(authority.set_password("csmith", Secret::new("YYY".to_owned())))
        .unwrap();
    assert_eq!(harness.guarded_result(&token), EXPIRED_TOKEN);
    harness.world.block_on(authority.set_enabled("csmith", false)).unwrap();
    assert_eq!(harness.post_result("/api/login", "username=csmith&password=YYY"), WRONG_PASSWORD);
}

#[test]
fn configuration_keys_have_the_defaults_of_the_settings() {
    let dialect =
        ClusterApi::configure(&SettingValues::defaults(ClusterApi::SETTINGS, Default::default()));
    assert_eq!(dialect.settings, Settings::default());
}

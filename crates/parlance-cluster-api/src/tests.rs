//! The wire, exchange by exchange.

mod form;
mod header;

use std::net::IpAddr;
use std::time::Duration;

use expect_test::{Expect, expect};
use parlance_core::{Failure, Secret, Timestamp};
use parlance_dialect::testing::{World, text};
use parlance_dialect::{
    Configure, Desk, Dialect, Request, Response, Service, Unread, Value, Values,
};

use crate::{ClusterApi, Settings};

const MINUTE: Duration = Duration::from_secs(60);
const GOOD: &str = "username=csmith&password=XXX";
const UNKNOWN_USER: &str = "Username not found, please log in.";
const WRONG_PASSWORD: &str = "Wrong password.";
const UNKNOWN_TOKEN: &str = "Token not found, please log in.";
const ENDED_TOKEN: &str = "Token expired please log in.";
const FOREIGN_ADDRESS: &str = "The token is not important for this IP address, please log in.";
const WRONG_PATH: &str = "Wrong API path";
const DOUBLED: &str = "A parameter is given twice.";

struct Bench {
    world: World,
    desk: Desk<ClusterApi>,
}

fn bench() -> Bench {
    let world = World::with_csmith();
    let desk = world.desk(ClusterApi::new(Settings::default()));
    Bench { world, desk }
}

impl Bench {
    fn post(&self, path: &str, form: &str) -> Response {
        let form =
            format!("POST {path}\nContent-Type: application/x-www-form-urlencoded\n\n{form}");
        self.world.send(&self.desk, &form)
    }

    #[track_caller]
    fn token(&self) -> String {
        let answer = self.post("/api/login", GOOD);
        let body = String::from_utf8(answer.body).unwrap();
        body.split('"')
            .nth(5)
            .filter(|token| token.len() == 60)
            .unwrap_or_else(|| panic!("{body}"))
            .to_owned()
    }

    /// What became of it: the sentence of the error, or `success`.
    fn hears(&self, path: &str, form: &str) -> String {
        sentence(&self.post(path, form))
    }

    fn uses(&self, token: &str) -> String {
        self.hears("/api/vm/list", &format!("access_token={token}"))
    }

    fn admits(&self, request: &Request<'_>) -> Result<String, String> {
        let passed = self.world.run(self.desk.admit(request));
        passed.map(|caller| caller.name).map_err(|refusal| sentence(&refusal.answer))
    }
}

/// The error of an envelope, or `success`.
fn sentence(answer: &Response) -> String {
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
    let Bench { world, desk } = bench();
    expected.assert_eq(&world.exchange(&desk, request));
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
    let bench = bench();
    let token = bench.token();
    let answer =
        bench.post("/api/login/", &format!("access_token={token}&username=csmith&password=no"));
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
    let bench = bench();
    let token = bench.token();
    let answer = bench.post("/api/logout", &format!("access_token={token}"));
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
fn store_away_is_503_in_the_envelope() {
    let bench = bench();
    bench.world.store.set_away(true);
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
    .assert_eq(&text(&bench.post("/api/login", GOOD)));
}

#[test]
fn each_failure_has_its_sentence() {
    let dialect = ClusterApi::default();
    let table: Vec<_> = Failure::ALL
        .iter()
        .map(|why| (why, dialect.deny(why)))
        .map(|(why, answer)| line(why, &answer))
        .collect();
    expect![[r#"
        UnknownUser: 200 "Username not found, please log in."
        WrongPassword: 200 "Wrong password."
        UserDisabled: 200 "Wrong password."
        PasswordExpired: 200 "Wrong password."
        OuterCredential: 200 "Wrong password."
        UnservedCall: 200 "Wrong password."
        Locked { known: true }: 200 "Wrong password."
        Locked { known: false }: 200 "Username not found, please log in."
        Throttled: 200 "Wrong password."
        NoCredential: 200 "Token not found, please log in."
        UnknownCredential: 200 "Token not found, please log in."
        EndedSession: 200 "Token expired please log in."
        ForeignAddress: 200 "The token is not important for this IP address, please log in."
        ForeignUser: 200 "Token not found, please log in."
        Busy: 503 "Service unavailable, please try again."
        Unavailable: 503 "Service unavailable, please try again.""#]]
    .assert_eq(&table.join("\n"));
    let table: Vec<_> = Unread::ALL.iter().map(|why| line(why, &dialect.unread(*why))).collect();
    expect![[r#"
        TooLong: 200 "Request body too large."
        TooSlow: 200 "Request body took too long."
        Broken: 200 "Request body could not be read.""#]]
    .assert_eq(&table.join("\n"));
}

fn line(why: &dyn std::fmt::Debug, answer: &Response) -> String {
    let envelope: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
    let retry = answer.headers.iter().filter(|(name, _)| *name == "retry-after").count();
    assert_eq!(retry == 1, answer.status == 503);
    format!("{why:?}: {} {}", answer.status, envelope["error"])
}

#[test]
fn token_is_asked_for_on_every_other_path() {
    let bench = bench();
    let good = format!("access_token={}", bench.token());
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
        assert_eq!(bench.hears(path, &good), WRONG_PATH, "{path}");
        assert_eq!(bench.hears(path, "access_token=INVENTED"), UNKNOWN_TOKEN, "{path}");
        assert_eq!(bench.hears(path, GOOD), UNKNOWN_TOKEN, "{path}");
        assert_eq!(bench.hears(path, ""), UNKNOWN_TOKEN, "{path}");
    }
    for form in [
        &format!("{good}&{good}"),
        &format!("{good}%FF"),
        &format!("{good}&x=%FF"),
        &good.to_lowercase(),
    ] {
        assert_ne!(bench.hears("/api/logout", form), "success", "{form}");
    }
    assert_eq!(bench.hears("/api/vm/list", &good), WRONG_PATH);
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
    let bench = bench();
    let token = bench.token();
    for _ in 0..5 {
        bench.world.clock.advance(10 * MINUTE - Duration::from_millis(1));
        assert_eq!(bench.uses(&token), WRONG_PATH);
    }
    for _ in 0..5 {
        bench.world.clock.advance(9 * MINUTE);
        assert_eq!(bench.hears("/api/login", &format!("access_token={token}")), "success");
    }
    bench.world.clock.advance(10 * MINUTE);
    assert_eq!(bench.uses(&token), ENDED_TOKEN);
    assert_eq!(bench.uses(&token), UNKNOWN_TOKEN);
}

#[test]
fn token_ends_at_its_whole_life_however_much_it_is_used() {
    let world = World::with_csmith();
    let desk =
        world.desk(ClusterApi::new(Settings { max_lifetime: 25 * MINUTE, ..Settings::default() }));
    let bench = Bench { world, desk };
    let token = bench.token();
    for _ in 0..3 {
        bench.world.clock.advance(8 * MINUTE);
        assert_eq!(bench.uses(&token), WRONG_PATH);
    }
    bench.world.clock.advance(MINUTE);
    assert_eq!(bench.uses(&token), ENDED_TOKEN);
}

#[test]
fn ended_token_is_told_once_and_then_unknown() {
    let bench = bench();
    let (ended, kept) = (bench.token(), bench.token());
    let form = format!("access_token={ended}");
    assert_eq!(bench.hears("/api/logout/", &form), "success");
    assert_eq!(bench.hears("/api/login", &form), UNKNOWN_USER);
    assert_eq!(bench.hears("/api/logout", &form), ENDED_TOKEN);
    assert_eq!(bench.hears("/api/logout", &form), UNKNOWN_TOKEN);
    assert_eq!(bench.uses(&kept), WRONG_PATH, "a login and a logout end no other token");
}

#[test]
fn token_counts_only_from_its_own_address() {
    let mut bench = bench();
    let home = bench.world.peer;
    let token = bench.token();
    bench.world.peer = Some(IpAddr::from([192, 0, 2, 8]));
    for _ in 0..2 {
        assert_eq!(bench.hears("/api/logout", &format!("access_token={token}")), FOREIGN_ADDRESS);
        assert_eq!(bench.hears("/api/login", &format!("access_token={token}")), UNKNOWN_USER);
    }
    bench.world.peer = home;
    assert_eq!(bench.uses(&token), WRONG_PATH, "a wrong address ends nothing");
    bench.world.clock.advance(10 * MINUTE);
    bench.world.peer = None;
    assert_eq!(bench.uses(&token), FOREIGN_ADDRESS, "the address is judged before the age");
}

#[test]
fn shown_token_is_never_adopted() {
    let bench = bench();
    let dead = bench.token();
    bench.post("/api/logout", &format!("access_token={dead}"));
    for shown in [dead, "A".repeat(60)] {
        let answer = bench.post("/api/login", &format!("access_token={shown}&{GOOD}"));
        let body = String::from_utf8(answer.body).unwrap();
        assert!(body.contains("access_token") && !body.contains(&shown), "{body}");
        assert_ne!(bench.uses(&shown), WRONG_PATH);
    }
}

#[test]
fn disabled_user_and_expired_password_hear_a_wrong_password() {
    let bench = bench();
    let authority = &bench.world.authority;
    let token = bench.token();
    bench.world.run(authority.expire_password("csmith")).unwrap();
    assert_eq!(bench.hears("/api/login", GOOD), WRONG_PASSWORD);
    assert_eq!(bench.uses(&token), WRONG_PATH, "an expired password leaves sessions alone");
    bench.world.run(authority.set_password("csmith", Secret::new("YYY".to_owned()))).unwrap();
    assert_eq!(bench.uses(&token), ENDED_TOKEN);
    bench.world.run(authority.set_enabled("csmith", false)).unwrap();
    assert_eq!(bench.hears("/api/login", "username=csmith&password=YYY"), WRONG_PASSWORD);
}

#[test]
fn configuration_keys_have_the_defaults_of_the_settings() {
    let dialect =
        ClusterApi::configure(&Values::defaults(ClusterApi::SETTINGS, Default::default()));
    assert_eq!(dialect.settings, Settings::default());
}

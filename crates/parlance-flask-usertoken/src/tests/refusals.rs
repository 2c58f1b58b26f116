//! Tests of refusals: each has its answer, and changes nothing.

use expect_test::expect;
use parlance_core::Failure;
use parlance_dialect::testing::{TestWorld, text};
use parlance_dialect::{Dialect as _, DialectHandler as _, Unread};

use super::{BASIC, DialectHarness, base64, check};
use crate::{FlaskUsertoken, Settings};

#[test]
fn every_failed_login_gets_the_same_answer() {
    let harness = DialectHarness::new();
    harness.world.add_user("off", "XXX");
    harness.world.add_user("old", "XXX");
    harness.world.block_on(harness.world.authority.set_enabled("off", false)).unwrap();
    harness.world.block_on(harness.world.authority.expire_password("old")).unwrap();
    let wrong =
        harness.send(&format!("POST /auth/login\nauthorization: Basic {}", base64("csmith:YYY")));
    check(
        &wrong,
        &expect![[r#"
        401
        content-type: application/json
        vary: Accept
        www-authenticate: Basic realm="parlance", charset="UTF-8"

        {"message":"Authorization failed"}
    "#]],
    );
    assert_eq!(harness.send("POST /auth/login"), wrong);
    assert_eq!(
        harness.send(&format!("POST /auth/login\nauthorization: {BASIC}\nauthorization: {BASIC}")),
        wrong
    );
    let mut shown = vec![
        "Basic".to_owned(),
        "Basic !".to_owned(),
        "Basic Y3NtaXRoOlhYWA".to_owned(),
        BASIC.replace("Basic", "Bearer"),
    ];
    let texts = [
        "off:XXX",
        "old:XXX",
        "nobody:XXX",
        "csmith",
        "csmith:",
        ":XXX",
        "",
        "csmith:XXX\0",
        "csmith\r\n:XXX",
    ];
    shown.extend(texts.map(|text| format!("Basic {}", base64(text))));
    // `csmith:XXX` and a byte that is not UTF-8: `ÿ` in Latin-1.
    shown.push("Basic Y3NtaXRoOlhYWP8=".to_owned());
    for shown in shown {
        assert_eq!(
            harness.send(&format!("POST /auth/login\nauthorization: {shown}")),
            wrong,
            "{shown}"
        );
    }
}

#[test]
fn only_a_login_asks_for_basic_and_not_even_that_where_it_is_switched_off() {
    let (basic, token) =
        (r#"Basic realm="parlance", charset="UTF-8""#, r#"X-Auth-Token realm="parlance""#);
    for (basic_challenge, at_login) in [(true, basic), (false, token)] {
        let world = TestWorld::with_csmith();
        let settings = Settings { basic_challenge, ..Settings::default() };
        let service = world.service(FlaskUsertoken::new(settings));
        let challenges = |request: &str| {
            let answer = world.send(&service, request);
            assert_eq!(answer.status, 401, "{request}");
            let found = answer.headers.iter().filter(|(name, _)| *name == "www-authenticate");
            found.map(|(_, value)| value.clone()).collect::<Vec<_>>()
        };
        let wrong = base64("csmith:YYY");
        for request in [
            "POST /auth/login".to_owned(),
            format!("POST /auth/login\nauthorization: Basic {wrong}"),
        ] {
            assert_eq!(challenges(&format!("{request}\n\n")), [at_login], "{request}");
        }
        for request in [
            "POST /auth/bump".to_owned(),
            format!("POST /auth/logout\nx-auth-token: {wrong}"),
            format!("POST /auth/bump\nauthorization: {BASIC}"),
            "GET /user".to_owned(),
            "GET /user/csmith".to_owned(),
        ] {
            assert_eq!(challenges(&format!("{request}\n\n")), [token], "{request}");
        }
        let denied = service.challenge(Failure::NoCredential);
        assert!(denied.headers.contains(&("www-authenticate", token.to_owned())));
    }
}

#[test]
fn basic_in_latin_1_logs_in_as_in_utf8() {
    let harness = DialectHarness::new();
    harness.world.add_user("zoë", "pässwort");
    for (shown, status) in [
        // `zoë:pässwort` as UTF-8, as Latin-1, and as Latin-1 with another letter.
        ("em/Dqzpww6Rzc3dvcnQ=", 200),
        ("em/rOnDkc3N3b3J0", 200),
        ("em/rOnDlc3N3b3J0", 401),
    ] {
        let request = format!("POST /auth/login\nauthorization: Basic {shown}");
        assert_eq!(harness.status(&request), status, "{shown}");
    }
}

#[test]
fn every_invalid_token_gets_the_same_answer() {
    let harness = DialectHarness::new();
    let token = harness.log_in();
    let missing = harness.send("POST /auth/bump");
    check(
        &missing,
        &expect![[r#"
        401
        content-type: application/json
        vary: Accept
        www-authenticate: X-Auth-Token realm="parlance"

        {"message":"Authorization failed"}
    "#]],
    );
    let simple = token.replace('-', "");
    for token in [
        token.to_uppercase(),
        simple.clone(),
        format!("{{{token}}}"),
        format!("urn:uuid:{token}"),
        format!("{token} "),
        format!(" {token}"),
        format!("{token}\n"),
        format!("{simple}----"),
        "b94cf5c7-cddc-4610-9d4c-6b8e04088ae8".to_owned(),
        String::new(),
        "é".repeat(18),
    ] {
        for line in ["POST /auth/bump", "POST /auth/logout", "GET /user", "GET /user/csmith"] {
            assert_eq!(harness.send_with_token(line, &token), missing, "{line} {token}");
        }
    }
    // 43 bytes need padding; without the padding the header is refused.
    let unpadded = base64(&format!("csmith:{token}")).replace('=', "");
    for header in [&token, &base64(&token), "====", &unpadded] {
        assert_eq!(harness.send(&format!("POST /auth/bump\nx-auth-token: {header}")), missing);
    }
    let twice = base64(&format!("csmith:{token}"));
    assert_eq!(
        harness.send(&format!("POST /auth/logout\nx-auth-token: {twice}\nX-Auth-Token: {twice}")),
        missing
    );
    assert!(harness.send_with_token("POST /auth/bump", &token).starts_with("200\n"));
}

#[test]
fn a_disabled_users_token_is_refused() {
    let harness = DialectHarness::new();
    let token = harness.log_in();
    harness.world.block_on(harness.world.authority.set_enabled("csmith", false)).unwrap();
    for line in [
        "POST /auth/bump",
        "POST /auth/logout",
        "GET /user",
        "GET /user/csmith",
        "GET /user?page=0",
    ] {
        assert!(harness.send_with_token(line, &token).starts_with("401\n"), "{line}");
    }
}

#[test]
fn the_accept_header_is_checked_before_any_effect() {
    let harness = DialectHarness::new();
    let token = harness.log_in();
    for (accept, good) in [
        ("", true),
        (" , ", true),
        ("*/*", true),
        ("application/*", true),
        ("application/json", true),
        ("Application/JSON; charset=utf-8", true),
        ("text/html, application/json;q=0.001", true),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", true),
        ("application/json;q=1.000", true),
        ("application/*;q=0, application/json", true),
        ("application/json;q=0, application/json", true),
        ("text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2", true),
        ("*", true),
        ("text/html, *;q=0.1", true),
        ("application/json;q=2", true),
        ("application/json;q=1.001", true),
        ("application/json;q=0.0001", true),
        ("application/json;q=", true),
        ("application/json;q=-1", true),
        ("json", true),
        ("text/, /html, json", true),
        ("text/html", false),
        ("application/jsonp", false),
        ("json, text/html", false),
        ("*;q=0", false),
        ("text/html;q=.2, image/gif", false),
        ("application/json;q=0", false),
        ("application/json;q=0.000", false),
        ("application/json;q=0, */*", false),
        ("application/json; Q=0, application/*;q=1", false),
        ("application/*;q=0, */*", false),
        ("*/*;q=0", false),
    ] {
        let answer = harness.send_with_token(&format!("POST /auth/bump\naccept: {accept}"), &token);
        assert!(answer.starts_with(if good { "200\n" } else { "406\n" }), "{accept}: {answer}");
    }
    check(
        &harness.send_with_token("POST /auth/logout\naccept: text/html", &token),
        &expect![[r#"
        406
        content-type: application/json
        vary: Accept

        {"message":"Only application/json is to be had"}
    "#]],
    );
    assert_eq!(harness.status("POST /auth/login\naccept: text/html"), 406);
    assert_eq!(harness.status("GET /user\naccept: text/html"), 406);
    assert!(
        harness
            .send_with_token("POST /auth/bump\naccept: text/html\nAccept: application/json", &token)
            .starts_with("200\n")
    );
}

#[test]
fn other_methods_are_405_before_all_else() {
    let harness = DialectHarness::new();
    check(
        &harness.send("GET /auth/login\naccept: text/html"),
        &expect![[r#"
        405
        content-type: application/json
        vary: Accept
        allow: POST

        {"message":"Method not allowed"}
    "#]],
    );
    for path in ["/auth/login", "/auth/bump", "/auth/logout"] {
        for method in ["GET", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE", "post", ""] {
            assert_eq!(harness.status(&format!("{method} {path}")), 405, "{method} {path}");
        }
    }
    for path in ["/user", "/user/csmith"] {
        for method in ["POST", "PUT", "DELETE", "OPTIONS", "get"] {
            let answer = harness.send(&format!("{method} {path}"));
            assert!(answer.starts_with("405\n") && answer.contains("allow: GET\n"), "{answer}");
        }
    }
}

#[test]
fn an_unavailable_store_is_503_and_never_a_refusal() {
    let harness = DialectHarness::new();
    let token = harness.log_in();
    harness.world.store.set_unavailable(true);
    let away = harness.login_response();
    check(
        &away,
        &expect![[r#"
        503
        content-type: application/json
        vary: Accept
        retry-after: 1

        {"message":"Service unavailable"}
    "#]],
    );
    for line in [
        "POST /auth/bump",
        "POST /auth/logout",
        "GET /user",
        "GET /user?page=0",
        "GET /user/csmith",
    ] {
        assert_eq!(harness.send_with_token(line, &token), away, "{line}");
    }
    let shown = base64(&format!("csmith:{token}"));
    assert_eq!(harness.admit(&[("x-auth-token", shown.as_bytes())]), Err(away));
}

#[test]
fn every_failure_and_every_unread_body_has_its_status() {
    let dialect = FlaskUsertoken::default();
    let failures =
        Failure::ALL.map(|why| format!("{}: {}\n", why.reason(), dialect.challenge(&why).status));
    check(
        &failures.concat(),
        &expect![[r#"
            unknown_user: 401
            wrong_password: 401
            user_disabled: 401
            password_expired: 401
            outer_credential: 401
            unserved_call: 401
            locked: 401
            locked: 401
            throttled: 401
            no_credential: 401
            unknown_credential: 401
            revoked_or_expired: 401
            unexpected_address: 401
            unexpected_user: 401
            busy: 503
            unavailable: 503
        "#]],
    );
    check(
        &Unread::ALL.map(|why| text(&dialect.body_error(why))).concat(),
        &expect![[r#"
        413
        content-type: application/json
        vary: Accept

        {"message":"Request body too large."}
        408
        content-type: application/json
        vary: Accept

        {"message":"Request body took too long."}
        400
        content-type: application/json
        vary: Accept

        {"message":"Request body could not be read."}
    "#]],
    );
}

//! Tests of refusals: each has its answer, and changes nothing.

use expect_test::expect;
use parlance_core::Failure;
use parlance_dialect::testing::text;
use parlance_dialect::{Dialect as _, Unread};

use super::{DialectHarness, HOUR, check, field};
use crate::PolishLongtoken;

#[test]
fn every_failed_login_gets_the_same_answer_without_a_scheme() {
    let harness = DialectHarness::new();
    harness.world.add_user("off", "XXX");
    harness.world.add_user("old", "XXX");
    harness.world.block_on(harness.world.authority.set_enabled("off", false)).unwrap();
    harness.world.block_on(harness.world.authority.expire_password("old")).unwrap();
    let wrong = harness.post("login=csmith&pass=YYY");
    check(
        &wrong,
        &expect![[r#"
        401
        content-type: application/json; charset=utf-8

        {"error":"Wrong login or password."}
    "#]],
    );
    for form in [
        "",
        "login=csmith",
        "pass=XXX",
        "login=&pass=",
        "login=nobody&pass=XXX",
        "login=off&pass=XXX",
        "login=old&pass=XXX",
        "login=csmith&pass=XXX%00",
        "login=csmith&pass=XXX%FF",
        "login=csmith%0D%0A&pass=XXX",
        "{\"login\":\"csmith\",\"pass\":\"XXX\"}",
    ] {
        assert_eq!(harness.post(form), wrong, "{form}");
    }
}

#[test]
fn a_malformed_renewal_is_refused_and_changes_nothing() {
    let harness = DialectHarness::new();
    let token = harness.log_in("true");
    for json in [
        String::new(),
        "null".to_owned(),
        "\"text\"".to_owned(),
        format!("[\"{token}\"]"),
        format!("{{\"token\":\"{token}\""),
        format!("{{\"token\":\"{token}\"}} more"),
        format!("{{\"token\":\"{token}\",\"token\":\"{token}\"}}"),
        format!("{{\"token\":\"{token}\",\"x\":{{\"y\":1,\"y\":2}}}}"),
        format!("{{\"token\":\"{token}\",\"longtoken\":1}}"),
        format!("{{\"token\":\"{token}\",\"longtoken\":\"True\"}}"),
        "{\"token\":64}".to_owned(),
        "[".repeat(10_000),
    ] {
        assert!(harness.put(&json).starts_with("400\n"), "{json}");
    }
    assert_eq!(
        harness.send_bytes(
            "PUT",
            None,
            &[("content-type", b"application/json")],
            b"{\"token\":\"\xff\"}"
        ),
        400
    );
    let still = field(&harness.send(&format!("GET /login?token={token}")), "validTo");
    assert_eq!(still, "2022-05-31T12:00:00+00:00");
}

#[test]
fn every_invalid_token_gets_the_same_answer() {
    let harness = DialectHarness::new();
    let (ended, expired) = (harness.log_in("false"), harness.log_in("false"));
    assert_eq!(harness.status(&format!("DELETE /login?token={ended}")), 204);
    harness.world.clock.advance(24 * HOUR);
    let missing = harness.send("GET /login");
    check(
        &missing,
        &expect![[r#"
        404
        content-type: application/json; charset=utf-8

        {"error":"Token not found or expired."}
    "#]],
    );
    for token in [ended.as_str(), &expired, "f87x9", "", "%00", "%FF", "f87x9%20"] {
        for request in [format!("GET /login?token={token}"), format!("DELETE /login?token={token}")]
        {
            assert_eq!(harness.send(&request), missing, "{request}");
        }
    }
    for json in [format!("{{\"token\":\"{ended}\"}}"), format!("{{\"token\":\"{expired}\"}}")] {
        assert_eq!(harness.put(&json), missing, "{json}");
    }
    for json in [
        "{}",
        "{\"token\":null}",
        "{\"token\":\"\"}",
        "{\"token\":\"\\u0000\"}",
        "{\"longtoken\":true}",
    ] {
        assert_eq!(harness.put(json), missing, "{json}");
    }
    assert_eq!(harness.send_bytes("GET", None, &[("x-auth-bearer", b"\xff\xfe")], b""), 404);
}

#[test]
fn two_tokens_in_one_request_end_no_session() {
    let harness = DialectHarness::new();
    let (a, b) = (harness.log_in("false"), harness.log_in("false"));
    check(
        &harness.send(&format!("DELETE /login?token={a}\nx-auth-bearer: {b}")),
        &expect![[r#"
        400
        content-type: application/json; charset=utf-8

        {"error":"Show one token, once."}
    "#]],
    );
    for request in [
        format!("DELETE /login?token={a}&token={b}"),
        format!("DELETE /login?token={a}&token={a}"),
        format!("DELETE /login&token={a}?token={b}"),
        format!("DELETE /login&token={a}?token={a}"),
        format!("DELETE /login\nx-auth-bearer: {a}\nX-Auth-Bearer: {b}"),
        format!("DELETE /login\nx-auth-bearer: {a}\nX-Auth-Bearer: {a}"),
        format!("DELETE /login?token=%FF\nx-auth-bearer: {a}"),
        format!("GET /login?token={a}\nx-auth-bearer: {b}"),
        format!("PUT /login\ncontent-type: application/json\nx-auth-bearer: {b}\n\n{{\"token\":\"{a}\"}}"),
        format!("PUT /login?token={a}\ncontent-type: application/json\n\n{{\"token\":\"{a}\"}}"),
        "POST /login?pass=XXX\ncontent-type: application/x-www-form-urlencoded\n\nlogin=csmith&pass=XXX".to_owned(),
        "POST /login?a=1&a=2\ncontent-type: application/x-www-form-urlencoded\n\nlogin=csmith&pass=XXX".to_owned(),
        "POST /login\ncontent-type: application/x-www-form-urlencoded\n\nlogin=csmith&pass=XXX&pass=XXX".to_owned(),
    ] {
        assert_eq!(harness.status(&request), 400, "{request}");
    }
    for token in [a, b] {
        assert_eq!(harness.status(&format!("GET /login?token={token}")), 200);
    }
}

#[test]
fn credentials_in_the_address_are_not_read_where_a_body_is() {
    let harness = DialectHarness::new();
    let token = harness.log_in("false");
    let form =
        "POST /login?login=csmith&pass=XXX\ncontent-type: application/x-www-form-urlencoded\n\n";
    assert_eq!(harness.status(form), 401);
    let put = format!(
        "PUT /login?token={token}\ncontent-type: application/json\nx-auth-bearer: {token}\n\n{{}}"
    );
    assert_eq!(harness.status(&put), 404);
    let old = format!(
        "POST /login\ncontent-type: application/x-www-form-urlencoded\nx-auth-bearer: {token}\n\nlogin=csmith&pass=XXX"
    );
    assert_eq!(harness.status(&old), 200);
}

#[test]
fn another_body_format_is_415() {
    let harness = DialectHarness::new();
    check(&harness.send("POST /login\ncontent-type: application/json\n\n{\"login\":\"csmith\",\"pass\":\"XXX\"}"), &expect![[r#"
        415
        content-type: application/json; charset=utf-8

        {"error":"Content-Type must be application/x-www-form-urlencoded."}
    "#]]);
    for request in [
        "POST /login\n\nlogin=csmith&pass=XXX",
        "POST /login\ncontent-type: multipart/form-data; boundary=x\n\nlogin=csmith&pass=XXX",
        "PUT /login\ncontent-type: text/html\n\n{}",
        "PUT /login\ncontent-type: application/x-www-form-urlencoded\n\ntoken=x",
        "PUT /login\ncontent-type: application/x-www-form-urlencoded\n\n[]",
        "PUT /login\ncontent-type: application/json\ncontent-type: application/json\n\n{}",
    ] {
        assert_eq!(harness.status(request), 415, "{request}");
    }
    let parameters = "POST /login\ncontent-type: Application/X-WWW-Form-Urlencoded; charset=UTF-8\n\nlogin=csmith&pass=XXX";
    assert_eq!(harness.status(parameters), 200);
    for json in [
        "content-type: application/json; charset=utf-8\n\n{}",
        "content-type: text/plain;charset=UTF-8\n\n{}",
        "content-type: application/x-www-form-urlencoded\n\n{}",
        "\n{}",
    ] {
        assert_eq!(harness.status(&format!("PUT /login\n{json}")), 404, "{json}");
    }
}

#[test]
fn other_methods_are_405() {
    let harness = DialectHarness::new();
    check(
        &harness.send("PATCH /login"),
        &expect![[r#"
        405
        content-type: application/json; charset=utf-8
        allow: GET, POST, PUT, DELETE

        {"error":"Method not allowed."}
    "#]],
    );
    assert_eq!(harness.status("HEAD /login"), 404, "HEAD is GET");
    for method in ["OPTIONS", "TRACE", "get", "CONNECT", ""] {
        assert_eq!(harness.status(&format!("{method} /login")), 405, "{method}");
    }
}

#[test]
fn an_unavailable_store_is_503_and_never_a_refusal() {
    let harness = DialectHarness::new();
    let token = harness.log_in("false");
    harness.world.store.set_unavailable(true);
    let away = harness.post("login=csmith&pass=XXX");
    check(
        &away,
        &expect![[r#"
        503
        content-type: application/json; charset=utf-8
        retry-after: 1

        {"error":"Service unavailable, please try again."}
    "#]],
    );
    assert_eq!(harness.send(&format!("GET /login?token={token}")), away);
    assert_eq!(harness.send(&format!("DELETE /login?token={token}")), away);
    assert_eq!(harness.put(&format!("{{\"token\":\"{token}\"}}")), away);
    assert_eq!(harness.admit(None, &[("x-auth-bearer", token.as_bytes())]), Err(away));
    harness.world.store.set_unavailable(false);
    assert_eq!(harness.status(&format!("GET /login?token={token}")), 200);
}

#[test]
fn every_failure_and_every_unread_body_has_its_status() {
    let dialect = PolishLongtoken::default();
    let failures = Failure::ALL.map(|why| {
        format!(
            "{}: {}, guarded {}\n",
            why.reason(),
            crate::reply::encode_failure(why).status,
            dialect.challenge(&why).status
        )
    });
    check(
        &failures.concat(),
        &expect![[r#"
            unknown_user: 401, guarded 401
            wrong_password: 401, guarded 401
            user_disabled: 401, guarded 401
            password_expired: 401, guarded 401
            outer_credential: 401, guarded 401
            unserved_call: 401, guarded 401
            locked: 401, guarded 401
            locked: 401, guarded 401
            throttled: 429, guarded 401
            no_credential: 404, guarded 401
            unknown_credential: 404, guarded 401
            revoked_or_expired: 404, guarded 401
            unexpected_address: 404, guarded 401
            unexpected_user: 404, guarded 401
            busy: 503, guarded 503
            unavailable: 503, guarded 503
        "#]],
    );
    check(
        &Unread::ALL.map(|why| text(&dialect.body_error(why))).concat(),
        &expect![[r#"
        413
        content-type: application/json; charset=utf-8

        {"error":"Request body too large."}
        408
        content-type: application/json; charset=utf-8

        {"error":"Request body took too long."}
        400
        content-type: application/json; charset=utf-8

        {"error":"Request body could not be read."}
    "#]],
    );
}

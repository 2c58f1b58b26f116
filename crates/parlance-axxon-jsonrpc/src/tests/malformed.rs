//! Tests of malformed input, which no client should send.

use super::*;

const GENERAL: &str = "AUTHENTICATE_CODE_GENERAL_ERROR";
const WRONG: &str = "AUTHENTICATE_CODE_WRONG_CREDENTIALS";

#[test]
fn a_body_that_is_not_one_json_value_is_refused() {
    let shown = format!("Authorization: {}\n", basic("csmith", "XXX"));
    let deep = format!("{}{}", "[".repeat(4000), "]".repeat(4000));
    for body in [
        "",
        "not JSON",
        "{",
        "{}{}",
        "user_name=csmith&password=XXX",
        deep.as_str(),
        "\u{feff}\u{feff}{}",
    ] {
        check_code(&format!("POST /grpc\n{shown}\n{body}"), 400, GENERAL);
        check_code(&format!("POST /v1/authentication/authenticate_ex2\n\n{body}"), 400, GENERAL);
    }
    for body in [
        "{}",
        "[]",
        "null",
        "\"text\"",
        "7",
        r#"{"method":7}"#,
        r#"["axxonsoft.bl.auth.AuthenticationService.AuthenticateEx",{}]"#,
    ] {
        check_code(&format!("POST /grpc\n{shown}\n{body}"), 400, GENERAL);
    }
}

#[test]
fn a_duplicate_key_is_refused_at_any_position() {
    let shown = format!("Authorization: {}\n", basic("csmith", "XXX"));
    for data in [
        r#"{"user_name":"csmith","user_name":"csmith","password":"XXX"}"#,
        r#"{"user_name":"csmith","password":"no","password":"XXX"}"#,
        r#"{"user_name":"csmith","password":"XXX","other":{"a":1,"a":1}}"#,
    ] {
        check_code(&format!("POST /v1/authentication/authenticate_ex2\n\n{data}"), 400, GENERAL);
        check_code(&grpc(&basic("csmith", "XXX"), "AuthenticateEx", data), 400, GENERAL);
    }
    let method = r#""method":"axxonsoft.bl.auth.AuthenticationService.AuthenticateEx""#;
    check_code(
        &format!("POST /grpc\n{shown}\n{{{method},{method},\"data\":{CSMITH}}}"),
        400,
        GENERAL,
    );
}

#[test]
fn unknown_members_are_ignored() {
    let data = r#"{"user_name":"csmith","password":"XXX","client":{"version":[1,2]}}"#;
    check_code(
        &format!("POST /v1/authentication/authenticate_ex2\n\n{data}"),
        200,
        "AUTHENTICATE_CODE_OK",
    );
}

#[test]
fn a_password_in_a_query_is_refused_and_so_is_another_name() {
    let shown = format!("Authorization: {}\n", basic("csmith", "XXX"));
    for query in [
        "password=XXX",
        "user_name=csmith&password=XXX",
        "user_name=other",
        "user_name=%FF",
        "pass%77ord=XXX",
        "a=1&a=2",
    ] {
        check_code(
            &format!("POST /v1/authentication/authenticate_ex2?{query}\n\n{CSMITH}"),
            400,
            GENERAL,
        );
        check_code(
            &format!("GET /v1/authentication/authenticate_ex?{query}\n{shown}\n"),
            400,
            GENERAL,
        );
        check_code(&format!("GET /v1/authentication/authenticate?{query}\n\n"), 400, GENERAL);
        let request = grpc(&basic("csmith", "XXX"), "AuthenticateEx", CSMITH);
        check_code(&request.replacen("/grpc", &format!("/grpc?{query}"), 1), 400, GENERAL);
    }
    check_code(
        &format!("GET /v1/authentication/authenticate_ex?user_name=csmith\n{shown}\n"),
        400,
        GENERAL,
    );
    check_code(
        &format!("POST /v1/authentication/authenticate_ex2?user_name=csmith\n\n{CSMITH}"),
        200,
        "AUTHENTICATE_CODE_OK",
    );
}

#[test]
fn json_is_recognised_by_its_media_type_or_by_none() {
    for (lines, status) in [
        ("", 200),
        ("Content-Type: application/json\n", 200),
        ("Content-Type: Application/JSON; charset=utf-8\n", 200),
        ("Content-Type: text/plain\n", 200),
        ("Content-Type: text/plain;charset=UTF-8\n", 200),
        ("Content-Type: application/x-www-form-urlencoded\n", 200),
        ("Content-Type: text/html\n", 415),
        ("Content-Type: multipart/form-data; boundary=x\n", 415),
        ("Content-Type: \n", 415),
        ("Content-Type: text/plain\nContent-Type: text/plain\n", 415),
        ("Content-Type: application/json\nContent-Type: application/json\n", 415),
    ] {
        let answer = DialectHarness::new()
            .send(&format!("POST /v1/authentication/authenticate_ex2\n{lines}\n{CSMITH}"));
        assert_eq!(answer.status, status, "{lines}");
        let shown = basic("csmith", "XXX");
        let request = grpc(&shown, "AuthenticateEx", CSMITH).replacen(
            "POST /grpc\n",
            &format!("POST /grpc\n{lines}"),
            1,
        );
        assert_eq!(DialectHarness::new().send(&request).status, status, "{lines}");
    }
}

#[test]
fn body_that_is_called_a_form_is_json_only_if_it_is_an_object() {
    for (media_type, body, status) in [
        ("application/x-www-form-urlencoded", "user_name=csmith&password=XXX", 415),
        ("application/x-www-form-urlencoded", "{", 415),
        ("application/x-www-form-urlencoded", "", 415),
        ("application/x-www-form-urlencoded", "[]", 415),
        ("application/x-www-form-urlencoded", "1", 415),
        ("application/x-www-form-urlencoded", r#"{"password":"XXX","password":"XXX"}"#, 415),
        ("application/x-www-form-urlencoded", r#"{"user_name":"csmith"}"#, 200),
        ("text/plain", "user_name=csmith&password=XXX", 400),
        ("text/plain", "", 400),
    ] {
        let answer = DialectHarness::new().send(&format!(
            "POST /v1/authentication/authenticate_ex2\nContent-Type: {media_type}\n\n{body}"
        ));
        assert_eq!(answer.status, status, "{media_type} {body}");
        assert_ne!(member(&answer, "error_code"), "AUTHENTICATE_CODE_OK", "{media_type} {body}");
    }
}

#[test]
fn repeated_authorization_headers_are_no_credential() {
    let harness = DialectHarness::new();
    let token = harness.log_in();
    let line = format!("Authorization: Bearer {token}\n");
    let answer = harness.send(&format!("GET /v1/authentication/close\n{line}{line}\n"));
    assert_eq!((answer.status, header(&answer, "www-authenticate")), (401, Some("Bearer")));
    assert!(harness.admits(&token));
    let line = format!("Authorization: {}\n", basic("csmith", "XXX"));
    assert_eq!(
        harness.send(&format!("GET /v1/authentication/authenticate\n{line}{line}\n")).status,
        401
    );
}

#[test]
fn control_characters_nul_and_bad_utf8_in_credentials_are_an_ordinary_failed_login() {
    for data in [
        r#"{"user_name":"csmith","password":"XXX\u0000"}"#,
        r#"{"user_name":"csmith\u0000","password":"XXX"}"#,
        r#"{"user_name":"cs\nmith","password":"XXX"}"#,
    ] {
        check_code(&format!("POST /v1/authentication/authenticate_ex2\n\n{data}"), 200, WRONG);
    }
    check_code(
        &format!(
            "GET /v1/authentication/authenticate\nAuthorization: {}\n\n",
            basic("csmith", "XXX\0")
        ),
        401,
        WRONG,
    );
    // Two passwords that differ in a byte that is not UTF-8 do not become equal, and neither equals U+FFFD.
    let harness = DialectHarness::new();
    harness.world.add_user("odd", "a\u{fffd}");
    let (by_data, on_grpc) = (
        br#"{"user_name":"odd","password":"a"#,
        grpc("", "AuthenticateEx", r#"{"user_name":"odd","password":"a"#),
    );
    let on_grpc = on_grpc.split_once("\n\n").unwrap().1.trim_end_matches('}').as_bytes().to_vec();
    let shown = basic("odd", "a\u{fffd}");
    for (path, start, end) in [
        ("/v1/authentication/authenticate_ex2", by_data.to_vec(), "\"}"),
        ("/grpc", on_grpc, "\"}}"),
    ] {
        for (byte, code) in [(&b"\xff"[..], WRONG), ("\u{fffd}".as_bytes(), "AUTHENTICATE_CODE_OK")]
        {
            let body = [&start[..], byte, end.as_bytes()].concat();
            let headers = [("authorization", shown.as_bytes())];
            let now = harness.now();
            let request =
                Request { method: "POST", path, body: &body, ..guarded_request(&headers, now) };
            let answer = harness.world.block_on(harness.service.serve(&request));
            assert_eq!(
                (answer.status, member(&answer, "error_code").as_str()),
                (200, code),
                "{path}"
            );
        }
    }
}

#[test]
fn no_truncated_request_panics_or_opens_anything() {
    let harness = DialectHarness::new();
    let token = harness.log_in();
    let whole = [
        grpc(
            &basic("csmith", "XXX"),
            "AuthenticateEx",
            r#"{"user_name":"csmith","password":"no"}"#,
        ),
        grpc(&format!("Bearer {token}x"), "RenewSession", "{}"),
        grpc(&format!("Bearer x{token}"), "CloseSession", "{}"),
    ];
    for request in &whole {
        for end in "POST /grpc".len()..request.len() {
            let answer = harness.send(&request[..end]);
            assert!([200, 400, 401, 404].contains(&answer.status), "{}", answer.status);
            assert!(!json(&answer).as_object().unwrap().contains_key("token_value"));
        }
    }
    assert!(harness.admits(&token));
}

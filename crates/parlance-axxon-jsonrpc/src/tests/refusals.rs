//! Tests of every refusal, at every endpoint.

use expect_test::expect;
use parlance_core::{Failure, canonical_name};
use parlance_dialect::Unread;

use super::*;
use crate::{Call, Endpoint, LoginVariant};

const WRONG: &str = "AUTHENTICATE_CODE_WRONG_CREDENTIALS";
const GENERAL: &str = "AUTHENTICATE_CODE_GENERAL_ERROR";

#[test]
fn an_anonymous_grpc_call_is_challenged_with_basic_before_any_other_error() {
    check(
        &grpc("", "AuthenticateEx", CSMITH),
        expect![[r#"
        401
        content-type: application/json; charset=utf-8
        www-authenticate: Basic realm="parlance", charset="UTF-8"

        {
            "error_code": "AUTHENTICATE_CODE_WRONG_CREDENTIALS"
        }
    "#]],
    );
    for request in [
        "POST /grpc\n\n",
        "POST /grpc\n\nnot JSON",
        "POST /grpc\nContent-Type: text/plain\n\n{}",
        "POST /grpc\n\n{\"method\":\"axxonsoft.bl.domain.DomainService.ListCameras\"}",
        "POST /grpc?password=XXX\n\n{\"method\":\"axxonsoft.bl.auth.AuthenticationService.AuthenticateEx\"}",
        "POST /grpc\nAuthorization: Bearer a.b.c\n\nnot JSON",
        "POST /grpc\nAuthorization: Basic !!\n\nnot JSON",
        "POST /grpc\nAuthorization: Digest username=\"csmith\"\n\nnot JSON",
    ] {
        let answer = DialectHarness::new().send(request);
        let challenge = header(&answer, "www-authenticate").unwrap();
        assert_eq!(
            (answer.status, challenge),
            (401, r#"Basic realm="parlance", charset="UTF-8""#),
            "{request}"
        );
    }
}

#[test]
fn wrong_basic_is_a_401_and_wrong_data_an_error_code() {
    check(
        &grpc(
            &basic("csmith", "XXX"),
            "AuthenticateEx",
            r#"{"user_name":"csmith","password":"no"}"#,
        ),
        expect![[r#"
            200
            content-type: application/json; charset=utf-8

            {
                "error_code": "AUTHENTICATE_CODE_WRONG_CREDENTIALS"
            }
        "#]],
    );
    for (basic, data, status) in [
        (basic("csmith", "no"), CSMITH, 401),
        (basic("csmith", "no"), r#"{"user_name":"csmith","password":"no"}"#, 401),
        (basic("nobody", "XXX"), CSMITH, 401),
        (basic("csmith", "no"), "{}", 401),
        (basic("csmith", "no"), "null", 401),
        (basic("other", "YYY"), CSMITH, 401),
        (basic("csmith", "XXX"), r#"{"user_name":"other","password":"YYY"}"#, 401),
        (basic("csmith", "XXX"), r#"{"user_name":"csmith"}"#, 200),
        (basic("csmith", "XXX"), r#"{"password":"XXX"}"#, 200),
        (basic("csmith", "XXX"), r#"{"user_name":7,"password":"XXX"}"#, 200),
        (basic("csmith", "XXX"), r#"{"user_name":"csmith","password":null}"#, 200),
        (basic("csmith", "XXX"), r#"["csmith","XXX"]"#, 200),
        (basic("csmith", "XXX"), "{}", 200),
        (basic("csmith", "XXX"), "null", 200),
        (basic("csmith", "XXX"), "\"csmith\"", 200),
    ] {
        for method in ["Authenticate", "Authenticate2", "AuthenticateEx", "AuthenticateEx2"] {
            let harness = DialectHarness::new();
            harness.world.add_user("other", "YYY");
            let answer = harness.grpc(&basic, method, data);
            assert_eq!(
                (answer.status, member(&answer, "error_code").as_str()),
                (status, WRONG),
                "{method} {data}"
            );
            assert_eq!(header(&answer, "www-authenticate").is_some(), status == 401);
        }
    }
}

#[test]
fn another_spelling_of_the_name_is_the_same_user() {
    let harness = DialectHarness::new();
    let answer = harness.grpc(&basic("CSmith", "XXX"), "AuthenticateEx", CSMITH);
    assert_eq!(answer.status, 200);
    assert!(harness.admits(&member(&answer, "token_value")));
}

#[test]
fn the_bindings_by_basic_answer_401_and_those_by_data_an_error_code() {
    for binding in ["authenticate", "authenticate_ex"] {
        let get = |shown: &str| format!("GET /v1/authentication/{binding}\n{shown}\n");
        for shown in [
            "",
            &format!("Authorization: {}\n", basic("csmith", "no")),
            &format!("Authorization: {}\n", basic("no", "XXX")),
        ] {
            let answer = DialectHarness::new().send(&get(shown));
            assert_eq!((answer.status, member(&answer, "error_code").as_str()), (401, WRONG));
            assert!(header(&answer, "www-authenticate").unwrap().starts_with("Basic "));
        }
    }
    for binding in ["authenticate2", "authenticate_ex2"] {
        for data in [
            r#"{"user_name":"csmith","password":"no"}"#,
            r#"{"user_name":"no","password":"XXX"}"#,
            "{}",
            "null",
            "[]",
            r#"{"user_name":"","password":""}"#,
        ] {
            check_code(&format!("POST /v1/authentication/{binding}\n\n{data}"), 200, WRONG);
        }
    }
}

#[test]
fn a_disabled_user_and_an_expired_password_read_as_a_wrong_password() {
    for expire in [true, false] {
        for request in [
            grpc(&basic("csmith", "XXX"), "AuthenticateEx", CSMITH),
            format!("POST /v1/authentication/authenticate_ex2\n\n{CSMITH}"),
            format!(
                "GET /v1/authentication/authenticate_ex\nAuthorization: {}\n\n",
                basic("csmith", "XXX")
            ),
        ] {
            let harness = DialectHarness::new();
            let name = canonical_name("csmith").unwrap();
            use parlance_core::ports::{Change, Store as _};
            let change =
                if expire { Change::ExpirePassword(name) } else { Change::SetEnabled(name, false) };
            harness.world.block_on(harness.world.store.apply(change)).unwrap();
            let wrong = request
                .replace("XXX", "no")
                .replace(&basic("csmith", "XXX"), &basic("csmith", "no"));
            assert_eq!(harness.exchange(&request), harness.exchange(&wrong), "{request}");
        }
    }
}

#[test]
fn renew_and_close_require_a_bearer_token() {
    let harness = DialectHarness::new();
    let token = harness.log_in();
    harness.send(&grpc(&format!("Bearer {token}"), "CloseSession", "{}"));
    let (none, basic, dead) = (String::new(), basic("csmith", "XXX"), format!("Bearer {token}"));
    for (shown, challenge) in [
        (&none, "Bearer"),
        (&basic, "Bearer"),
        (&dead, "Bearer error=\"invalid_token\""),
        (&"Bearer rubbish".to_owned(), "Bearer error=\"invalid_token\""),
        (&"Bearer  ".to_owned(), "Bearer error=\"invalid_token\""),
    ] {
        for (method, code) in
            [("RenewSession", WRONG), ("RenewSession2", WRONG), ("CloseSession", "GENERAL_ERROR")]
        {
            let answer = harness.grpc(shown, method, "{}");
            assert_eq!(
                (answer.status, header(&answer, "www-authenticate")),
                (401, Some(challenge)),
                "{shown}"
            );
            assert_eq!(member(&answer, "error_code"), code);
        }
        for binding in ["renew", "renew2", "close"] {
            let shown =
                if shown.is_empty() { String::new() } else { format!("Authorization: {shown}\n") };
            let answer = harness.send(&format!("GET /v1/authentication/{binding}\n{shown}\n"));
            assert_eq!(
                (answer.status, header(&answer, "www-authenticate")),
                (401, Some(challenge)),
                "{shown}"
            );
        }
    }
}

#[test]
fn an_unserved_method_is_404_for_requests_with_a_credential() {
    let harness = DialectHarness::new();
    let token = harness.log_in();
    for method in ["GetSessionInfo", "authenticateEx", "AuthenticateEx3", ""] {
        for shown in [basic("csmith", "XXX"), format!("Bearer {token}")] {
            let answer = harness.grpc(&shown, method, "{}");
            assert_eq!(
                (answer.status, member(&answer, "error_code").as_str()),
                (404, GENERAL),
                "{method}"
            );
        }
    }
    for path in ["nothing", "", "Authenticate", "renew/", "close_sessions", "authenticate%5Fex"] {
        check_code(&format!("GET /v1/authentication/{path}\n\n"), 404, GENERAL);
        check_code(&format!("POST /v1/authentication/{path}\n\n"), 404, GENERAL);
    }
}

#[test]
fn other_http_methods_are_405_with_the_allowed_one() {
    for (path, only) in [
        ("/grpc", "POST"),
        ("/v1/authentication/authenticate", "GET"),
        ("/v1/authentication/authenticate_ex", "GET"),
        ("/v1/authentication/authenticate2", "POST"),
        ("/v1/authentication/authenticate_ex2", "POST"),
        ("/v1/authentication/renew", "GET"),
        ("/v1/authentication/renew2", "GET"),
        ("/v1/authentication/close", "GET"),
        ("/v1/authentication/close_session", "GET"),
        ("/.well-known/jwks.json", "GET"),
    ] {
        for method in ["GET", "POST", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE", "get"] {
            let answer = DialectHarness::new().send(&format!("{method} {path}\n\n"));
            // HEAD is GET with an answer without a body.
            if method == only || (method, only) == ("HEAD", "GET") {
                assert_ne!(answer.status, 405, "{path}");
            } else {
                assert_eq!(
                    (answer.status, header(&answer, "allow")),
                    (405, Some(only)),
                    "{method} {path}"
                );
                assert_eq!(member(&answer, "error_code"), GENERAL);
            }
        }
    }
}

#[test]
fn an_unavailable_store_is_503_in_the_format_of_each_call() {
    let harness = DialectHarness::new();
    let token = harness.log_in();
    harness.world.store.set_unavailable(true);
    check_unavailable(&harness, &grpc(&basic("csmith", "XXX"), "AuthenticateEx", CSMITH), GENERAL);
    check_unavailable(
        &harness,
        &format!("POST /v1/authentication/authenticate2\n\n{CSMITH}"),
        GENERAL,
    );
    check_unavailable(&harness, &grpc(&format!("Bearer {token}"), "RenewSession", "{}"), GENERAL);
    check_unavailable(
        &harness,
        &grpc(&format!("Bearer {token}"), "CloseSession", "{}"),
        "GENERAL_ERROR",
    );
    harness.world.store.set_unavailable(false);
    assert!(harness.admits(&token));
}

#[track_caller]
fn check_unavailable(harness: &DialectHarness, request: &str, code: &str) {
    let answer = harness.send(request);
    assert_eq!((answer.status, header(&answer, "retry-after")), (503, Some("1")), "{request}");
    assert_eq!(member(&answer, "error_code"), code);
}

#[test]
fn every_failure_has_a_reply_on_every_call_and_no_token_in_it() {
    let dialect = AxxonJsonrpc::new(Settings::default(), testing::keys());
    let credential =
        parlance_core::Credential::new("axxon-jsonrpc", parlance_core::Secret::new("x".to_owned()));
    let login = |ex, by_basic| {
        let asked = LoginVariant { ex, by_basic, endpoint: Endpoint::Grpc };
        Call::Login { outer: None, login: None, variant: asked }
    };
    let calls = [
        login(true, true),
        login(false, true),
        login(true, false),
        Call::Renew(credential.clone(), Endpoint::Grpc),
        Call::Close(credential),
    ];
    let mut table = String::new();
    for why in Failure::ALL {
        let answers = calls
            .iter()
            .map(|call| dialect.encode(call, Err(&why), Timestamp::from_seconds(0)))
            .chain([dialect.challenge(&why)]);
        let words: Vec<_> = answers
            .map(|answer| {
                assert_eq!(
                    json(&answer).as_object().unwrap().keys().collect::<Vec<_>>(),
                    ["error_code"]
                );
                format!(
                    "{} {}",
                    answer.status,
                    member(&answer, "error_code").trim_start_matches("AUTHENTICATE_CODE_")
                )
            })
            .collect();
        table.push_str(&format!("{}: {}\n", why.reason(), words.join(", ")));
    }
    expect![[r#"
        unknown_user: 401 WRONG_CREDENTIALS, 401 WRONG_CREDENTIALS, 200 WRONG_CREDENTIALS, 401 WRONG_CREDENTIALS, 401 GENERAL_ERROR, 401 WRONG_CREDENTIALS
        wrong_password: 401 WRONG_CREDENTIALS, 401 WRONG_CREDENTIALS, 200 WRONG_CREDENTIALS, 401 WRONG_CREDENTIALS, 401 GENERAL_ERROR, 401 WRONG_CREDENTIALS
        user_disabled: 401 WRONG_CREDENTIALS, 401 WRONG_CREDENTIALS, 200 WRONG_CREDENTIALS, 401 WRONG_CREDENTIALS, 401 GENERAL_ERROR, 401 WRONG_CREDENTIALS
        password_expired: 401 WRONG_CREDENTIALS, 401 WRONG_CREDENTIALS, 200 WRONG_CREDENTIALS, 401 WRONG_CREDENTIALS, 401 GENERAL_ERROR, 401 WRONG_CREDENTIALS
        outer_credential: 401 WRONG_CREDENTIALS, 401 WRONG_CREDENTIALS, 401 WRONG_CREDENTIALS, 401 WRONG_CREDENTIALS, 401 GENERAL_ERROR, 401 WRONG_CREDENTIALS
        unserved_call: 200 GENERAL_ERROR, 200 GENERAL_ERROR, 200 GENERAL_ERROR, 401 WRONG_CREDENTIALS, 401 GENERAL_ERROR, 401 WRONG_CREDENTIALS
        locked: 401 USER_LOCKED, 401 USER_LOCKED, 200 USER_LOCKED, 401 WRONG_CREDENTIALS, 401 GENERAL_ERROR, 401 WRONG_CREDENTIALS
        locked: 401 USER_LOCKED, 401 USER_LOCKED, 200 USER_LOCKED, 401 WRONG_CREDENTIALS, 401 GENERAL_ERROR, 401 WRONG_CREDENTIALS
        throttled: 429 IP_BLOCKED, 429 IP_BLOCKED, 200 IP_BLOCKED, 401 WRONG_CREDENTIALS, 401 GENERAL_ERROR, 401 WRONG_CREDENTIALS
        no_credential: 200 GENERAL_ERROR, 200 GENERAL_ERROR, 200 GENERAL_ERROR, 401 WRONG_CREDENTIALS, 401 GENERAL_ERROR, 401 WRONG_CREDENTIALS
        unknown_credential: 200 GENERAL_ERROR, 200 GENERAL_ERROR, 200 GENERAL_ERROR, 401 WRONG_CREDENTIALS, 401 GENERAL_ERROR, 401 WRONG_CREDENTIALS
        revoked_or_expired: 200 GENERAL_ERROR, 200 GENERAL_ERROR, 200 GENERAL_ERROR, 401 WRONG_CREDENTIALS, 401 GENERAL_ERROR, 401 WRONG_CREDENTIALS
        unexpected_address: 200 GENERAL_ERROR, 200 GENERAL_ERROR, 200 GENERAL_ERROR, 401 WRONG_CREDENTIALS, 401 GENERAL_ERROR, 401 WRONG_CREDENTIALS
        unexpected_user: 200 GENERAL_ERROR, 200 GENERAL_ERROR, 200 GENERAL_ERROR, 401 WRONG_CREDENTIALS, 401 GENERAL_ERROR, 401 WRONG_CREDENTIALS
        busy: 503 GENERAL_ERROR, 503 GENERAL_ERROR, 503 GENERAL_ERROR, 503 GENERAL_ERROR, 503 GENERAL_ERROR, 503 GENERAL_ERROR
        unavailable: 503 GENERAL_ERROR, 503 GENERAL_ERROR, 503 GENERAL_ERROR, 503 GENERAL_ERROR, 503 GENERAL_ERROR, 503 GENERAL_ERROR
    "#]].assert_eq(&table);
}

#[test]
fn an_unread_body_is_answered_in_the_dialects_format() {
    let dialect = AxxonJsonrpc::new(Settings::default(), testing::keys());
    for why in Unread::ALL {
        let answer = dialect.body_error(why);
        assert_eq!(
            (answer.status, member(&answer, "error_code").as_str()),
            (why.status(), GENERAL)
        );
    }
}

#[test]
fn grpc_reports_call_errors_only_after_correct_basic_and_401_otherwise() {
    let call = |login: &str, head: &str, body: &str| {
        format!("POST /grpc{head}\nAuthorization: {login}\n{body}")
    };
    let doubled = format!(
        "\n{{\"method\":\"axxonsoft.bl.auth.AuthenticationService.AuthenticateEx\",\"data\":{}}}",
        r#"{"user_name":"csmith","user_name":"csmith","password":"XXX"}"#
    );
    let whole = grpc("", "AuthenticateEx", CSMITH);
    let whole = whole.strip_prefix("POST /grpc\n").unwrap();
    let cases = [
        ("", "\n{\"method\":\"axxonsoft.bl.auth.AuthenticationService.None\",\"data\":{}}", 404),
        ("", "\n{\"method\":", 400),
        ("", "\n[]", 400),
        ("", doubled.as_str(), 400),
        ("", "Content-Type: application/x-www-form-urlencoded\n\nmethod=x", 415),
        ("?password=XXX", whole, 400),
        ("?user_name=other", whole, 400),
    ];
    for (head, body, status) in cases {
        let harness = DialectHarness::new();
        let right = harness.send(&call(&basic("csmith", "XXX"), head, body));
        assert_eq!(right.status, status, "{body}");
        assert_eq!(member(&right, "error_code"), "AUTHENTICATE_CODE_GENERAL_ERROR");
        for wrong in [basic("csmith", "YYY"), basic("nobody", "XXX")] {
            let answer = harness.send(&call(&wrong, head, body));
            assert_eq!(answer.status, 401, "{body}");
            assert!(header(&answer, "www-authenticate").unwrap().starts_with("Basic "), "{body}");
        }
    }
}

//! Tests of the calls that succeed, at each endpoint.

use expect_test::expect;

use super::*;

#[test]
fn a_login_answers_the_seven_members_as_the_document_prints_them() {
    check(
        &grpc(&basic("csmith", "XXX"), "AuthenticateEx", CSMITH),
        expect![[r#"
        200
        content-type: application/json; charset=utf-8

        {
            "token_name": "auth_token",
            "token_value": "eyJhbGciOiJSUzI1NiIsInR5cCI6IkpXVCIsImtpZCI6IlV3bkk5Y3pBcDB5blBvNWhqVmZtVV8xcjhuRnUwLXR6MDlkWkhEYWpqdDQifQ.eyJhdWQiOiIqLioiLCJleHAiOjE2NTE0MjA4MDAsImlhdCI6MTY1MTQwNjQwMCwiaXNzIjoicGFybGFuY2UiLCJsZ24iOiJjc21pdGgiLCJybHMiOlsiOTc0NWI5MDItMmEzNi00MDM1LWJkZDYtMDEyZTBkYWU2NmMwIl0sInNpZCI6ImUxMzI0NTFmLWJlOWEtNDIyYy1iY2FiLTE2YzkzYTEzODRjNSIsInN1YiI6IjRmNDUwOTgwLTE4NWQtNDQwNi1hYzgxLTRjNzJhOGI4OGJmOCJ9.kMtTtdKJQxxYGz3Jkq22LYf5T-x7vsetFfQj1ix2AxM34J3fbeCmji8XlwtcUoy-ECcrt9F9kfNpib1GmjBp4HidRSillD51R4JoJYgOZvKCyKATR-RjEZDozlcDlQiD17xnGm_amLZaw1c91QdnYPVe8tF8axutoYFGmNHgibPTn5J4XZoE3ODobnE0Na7vesV4ZeiSsIVZnESIpaiw-KXbfTySaqX5MGte6HLyMzfHHp1tYo6KtqAlZvDbLa7Z-ifJx3HdQgB1BgIrEc24fLgPjA6910fcYDTzQ1_0JSxgFLCd-mRX-x6X-vd8JPdOwzpHq2ZQTbbuSBsC2BchpQ",
            "expires_at": "20220501T160000",
            "is_unrestricted": true,
            "user_id": "4f450980-185d-4406-ac81-4c72a8b88bf8",
            "roles_ids": [
                "9745b902-2a36-4035-bdd6-012e0dae66c0"
            ],
            "error_code": "AUTHENTICATE_CODE_OK"
        }
    "#]],
    );
}

#[test]
fn a_login_by_a_plain_call_leaves_the_error_code_out() {
    let plain =
        ["token_name", "token_value", "expires_at", "is_unrestricted", "user_id", "roles_ids"];
    let rest = ["token_name", "token_value", "expires_at", "expires_in", "is_unrestricted"];
    let rest = [&rest[..], &["user_id", "roles_ids"]].concat();
    let with_code = |members: &[&'static str]| [members, &["error_code"]].concat();
    let (ex, rest_ex) = (with_code(&plain), with_code(&rest));
    let basic = basic("csmith", "XXX");
    let get = |binding| format!("GET /v1/authentication/{binding}\nAuthorization: {basic}\n\n");
    let post = |binding| format!("POST /v1/authentication/{binding}\n\n{CSMITH}");
    for (request, members) in [
        (grpc(&basic, "Authenticate", CSMITH), &plain[..]),
        (grpc(&basic, "Authenticate2", CSMITH), &plain),
        (grpc(&basic, "AuthenticateEx", CSMITH), &ex),
        (grpc(&basic, "AuthenticateEx2", CSMITH), &ex),
        (get("authenticate"), &rest),
        (get("authenticate_ex"), &rest_ex),
        (post("authenticate2"), &rest),
        (post("authenticate_ex2"), &rest_ex),
    ] {
        let harness = DialectHarness::new();
        let answer = harness.send(&request);
        let body = String::from_utf8(answer.body.clone()).unwrap();
        let found: Vec<_> = body
            .lines()
            .filter_map(|line| line.strip_prefix("    \"")?.split('"').next())
            .collect();
        assert_eq!((answer.status, found.as_slice()), (200, members), "{request}");
        assert!(harness.admits(&member(&answer, "token_value")), "{request}");
    }
}

#[test]
fn a_renewal_gives_a_new_token_of_the_same_session_and_all_seven_members() {
    for method in ["RenewSession", "RenewSession2", "renew", "renew2"] {
        let harness = DialectHarness::new();
        let old = harness.log_in();
        harness.advance(60);
        let answer = match method {
            "RenewSession" | "RenewSession2" => {
                harness.grpc(&format!("Bearer {old}"), method, "{}")
            }
            binding => harness.send(&format!(
                "GET /v1/authentication/{binding}?_=1651406400000\nAuthorization: Bearer {old}\n\n"
            )),
        };
        let new = member(&answer, "token_value");
        assert_eq!(
            (answer.status, member(&answer, "error_code").as_str()),
            (200, "AUTHENTICATE_CODE_OK")
        );
        assert_eq!(member(&answer, "expires_at"), "20220501T160100", "{method}");
        assert_ne!(old, new);
        let sid = |token: &str| {
            serde_json::from_str::<serde_json::Value>(&token_part(token, 1)).unwrap()["sid"].clone()
        };
        assert_eq!(sid(&old), sid(&new));
        assert!(harness.admits(&old) && harness.admits(&new), "{method}");
    }
}

#[test]
fn after_a_renewal_the_old_token_lives_to_its_own_end() {
    let harness = DialectHarness::new();
    let old = harness.log_in();
    harness.advance(3600);
    let new = member(&harness.grpc(&format!("Bearer {old}"), "RenewSession", "{}"), "token_value");
    // The whole second of `exp` counts (decisions.md#the-whole-second-of-exp-counts).
    harness.advance(3 * 3600);
    harness.world.clock.advance(Duration::from_millis(999));
    assert!(harness.admits(&old) && harness.admits(&new));
    harness.world.clock.advance(Duration::from_millis(1));
    assert!(!harness.admits(&old) && harness.admits(&new));
    harness.advance(3600);
    assert!(!harness.admits(&new));
}

#[test]
fn a_close_ends_the_session_and_all_its_tokens_but_no_other() {
    let harness = DialectHarness::new();
    let (other, old) = (harness.log_in(), harness.log_in());
    let new = member(&harness.grpc(&format!("Bearer {old}"), "RenewSession", "{}"), "token_value");
    let close = grpc(&format!("Bearer {old}"), "CloseSession", "{}");
    expect![[r#"
        200
        content-type: application/json; charset=utf-8

        {
            "error_code": "OK"
        }
    "#]]
    .assert_eq(&harness.exchange(&close));
    assert!(!harness.admits(&old) && !harness.admits(&new) && harness.admits(&other));
    expect![[r#"
        401
        content-type: application/json; charset=utf-8
        www-authenticate: Bearer error="invalid_token"

        {
            "error_code": "GENERAL_ERROR"
        }
    "#]]
    .assert_eq(&harness.exchange(&close));
}

#[test]
fn a_binding_says_in_how_many_seconds_a_token_expires() {
    let harness = DialectHarness::new();
    let seconds = |answer: &Response| -> serde_json::Value {
        let body: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
        body["expires_in"].clone()
    };
    let post = format!("POST /v1/authentication/authenticate_ex2\n\n{CSMITH}");
    let token = member(&harness.send(&post), "token_value");
    harness.advance(60);
    for binding in ["renew", "renew2"] {
        let answer = harness
            .send(&format!("GET /v1/authentication/{binding}\nAuthorization: Bearer {token}\n\n"));
        assert_eq!(seconds(&answer), serde_json::json!(14400), "{binding}");
    }
    let grpc = harness.grpc(&format!("Bearer {token}"), "RenewSession", "{}");
    assert_eq!(seconds(&grpc), serde_json::Value::Null, "the document prints seven members");
}

#[test]
fn the_close_bindings_answer_as_the_method() {
    for binding in ["close", "close_session"] {
        let harness = DialectHarness::new();
        let token = harness.log_in();
        let answer = harness
            .send(&format!("GET /v1/authentication/{binding}\nAuthorization: bearer {token}\n\n"));
        assert_eq!((answer.status, member(&answer, "error_code").as_str()), (200, "OK"));
        assert!(!harness.admits(&token), "{binding}");
    }
}

#[test]
fn the_public_keys_need_no_authentication() {
    check(
        "GET /.well-known/jwks.json\n\n",
        expect![[r#"
        200
        cache-control: public, max-age=300
        content-type: application/json; charset=utf-8

        {"keys":[{"kty":"RSA","use":"sig","alg":"RS256","kid":"UwnI9czAp0ynPo5hjVfmU_1r8nFu0-tz09dZHDajjt4","n":"yMy_1AHt3_CrmBZRRi0YHSLx_a1rHrJIV8_AJDgeHGo-wT0jx56cODaN2a3CrF_nrouG7u1F8CnpDn_C2Fj0XbzcAY05A9GlJpFZ8B5qF75ccmb6V0iZ6US4DALI4b9EiepbpxzEJuyyor073xmiPCjWHb146WbsSUcNhF7hI-kKVWcaCzOSHZzIjs9AfhgF_zU5ewIdVu9h9F9lDXRgInkf-qEEyLOldGfgJn1iXEpokDN62uXqcSiaJN202_-Iat5hTEPdSMoCRsgyirj2z0z7jPKbKEqT8PKafGytUOwoqAZKFXqi-X4l6uHp-ZRW9ZWB2KbBwgi1eVNCzLIqjw","e":"AQAB"}]}
    "#]],
    );
}

#[test]
fn a_guarded_request_without_a_token_is_challenged_with_bearer() {
    let harness = DialectHarness::new();
    let refused = |headers: &[(&str, &[u8])]| {
        let answer =
            harness.world.block_on(harness.service.admit(&guarded_request(headers, harness.now())));
        parlance_dialect::testing::text(&answer.unwrap_err().response)
    };
    expect![[r#"
        401
        content-type: application/json; charset=utf-8
        www-authenticate: Bearer

        {
            "error_code": "AUTHENTICATE_CODE_WRONG_CREDENTIALS"
        }
    "#]]
    .assert_eq(&refused(&[]));
    let token = harness.log_in();
    harness.advance(4 * 3600);
    expect![[r#"
        401
        content-type: application/json; charset=utf-8
        www-authenticate: Bearer error="invalid_token"

        {
            "error_code": "AUTHENTICATE_CODE_WRONG_CREDENTIALS"
        }
    "#]]
    .assert_eq(&refused(&[("authorization", format!("Bearer {token}").as_bytes())]));
}

//! Tests of every refusal.

use expect_test::expect;
use parlance_axxon_jsonrpc::{Call, Endpoint};
use parlance_core::{Credential, Failure, Secret};

use super::*;
use crate::reply;

#[test]
fn every_failure_has_its_grpc_reply() {
    let shown = || Credential::new("axxon-jsonrpc", Secret::new("x".to_owned()));
    let calls = [
        ("Ex", Call::login(None, true)),
        ("plain", Call::login(None, false)),
        ("renew", Call::Renew(shown(), Endpoint::Grpc)),
        ("close", Call::Close(shown())),
    ];
    let mut table = String::new();
    for why in Failure::ALL {
        for (name, call) in &calls {
            let reply = reply_text(&reply::encode_failure(call, why));
            table.push_str(&format!("{:18} {name:5} {reply}\n", why.reason()));
        }
    }
    expect![[r#"
        unknown_user       Ex    Ok [a0, 01, 02]
        unknown_user       plain Unauthenticated AUTHENTICATE_CODE_WRONG_CREDENTIALS
        unknown_user       renew Unauthenticated AUTHENTICATE_CODE_WRONG_CREDENTIALS
        unknown_user       close Unauthenticated GENERAL_ERROR
        wrong_password     Ex    Ok [a0, 01, 02]
        wrong_password     plain Unauthenticated AUTHENTICATE_CODE_WRONG_CREDENTIALS
        wrong_password     renew Unauthenticated AUTHENTICATE_CODE_WRONG_CREDENTIALS
        wrong_password     close Unauthenticated GENERAL_ERROR
        user_disabled      Ex    Ok [a0, 01, 02]
        user_disabled      plain Unauthenticated AUTHENTICATE_CODE_WRONG_CREDENTIALS
        user_disabled      renew Unauthenticated AUTHENTICATE_CODE_WRONG_CREDENTIALS
        user_disabled      close Unauthenticated GENERAL_ERROR
        password_expired   Ex    Ok [a0, 01, 02]
        password_expired   plain Unauthenticated AUTHENTICATE_CODE_WRONG_CREDENTIALS
        password_expired   renew Unauthenticated AUTHENTICATE_CODE_WRONG_CREDENTIALS
        password_expired   close Unauthenticated GENERAL_ERROR
        outer_credential   Ex    Ok [a0, 01, 02]
        outer_credential   plain Unauthenticated AUTHENTICATE_CODE_WRONG_CREDENTIALS
        outer_credential   renew Unauthenticated AUTHENTICATE_CODE_WRONG_CREDENTIALS
        outer_credential   close Unauthenticated GENERAL_ERROR
        unserved_call      Ex    Ok [a0, 01, 01]
        unserved_call      plain Unauthenticated AUTHENTICATE_CODE_GENERAL_ERROR
        unserved_call      renew Unauthenticated AUTHENTICATE_CODE_WRONG_CREDENTIALS
        unserved_call      close Unauthenticated GENERAL_ERROR
        locked             Ex    Ok [a0, 01, 04]
        locked             plain Unauthenticated AUTHENTICATE_CODE_USER_LOCKED
        locked             renew Unauthenticated AUTHENTICATE_CODE_WRONG_CREDENTIALS
        locked             close Unauthenticated GENERAL_ERROR
        locked             Ex    Ok [a0, 01, 04]
        locked             plain Unauthenticated AUTHENTICATE_CODE_USER_LOCKED
        locked             renew Unauthenticated AUTHENTICATE_CODE_WRONG_CREDENTIALS
        locked             close Unauthenticated GENERAL_ERROR
        throttled          Ex    Ok [a0, 01, 05]
        throttled          plain Unauthenticated AUTHENTICATE_CODE_IP_BLOCKED
        throttled          renew Unauthenticated AUTHENTICATE_CODE_WRONG_CREDENTIALS
        throttled          close Unauthenticated GENERAL_ERROR
        no_credential      Ex    Ok [a0, 01, 01]
        no_credential      plain Unauthenticated AUTHENTICATE_CODE_GENERAL_ERROR
        no_credential      renew Unauthenticated AUTHENTICATE_CODE_WRONG_CREDENTIALS: no token in the metadata auth_token
        no_credential      close Unauthenticated GENERAL_ERROR: no token in the metadata auth_token
        unknown_credential Ex    Ok [a0, 01, 01]
        unknown_credential plain Unauthenticated AUTHENTICATE_CODE_GENERAL_ERROR
        unknown_credential renew Unauthenticated AUTHENTICATE_CODE_WRONG_CREDENTIALS
        unknown_credential close Unauthenticated GENERAL_ERROR
        revoked_or_expired Ex    Ok [a0, 01, 01]
        revoked_or_expired plain Unauthenticated AUTHENTICATE_CODE_GENERAL_ERROR
        revoked_or_expired renew Unauthenticated AUTHENTICATE_CODE_WRONG_CREDENTIALS
        revoked_or_expired close Unauthenticated GENERAL_ERROR
        unexpected_address Ex    Ok [a0, 01, 01]
        unexpected_address plain Unauthenticated AUTHENTICATE_CODE_GENERAL_ERROR
        unexpected_address renew Unauthenticated AUTHENTICATE_CODE_WRONG_CREDENTIALS
        unexpected_address close Unauthenticated GENERAL_ERROR
        unexpected_user    Ex    Ok [a0, 01, 01]
        unexpected_user    plain Unauthenticated AUTHENTICATE_CODE_GENERAL_ERROR
        unexpected_user    renew Unauthenticated AUTHENTICATE_CODE_WRONG_CREDENTIALS
        unexpected_user    close Unauthenticated GENERAL_ERROR
        busy               Ex    Unavailable AUTHENTICATE_CODE_GENERAL_ERROR wait "1000"
        busy               plain Unavailable AUTHENTICATE_CODE_GENERAL_ERROR wait "1000"
        busy               renew Unavailable AUTHENTICATE_CODE_GENERAL_ERROR wait "1000"
        busy               close Unavailable AUTHENTICATE_CODE_GENERAL_ERROR wait "1000"
        unavailable        Ex    Unavailable AUTHENTICATE_CODE_GENERAL_ERROR wait "1000"
        unavailable        plain Unavailable AUTHENTICATE_CODE_GENERAL_ERROR wait "1000"
        unavailable        renew Unavailable AUTHENTICATE_CODE_GENERAL_ERROR wait "1000"
        unavailable        close Unavailable AUTHENTICATE_CODE_GENERAL_ERROR wait "1000"
    "#]].assert_eq(&table);
}

#[test]
fn wrong_credentials_are_a_code_where_the_answer_has_one_and_a_status_where_not() {
    for (user, password) in
        [("csmith", "no"), ("nobody", "XXX"), ("", ""), ("csmith", ""), ("", "XXX")]
    {
        let harness = GrpcHarness::new();
        for method in ["AuthenticateEx", "AuthenticateEx2"] {
            let answer = decode_response(&harness.call(method, &[], &login(user, password)));
            let only = AuthenticateResponse { error_code: 2, ..Default::default() };
            assert!(answer == only, "{method} {user:?}: a failure carries a code and nothing else");
        }
        for method in ["Authenticate", "Authenticate2"] {
            let refused = harness.call(method, &[], &login(user, password));
            assert_eq!(
                reply_text(&refused),
                "Unauthenticated AUTHENTICATE_CODE_WRONG_CREDENTIALS",
                "{method} {user:?}"
            );
        }
    }
}

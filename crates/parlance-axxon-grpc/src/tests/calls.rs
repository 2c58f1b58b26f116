//! Tests of successful calls and their effects.

use super::*;

#[test]
fn every_authenticate_call_logs_in_without_a_token() {
    for method in METHODS.into_iter().filter(|method| method.starts_with("Authenticate")) {
        let harness = GrpcHarness::new();
        let answer = decode_response(&harness.call(method, &[], &login("CSmith", "XXX")));
        assert_eq!(
            (answer.token_name.as_str(), answer.expires_at.as_str(), answer.expires_in),
            ("auth_token", "20220501T160000", 14400),
            "{method}"
        );
        assert!(answer.is_unrestricted && answer.error_code == 0, "{method}");
        assert_eq!(answer.roles_ids, ["9745b902-2a36-4035-bdd6-012e0dae66c0"]);
        assert!(harness.admits(&answer.token_value), "{method}: the JSON door takes it");
    }
}

#[test]
fn a_token_in_a_login_call_is_ignored() {
    let harness = GrpcHarness::new();
    let token = harness.log_in().token_value;
    let wrong = harness.call("Authenticate2", &[token.as_bytes()], &login("csmith", "no"));
    assert_eq!(reply_text(&wrong), "Unauthenticated AUTHENTICATE_CODE_WRONG_CREDENTIALS");
}

#[test]
fn a_renewal_signs_a_new_token_for_the_same_session() {
    for method in ["RenewSession", "RenewSession2"] {
        let harness = GrpcHarness::new();
        let first = harness.log_in();
        harness.world.clock.advance(Duration::from_secs(3600));
        let second = decode_response(&harness.call(method, &[first.token_value.as_bytes()], b""));
        assert_eq!((second.expires_at.as_str(), second.expires_in), ("20220501T170000", 14400));
        assert_ne!(first.token_value, second.token_value);
        // The old token lives to its own expiry, the end of the second that its `exp` names.
        harness.world.clock.advance(Duration::from_secs(3 * 3600 + 1));
        assert!(harness.renew(&first.token_value).is_err());
        assert!(harness.renew(&second.token_value).is_ok());
    }
}

#[test]
fn a_session_closed_over_grpc_is_closed_over_json() {
    let harness = GrpcHarness::new();
    let first = harness.log_in().token_value;
    let renewed = decode_response(&harness.renew(&first)).token_value;
    assert_eq!(reply_text(&harness.close(&renewed)), "Ok []");
    for token in [&first, &renewed] {
        assert_eq!(
            reply_text(&harness.renew(token)),
            "Unauthenticated AUTHENTICATE_CODE_WRONG_CREDENTIALS"
        );
        assert_eq!(reply_text(&harness.close(token)), "Unauthenticated GENERAL_ERROR");
        assert!(!harness.admits(token));
    }
}

#[test]
fn a_disabled_users_token_and_login_are_refused() {
    let harness = GrpcHarness::new();
    let token = harness.log_in().token_value;
    harness.world.block_on(harness.world.authority.set_enabled("csmith", false)).unwrap();
    assert!(harness.renew(&token).is_err() && harness.close(&token).is_err());
    let refused = decode_response(&harness.call("AuthenticateEx", &[], &login("csmith", "XXX")));
    assert_eq!((refused.error_code, refused.token_value.as_str()), (2, ""));
}

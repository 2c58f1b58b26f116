//! What is right, and what becomes of it.

use super::*;

#[test]
fn every_authenticate_call_logs_in_without_a_token() {
    for method in METHODS.into_iter().filter(|method| method.starts_with("Authenticate")) {
        let wire = Wire::new();
        let answer = opened(&wire.call(method, &[], &login("CSmith", "XXX")));
        assert_eq!(
            (answer.token_name.as_str(), answer.expires_at.as_str(), answer.expires_in),
            ("auth_token", "20220501T160000", 14400),
            "{method}"
        );
        assert!(answer.is_unrestricted && answer.error_code == 0, "{method}");
        assert_eq!(answer.roles_ids, ["9745b902-2a36-4035-bdd6-012e0dae66c0"]);
        assert!(wire.admits(&answer.token_value), "{method}: the JSON door takes it");
    }
}

#[test]
fn a_token_shown_at_a_login_counts_for_nothing() {
    let wire = Wire::new();
    let token = wire.log_in().token_value;
    let wrong = wire.call("Authenticate2", &[token.as_bytes()], &login("csmith", "no"));
    assert_eq!(text(&wrong), "Unauthenticated AUTHENTICATE_CODE_WRONG_CREDENTIALS");
}

#[test]
fn a_renewal_signs_a_new_token_for_the_same_session() {
    for method in ["RenewSession", "RenewSession2"] {
        let wire = Wire::new();
        let first = wire.log_in();
        wire.world.clock.advance(Duration::from_secs(3600));
        let second = opened(&wire.call(method, &[first.token_value.as_bytes()], b""));
        assert_eq!((second.expires_at.as_str(), second.expires_in), ("20220501T170000", 14400));
        assert_ne!(first.token_value, second.token_value);
        // The old one lives to its own end, which is that of the second that it names.
        wire.world.clock.advance(Duration::from_secs(3 * 3600 + 1));
        assert!(wire.renew(&first.token_value).is_err());
        assert!(wire.renew(&second.token_value).is_ok());
    }
}

#[test]
fn what_is_closed_on_one_door_is_closed_on_the_other() {
    let wire = Wire::new();
    let first = wire.log_in().token_value;
    let renewed = opened(&wire.renew(&first)).token_value;
    assert_eq!(text(&wire.close(&renewed)), "Ok []");
    for token in [&first, &renewed] {
        assert_eq!(text(&wire.renew(token)), "Unauthenticated AUTHENTICATE_CODE_WRONG_CREDENTIALS");
        assert_eq!(text(&wire.close(token)), "Unauthenticated GENERAL_ERROR");
        assert!(!wire.admits(token));
    }
}

#[test]
fn a_disabled_user_s_token_is_dead_and_his_login_fails() {
    let wire = Wire::new();
    let token = wire.log_in().token_value;
    wire.world.run(wire.world.authority.set_enabled("csmith", false)).unwrap();
    assert!(wire.renew(&token).is_err() && wire.close(&token).is_err());
    let refused = opened(&wire.call("AuthenticateEx", &[], &login("csmith", "XXX")));
    assert_eq!((refused.error_code, refused.token_value.as_str()), (2, ""));
}

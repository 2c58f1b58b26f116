//! What cannot be read.

use super::*;

const WRONG: &str = "Unauthenticated AUTHENTICATE_CODE_WRONG_CREDENTIALS";

#[test]
fn bytes_that_are_no_message_are_the_client_s_fault_and_are_not_repeated() {
    for method in METHODS {
        for message in [&b"\xff\xff"[..], b"\x0a\x7fshort", b"\x08\x01\x0a", b"\x0b"] {
            let refused = Wire::new().call(method, &[], message);
            assert_eq!(
                text(&refused),
                "InvalidArgument the message cannot be read",
                "{method} {message:02x?}"
            );
        }
    }
}

#[test]
fn a_field_that_is_not_known_is_passed_over() {
    let wire = Wire::new();
    let more = [login("csmith", "XXX"), b"\xa2\x06\x03new".to_vec()].concat();
    let token = opened(&wire.call("AuthenticateEx", &[], &more)).token_value;
    assert!(wire.call("RenewSession", &[token.as_bytes()], b"\x0a\x03new").is_ok());
}

#[test]
fn credentials_that_are_not_utf_8_or_hold_a_nul_are_wrong_ones() {
    let csmith = b"\x0a\x06csmith";
    for message in [
        [csmith, &b"\x12\x04XXX\xff"[..]].concat(),
        [csmith, &b"\x12\x04XXX\x00"[..]].concat(),
        b"\x0a\x07csmith\xff\x12\x03XXX".to_vec(),
        b"\x0a\x07csmith\x00\x12\x03XXX".to_vec(),
        [csmith, &b"\x12\x03\xed\xa0\x80"[..]].concat(),
    ] {
        assert_eq!(text(&Wire::new().call("Authenticate", &[], &message)), WRONG, "{message:02x?}");
        assert_eq!(opened(&Wire::new().call("AuthenticateEx", &[], &message)).error_code, 2);
    }
}

#[test]
fn a_token_stands_in_the_metadata_once_or_counts_for_nothing() {
    let wire = Wire::new();
    let token = wire.log_in().token_value;
    let token = token.as_bytes();
    let none = format!("{WRONG}: no token in the metadata auth_token");
    let bearer = [b"Bearer ", token].concat();
    for (shown, refused) in [
        (&[][..], &*none),
        (&[token, token], &*none),
        (&[b"x", token], &*none),
        (&[b"\xff".as_slice()], &*none),
        (&[b"".as_slice()], WRONG),
        (&[b"x".as_slice()], WRONG),
        (&[bearer.as_slice()], WRONG),
        (&[token.get(1..).unwrap()], WRONG),
    ] {
        assert_eq!(text(&wire.call("RenewSession", shown, b"")), refused, "{shown:02x?}");
        let refused = refused.replace("AUTHENTICATE_CODE_WRONG_CREDENTIALS", "GENERAL_ERROR");
        assert_eq!(text(&wire.call("CloseSession", shown, b"")), refused, "{shown:02x?}");
    }
    assert!(wire.call("CloseSession", &[token], b"").is_ok());
}

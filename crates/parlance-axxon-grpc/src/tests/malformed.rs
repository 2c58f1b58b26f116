//! Tests of messages and metadata that cannot be read.

use super::*;

const WRONG: &str = "Unauthenticated AUTHENTICATE_CODE_WRONG_CREDENTIALS";

#[test]
fn undecodable_messages_are_invalid_argument_and_are_not_echoed() {
    for method in METHODS {
        for message in [&b"\xff\xff"[..], b"\x0a\x7fshort", b"\x08\x01\x0a", b"\x0b"] {
            let refused = GrpcHarness::new().call(method, &[], message);
            assert_eq!(
                reply_text(&refused),
                "InvalidArgument the message cannot be read",
                "{method} {message:02x?}"
            );
        }
    }
}

#[test]
fn an_unknown_field_is_ignored() {
    let harness = GrpcHarness::new();
    let more = [login("csmith", "XXX"), b"\xa2\x06\x03new".to_vec()].concat();
    let token = decode_response(&harness.call("AuthenticateEx", &[], &more)).token_value;
    assert!(harness.call("RenewSession", &[token.as_bytes()], b"\x0a\x03new").is_ok());
}

#[test]
fn credentials_with_invalid_utf_8_or_nul_are_wrong_credentials() {
    let csmith = b"\x0a\x06csmith";
    for message in [
        [csmith, &b"\x12\x04XXX\xff"[..]].concat(),
        [csmith, &b"\x12\x04XXX\x00"[..]].concat(),
        b"\x0a\x07csmith\xff\x12\x03XXX".to_vec(),
        b"\x0a\x07csmith\x00\x12\x03XXX".to_vec(),
        [csmith, &b"\x12\x03\xed\xa0\x80"[..]].concat(),
    ] {
        assert_eq!(
            reply_text(&GrpcHarness::new().call("Authenticate", &[], &message)),
            WRONG,
            "{message:02x?}"
        );
        assert_eq!(
            decode_response(&GrpcHarness::new().call("AuthenticateEx", &[], &message)).error_code,
            2
        );
    }
}

#[test]
fn a_missing_or_repeated_token_in_the_metadata_is_refused() {
    let harness = GrpcHarness::new();
    let token = harness.log_in().token_value;
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
        assert_eq!(reply_text(&harness.call("RenewSession", shown, b"")), refused, "{shown:02x?}");
        let refused = refused.replace("AUTHENTICATE_CODE_WRONG_CREDENTIALS", "GENERAL_ERROR");
        assert_eq!(reply_text(&harness.call("CloseSession", shown, b"")), refused, "{shown:02x?}");
    }
    assert!(harness.call("CloseSession", &[token], b"").is_ok());
}

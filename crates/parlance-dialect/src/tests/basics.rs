//! HTTP Basic authentication: `Authorization: Basic`, and names and secrets in Base64.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use parlance_core::Timestamp;
use proptest::prelude::*;

use crate::{Header, Request, basic_credentials, decode_user_and_secret};

fn encode(text: impl AsRef<[u8]>) -> String {
    STANDARD.encode(text)
}

/// Asserts the name and the secret in a Base64 text, or the refusal of the text.
#[track_caller]
fn check(encoded: &str, expected: Option<(&str, &str)>) {
    let got = decode_user_and_secret(encoded);
    let got = got.as_ref().map(|(user, secret)| (user.as_str(), secret.expose()));
    assert_eq!(got, expected, "{encoded}");
}

#[test]
fn the_first_colon_parts_name_and_secret() {
    for (text, user, secret) in [
        ("csmith:XXX", "csmith", "XXX"),
        ("csmith:", "csmith", ""),
        (":XXX", "", "XXX"),
        (":", "", ""),
        ("csmith:X:Y::", "csmith", "X:Y::"),
        ("cs mith : X ", "cs mith ", " X "),
        ("müller:pässword", "müller", "pässword"),
        ("csmith:\u{feff}\u{202e}", "csmith", "\u{feff}\u{202e}"),
    ] {
        check(&encode(text), Some((user, secret)));
    }
    check(&encode("csmith"), None);
    check(&encode(""), None);
}

#[test]
fn control_characters_are_refused_after_decoding() {
    for control in ["\0", "\r\n", "\n", "\t", "\u{1b}", "\u{7f}", "\u{85}"] {
        check(&encode(format!("csm{control}ith:XXX")), None);
        check(&encode(format!("csmith:XX{control}X")), None);
        check(&encode(format!("csmith:XXX{control}")), None);
    }
}

#[test]
fn invalid_base64_is_refused() {
    for encoded in [
        "",
        "!",
        "Y",
        "Y3NtaXRo",
        "Y3NtaXRoOlhYW",
        "Y3Nta XRoOlhYWA==",
        "Y3NtaXRoOlhYWA",
        "Y3NtaXRoOlhYWB==",
        "é",
    ] {
        check(encoded, None);
    }
    check("Y3NtaXRoOlhYWA==", Some(("csmith", "XXX")));
}

#[test]
fn bytes_that_are_not_utf8_are_latin_1() {
    for (bytes, expected) in [
        (&b"zo\xeb:p\xe4sswort"[..], Some(("zoë", "pässwort"))),
        ("zoë:pässwort".as_bytes(), Some(("zoë", "pässwort"))),
        // Valid UTF-8 is never read as Latin-1.
        ("zoë:p\u{c3}\u{a4}".as_bytes(), Some(("zoë", "p\u{c3}\u{a4}"))),
        // One byte that is not UTF-8 makes all bytes Latin-1.
        (b"zo\xc3\xab:p\xe4", Some(("zo\u{c3}\u{ab}", "pä"))),
        (b"\xff:XXX", Some(("ÿ", "XXX"))),
        (b"csmith:\xc0\xaf", Some(("csmith", "\u{c0}\u{af}"))),
        // Latin-1 has control characters of its own.
        (b"csmith:\xed\xa0\x80", None),
        (b"csmith:\xff\x9b", None),
        (b"csmith:\xff\r\n", None),
        (b"csmith:\xff\0", None),
        (b"\xff", None),
    ] {
        check(&encode(bytes), expected);
    }
}

/// Asserts the login in these header lines.
#[track_caller]
fn check_headers(headers: &[Header<'_>], expected: Option<(&str, &str)>) {
    let request = Request {
        method: "GET",
        path: "/",
        query: None,
        headers,
        body: b"",
        peer: None,
        secure: false,
        now: Timestamp::MIN,
    };
    let got = basic_credentials(&request);
    let got = got.as_ref().map(|login| (login.user.as_str(), login.password.expose()));
    assert_eq!(got, expected, "{headers:?}");
}

#[test]
fn one_authorization_line_of_the_basic_scheme_is_a_login() {
    let csmith = Some(("csmith", "XXX"));
    for value in [
        &b"Basic Y3NtaXRoOlhYWA=="[..],
        b"basic Y3NtaXRoOlhYWA==",
        b"BASIC Y3NtaXRoOlhYWA==",
        b"Basic   Y3NtaXRoOlhYWA==  ",
    ] {
        check_headers(&[("Authorization", value)], csmith);
        check_headers(&[("accept", b"*/*"), ("AUTHORIZATION", value)], csmith);
        check_headers(&[("proxy-authorization", value)], None);
    }
    for value in [
        &b""[..],
        b"Basic",
        b"Basic ",
        b" Basic Y3NtaXRoOlhYWA==",
        b"Basic\tY3NtaXRoOlhYWA==",
        b"BasicY3NtaXRoOlhYWA==",
        b"Bearer Y3NtaXRoOlhYWA==",
        b"Basic Y3NtaXRoOlhYWA==, Basic Y3NtaXRoOlhYWA==",
        b"Basic Y3NtaXRoOlhYWA==\0",
        b"Basic csmith:XXX",
        b"Basic \xff",
    ] {
        check_headers(&[("authorization", value)], None);
    }
}

#[test]
fn a_repeated_authorization_header_is_no_login() {
    let right: Header<'_> = ("authorization", b"Basic Y3NtaXRoOlhYWA==");
    check_headers(&[right, right], None);
    check_headers(&[right, ("Authorization", b"Bearer x")], None);
    check_headers(&[("Authorization", b""), right], None);
}

proptest! {
    #[test]
    fn no_value_panics(value in prop::collection::vec(any::<u8>(), 0..60)) {
        check_parsed_login(&value);
        check_parsed_login(format!("Basic {}", encode(&value)).as_bytes());
    }

    #[test]
    fn any_name_and_any_secret_come_back(user in "[^:\\pC]{0,20}", secret in "[^\\pC]{0,20}") {
        check(&encode(format!("{user}:{secret}")), Some((&user, &secret)));
    }
}

fn check_parsed_login(value: &[u8]) {
    let headers: [Header<'_>; 1] = [("authorization", value)];
    let (method, path, now) = ("GET", "/", Timestamp::MIN);
    let request = Request {
        method,
        path,
        query: None,
        headers: &headers,
        body: b"",
        peer: None,
        secure: false,
        now,
    };
    let read = basic_credentials(&request);
    assert!(
        !read
            .is_some_and(|login| login.user.contains(':') || login.user.contains(char::is_control))
    );
}

//! HTTP requests and responses as plain bytes.

use parlance_core::Timestamp;
use proptest::prelude::*;

use crate::{Header, Request, Response, Unread};

fn request<'r>(headers: &'r [Header<'r>]) -> Request<'r> {
    Request {
        method: "POST",
        path: "/login&token=hunter2",
        query: Some("token=hunter2"),
        headers,
        body: b"password=hunter2",
        peer: None,
        secure: false,
        now: Timestamp::MIN,
    }
}

/// Asserts the only value of the header `x-token`.
#[track_caller]
fn check(headers: &[Header<'_>], expected: Option<&str>) {
    let request = request(headers);
    assert_eq!(request.header("X-Token"), expected, "{headers:?}");
    let values = headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("x-token")).count();
    assert_eq!(
        (request.header_values("x-token").count(), request.has_header("x-tokeN")),
        (values, values > 0)
    );
}

#[test]
fn a_header_has_a_value_if_it_stands_once_in_visible_ascii() {
    check(&[], None);
    check(&[("X-Token", b"t")], Some("t"));
    check(&[("x-token", b""), ("x-token-2", b"u")], Some(""));
    check(&[("accept", b"*/*"), ("x-tOKEN", b"a b ~")], Some("a b ~"));
    for value in [&b"t\0"[..], b"t\r\n", b"\tt", b"t\x7f", b"t\xff", "tä".as_bytes(), b"\x1b[1m"] {
        check(&[("x-token", value)], None);
    }
}

#[test]
fn a_header_that_stands_twice_has_no_value() {
    check(&[("x-token", b"t"), ("x-token", b"t")], None);
    check(&[("x-token", b"t"), ("accept", b"*/*"), ("X-TOKEN", b"u")], None);
    check(&[("x-token", b""), ("x-token", b"t")], None);
    check(&[("x-token", b"\xff"), ("x-token", b"t")], None);
}

#[test]
fn values_keep_their_order() {
    let headers: [Header<'_>; 3] = [("Cookie", b"a=1"), ("x", b"y"), ("cookie", b"b=2")];
    assert_eq!(request(&headers).header_values("COOKIE").collect::<Vec<_>>(), [b"a=1", b"b=2"]);
}

#[track_caller]
fn check_media_type(headers: &[Header<'_>], json: bool) {
    assert_eq!(request(headers).is_media_type("application/json"), json, "{headers:?}");
}

#[test]
fn a_media_type_is_compared_without_case_and_parameters() {
    for value in [
        "application/json",
        "Application/JSON",
        "application/json;charset=utf-8",
        "application/json ; charset=\"a;b\"",
        " application/json ",
        "application/json;",
    ] {
        check_media_type(&[("Content-Type", value.as_bytes())], true);
    }
    for value in [
        "",
        ";",
        "application/jsonp",
        "application/json, text/plain",
        "text/json",
        "application /json",
        "json",
    ] {
        check_media_type(&[("content-type", value.as_bytes())], false);
    }
    check_media_type(&[], false);
    check_media_type(&[("content-type", b"application/json\xff")], false);
    check_media_type(
        &[("content-type", b"application/json"), ("Content-Type", b"application/json")],
        false,
    );
}

#[test]
fn no_answer_is_stored_sniffed_or_referred_to() {
    let expected = [
        ("cache-control", "no-store".to_owned()),
        ("referrer-policy", "no-referrer".to_owned()),
        ("x-content-type-options", "nosniff".to_owned()),
    ];
    assert_eq!(Response::new(204).headers, expected);
    let body = Response::with_body(200, "application/json", "{}");
    assert_eq!((body.status, body.body.as_slice()), (200, &b"{}"[..]));
    assert_eq!(body.headers[..3], expected);
    assert_eq!(body.headers[3], ("content-type", "application/json".to_owned()));
}

#[test]
fn setting_a_header_replaces_it_in_its_place() {
    let response =
        Response::new(405).header("allow", "GET").header("vary", "accept").header("allow", "POST");
    let names: Vec<_> =
        response.headers.iter().skip(3).map(|(name, value)| (*name, value.as_str())).collect();
    assert_eq!(names, [("allow", "POST"), ("vary", "accept")]);
    let response = Response::with_body(200, "a/b", "")
        .header("content-type", "c/d")
        .header("cache-control", "max-age=300");
    assert_eq!(response.headers.len(), 4);
    assert_eq!(
        (response.headers[0].1.as_str(), response.headers[3].1.as_str()),
        ("max-age=300", "c/d")
    );
}

#[test]
fn nothing_that_is_printed_for_debugging_shows_a_secret() {
    let headers: [Header<'_>; 1] = [("Authorization", b"Bearer hunter2")];
    let response =
        Response::with_body(200, "text/plain", "hunter2").header("set-cookie", "session=hunter2");
    let printed = format!("{:?} {response:?}", request(&headers));
    let bytes = format!("{:?}", b"hunter2");
    assert!(
        !printed.contains("hunter2") && !printed.contains(bytes.trim_matches(['[', ']'])),
        "{printed}"
    );
    assert!(printed.contains("Authorization") && printed.contains("set-cookie"), "{printed}");
}

#[test]
fn a_body_that_was_not_read_has_its_own_status() {
    let statuses = Unread::ALL.map(|unread| (unread.status(), unread.to_string()));
    let expected = [
        (413, "Request body too large."),
        (408, "Request body took too long."),
        (400, "Request body could not be read."),
    ];
    assert_eq!(statuses, expected.map(|(status, text)| (status, text.to_owned())));
}

proptest! {
    #[test]
    fn no_header_panics(name in "[a-zA-Z-]{1,12}", value in prop::collection::vec(any::<u8>(), 0..40)) {
        let headers: [Header<'_>; 2] = [(&name, &value), ("content-type", &value)];
        let request = request(&headers);
        let shown = request.header(&name);
        prop_assert!(shown.is_none_or(|shown| shown.bytes().all(|byte| (0x20..0x7f).contains(&byte))));
        let _media_type = request.is_media_type("text/plain");
    }
}

//! Strict JSON, and timestamps as text.

use std::collections::BTreeMap;
use std::time::Duration;

use parlance_core::Timestamp;
use proptest::prelude::*;
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::{StrictObject, format_rfc3339, from_json, to_date_time};

#[derive(Debug, Deserialize)]
struct Body {
    token: Option<String>,
    longtoken: Option<bool>,
}

/// Asserts the token in a body, or the refusal of the body.
#[track_caller]
fn check(body: impl AsRef<[u8]>, expected: Result<Option<&str>, ()>) {
    let got = from_json::<Body>(body.as_ref());
    let token = got.as_ref().map(|body| body.token.as_deref()).map_err(|_| ());
    assert_eq!(token, expected, "{}", String::from_utf8_lossy(body.as_ref()));
}

#[test]
fn an_object_is_read_with_whatever_else_it_holds() {
    check(r#"{}"#, Ok(None));
    check(r#" { "token" : "t" , "longtoken" : true } "#, Ok(Some("t")));
    check(r#"{"other": [1, -1, 1.5, 1e300, null, true, {"a": {}}], "token": "t"}"#, Ok(Some("t")));
    check(r#"{"token": "\u00e4\u0000\ud83d\ude00"}"#, Ok(Some("ä\0😀")));
    check(r#"{"token": null}"#, Ok(None));
    check(
        r#"{"x": 18446744073709551616, "y": -9223372036854775809, "z": 0.000000000000000000000001}"#,
        Ok(None),
    );
}

#[test]
fn one_byte_order_mark_is_skipped_at_the_beginning_only() {
    check("\u{feff}{\"token\": \"t\"}", Ok(Some("t")));
    check("\u{feff} {\"token\": \"\u{feff}t\"}", Ok(Some("\u{feff}t")));
    for body in ["\u{feff}\u{feff}{}", " \u{feff}{}", "{\u{feff}}", "{}\u{feff}", "\u{feff}"] {
        check(body, Err(()));
    }
    check(b"\xff\xfe{\0}\0", Err(()));
}

#[test]
fn a_duplicate_key_is_refused_at_any_depth() {
    for body in [
        r#"{"token": "a", "token": "b"}"#,
        r#"{"token": "a", "token": "a"}"#,
        r#"{"token": "a", "t\u006fken": "b"}"#,
        r#"{"longtoken": true, "longtoken": true}"#,
        r#"{"other": 1, "other": 2}"#,
        r#"{"other": {"a": 1, "a": 2}}"#,
        r#"{"other": [[{"b": [{"a": 1, "a": 2}]}]]}"#,
        r#"{"other": {"": 1, "": 2}}"#,
    ] {
        check(body, Err(()));
        assert!(from_json::<IgnoredAny>(body.as_bytes()).is_err());
        assert!(from_json::<serde_json::Value>(body.as_bytes()).is_err());
    }
    // The same key in different objects is no duplicate.
    check(r#"{"a": {"token": 1}, "b": {"token": 2}, "token": "t"}"#, Ok(Some("t")));
    check(r#"{"token": "t", "Token": "u"}"#, Ok(Some("t")));
}

#[test]
fn what_is_no_json_of_the_shape_is_refused() {
    for body in [
        &b""[..],
        b" ",
        b"null",
        b"true",
        b"1",
        b"\"token\"",
        b"{",
        b"{}}",
        b"{} {}",
        b"{\"token\": 1}",
        b"{\"token\": \"t\",}",
        b"{\"longtoken\": \"true\"}",
        b"{'token': 't'}",
        b"{token: \"t\"}",
        b"{\"token\": \"\xff\"}",
        b"{\"\xff\": 1}",
        b"{\"token\": \"\\ud800\"}",
        b"{\"token\": \"a\nb\"}",
        b"{\"x\": 1e999}",
        b"{\"x\": 01}",
        b"{\"x\": NaN}",
        b"\xef\xbb{}",
        b"{\"token\": \"t\"} // comment",
        b"token=t",
    ] {
        check(body, Err(()));
    }
}

#[test]
fn a_depth_bomb_is_refused_even_under_an_unknown_key() {
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        let nest =
            |depth: usize| format!("{{\"other\": {}1{}}}", open.repeat(depth), close.repeat(depth));
        check(nest(100), Ok(None));
        check(nest(200), Err(()));
        check(nest(100_000), Err(()));
        check(format!("{{\"other\": {}", open.repeat(100_000)), Err(()));
    }
}

#[test]
fn a_value_is_read_into_any_type() {
    assert_eq!(from_json::<u8>(b"7").unwrap(), 7);
    assert_eq!(from_json::<Vec<String>>(b"[\"a\", \"a\"]").unwrap(), ["a", "a"]);
    let map: BTreeMap<String, i64> = from_json(b"{\"b\": 2, \"a\": 1}").unwrap();
    assert_eq!(map.into_iter().collect::<Vec<_>>(), [("a".to_owned(), 1), ("b".to_owned(), 2)]);
    assert_eq!(from_json::<Body>(b"{\"longtoken\": true}").unwrap().longtoken, Some(true));
}

#[test]
fn an_array_of_its_values_is_no_object() {
    assert!(from_json::<Body>(br#"["t", true]"#).is_ok());
    for body in [&br#"["t", true]"#[..], b"[]", b"null", b"7", b"\"token\""] {
        assert!(from_json::<StrictObject<Body>>(body).is_err());
    }
    let StrictObject(body) = from_json::<StrictObject<Body>>(br#" {"token": "t"}"#).unwrap();
    assert_eq!(body.token.as_deref(), Some("t"));
}

#[test]
fn a_calendar_date_has_four_digits_of_year_and_an_offset() {
    for (at, zone, text) in [
        (Timestamp::from_seconds(1_651_406_400), "UTC", "2022-05-01T12:00:00+00:00"),
        (Timestamp::from_seconds(1_651_406_400), "Europe/Warsaw", "2022-05-01T14:00:00+02:00"),
        (Timestamp::MAX, "America/New_York", "9999-12-31T18:59:59-05:00"),
        (Timestamp::MAX, "Asia/Tokyo", "9999-12-31T23:59:59+00:00"),
    ] {
        assert_eq!(format_rfc3339(at, zone.parse().unwrap()), text);
    }
}

#[test]
fn a_timestamp_is_its_date_at_both_ends_of_the_calendar() {
    for (at, text) in [
        (Timestamp::MIN, "0001-01-01T00:00:00+00:00"),
        (Timestamp::from_millis(-1), "1969-12-31T23:59:59.999+00:00"),
        (Timestamp::from_seconds(0), "1970-01-01T00:00:00+00:00"),
        (Timestamp::from_seconds(i64::from(i32::MAX) + 1), "2038-01-19T03:14:08+00:00"),
        (Timestamp::MAX, "9999-12-31T23:59:59.999+00:00"),
        (Timestamp::MAX.plus(Duration::MAX), "9999-12-31T23:59:59.999+00:00"),
        (Timestamp::MIN.minus(Duration::MAX), "0001-01-01T00:00:00+00:00"),
    ] {
        assert_eq!(to_date_time(at).to_rfc3339(), text);
        assert_eq!(to_date_time(at).timestamp_millis(), at.millis());
    }
}

proptest! {
    #[test]
    fn no_body_panics(body in prop::collection::vec(any::<u8>(), 0..200)) {
        let _read = from_json::<Body>(&body);
    }

    #[test]
    fn no_near_json_panics(body in r#"([\[\]{}:,"0-9eE.+\-\\u]|true|null|"token"|"a"){0,60}"#) {
        let (read, plain) = (from_json::<IgnoredAny>(body.as_bytes()), serde_json::from_str::<IgnoredAny>(&body));
        prop_assert!(read.is_err() || plain.is_ok());
    }

    #[test]
    fn any_timestamp_is_a_date(millis in any::<i64>()) {
        let at = Timestamp::from_millis(millis);
        prop_assert_eq!(to_date_time(at).timestamp_millis(), at.millis());
    }
}

//! Urlencoded forms and queries.

use proptest::prelude::*;

use crate::{Fields, FormError};

/// Asserts the values of `a` and `b` in a form, or the error.
#[track_caller]
fn check(form: &[u8], expected: Result<(Option<&str>, Option<&str>), FormError>) {
    let got = Fields::parse(form);
    let values = got.as_ref().map(|fields| (fields.get("a"), fields.get("b")));
    assert_eq!(values.map_err(|error| *error), expected, "{}", String::from_utf8_lossy(form));
}

#[test]
fn fields_are_read_as_the_form_encoding_says() {
    for (form, a, b) in [
        ("", None, None),
        ("&&&", None, None),
        ("c=1", None, None),
        ("a=1&b=2", Some("1"), Some("2")),
        ("b=2&a=1", Some("1"), Some("2")),
        ("a&b=", Some(""), Some("")),
        ("a=1=2&=3", Some("1=2"), None),
        ("a=x+y&b=x%2By", Some("x y"), Some("x+y")),
        ("a=x%20y", Some("x y"), None),
        ("%61=1", Some("1"), None),
        ("A=1", None, None),
        ("a=%26b%3D2", Some("&b=2"), None),
        ("a=%zz&b=%", Some("%zz"), Some("%")),
        ("a=%4", Some("%4"), None),
        ("a=%C3%A4&b=ä", Some("ä"), Some("ä")),
        ("a=%EF%BF%BD", Some("\u{fffd}"), None),
        ("a=%0D%0A", Some("\r\n"), None),
        ("a=1;b=2", Some("1;b=2"), None),
    ] {
        check(form.as_bytes(), Ok((a, b)));
    }
}

#[test]
fn bytes_that_are_no_text_are_refused_wherever_they_stand() {
    for form in [
        &b"a=%FF"[..],
        b"a=\xff",
        b"%FF=1",
        b"c=%FF&a=1",
        b"a=%00",
        b"a=\0",
        b"%00",
        b"a=%C3",
        b"a=%C3&b=%A4",
        b"a=%C3\xa4%",
        b"a=%C0%80",
        b"a=%ED%A0%80",
        b"a=%F4%90%80%80",
    ] {
        let whole = form == b"a=%C3\xa4%";
        check(form, if whole { Ok((Some("ä%"), None)) } else { Err(FormError::InvalidEncoding) });
    }
}

#[test]
fn a_field_that_stands_twice_is_refused() {
    for form in ["a=1&a=2", "a=1&a=1", "a&a", "a=1&%61=2", "c=1&b=2&c=3", "=1&=2", "a=1&b=2&a"] {
        check(form.as_bytes(), Err(FormError::Duplicate));
    }
    check(b"a=1&A=2", Ok((Some("1"), None)));
    // Bytes come first: a login with invalid bytes is an ordinary failed login, with or without a duplicate name.
    check(b"a=%FF&a=%FF", Err(FormError::InvalidEncoding));
}

#[test]
fn a_huge_form_is_read_in_time() {
    let long = "x".repeat(1 << 20);
    check(format!("a={long}").as_bytes(), Ok((Some(&long), None)));
    let many: Vec<_> = (0..200_000).map(|number| format!("f{number}")).collect();
    check(many.join("&").as_bytes(), Ok((None, None)));
    check(format!("{}&f0", many.join("&")).as_bytes(), Err(FormError::Duplicate));
}

#[test]
fn a_secret_is_its_field_byte_for_byte() {
    let fields = Fields::parse(b"pw=+%20X%26Y%3D%C3%A4+").unwrap();
    assert_eq!(fields.secret("pw").unwrap().expose(), "  X&Y=ä ");
    assert_eq!(fields.secret("PW"), None);
}

#[test]
fn unescaped_values_are_not_printed() {
    let fields = Fields::parse(b"uid=csmith&pw=X&hunter2").unwrap();
    assert_eq!(format!("{fields:?}"), "Fields(3)");
}

proptest! {
    #[test]
    fn no_form_panics_and_no_text_changes(form in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(fields) = Fields::parse(&form) {
            prop_assert!(!fields.get("a").is_some_and(|value| value.contains('\0')));
        }
    }

    #[test]
    fn no_near_form_panics(form in "([ab]|%[0-9A-Fa-f]{0,2}|=|&|\\+|ä){0,40}") {
        let _read = Fields::parse(form.as_bytes());
    }

    #[test]
    fn a_value_comes_back_as_it_was_encoded(value in "[^\0]{0,60}") {
        let form = serde_urlencoded::to_string([("a", &value)]).unwrap();
        let fields = Fields::parse(form.as_bytes()).unwrap();
        prop_assert_eq!(fields.get("a"), Some(value.as_str()));
    }
}

//! The values of settings.

use std::time::Duration;

use proptest::prelude::*;

use crate::{Kind, Value};

#[track_caller]
fn check(kind: Kind, text: &str, expected: Option<&Value>) {
    assert_eq!(Value::parse(kind, text).ok().as_ref(), expected, "{kind:?}, {text:?}");
}

#[test]
fn a_duration_has_a_whole_number_and_one_unit() {
    for kind in [Kind::Duration, Kind::DurationOrNever] {
        for (text, seconds) in
            [("1s", 1), ("90s", 90), ("10m", 600), ("24h", 86_400), ("30d", 2_592_000), ("007s", 7)]
        {
            check(kind, text, Some(&Value::Duration(Duration::from_secs(seconds))));
        }
        for text in [
            "",
            "s",
            "0s",
            "0d",
            "90",
            "-1s",
            "+1s",
            "1.5h",
            "1 s",
            " 1s",
            "1s ",
            "1S",
            "1ms",
            "1w",
            "1h30m",
            "٣s",
            "1ä",
            "Never",
            "18446744073709551615d",
            "99999999999999999999s",
            "366001d",
        ] {
            check(kind, text, None);
        }
    }
}

#[test]
fn never_is_a_value_only_where_it_is_offered() {
    check(Kind::DurationOrNever, "never", Some(&Value::Never));
    check(Kind::Duration, "never", None);
    check(Kind::Text, "never", Some(&Value::Text("never".to_owned())));
    check(Kind::Text, "", Some(&Value::Text(String::new())));
}

proptest! {
    #[test]
    fn no_text_panics(text in ".{0,20}") {
        let _read = Value::parse(Kind::DurationOrNever, &text);
    }

    #[test]
    fn what_is_read_is_at_least_a_second(text in "[0-9]{0,22}[smhd]") {
        if let Ok(Value::Duration(span)) = Value::parse(Kind::Duration, &text) {
            prop_assert!(span >= Duration::from_secs(1) && span <= Duration::from_secs(1000 * 366 * 86_400));
        }
    }
}

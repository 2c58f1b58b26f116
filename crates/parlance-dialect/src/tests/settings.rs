//! The values of settings.

use std::time::Duration;

use proptest::prelude::*;

use parlance_core::Binding;

use crate::{Kind, Setting, Value, Values};

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

#[test]
fn a_choice_is_one_of_its_words() {
    let kind = Kind::Choice(&["one", "two"]);
    for word in ["one", "two"] {
        check(kind, word, Some(&Value::Text(word.to_owned())));
    }
    for text in ["", "One", "three", " one", "one,two"] {
        check(kind, text, None);
    }
    assert_eq!(Value::parse(kind, "three"), Err(r#"one of "one", "two""#.to_owned()));
}

#[test]
fn a_switch_is_true_or_false() {
    check(Kind::Switch, "true", Some(&Value::Switch(true)));
    check(Kind::Switch, "false", Some(&Value::Switch(false)));
    for text in ["", "True", "1", "on", "yes", " true"] {
        check(Kind::Switch, text, None);
    }
}

#[test]
fn every_binding_is_a_value_of_its_key_and_each_can_be_the_default() {
    for default in Binding::ALL {
        let setting = Setting::bind_address(default);
        let mut values = Values::defaults(&[setting], chrono_tz::UTC);
        assert_eq!(values.binding(), Some(default));
        for binding in Binding::ALL {
            values.set(setting.key, Value::parse(setting.kind, binding.name()).unwrap());
            assert_eq!(values.binding(), Some(binding));
        }
        check(setting.kind, "exactly", None);
    }
    assert_eq!(Values::defaults(&[], chrono_tz::UTC).binding(), None);
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

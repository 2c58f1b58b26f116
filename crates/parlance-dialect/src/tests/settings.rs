//! The values of configuration settings.

use std::time::Duration;

use proptest::prelude::*;

use parlance_core::AddressBinding;

use crate::{Setting, SettingKind, SettingValue, SettingValues};

#[track_caller]
fn check(kind: SettingKind, text: &str, expected: Option<&SettingValue>) {
    assert_eq!(SettingValue::parse(kind, text).ok().as_ref(), expected, "{kind:?}, {text:?}");
}

#[test]
fn a_duration_has_a_whole_number_and_one_unit() {
    for kind in [SettingKind::Duration, SettingKind::DurationOrNever] {
        for (text, seconds) in
            [("1s", 1), ("90s", 90), ("10m", 600), ("24h", 86_400), ("30d", 2_592_000), ("007s", 7)]
        {
            check(kind, text, Some(&SettingValue::Duration(Duration::from_secs(seconds))));
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
    check(SettingKind::DurationOrNever, "never", Some(&SettingValue::Never));
    check(SettingKind::Duration, "never", None);
    check(SettingKind::Text, "never", Some(&SettingValue::Text("never".to_owned())));
    check(SettingKind::Text, "", Some(&SettingValue::Text(String::new())));
}

#[test]
fn a_choice_is_one_of_its_words() {
    let kind = SettingKind::Choice(&["one", "two"]);
    for word in ["one", "two"] {
        check(kind, word, Some(&SettingValue::Text(word.to_owned())));
    }
    for text in ["", "One", "three", " one", "one,two"] {
        check(kind, text, None);
    }
    assert_eq!(SettingValue::parse(kind, "three"), Err(r#"one of "one", "two""#.to_owned()));
}

#[test]
fn a_switch_is_true_or_false() {
    check(SettingKind::Boolean, "true", Some(&SettingValue::Boolean(true)));
    check(SettingKind::Boolean, "false", Some(&SettingValue::Boolean(false)));
    for text in ["", "True", "1", "on", "yes", " true"] {
        check(SettingKind::Boolean, text, None);
    }
}

#[test]
fn every_binding_is_a_value_of_its_key_and_each_can_be_the_default() {
    for default in AddressBinding::ALL {
        let setting = Setting::bind_sessions_to(default);
        let mut values = SettingValues::defaults(&[setting], chrono_tz::UTC);
        assert_eq!(values.binding(), Some(default));
        for binding in AddressBinding::ALL {
            values.set(setting.key, SettingValue::parse(setting.kind, binding.name()).unwrap());
            assert_eq!(values.binding(), Some(binding));
        }
        check(setting.kind, "exactly", None);
    }
    assert_eq!(SettingValues::defaults(&[], chrono_tz::UTC).binding(), None);
}

proptest! {
    #[test]
    fn no_text_panics(text in ".{0,20}") {
        let _read = SettingValue::parse(SettingKind::DurationOrNever, &text);
    }

    #[test]
    fn what_is_read_is_at_least_a_second(text in "[0-9]{0,22}[smhd]") {
        if let Ok(SettingValue::Duration(span)) = SettingValue::parse(SettingKind::Duration, &text) {
            prop_assert!(span >= Duration::from_secs(1) && span <= Duration::from_secs(1000 * 366 * 86_400));
        }
    }
}

//! Valid user names, and when two names are the same.

use proptest::prelude::*;

use crate::{NameError, UserName, canonical_name};

/// Asserts that a name is accepted with this canonical form, or refused.
#[track_caller]
fn check(name: &str, canonical: Option<&str>) {
    let got = canonical_name(name);
    assert_eq!(got.as_ref().map(|name| name.as_str()), canonical, "{name:?}");
    if let Ok(accepted) = UserName::new(name) {
        assert_eq!(Some(accepted.canonical()), got);
    }
}

#[test]
fn names_are_the_same_in_any_case_and_any_compatible_form() {
    for (name, canonical) in [
        ("csmith", "csmith"),
        ("CSmith", "csmith"),
        ("ＣＳＭＩＴＨ", "csmith"),
        ("ﬁnn", "finn"),
        ("Ä", "ä"),
        ("A\u{308}", "ä"),
        ("a\u{308}", "ä"),
        ("Ω", "ω"),
        ("\u{2126}", "ω"),
        ("\u{212a}arl", "karl"),
        ("x²", "x2"),
        ("Straße", "straße"),
        ("STRAẞE", "straße"),
        ("İstanbul", "i\u{307}stanbul"),
        ("ISTANBUL", "istanbul"),
        ("ıstanbul", "ıstanbul"),
        ("ΟΔΥΣΣΕΥΣ", "οδυσσευς"),
        ("a b", "a b"),
        ("a\u{a0}b", "a b"),
        ("user@example.org", "user@example.org"),
        ("\"quoted\"", "\"quoted\""),
        ("山田", "山田"),
    ] {
        check(name, Some(canonical));
        check(canonical, Some(canonical));
    }
}

#[test]
fn names_that_look_alike_may_be_different() {
    // Turkish dotless i, Greek and Cyrillic letters: other letters, other users.
    for (one, other) in [("ıvan", "ivan"), ("аnna", "anna"), ("strasse", "straße"), ("a b", "ab")]
    {
        assert_ne!(canonical_name(one), canonical_name(other));
    }
}

#[test]
fn a_name_that_a_wire_cannot_carry_is_refused() {
    for name in [
        "",
        " ",
        "a ",
        " a",
        "\u{a0}a",
        "a\u{3000}",
        "a|b",
        "a:b",
        "a;b",
        "a,b",
        "a\0",
        "a\nb",
        "a\r",
        "\ta",
        "a\u{7f}",
        "a\u{85}",
        "ａ：ｂ",
        "ａ｜ｂ",
        "ａ；ｂ",
        "ａ，ｂ",
        "\u{2028}",
        "\u{fdfa}\u{fdfa}\u{fdfa}\u{fdfa}\u{fdfa}\u{fdfa}\u{fdfa}\u{fdfa}",
    ] {
        check(name, None);
    }
}

#[test]
fn a_name_has_up_to_128_characters() {
    for (letter, count, accepted) in [
        ("n", 128, true),
        ("n", 129, false),
        ("\u{10400}", 128, true),
        ("\u{10400}", 129, false),
        ("e\u{301}", 128, true),
        ("e\u{301}", 129, false),
        ("\u{3b1}\u{313}\u{300}\u{345}", 128, true),
        ("n", 1 << 20, false),
        ("\u{301}", 1 << 20, false),
    ] {
        let name = letter.repeat(count);
        assert_eq!(canonical_name(&name).is_some(), accepted, "{letter} x {count}");
    }
}

#[test]
fn a_name_error_says_which_rule_is_broken() {
    for (name, says) in [
        ("", "a user name has 1 to 128 characters"),
        ("a|b", "a user name cannot contain '|': the login requests of a dialect cannot carry it"),
        (
            "a\nb",
            "a user name cannot contain the control character U+000A: the login requests of a dialect cannot carry it",
        ),
        (" a", "a user name cannot begin or end with white space"),
    ] {
        assert_eq!(
            UserName::new(name).map_err(|error: NameError| error.to_string()),
            Err(says.to_owned())
        );
    }
}

#[test]
fn a_name_keeps_the_spelling_it_was_given() {
    let name = UserName::new("Mu\u{308}ller").unwrap();
    assert_eq!((name.as_str(), name.canonical().as_str()), ("Müller", "müller"));
}

/// Asserts that the canonical form is a valid name, and its own canonical form.
fn check_idempotent(name: &str) {
    if let Some(canonical) = canonical_name(name) {
        assert_eq!(canonical_name(canonical.as_str()).as_ref(), Some(&canonical), "{name:?}");
    }
}

#[test]
fn canonicalisation_is_idempotent_for_every_character() {
    // Between these lie ideographs, syllables and private use: letters without case.
    let ranges = ['\0'..='\u{33ff}', '\u{a000}'..='\u{abff}', '\u{f900}'..='\u{1ffff}'];
    for letter in ranges.into_iter().flatten() {
        check_idempotent(letter.encode_utf8(&mut [0; 4]));
    }
}

proptest! {
    #[test]
    fn canonicalisation_is_idempotent(name in ".{0,40}") {
        check_idempotent(&name);
    }

    #[test]
    fn canonicalisation_is_idempotent_for_letters_with_marks(
        name in "[a-zA-ZİıIſßẞΣσςÅK\u{300}-\u{36f}\u{1d2c}-\u{1d6a}\u{ff21}-\u{ff5a}\u{1f80}-\u{1fff}\u{ac00}-\u{ac20}\u{1100}-\u{11ff}]{1,12}"
    ) {
        check_idempotent(&name);
    }

    #[test]
    fn any_case_is_the_same_ascii_name(name in "[a-zA-Z0-9._@-]{1,128}") {
        let canonical = canonical_name(&name);
        prop_assert!(canonical.is_some());
        prop_assert_eq!(&canonical_name(&name.to_ascii_uppercase()), &canonical);
        prop_assert_eq!(&canonical_name(&name.to_ascii_lowercase()), &canonical);
    }
}

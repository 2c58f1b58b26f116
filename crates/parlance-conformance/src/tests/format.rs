//! The format of a vector file.

use expect_test::{Expect, expect};

use crate::{embedded, load, parse_statements, parse_vector};

const HEAD: &str = "title = \"t\"\n[[step]]\nsource = [\"a.b\"]\n";
const STEP: &str = "request = { method = \"GET\", path = \"/\" }\nstatus = 200\n";

#[track_caller]
fn check(text: &str, refusal: Expect) {
    refusal.assert_eq(&parse_vector("wire/file.toml", text).unwrap_err().to_string());
}

#[test]
fn an_unknown_key_is_refused_with_file_and_line() {
    check(
        &format!("{HEAD}{STEP}boddy = \"x\"\n"),
        expect![[
            r#"wire/file.toml:6: unknown field `boddy`, expected one of `source`, `decision`, `peer`, `advance`, `operator`, `encode`, `request`, `status`, `headers`, `body`, `empty`, `keys`, `json`, `keep`, `keep_header`"#
        ]],
    );
    check(
        &format!(
            "{HEAD}status = 200\nrequest = {{ method = \"GET\", path = \"/\", forn = {{}} }}\n"
        ),
        expect![
            "wire/file.toml:5: unknown field `forn`, expected one of `method`, `path`, `headers`, `form`, `json`, `body`, `basic`, `secure`"
        ],
    );
    check(
        &format!("{HEAD}{STEP}json = {{ \"/a\" = {{ iss = 1 }} }}\n"),
        expect![
            "wire/file.toml:6: unknown field `iss`, expected one of `is`, `not`, `matches`, `absent`, `from_now`, `number`"
        ],
    );
    check(
        &format!("tittle = \"t\"\n{HEAD}{STEP}"),
        expect![
            "wire/file.toml:1: unknown field `tittle`, expected one of `title`, `clock`, `step`"
        ],
    );
}

#[test]
fn a_matcher_that_says_nothing_is_refused() {
    check(
        &format!("{HEAD}{STEP}headers = {{ allow = {{}} }}\n"),
        expect![
            "wire/file.toml:6: a matcher needs one of is, not, matches, absent, from_now, number"
        ],
    );
}

#[test]
fn a_step_without_source_is_refused() {
    check(
        &format!("title = \"t\"\n[[step]]\n{STEP}"),
        expect!["wire/file.toml:2: a step needs a source or a decision"],
    );
}

#[test]
fn a_variable_that_nothing_sets_is_refused() {
    check(
        &format!("{HEAD}{STEP}body = \"{{tokn}}\"\n"),
        expect![[r#"wire/file.toml:2: "{tokn}": there is no variable {tokn}"#]],
    );
    check(
        &format!("{HEAD}{STEP}body = \"{{\\\"a\\\": 1}}\"\n"),
        expect![[
            r#"wire/file.toml:2: "{\"a\": 1}": a brace is written {{ or }}, a variable {name}"#
        ]],
    );
    let later = format!("{HEAD}{STEP}body = \"{{t}}\"\n[[step]]\nsource = [\"a.b\"]\n{STEP}");
    check(
        &format!("{later}keep = {{ t = \"/t\" }}\n"),
        expect![[r#"wire/file.toml:2: "{t}": there is no variable {t}"#]],
    );
}

#[test]
fn a_wrong_span_pattern_pointer_or_decision_is_refused() {
    check(
        &format!("{HEAD}advance = \"9 minutes\"\n{STEP}"),
        expect!["wire/file.toml:4: a span is written 90s, 10m, 24h, 30d or 1h30m"],
    );
    check(
        &format!("{HEAD}advance = \"-9m\"\n{STEP}"),
        expect!["wire/file.toml:2: advance: the clock moves forward only"],
    );
    check(
        &format!("{HEAD}{STEP}json = {{ \"/a\" = {{ matches = \"(\" }} }}\n"),
        expect![[r#"
        wire/file.toml:6: regex parse error:
            (
            ^
        error: unclosed group"#]],
    );
    check(
        &format!("{HEAD}{STEP}keep = {{ a = \"token\" }}\n"),
        expect![[
            r#"wire/file.toml:2: "token" is not a JSON Pointer: a pointer begins with a slash"#
        ]],
    );
    check(
        &format!("{HEAD}{STEP}keep_header = {{ a = [\"x\", \"y\"] }}\n"),
        expect![[r#"wire/file.toml:2: keep_header: the pattern of "a" has no group"#]],
    );
    check(
        &format!("{HEAD}decision = [\"4\"]\n{STEP}"),
        expect![[
            r#"wire/file.toml:2: decision "4" is neither the four digits nor the anchor of a decision"#
        ]],
    );
    check(
        &format!("{HEAD}decision = [\"0020\", \"a-token-ends\", \"A token ends\"]\n{STEP}"),
        expect![[
            r#"wire/file.toml:2: decision "A token ends" is neither the four digits nor the anchor of a decision"#
        ]],
    );
}

#[test]
fn statements_belong_to_their_folder_and_stand_once() {
    #[track_caller]
    fn check(text: &str, refusal: Expect) {
        let error = parse_statements("wire/statements.toml", text).unwrap_err();
        refusal.assert_eq(&error.to_string());
    }
    check(
        "document = \"other\"\nsource = \"s\"\n",
        expect![[r#"wire/statements.toml: document is "other", not the folder's name"#]],
    );
    let one = "[[statement]]\nid = \"a.b\"\nsays = \"x\"\n";
    check(
        &format!("document = \"wire\"\nsource = \"s\"\n{one}{one}"),
        expect![[r#"wire/statements.toml: statement Some("a.b") is a duplicate"#]],
    );
    check(
        &format!("document = \"wire\"\nsource = \"s\"\n{one}wihtout = \"x\"\n"),
        expect![
            "wire/statements.toml:6: unknown field `wihtout`, expected one of `id`, `says`, `without`"
        ],
    );
}

#[test]
fn the_vectors_within_can_all_be_read() {
    let folders = embedded().unwrap();
    assert!(folders.iter().all(|folder| !folder.vectors.is_empty()), "a folder has no vectors");
}

#[test]
fn a_folder_reads_like_the_vectors_within() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/conformance");
    let names = |folders: Vec<crate::VectorFolder>| -> Vec<_> {
        folders.into_iter().flat_map(|folder| folder.vectors).map(|vector| vector.file).collect()
    };
    assert_eq!(names(load(root.as_ref()).unwrap()), names(embedded().unwrap()));
}

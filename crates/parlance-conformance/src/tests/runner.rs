//! The findings of the runner, and their words.

use expect_test::{Expect, expect};

use super::{JSON, ScriptedTarget, answer, step, users, vector};
use crate::{ReceivedResponse, RecordingTarget, StepOutcome, run_file};

/// Checks the findings of a single step with these expectations; empty without a finding.
#[track_caller]
fn check(expected: &str, answer: ReceivedResponse, wrong: Expect) {
    let mut target = ScriptedTarget::with_answers([answer]);
    let report = run_file(&vector(&step(expected)), &users(), &mut target);
    wrong.assert_eq(match &report.steps[0].outcome {
        StepOutcome::Passed => "",
        StepOutcome::Failed(why) | StepOutcome::Skipped(why) => why,
    });
}

#[test]
fn a_right_answer_passes() {
    let found = answer(200, JSON, r#"{"status": "success", "n": 1}"#);
    check(
        "status = 200\nkeys = [\"status\", \"n\"]\njson = { \"/status\" = { is = \"success\" }, \"/n\" = { number = true } }\nheaders = { Content-Type = { matches = \"^application/json$\" }, location = { absent = true } }",
        found,
        expect![""],
    );
}

#[test]
fn a_wrong_status_is_seen() {
    check(
        "status = 200",
        answer(404, &[], "gone"),
        expect!["status: expected 200, found 404 with gone"],
    );
}

#[test]
fn a_wrong_body_is_seen() {
    check(
        "status = 200\nbody = \"{{ }}\"",
        answer(200, &[], "{}"),
        expect!["body: expected { }, found {}"],
    );
    check("status = 200\nbody = \"{{ }}\"", answer(200, &[], "{ }"), expect![[r#""#]]);
    check(
        "status = 200\nbody = \"a\\n\"",
        answer(200, &[], "a"),
        expect![[r#"
        body: expected a
        , found a"#]],
    );
    check(
        "status = 200\nempty = true",
        answer(200, &[], "a"),
        expect!["body: expected an empty body, found a"],
    );
}

#[test]
fn a_wrong_key_order_is_seen() {
    let found = answer(200, JSON, r#"{"b": 1, "a": 2}"#);
    check(
        "status = 200\nkeys = [\"a\", \"b\"]",
        found.clone(),
        expect!["keys: expected a, b, found b, a"],
    );
    check(
        "status = 200\njson = { \"\" = { is = { a = 2, b = 1 } } }",
        found,
        expect![[r#"body: expected {"a":2,"b":1}, found {"b":1,"a":2}"#]],
    );
}

#[test]
fn a_missing_key_is_seen() {
    let found = answer(200, JSON, r#"{"a": 1}"#);
    check(
        "status = 200\njson = { \"/b\" = { is = 1 } }",
        found.clone(),
        expect!["body /b: expected 1, found nothing"],
    );
    check(
        "status = 200\njson = { \"/b\" = { matches = \"x\" } }",
        found.clone(),
        expect!["body /b: expected a match of x, found nothing"],
    );
    check(
        "status = 200\njson = { \"/b\" = { not = 1 } }",
        found.clone(),
        expect!["body /b: expected a value, found nothing"],
    );
    check(
        "status = 200\njson = { \"/b\" = { absent = false } }",
        found.clone(),
        expect!["body /b: expected a value, found nothing"],
    );
    check(
        "status = 200\nkeep = { b = \"/b\" }",
        found.clone(),
        expect![[r#"body /b: expected a value, found {"a": 1}"#]],
    );
    check(
        "status = 200\njson = { \"/a\" = { absent = true } }",
        found.clone(),
        expect!["body /a: expected nothing, found 1"],
    );
    check(
        "status = 200\njson = { \"/a\" = { is = \"1\" } }",
        found,
        expect![[r#"body /a: expected "1", found 1"#]],
    );
    check(
        "status = 200\njson = { \"/a\" = { is = 1 } }",
        answer(200, JSON, "nonsense"),
        expect!["body /a: expected 1, found nothing"],
    );
}

#[test]
fn an_absent_header_is_seen() {
    check(
        "status = 200\nheaders = { allow = { is = \"POST\" } }",
        answer(200, &[], ""),
        expect![[r#"header allow: expected "POST", found nothing"#]],
    );
    let found = answer(200, &[("set-cookie", "a=1"), ("set-cookie", "b=2")], "");
    check(
        "status = 200\nheaders = { Set-Cookie = { is = \"a=1\" } }",
        found,
        expect![[r#"header Set-Cookie: expected "a=1", found "a=1, b=2""#]],
    );
}

#[test]
fn a_date_out_of_range_is_seen() {
    for (date, wrong) in [
        ("2022-05-02T12:00:00Z", expect![""]),
        ("2022-05-02T14:00:00+02:00", expect![""]),
        ("20220502T120000", expect![""]),
        ("1651492800", expect![""]),
        (
            "2022-05-02T12:00:01Z",
            expect![[
                r#"body /d: expected a date at 2022-05-02T12:00:00Z, found "2022-05-02T12:00:01Z""#
            ]],
        ),
        (
            "2022-05-02T12:00:00",
            expect![[
                r#"body /d: expected a date at 2022-05-02T12:00:00Z, found "2022-05-02T12:00:00""#
            ]],
        ),
    ] {
        let found = answer(200, JSON, &format!("{{\"d\": {date:?}}}"));
        check("status = 200\njson = { \"/d\" = { from_now = \"24h\" } }", found, wrong);
    }
}

#[test]
fn what_a_step_keeps_is_sent_by_later_ones() {
    let steps = format!(
        "{}{}",
        step(
            "status = 200\nkeep = { token = \"/t\" }\nkeep_header = { sid = [\"set-cookie\", \"^sid=([0-9]+)\"] }\njson = { \"/t\" = { is = \"{token}\" } }"
        ),
        "[[step]]\ndecision = [\"0001\"]\nencode = { both = \"{user}:{token}\" }\nstatus = 200\nrequest = { method = \"POST\", path = \"/{sid}?t={token}\", basic = [\"{user}\", \"a:b\"], headers = [[\"X\", \"{both}\"], [\"X\", \"{{}}\"]], form = { \"a b\" = \"{token}\", c = \"{{\" } }\n",
    );
    let mut target = ScriptedTarget::with_answers([
        answer(200, &[("set-cookie", "sid=12; Path=/")], r#"{"t": "x&\"y"}"#),
        answer(200, &[], ""),
    ]);
    let done = run_file(&vector(&steps), &users(), &mut target);
    assert_eq!(done.steps[1].outcome, StepOutcome::Passed);
    let sent = &target.sent[1];
    assert_eq!(sent.target, "/12?t=x%26%22y");
    let headers = [
        ("X", "Y3NtaXRoOngmInk="),
        ("X", "{}"),
        ("Authorization", "Basic Y3NtaXRoOmE6Yg=="),
        ("Content-Type", "application/x-www-form-urlencoded"),
    ];
    assert_eq!(sent.headers, headers.map(|(name, value)| (name.to_owned(), value.to_owned())));
    assert_eq!(sent.body, b"a%20b=x%26%22y&c=%7B");
}

#[test]
fn a_value_is_escaped_for_its_context() {
    #[track_caller]
    fn check(headers: &str, body: &str, sent: &str) {
        let mut target = ScriptedTarget::with_answers([answer(200, &[], "")]);
        let steps = format!(
            "[[step]]\nsource = [\"a.b\"]\nstatus = 200\nrequest = {{ method = \"POST\", path = \"/\", headers = [{headers}], body = {body:?} }}\n",
        );
        run_file(&vector(&steps), &crate::TestUsers::single("a \"b\"", ""), &mut target);
        assert_eq!(String::from_utf8_lossy(&target.sent[0].body), sent);
    }
    let form = "[\"Content-Type\", \"application/x-www-form-urlencoded; charset=utf-8\"]";
    check(form, "{user}", "a%20%22b%22");
    check("[\"content-type\", \"application/json\"]", "{user}", "a \\\"b\\\"");
    check("[\"Content-Type\", \"text/plain\"]", "{{{user}", "{a \"b\"");
    check("", "{user}", "a \"b\"");
    check("", "[\"{user}\"]", "[\"a \\\"b\\\"\"]");
}

#[test]
fn a_json_body_is_sent_in_its_order_and_without_blanks() {
    let steps = "[[step]]\nsource = [\"a.b\"]\nstatus = 200\nrequest = { method = \"POST\", path = \"/\", json = { z = \"{user}\", a = [1, true] } }\n";
    let mut target = ScriptedTarget::with_answers([answer(200, &[], "")]);
    run_file(&vector(steps), &users(), &mut target);
    assert_eq!(target.sent[0].body, br#"{"z":"csmith","a":[1,true]}"#);
}

#[test]
fn a_missing_second_user_is_a_reason_to_skip() {
    let steps = step("status = 200") + &step("status = 200\nencode = { a = \"{other}\" }");
    let mut target = ScriptedTarget::with_answers([answer(200, &[], "")]);
    let done = run_file(&vector(&steps), &crate::TestUsers::single("csmith", "XXX"), &mut target);
    assert_eq!(done.steps[1].outcome, StepOutcome::Skipped("no second user was given".to_owned()));
}

#[test]
fn a_report_shows_neither_password_nor_token() {
    let token = "ISGYCHKMVPFPLSDRDTJGYDSQVWGHSOMPUERUMFBSMJOGUHRCAUDCCRCBGBVN";
    let found = answer(200, JSON, &format!(r#"{{"t": "{token}", "p": "XXX", "s": "123456789"}}"#));
    check(
        "status = 500\nkeep = { sid = \"/s\" }",
        found.clone(),
        expect![[
            r#"status: expected 500, found 200 with {"t": "(...)", "p": "{password}", "s": "{sid}"}"#
        ]],
    );
    check(
        "status = 200\njson = { \"/t\" = { is = \"{password}\" } }",
        found,
        expect![[r#"body /t: expected "{password}", found "(...)""#]],
    );
    let found = answer(200, JSON, r#"{"error_code":"AUTHENTICATE_CODE_WRONG_CREDENTIALS"}"#);
    check(
        "status = 200\njson = { \"/error_code\" = { is = 1 } }",
        found,
        expect![[r#"body /error_code: expected 1, found "AUTHENTICATE_CODE_WRONG_CREDENTIALS""#]],
    );
}

#[test]
fn a_recording_holds_the_exact_bytes() {
    let steps = step("status = 200")
        + "[[step]]\nsource = [\"a.b\"]\nadvance = \"1m\"\noperator = \"store-away\"\nstatus = 200\nrequest = { method = \"POST\", path = \"/?x\", headers = [[\"A\", \"b\"], [\"A\", \"c\"]], body = \"0000000000000000000000000000000000000000000000000000000000000000000000000\\r\\n{user}\" }\n";
    let long = ReceivedResponse { body: vec![0xff, b'a', 0, b'\n'], ..answer(200, JSON, "") };
    let mut target =
        RecordingTarget::new(ScriptedTarget::with_answers([answer(204, &[], ""), long]));
    run_file(&vector(&steps.replacen("200", "204", 1)), &users(), &mut target);
    expect![[r#"
        ---- 1 ----
        GET /

        204

        (the clock moves to 2022-05-01T12:01:00Z)
        (an operator: take the store away)
        ---- 2 ----
        POST /?x
        A: b
        A: c

        (73 x '0')\x0d
        csmith

        200
        content-type: application/json

        \xffa\x00


    "#]]
    .assert_eq(&target.into_text());
}

#[test]
fn the_words_of_a_report_stay_readable_whatever_the_password_is() {
    let found = answer(500, JSON, r#"{"t": "expected", "p": "e"}"#);
    let mut target = ScriptedTarget::with_answers([found]);
    let vector = vector(&step("status = 200"));
    let done = run_file(&vector, &crate::TestUsers::single("csmith", "e"), &mut target);
    let StepOutcome::Failed(why) = &done.steps[0].outcome else { panic!("{:?}", done.steps[0]) };
    expect![[r#"status: expected 200, found 500 with {"t": "expected", "p": "{password}"}"#]]
        .assert_eq(why);
}

#[test]
fn a_failed_capture_is_reported_instead_of_the_matcher_that_needs_it() {
    check(
        "status = 200\nkeep = { first = \"/t\" }\njson = { \"/u\" = { is = \"{first}\" } }",
        answer(503, JSON, r#"{"error": "away"}"#),
        expect![[r#"
            status: expected 200, found 503 with {"error": "away"}
            body /t: expected a value, found {"error": "away"}"#]],
    );
}

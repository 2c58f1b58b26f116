//! The report of a run.

use expect_test::expect;

use super::{ScriptedTarget, answer, step, users, vector};
use crate::{Report, run_file};

fn report(steps: &str, mut target: ScriptedTarget) -> Report {
    let mut report = Report::new(vec!["wire".to_owned()]);
    report.add(run_file(&vector(steps), &users(), &mut target));
    report
}

#[test]
fn the_first_failing_step_ends_the_file() {
    let steps = step("status = 200") + &step("status = 201") + &step("status = 200");
    let report = report(
        &steps,
        ScriptedTarget::with_answers([200, 200, 200].map(|status| answer(status, &[], ""))),
    );
    assert!(!report.is_success());
    expect![[r#"
        FAILED wire/file.toml:6, step 2
          t
            status: expected 201, found 200 with an empty body
            from a.b
        skipped wire/file.toml from step 3 (1): an earlier step failed
        dialect   passed   failed  skipped
        wire           1        1        1
        total          1        1        1
        FAILED: 1 of 2 steps
    "#]]
    .assert_eq(&report.to_string());
}

#[test]
fn unsupported_steps_are_skipped_with_their_reason() {
    let cases = [
        (
            "advance = \"9m\"",
            expect![[r#"
            skipped wire/file.toml from step 2 (1): the clock cannot be moved
            dialect   passed   failed  skipped
            wire           1        0        1
            total          1        0        1
            ok
        "#]],
        ),
        (
            "operator = \"disable\"",
            expect![[r#"
            skipped wire/file.toml from step 2 (1): the target cannot disable the user
            dialect   passed   failed  skipped
            wire           1        0        1
            total          1        0        1
            ok
        "#]],
        ),
        (
            "peer = \"192.0.2.9\"",
            expect![[r#"
            skipped wire/file.toml from step 2 (1): requests cannot be sent from 192.0.2.9
            dialect   passed   failed  skipped
            wire           1        0        1
            total          1        0        1
            ok
        "#]],
        ),
    ];
    for (what, text) in cases {
        let steps = step("status = 200") + &step(&format!("status = 200\n{what}"));
        let target = ScriptedTarget {
            supports_operations: false,
            ..ScriptedTarget::with_answers([answer(200, &[], "")])
        };
        let report = report(&steps, target);
        assert!(report.is_success());
        text.assert_eq(&report.to_string());
    }
}

#[test]
fn no_vector_is_a_failure() {
    let report = Report::new(Vec::new());
    assert!(!report.is_success());
    expect![[r#"
        dialect   passed   failed  skipped
        total          0        0        0
        FAILED: no vector run
    "#]]
    .assert_eq(&report.to_string());
}

#[test]
fn a_dialect_of_which_no_step_ran_is_a_failure() {
    let target = ScriptedTarget { supports_operations: false, ..ScriptedTarget::with_answers([]) };
    let report = report(&step("status = 200\nadvance = \"1s\""), target);
    assert!(!report.is_success());
    expect![[r#"
        skipped wire/file.toml from step 1 (1): the clock cannot be moved
        dialect   passed   failed  skipped
        wire           0        0        1
        total          0        0        1
        FAILED: no vector run of wire
    "#]]
    .assert_eq(&report.to_string());
    expect![[r#"
        <?xml version="1.0" encoding="UTF-8"?>
        <testsuites name="parlance conformance" tests="2" failures="1" skipped="1">
          <testsuite name="wire" tests="2" failures="1" skipped="1">
            <testcase classname="wire" name="t, step 1" file="wire/file.toml" line="2"><skipped message="the clock cannot be moved"/></testcase>
            <testcase classname="wire" name="vectors"><failure message="no vector run"/></testcase>
          </testsuite>
        </testsuites>
    "#]].assert_eq(&report.to_junit());
}

#[test]
fn a_report_is_text_json_and_xml() {
    let steps =
        step("status = 200") + &step("status = 200\nbody = \"<&>\"") + &step("status = 200");
    let report = report(
        &steps,
        ScriptedTarget::with_answers([answer(200, &[], ""), answer(200, &[], "\u{1}")]),
    );
    expect![[r#"
        {
          "success": false,
          "total": {
            "passed": 1,
            "failed": 1,
            "skipped": 1
          },
          "dialects": [
            {
              "dialect": "wire",
              "counts": {
                "passed": 1,
                "failed": 1,
                "skipped": 1
              }
            }
          ],
          "no_vector_run": [],
          "files": [
            {
              "dialect": "wire",
              "file": "wire/file.toml",
              "title": "t",
              "steps": [
                {
                  "line": 2,
                  "source": [
                    "a.b"
                  ],
                  "decision": [],
                  "outcome": "passed"
                },
                {
                  "line": 6,
                  "source": [
                    "a.b"
                  ],
                  "decision": [],
                  "outcome": "failed",
                  "why": "body: expected <&>, found \u0001"
                },
                {
                  "line": 11,
                  "source": [
                    "a.b"
                  ],
                  "decision": [],
                  "outcome": "skipped",
                  "why": "an earlier step failed"
                }
              ]
            }
          ]
        }"#]]
    .assert_eq(&format!("{:#}", report.to_json()));
    expect![[r#"
        <?xml version="1.0" encoding="UTF-8"?>
        <testsuites name="parlance conformance" tests="3" failures="1" skipped="1">
          <testsuite name="wire" tests="3" failures="1" skipped="1">
            <testcase classname="wire" name="t, step 1" file="wire/file.toml" line="2"/>
            <testcase classname="wire" name="t, step 2" file="wire/file.toml" line="6"><failure message="body: expected &lt;&amp;&gt;, found �">body: expected &lt;&amp;&gt;, found �</failure></testcase>
            <testcase classname="wire" name="t, step 3" file="wire/file.toml" line="11"><skipped message="an earlier step failed"/></testcase>
          </testsuite>
        </testsuites>
    "#]].assert_eq(&report.to_junit());
}

#[test]
fn a_dialect_that_ran_does_not_count_for_one_that_did_not() {
    let mut report = Report::new(vec!["silent".to_owned(), "wire".to_owned()]);
    let mut target = ScriptedTarget::with_answers([answer(200, &[], "")]);
    report.add(run_file(&vector(&step("status = 200")), &users(), &mut target));
    assert_eq!((report.total().failed, report.dialects_without_steps()), (0, vec!["silent"]));
    assert!(!report.is_success());
}

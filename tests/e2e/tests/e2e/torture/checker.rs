//! The checker itself: it finds every kind of planted fault, and allows what may be.

use crate::harness::history::{Act, Judgement, Line, judge};
use crate::harness::{Verdict, Wire};

/// A line of a log on one wire, of a request that took from `sent` to one later.
fn did(wire: Wire, act: Act, session: usize, sent: u64, answer: Option<Verdict>) -> Line {
    Line::Did {
        user: "u".to_owned(),
        wire,
        act,
        session: (act != Act::Forgery && session > 0).then_some(session),
        sent,
        back: sent + 1,
        answer,
        valid: None,
    }
}

/// How many are lost, resurrected, invented and odd.
#[track_caller]
fn check(lines: &[Line], found: [usize; 4]) {
    let Judgement { lost, resurrected, invented, odd, .. } = judge(lines);
    let all = [lost, resurrected, invented, odd];
    assert_eq!(all.each_ref().map(Vec::len), found, "{all:?}");
}

fn polish(act: Act, session: usize, sent: u64, answer: Option<Verdict>) -> Line {
    did(Wire::Polish, act, session, sent, answer)
}

fn valid(line: Line, until: &str) -> Line {
    let Line::Did { user, wire, act, session, sent, back, answer, .. } = line else { return line };
    Line::Did { user, wire, act, session, sent, back, answer, valid: Some(until.to_owned()) }
}

fn listed(dialect: &str) -> Line {
    Line::Listed { user: "u".to_owned(), dialect: dialect.to_owned() }
}

const YES: Option<Verdict> = Some(Verdict::Yes);
const NO: Option<Verdict> = Some(Verdict::No);
const AWAY: Option<Verdict> = Some(Verdict::Away);

#[test]
fn an_acknowledged_login_must_last() {
    let login = || polish(Act::Login, 1, 0, YES);
    check(&[login(), polish(Act::Use, 1, 5, YES)], [0; 4]);
    check(&[login(), polish(Act::Use, 1, 5, AWAY), polish(Act::Use, 1, 9, None)], [0; 4]);
    check(&[login(), polish(Act::Use, 1, 5, NO)], [1, 0, 0, 0]);
    check(&[login(), polish(Act::Renewal, 1, 5, NO)], [1, 0, 0, 0]);
    check(&[login(), Line::Started { at: 3 }, polish(Act::Use, 1, 5, NO)], [1, 0, 0, 0]);
    check(&[login(), polish(Act::Use, 1, 5, NO), polish(Act::Use, 1, 9, YES)], [1, 1, 0, 0]);
}

#[test]
fn an_acknowledged_logout_must_last() {
    let ended = [polish(Act::Login, 1, 0, YES), polish(Act::Logout, 1, 10, YES)];
    let then = |sent, answer| [&ended[..], &[polish(Act::Use, 1, sent, answer)]].concat();
    check(&then(20, NO), [0; 4]);
    check(&then(20, YES), [0, 1, 0, 0]);
    // While the logout is under way both are right, and afterwards one.
    check(&then(10, YES), [0; 4]);
    check(&then(10, NO), [0; 4]);
    check(&then(11, YES), [0; 4]);
    check(&then(12, YES), [0, 1, 0, 0]);
    check(&then(5, NO), [1, 1, 0, 0]);
}

#[test]
fn what_was_never_answered_may_be_either_until_it_is_seen() {
    for answer in [None, AWAY] {
        let open = [polish(Act::Login, 1, 0, YES), polish(Act::Logout, 1, 10, answer)];
        let start = [Line::Started { at: 20 }];
        let seen = |first: Option<Verdict>, second: Option<Verdict>| {
            let uses = [polish(Act::Use, 1, 30, first), polish(Act::Use, 1, 40, second)];
            [&open[..], &start, &uses].concat()
        };
        check(&seen(YES, YES), [0; 4]);
        check(&seen(NO, NO), [0; 4]);
        check(&seen(NO, YES), [0, 1, 0, 0]);
        check(&seen(YES, NO), [1, 0, 0, 0]);
        // Without a start in between it may still be done.
        let uses = [polish(Act::Use, 1, 30, YES), polish(Act::Use, 1, 40, NO)];
        check(&[&open[..], &uses].concat(), [0; 4]);
    }
}

#[test]
fn a_session_comes_from_a_login() {
    check(&[polish(Act::Forgery, 0, 0, NO)], [0; 4]);
    check(&[polish(Act::Forgery, 0, 0, YES)], [0, 0, 1, 0]);
    let name = Wire::Polish.name();
    let login = |session, answer| polish(Act::Login, session, 0, answer);
    check(&[login(1, YES), listed(name)], [0; 4]);
    check(&[login(1, YES), listed(name), listed(name)], [0, 0, 1, 0]);
    check(&[login(1, YES), login(0, None), listed(name), listed(name)], [0; 4]);
    check(&[login(1, YES), login(2, YES), listed(name)], [1, 0, 0, 0]);
    check(&[login(1, YES), polish(Act::Logout, 1, 5, YES), listed(name)], [0, 0, 1, 0]);
}

#[test]
fn a_login_on_the_1010_wire_takes_the_one_before_over() {
    let cookie = |act, session, sent, answer| did(Wire::Cookie, act, session, sent, answer);
    let after = |second: Option<Verdict>, seen: Option<Verdict>| {
        let number = if second == YES { 2 } else { 0 };
        [
            cookie(Act::Login, 1, 0, YES),
            cookie(Act::Login, number, 10, second),
            Line::Started { at: 15 },
            cookie(Act::Use, 1, 20, seen),
        ]
    };
    check(&after(YES, NO), [0; 4]);
    check(&after(YES, YES), [0, 1, 0, 0]);
    check(&after(None, YES), [0; 4]);
    check(&after(None, NO), [0; 4]);
    // Of two at once either may have won.
    let at_once = |first, second| {
        [
            cookie(Act::Login, 1, 10, YES),
            cookie(Act::Login, 2, 10, YES),
            cookie(Act::Use, 1, 20, first),
            cookie(Act::Use, 2, 20, second),
        ]
    };
    check(&at_once(YES, NO), [0; 4]);
    check(&at_once(NO, YES), [0; 4]);
}

#[test]
fn an_acknowledged_renewal_must_last() {
    let renewed = [
        valid(polish(Act::Login, 1, 0, YES), "tomorrow"),
        valid(polish(Act::Renewal, 1, 10, YES), "next month"),
    ];
    let then = |until| [&renewed[..], &[valid(polish(Act::Use, 1, 20, YES), until)]].concat();
    check(&then("next month"), [0; 4]);
    check(&then("tomorrow"), [1, 0, 0, 0]);
}

#[test]
fn what_no_wire_says_is_odd() {
    check(&[polish(Act::Login, 0, 0, NO)], [0, 0, 0, 1]);
    check(&[polish(Act::Login, 0, 0, Some(Verdict::Odd("500".to_owned())))], [0, 0, 0, 1]);
}

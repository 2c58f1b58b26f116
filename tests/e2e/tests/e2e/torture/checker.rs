//! The checker itself must find every kind of planted fault and accept every legal outcome.

use crate::harness::history::{Action, HistoryEvent, HistoryReport, check_history};
use crate::harness::{Verdict, Wire};

/// A log line of one request on this wire, from `sent` to one microsecond later.
fn operation(
    wire: Wire,
    act: Action,
    session: usize,
    sent: u64,
    answer: Option<Verdict>,
) -> HistoryEvent {
    HistoryEvent::Operation {
        user: "u".to_owned(),
        wire,
        act,
        session: (act != Action::Forgery && session > 0).then_some(session),
        sent,
        back: sent + 1,
        answer,
        valid: None,
    }
}

/// Asserts the counts of lost, resurrected, invented and odd findings.
#[track_caller]
fn check(lines: &[HistoryEvent], found: [usize; 4]) {
    let HistoryReport { lost, resurrected, invented, unexpected: odd, .. } = check_history(lines);
    let all = [lost, resurrected, invented, odd];
    assert_eq!(all.each_ref().map(Vec::len), found, "{all:?}");
}

fn polish(act: Action, session: usize, sent: u64, answer: Option<Verdict>) -> HistoryEvent {
    operation(Wire::Polish, act, session, sent, answer)
}

fn valid(line: HistoryEvent, until: &str) -> HistoryEvent {
    let HistoryEvent::Operation { user, wire, act, session, sent, back, answer, .. } = line else {
        return line;
    };
    HistoryEvent::Operation {
        user,
        wire,
        act,
        session,
        sent,
        back,
        answer,
        valid: Some(until.to_owned()),
    }
}

fn listed(dialect: &str) -> HistoryEvent {
    HistoryEvent::Listed { user: "u".to_owned(), dialect: dialect.to_owned() }
}

const ACCEPTED: Option<Verdict> = Some(Verdict::Accepted);
const REFUSED: Option<Verdict> = Some(Verdict::Refused);
const UNAVAILABLE: Option<Verdict> = Some(Verdict::Unavailable);

#[test]
fn an_acknowledged_login_must_last() {
    let login = || polish(Action::Login, 1, 0, ACCEPTED);
    check(&[login(), polish(Action::Use, 1, 5, ACCEPTED)], [0; 4]);
    check(
        &[login(), polish(Action::Use, 1, 5, UNAVAILABLE), polish(Action::Use, 1, 9, None)],
        [0; 4],
    );
    check(&[login(), polish(Action::Use, 1, 5, REFUSED)], [1, 0, 0, 0]);
    check(&[login(), polish(Action::Renewal, 1, 5, REFUSED)], [1, 0, 0, 0]);
    check(
        &[login(), HistoryEvent::Started { at: 3 }, polish(Action::Use, 1, 5, REFUSED)],
        [1, 0, 0, 0],
    );
    check(
        &[login(), polish(Action::Use, 1, 5, REFUSED), polish(Action::Use, 1, 9, ACCEPTED)],
        [1, 1, 0, 0],
    );
}

#[test]
fn an_acknowledged_logout_must_last() {
    let ended = [polish(Action::Login, 1, 0, ACCEPTED), polish(Action::Logout, 1, 10, ACCEPTED)];
    let then = |sent, answer| [&ended[..], &[polish(Action::Use, 1, sent, answer)]].concat();
    check(&then(20, REFUSED), [0; 4]);
    check(&then(20, ACCEPTED), [0, 1, 0, 0]);
    // While the logout is in progress both answers are right, afterwards only one.
    check(&then(10, ACCEPTED), [0; 4]);
    check(&then(10, REFUSED), [0; 4]);
    check(&then(11, ACCEPTED), [0; 4]);
    check(&then(12, ACCEPTED), [0, 1, 0, 0]);
    check(&then(5, REFUSED), [1, 1, 0, 0]);
}

#[test]
fn an_unanswered_change_may_have_either_outcome_until_it_is_observed() {
    for answer in [None, UNAVAILABLE] {
        let open = [polish(Action::Login, 1, 0, ACCEPTED), polish(Action::Logout, 1, 10, answer)];
        let start = [HistoryEvent::Started { at: 20 }];
        let seen = |first: Option<Verdict>, second: Option<Verdict>| {
            let uses = [polish(Action::Use, 1, 30, first), polish(Action::Use, 1, 40, second)];
            [&open[..], &start, &uses].concat()
        };
        check(&seen(ACCEPTED, ACCEPTED), [0; 4]);
        check(&seen(REFUSED, REFUSED), [0; 4]);
        check(&seen(REFUSED, ACCEPTED), [0, 1, 0, 0]);
        check(&seen(ACCEPTED, REFUSED), [1, 0, 0, 0]);
        // Without a restart in between, the logout may still take effect.
        let uses = [polish(Action::Use, 1, 30, ACCEPTED), polish(Action::Use, 1, 40, REFUSED)];
        check(&[&open[..], &uses].concat(), [0; 4]);
    }
}

#[test]
fn a_session_comes_from_a_login() {
    check(&[polish(Action::Forgery, 0, 0, REFUSED)], [0; 4]);
    check(&[polish(Action::Forgery, 0, 0, ACCEPTED)], [0, 0, 1, 0]);
    let name = Wire::Polish.name();
    let login = |session, answer| polish(Action::Login, session, 0, answer);
    check(&[login(1, ACCEPTED), listed(name)], [0; 4]);
    check(&[login(1, ACCEPTED), listed(name), listed(name)], [0, 0, 1, 0]);
    check(&[login(1, ACCEPTED), login(0, None), listed(name), listed(name)], [0; 4]);
    check(&[login(1, ACCEPTED), login(2, ACCEPTED), listed(name)], [1, 0, 0, 0]);
    check(
        &[login(1, ACCEPTED), polish(Action::Logout, 1, 5, ACCEPTED), listed(name)],
        [0, 0, 1, 0],
    );
}

#[test]
fn a_login_on_the_1010_wire_takes_the_one_before_over() {
    let cookie = |act, session, sent, answer| operation(Wire::Cookie, act, session, sent, answer);
    let after = |second: Option<Verdict>, seen: Option<Verdict>| {
        let number = if second == ACCEPTED { 2 } else { 0 };
        [
            cookie(Action::Login, 1, 0, ACCEPTED),
            cookie(Action::Login, number, 10, second),
            HistoryEvent::Started { at: 15 },
            cookie(Action::Use, 1, 20, seen),
        ]
    };
    check(&after(ACCEPTED, REFUSED), [0; 4]);
    check(&after(ACCEPTED, ACCEPTED), [0, 1, 0, 0]);
    check(&after(None, ACCEPTED), [0; 4]);
    check(&after(None, REFUSED), [0; 4]);
    // Of two concurrent logins either may have won.
    let at_once = |first, second| {
        [
            cookie(Action::Login, 1, 10, ACCEPTED),
            cookie(Action::Login, 2, 10, ACCEPTED),
            cookie(Action::Use, 1, 20, first),
            cookie(Action::Use, 2, 20, second),
        ]
    };
    check(&at_once(ACCEPTED, REFUSED), [0; 4]);
    check(&at_once(REFUSED, ACCEPTED), [0; 4]);
}

#[test]
fn an_acknowledged_renewal_must_last() {
    let renewed = [
        valid(polish(Action::Login, 1, 0, ACCEPTED), "tomorrow"),
        valid(polish(Action::Renewal, 1, 10, ACCEPTED), "next month"),
    ];
    let then =
        |until| [&renewed[..], &[valid(polish(Action::Use, 1, 20, ACCEPTED), until)]].concat();
    check(&then("next month"), [0; 4]);
    check(&then("tomorrow"), [1, 0, 0, 0]);
}

#[test]
fn an_undocumented_answer_is_reported_as_unexpected() {
    check(&[polish(Action::Login, 0, 0, REFUSED)], [0, 0, 0, 1]);
    check(
        &[polish(Action::Login, 0, 0, Some(Verdict::Unexpected("500".to_owned())))],
        [0, 0, 0, 1],
    );
}

//! Claims about uses that are not written yet.

use parlance_core::Session;
use parlance_core::ports::Touch;

use super::{at, session, touch};
use crate::touches::{Mark, Touches};

/// What a query that began at `mark`, and found session 1 as it was opened, makes of it.
fn seen(touches: &Touches, mark: Mark) -> Option<Session> {
    let mut found = [session(1)];
    let [session] = if touches.overlay(mark, found.iter_mut()) { found } else { return None };
    Some(session)
}

#[track_caller]
fn check(touches: &Touches, mark: Mark, last_used: Option<i64>) {
    let seen = seen(touches, mark).unwrap();
    assert_eq!(seen.last_used, last_used.map(at));
    assert_eq!(seen.expires, Some(at(last_used.map_or(1000, |moment| moment + 1000))));
}

#[test]
fn a_touch_is_seen_while_one_flush_passes_under_a_query() {
    let touches = Touches::default();
    touches.note(touch(1, 10));
    let mark = touches.mark();
    check(&touches, mark, Some(10));
    assert_eq!(touches.begin(), [session(1).id]);
    check(&touches, mark, Some(10));
    check(&touches, touches.mark(), Some(10));
}

#[test]
fn a_touch_that_was_leaving_when_a_query_began_is_seen_through_the_next_flush() {
    let touches = Touches::default();
    touches.note(touch(1, 10));
    touches.begin();
    let mark = touches.mark();
    touches.note(touch(2, 20));
    touches.begin();
    check(&touches, mark, Some(10));
}

#[test]
fn a_query_under_which_two_flushes_began_is_made_again() {
    let touches = Touches::default();
    touches.note(touch(1, 10));
    touches.begin();
    let mark = touches.mark();
    touches.begin();
    touches.begin();
    assert_eq!(seen(&touches, mark), None);
    check(&touches, touches.mark(), None);
}

#[test]
fn idle_flushes_move_nothing() {
    let touches = Touches::default();
    let mark = touches.mark();
    (0..5).for_each(|_| assert_eq!(touches.begin(), []));
    check(&touches, mark, None);
}

#[test]
fn a_failed_flush_is_written_by_the_next_one_with_what_came_since() {
    let touches = Touches::default();
    touches.note(touch(1, 10));
    touches.note(touch(2, 15));
    touches.begin();
    touches.note(Touch { expires: Some(at(1005)), ..touch(1, 20) });
    touches.failed();
    let ids = touches.begin();
    let merged = Touch { id: session(1).id, used: at(20), expires: Some(at(1010)) };
    assert_eq!(touches.leaving(&ids), [merged, touch(2, 15)]);
}

#[test]
fn what_a_change_has_counted_in_is_written_no_more() {
    let touches = Touches::default();
    touches.note(touch(1, 10));
    touches.note(touch(2, 10));
    let mark = touches.mark();
    let ids = touches.begin();
    touches.consumed(touches.of(session(1).id).unwrap());
    assert_eq!(touches.leaving(&ids), [touch(2, 10)]);
    assert_eq!(
        seen(&touches, mark),
        None,
        "the query may have read the row as it was before the change"
    );
    check(&touches, touches.mark(), None);
}

#[test]
fn a_use_after_a_change_still_counts() {
    let touches = Touches::default();
    touches.note(touch(1, 10));
    let counted_in = touches.of(session(1).id).unwrap();
    touches.note(touch(1, 20));
    touches.consumed(counted_in);
    check(&touches, touches.mark(), Some(20));
}

#[test]
fn an_ended_session_is_not_touched() {
    let touches = Touches::default();
    touches.note(touch(1, 10));
    let mut ended = Session { revoked: Some(at(5)), ..session(1) };
    touches.count_into(&mut ended);
    assert_eq!(ended, Session { revoked: Some(at(5)), ..session(1) });
}

//! Tests of write-behind.

use parlance_core::Session;
use parlance_core::ports::Touch;

use super::{at, session, touch};
use crate::touches::{Generation, Touches};

/// The result of a query that began at `generation` and found session 1 as first opened.
fn overlaid(touches: &Touches, generation: Generation) -> Option<Session> {
    let mut found = [session(1)];
    let [session] =
        if touches.overlay(generation, found.iter_mut()) { found } else { return None };
    Some(session)
}

#[track_caller]
fn check(touches: &Touches, generation: Generation, last_used: Option<i64>) {
    let seen = overlaid(touches, generation).unwrap();
    assert_eq!(seen.last_used, last_used.map(at));
    assert_eq!(seen.expires, Some(at(last_used.map_or(1000, |moment| moment + 1000))));
}

#[test]
fn a_touch_is_seen_if_one_flush_begins_during_a_query() {
    let touches = Touches::default();
    touches.record(touch(1, 10));
    let generation = touches.generation();
    check(&touches, generation, Some(10));
    assert_eq!(touches.begin_flush(), [session(1).id]);
    check(&touches, generation, Some(10));
    check(&touches, touches.generation(), Some(10));
}

#[test]
fn a_touch_being_flushed_when_a_query_began_is_seen_through_the_next_flush() {
    let touches = Touches::default();
    touches.record(touch(1, 10));
    touches.begin_flush();
    let generation = touches.generation();
    touches.record(touch(2, 20));
    touches.begin_flush();
    check(&touches, generation, Some(10));
}

#[test]
fn a_query_during_which_two_flushes_begin_is_repeated() {
    let touches = Touches::default();
    touches.record(touch(1, 10));
    touches.begin_flush();
    let generation = touches.generation();
    touches.begin_flush();
    touches.begin_flush();
    assert_eq!(overlaid(&touches, generation), None);
    check(&touches, touches.generation(), None);
}

#[test]
fn empty_flushes_start_no_generation() {
    let touches = Touches::default();
    let generation = touches.generation();
    (0..5).for_each(|_| assert_eq!(touches.begin_flush(), []));
    check(&touches, generation, None);
}

#[test]
fn a_failed_flush_is_written_by_the_next_one_with_what_came_since() {
    let touches = Touches::default();
    touches.record(touch(1, 10));
    touches.record(touch(2, 15));
    touches.begin_flush();
    touches.record(Touch { expires: Some(at(1005)), ..touch(1, 20) });
    touches.flush_failed();
    let ids = touches.begin_flush();
    let merged = Touch { id: session(1).id, used: at(20), expires: Some(at(1010)) };
    assert_eq!(touches.flushing(&ids), [merged, touch(2, 15)]);
}

#[test]
fn a_touch_counted_in_by_a_change_is_not_written() {
    let touches = Touches::default();
    touches.record(touch(1, 10));
    touches.record(touch(2, 10));
    let generation = touches.generation();
    let ids = touches.begin_flush();
    touches.mark_consumed(touches.get(session(1).id).unwrap());
    assert_eq!(touches.flushing(&ids), [touch(2, 10)]);
    assert_eq!(
        overlaid(&touches, generation),
        None,
        "the query may have read the row as it was before the change"
    );
    check(&touches, touches.generation(), None);
}

#[test]
fn a_use_after_a_change_still_counts() {
    let touches = Touches::default();
    touches.record(touch(1, 10));
    let counted_in = touches.get(session(1).id).unwrap();
    touches.record(touch(1, 20));
    touches.mark_consumed(counted_in);
    check(&touches, touches.generation(), Some(20));
}

#[test]
fn an_ended_session_is_not_touched() {
    let touches = Touches::default();
    touches.record(touch(1, 10));
    let mut ended = Session { revoked: Some(at(5)), ..session(1) };
    touches.apply_to(&mut ended);
    assert_eq!(ended, Session { revoked: Some(at(5)), ..session(1) });
}

//! Claims about the write-behind of touches: a touch slides an expiry at once and is written later.

use std::sync::Arc;

use crate::ports::{Applied, Change, Store, Touch};
use crate::{ConcurrentSessions, Session};

use super::harness::{StoreHarness, at, digest, session, touch};

/// A session of user 1 touched until moment 3000, while the written row may still say 1000.
fn touched(world: StoreHarness<'_>) -> Session {
    let user = world.user(1, "ann");
    let opened = session(&user, 1);
    world.open(&opened);
    world.touch(touch(&opened, 900, 3000));
    opened
}

pub(super) fn a_touch_counts_at_once_and_after_its_flush(store: &Arc<dyn Store>) {
    let world = StoreHarness(store);
    let opened = touched(world);
    let expected = Session { last_used: Some(at(900)), expires: Some(at(3000)), ..opened.clone() };
    assert_eq!(world.stored_session(&opened), expected);
    world.flush();
    assert_eq!(world.stored_session(&opened), expected);
    world.flush();
    assert_eq!(world.stored_session(&opened), expected);
}

pub(super) fn touches_merge_as_the_later_of_two(store: &Arc<dyn Store>) {
    let world = StoreHarness(store);
    let user = world.user(1, "ann");
    let steps = [
        (900, 3000, 900, 3000),
        (800, 3500, 900, 3500),
        (950, 2000, 950, 3500),
        (940, 2500, 950, 3500),
    ];
    for (number, flush_between) in [(1, false), (2, true)] {
        let opened = session(&user, number);
        world.open(&opened);
        for (used, expires, last_used, until) in steps {
            world.touch(touch(&opened, used, expires));
            if flush_between {
                world.flush();
            }
            let found = world.stored_session(&opened);
            assert_eq!((found.last_used, found.expires), (Some(at(last_used)), Some(at(until))));
        }
    }
}

pub(super) fn a_touch_never_moves_a_time_back(store: &Arc<dyn Store>) {
    let world = StoreHarness(store);
    let user = world.user(1, "ann");
    let opened = Session { last_used: Some(at(50)), ..session(&user, 1) };
    world.open(&opened);
    world.touch(touch(&opened, 40, 900));
    assert_eq!(world.stored_session(&opened), opened);
    world.flush();
    assert_eq!(world.stored_session(&opened), opened);
}

pub(super) fn a_touch_gives_no_expiry_to_an_endless_session(store: &Arc<dyn Store>) {
    let world = StoreHarness(store);
    let user = world.user(1, "ann");
    let endless = Session { expires: None, ..session(&user, 1) };
    let ending = session(&user, 2);
    [&endless, &ending].into_iter().for_each(|session| world.open(session));
    world.touch(touch(&endless, 10, 900));
    world.touch(Touch { id: ending.id, used: at(10), expires: None });
    for _ in 0..2 {
        for session in [&endless, &ending] {
            let expected = Session { last_used: Some(at(10)), ..session.clone() };
            assert_eq!(world.stored_session(session), expected);
        }
        world.flush();
    }
}

pub(super) fn a_touch_never_revives_a_session(store: &Arc<dyn Store>) {
    let world = StoreHarness(store);
    let opened = touched(world);
    world.apply(Change::EndSession { id: opened.id, now: at(950) });
    let expected = world.stored_session(&opened);
    assert_eq!(expected.revoked, Some(at(950)));
    world.touch(touch(&opened, 960, 9000));
    world.flush();
    let found = world.stored_session(&opened);
    assert_eq!(found.revoked, expected.revoked);
    assert!(found.expires <= Some(at(3000)), "{found:?}");
    assert!(!world.is_live(opened.digest, 970));
}

pub(super) fn a_touch_does_not_outlive_a_renewal(store: &Arc<dyn Store>) {
    let world = StoreHarness(store);
    let opened = touched(world);
    let renewal = Change::RenewSession { id: opened.id, now: at(950), expires: Some(at(2000)) };
    assert_eq!(world.apply(renewal), Applied::Done);
    let expected =
        Session { last_used: Some(at(950)), expires: Some(at(2000)), version: 1, ..opened.clone() };
    assert_eq!(world.stored_session(&opened), expected);
    world.flush();
    assert_eq!(world.stored_session(&opened), expected);
    world.touch(touch(&opened, 960, 2100));
    assert_eq!(world.stored_session(&opened).expires, Some(at(2100)));
    world.flush();
    assert_eq!(world.stored_session(&opened).expires, Some(at(2100)));
}

pub(super) fn a_touch_of_an_unknown_session_is_ignored(store: &Arc<dyn Store>) {
    let world = StoreHarness(store);
    let user = world.user(1, "ann");
    let opened = session(&user, 1);
    world.open(&opened);
    world.touch(touch(&session(&user, 2), 10, 9000));
    world.flush();
    assert_eq!(world.find(digest(2)), None);
    assert_eq!(world.stored_session(&opened), opened);
}

pub(super) fn a_session_kept_live_by_a_touch_is_renewed(store: &Arc<dyn Store>) {
    let world = StoreHarness(store);
    let opened = touched(world);
    let renewal =
        |now| Change::RenewSession { id: opened.id, now: at(now), expires: Some(at(now + 100)) };
    assert_eq!(world.apply(renewal(3000)), Applied::Refused);
    assert_eq!(world.apply(renewal(2999)), Applied::Done);
}

pub(super) fn a_session_kept_live_by_a_touch_is_taken_over(store: &Arc<dyn Store>) {
    let world = StoreHarness(store);
    let opened = touched(world);
    let user = world.find(opened.digest).map(|(_, user)| user);
    let Some(user) = user else { return assert!(user.is_some()) };
    let late = Session { created: at(2000), expires: Some(at(2500)), ..session(&user, 2) };
    let possessed = world.login(&late, ConcurrentSessions::TakeOver);
    assert_eq!((possessed.id, possessed.expires), (opened.id, Some(at(2500))));
    world.flush();
    assert_eq!(world.stored_session(&late), possessed);

    let too_late = Session { created: at(2500), ..session(&user, 3) };
    assert_eq!(world.login(&too_late, ConcurrentSessions::TakeOver).id, too_late.id);
}

pub(super) fn a_session_kept_live_by_a_touch_is_ended_by_end_others(store: &Arc<dyn Store>) {
    let world = StoreHarness(store);
    let opened = touched(world);
    let user = world.find(opened.digest).map(|(_, user)| user);
    let Some(user) = user else { return assert!(user.is_some()) };
    let new = Session { created: at(2000), expires: Some(at(2500)), ..session(&user, 2) };
    world.login(&new, ConcurrentSessions::EndOthers);
    assert_eq!(world.stored_session(&opened).revoked, Some(at(2000)));
}

pub(super) fn a_session_kept_live_by_a_touch_is_revoked(store: &Arc<dyn Store>) {
    let world = StoreHarness(store);
    let opened = touched(world);
    assert_eq!(world.apply(Change::RevokeSession(opened.id, at(3000))), Applied::Refused);
    assert_eq!(world.apply(Change::RevokeSession(opened.id, at(2000))), Applied::Done);
    world.flush();
    assert!(!world.is_live(opened.digest, 2000));
}

pub(super) fn a_session_kept_live_by_a_touch_is_neither_deleted_nor_purged(store: &Arc<dyn Store>) {
    let world = StoreHarness(store);
    let opened = touched(world);
    for now in [1000, 2999] {
        let forget = Change::DeleteDeadSession { id: opened.id, now: at(now) };
        assert_eq!(world.apply(forget), Applied::Refused);
    }
    for before in [1001, 3000] {
        let purge = Change::PurgeSessions { before: at(before), limit: 10 };
        assert_eq!(world.apply(purge), Applied::Rows(0));
    }
    assert!(world.is_live(opened.digest, 2999));
    assert_eq!(
        world.apply(Change::DeleteDeadSession { id: opened.id, now: at(3000) }),
        Applied::Done
    );
    world.flush();
    assert_eq!(world.find(opened.digest), None);
}

pub(super) fn a_taken_over_session_is_touched_under_its_new_secret(store: &Arc<dyn Store>) {
    let world = StoreHarness(store);
    let opened = touched(world);
    let user = world.find(opened.digest).map(|(_, user)| user);
    let Some(user) = user else { return assert!(user.is_some()) };
    let new = Session { created: at(1500), expires: Some(at(2500)), ..session(&user, 2) };
    let possessed = world.login(&new, ConcurrentSessions::TakeOver);
    world.touch(touch(&possessed, 1600, 4000));
    for _ in 0..2 {
        let found = world.stored_session(&new);
        assert_eq!((found.last_used, found.expires), (Some(at(1600)), Some(at(4000))));
        assert_eq!(world.find(opened.digest), None);
        world.flush();
    }
}

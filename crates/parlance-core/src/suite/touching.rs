//! Claims about uses that slide an expiry: they are written behind, and count at once.

use std::sync::Arc;

use crate::ports::{Applied, Change, Store, Touch};
use crate::{Rivals, Session};

use super::world::{World, at, digest, session, touch};

/// A session of user 1 that has been touched until moment 3000, while what is written may still say 1000.
fn touched(world: World<'_>) -> Session {
    let user = world.user(1, "ann");
    let opened = session(&user, 1);
    world.open(&opened);
    world.touch(touch(&opened, 900, 3000));
    opened
}

pub(super) fn a_touch_counts_at_once_and_after_its_flush(store: &Arc<dyn Store>) {
    let world = World(store);
    let opened = touched(world);
    let expected = Session { last_used: Some(at(900)), expires: Some(at(3000)), ..opened.clone() };
    assert_eq!(world.session(&opened), expected);
    world.flush();
    assert_eq!(world.session(&opened), expected);
    world.flush();
    assert_eq!(world.session(&opened), expected);
}

pub(super) fn touches_merge_as_the_later_of_two(store: &Arc<dyn Store>) {
    let world = World(store);
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
            let found = world.session(&opened);
            assert_eq!((found.last_used, found.expires), (Some(at(last_used)), Some(at(until))));
        }
    }
}

pub(super) fn a_touch_moves_nothing_back(store: &Arc<dyn Store>) {
    let world = World(store);
    let user = world.user(1, "ann");
    let opened = Session { last_used: Some(at(50)), ..session(&user, 1) };
    world.open(&opened);
    world.touch(touch(&opened, 40, 900));
    assert_eq!(world.session(&opened), opened);
    world.flush();
    assert_eq!(world.session(&opened), opened);
}

pub(super) fn a_touch_gives_no_expiry_to_what_has_none(store: &Arc<dyn Store>) {
    let world = World(store);
    let user = world.user(1, "ann");
    let endless = Session { expires: None, ..session(&user, 1) };
    let ending = session(&user, 2);
    [&endless, &ending].into_iter().for_each(|session| world.open(session));
    world.touch(touch(&endless, 10, 900));
    world.touch(Touch { id: ending.id, used: at(10), expires: None });
    for _ in 0..2 {
        for session in [&endless, &ending] {
            let expected = Session { last_used: Some(at(10)), ..session.clone() };
            assert_eq!(world.session(session), expected);
        }
        world.flush();
    }
}

pub(super) fn a_touch_revives_nothing(store: &Arc<dyn Store>) {
    let world = World(store);
    let opened = touched(world);
    world.apply(Change::Close { id: opened.id, now: at(950) });
    let expected = world.session(&opened);
    assert_eq!(expected.revoked, Some(at(950)));
    world.touch(touch(&opened, 960, 9000));
    world.flush();
    let found = world.session(&opened);
    assert_eq!(found.revoked, expected.revoked);
    assert!(found.expires <= Some(at(3000)), "{found:?}");
    assert!(!world.lives(opened.digest, 970));
}

pub(super) fn a_touch_does_not_outlive_a_renewal(store: &Arc<dyn Store>) {
    let world = World(store);
    let opened = touched(world);
    let renewal = Change::Renew { id: opened.id, now: at(950), expires: Some(at(2000)) };
    assert_eq!(world.apply(renewal), Applied::Done);
    let expected =
        Session { last_used: Some(at(950)), expires: Some(at(2000)), version: 1, ..opened.clone() };
    assert_eq!(world.session(&opened), expected);
    world.flush();
    assert_eq!(world.session(&opened), expected);
    world.touch(touch(&opened, 960, 2100));
    assert_eq!(world.session(&opened).expires, Some(at(2100)));
    world.flush();
    assert_eq!(world.session(&opened).expires, Some(at(2100)));
}

pub(super) fn a_touch_of_nothing_is_nothing(store: &Arc<dyn Store>) {
    let world = World(store);
    let user = world.user(1, "ann");
    let opened = session(&user, 1);
    world.open(&opened);
    world.touch(touch(&session(&user, 2), 10, 9000));
    world.flush();
    assert_eq!(world.found(digest(2)), None);
    assert_eq!(world.session(&opened), opened);
}

pub(super) fn what_lives_by_its_touch_is_renewed(store: &Arc<dyn Store>) {
    let world = World(store);
    let opened = touched(world);
    let renewal = |now| Change::Renew { id: opened.id, now: at(now), expires: Some(at(now + 100)) };
    assert_eq!(world.apply(renewal(3000)), Applied::Refused);
    assert_eq!(world.apply(renewal(2999)), Applied::Done);
}

pub(super) fn what_lives_by_its_touch_is_possessed(store: &Arc<dyn Store>) {
    let world = World(store);
    let opened = touched(world);
    let user = world.found(opened.digest).map(|(_, user)| user);
    let Some(user) = user else { return assert!(user.is_some()) };
    let late = Session { created: at(2000), expires: Some(at(2500)), ..session(&user, 2) };
    let possessed = world.login(&late, Rivals::Possess);
    assert_eq!((possessed.id, possessed.expires), (opened.id, Some(at(2500))));
    world.flush();
    assert_eq!(world.session(&late), possessed);

    let too_late = Session { created: at(2500), ..session(&user, 3) };
    assert_eq!(world.login(&too_late, Rivals::Possess).id, too_late.id);
}

pub(super) fn what_lives_by_its_touch_is_killed(store: &Arc<dyn Store>) {
    let world = World(store);
    let opened = touched(world);
    let user = world.found(opened.digest).map(|(_, user)| user);
    let Some(user) = user else { return assert!(user.is_some()) };
    let new = Session { created: at(2000), expires: Some(at(2500)), ..session(&user, 2) };
    world.login(&new, Rivals::Kill);
    assert_eq!(world.session(&opened).revoked, Some(at(2000)));
}

pub(super) fn what_lives_by_its_touch_is_revoked(store: &Arc<dyn Store>) {
    let world = World(store);
    let opened = touched(world);
    assert_eq!(world.apply(Change::RevokeSession(opened.id, at(3000))), Applied::Refused);
    assert_eq!(world.apply(Change::RevokeSession(opened.id, at(2000))), Applied::Done);
    world.flush();
    assert!(!world.lives(opened.digest, 2000));
}

pub(super) fn what_lives_by_its_touch_is_neither_forgotten_nor_purged(store: &Arc<dyn Store>) {
    let world = World(store);
    let opened = touched(world);
    for now in [1000, 2999] {
        let forget = Change::Forget { id: opened.id, now: at(now) };
        assert_eq!(world.apply(forget), Applied::Refused);
    }
    for before in [1001, 3000] {
        let purge = Change::Purge { before: at(before), limit: 10 };
        assert_eq!(world.apply(purge), Applied::Rows(0));
    }
    assert!(world.lives(opened.digest, 2999));
    assert_eq!(world.apply(Change::Forget { id: opened.id, now: at(3000) }), Applied::Done);
    world.flush();
    assert_eq!(world.found(opened.digest), None);
}

pub(super) fn a_possessed_session_is_touched_under_its_new_secret(store: &Arc<dyn Store>) {
    let world = World(store);
    let opened = touched(world);
    let user = world.found(opened.digest).map(|(_, user)| user);
    let Some(user) = user else { return assert!(user.is_some()) };
    let new = Session { created: at(1500), expires: Some(at(2500)), ..session(&user, 2) };
    let possessed = world.login(&new, Rivals::Possess);
    world.touch(touch(&possessed, 1600, 4000));
    for _ in 0..2 {
        let found = world.session(&new);
        assert_eq!((found.last_used, found.expires), (Some(at(1600)), Some(at(4000))));
        assert_eq!(world.found(opened.digest), None);
        world.flush();
    }
}

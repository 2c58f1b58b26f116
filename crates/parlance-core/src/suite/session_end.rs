//! Claims about the renewal, the revocation and the end of sessions.

use std::sync::Arc;

use crate::ports::{Applied, Change, Store};
use crate::{Session, User};

use super::harness::{StoreHarness, at, digest, session};

/// One session for each way to be dead at moment 500, and one live session.
fn dead_and_live_sessions(world: StoreHarness<'_>) -> (Vec<Session>, Session) {
    let ann = world.user(1, "ann");
    let expired = Session { expires: Some(at(500)), ..session(&ann, 1) };
    let ended = Session { hard_end: Some(at(500)), ..session(&ann, 2) };
    let closed = session(&ann, 3);
    let off = Session { enabled: false, ..session(&ann, 4) };
    let living = Session { expires: Some(at(501)), ..session(&ann, 5) };
    for session in [&expired, &ended, &closed, &off, &living] {
        world.open(session);
    }
    world.apply(Change::EndSession { id: closed.id, now: at(400) });

    let (bob, eve) = (world.user(2, "bob"), world.user(3, "eve"));
    let (of_disabled, of_changed) = (session(&bob, 6), session(&eve, 7));
    [&of_disabled, &of_changed].into_iter().for_each(|session| world.open(session));
    world.apply(Change::SetEnabled(bob.canonical, false));
    world.apply(Change::RevokeUser(eve.canonical));
    (vec![expired, ended, closed, off, of_disabled, of_changed], living)
}

pub(super) fn a_renewal_sets_the_expiry_either_way(store: &Arc<dyn Store>) {
    let world = StoreHarness(store);
    let user = world.user(1, "ann");
    let mut expected = session(&user, 1);
    world.open(&expected);
    for (now, expires) in [(10, Some(5000)), (20, Some(100)), (30, None), (40, Some(50))] {
        let (now, expires) = (at(now), expires.map(at));
        assert_eq!(
            world.apply(Change::RenewSession { id: expected.id, now, expires }),
            Applied::Done
        );
        expected =
            Session { last_used: Some(now), expires, version: expected.version + 1, ..expected };
        assert_eq!(world.stored_session(&expected), expected);
    }
}

pub(super) fn a_dead_session_is_not_renewed(store: &Arc<dyn Store>) {
    let world = StoreHarness(store);
    let (dead, living) = dead_and_live_sessions(world);
    for session in dead {
        let before = world.find(session.digest);
        let renewal =
            Change::RenewSession { id: session.id, now: at(500), expires: Some(at(9000)) };
        assert_eq!(world.apply(renewal), Applied::Refused, "{session:?}");
        assert_eq!(world.find(session.digest), before);
    }
    let renewal = Change::RenewSession { id: living.id, now: at(500), expires: Some(at(9000)) };
    assert_eq!(world.apply(renewal), Applied::Done);
}

pub(super) fn a_session_is_ended_once(store: &Arc<dyn Store>) {
    let world = StoreHarness(store);
    let user = world.user(1, "ann");
    let (opened, other) = (session(&user, 1), session(&user, 2));
    [&opened, &other].into_iter().for_each(|session| world.open(session));
    assert_eq!(world.apply(Change::EndSession { id: opened.id, now: at(7) }), Applied::Done);
    let tombstone = Session { revoked: Some(at(7)), version: 1, ..opened.clone() };
    assert_eq!(world.stored_session(&opened), tombstone);
    assert_eq!(world.apply(Change::EndSession { id: opened.id, now: at(8) }), Applied::Refused);
    assert_eq!(world.stored_session(&opened), tombstone);
    assert_eq!(world.stored_session(&other), other);
    let unknown = session(&user, 3).id;
    assert_eq!(world.apply(Change::EndSession { id: unknown, now: at(8) }), Applied::Refused);
}

pub(super) fn an_expired_session_can_be_ended(store: &Arc<dyn Store>) {
    let world = StoreHarness(store);
    let user = world.user(1, "ann");
    let opened = session(&user, 1);
    world.open(&opened);
    assert_eq!(world.apply(Change::EndSession { id: opened.id, now: at(5000) }), Applied::Done);
}

pub(super) fn only_a_live_session_is_revoked(store: &Arc<dyn Store>) {
    let world = StoreHarness(store);
    let (dead, living) = dead_and_live_sessions(world);
    for session in dead {
        let before = world.find(session.digest);
        let answer = world.apply(Change::RevokeSession(session.id, at(500)));
        assert_eq!(answer, Applied::Refused, "{session:?}");
        assert_eq!(world.find(session.digest), before);
    }
    assert_eq!(world.apply(Change::RevokeSession(living.id, at(500))), Applied::Done);
    assert_eq!(world.stored_session(&living).revoked, Some(at(500)));
    assert_eq!(world.apply(Change::RevokeSession(living.id, at(500))), Applied::Refused);
}

pub(super) fn only_a_dead_session_is_deleted(store: &Arc<dyn Store>) {
    let world = StoreHarness(store);
    let (dead, living) = dead_and_live_sessions(world);
    for session in dead {
        let forget = Change::DeleteDeadSession { id: session.id, now: at(500) };
        assert_eq!(world.apply(forget.clone()), Applied::Done, "{session:?}");
        assert_eq!(world.find(session.digest), None);
        assert_eq!(world.apply(forget), Applied::Refused);
    }
    let forget = Change::DeleteDeadSession { id: living.id, now: at(500) };
    assert_eq!(world.apply(forget), Applied::Refused);
    assert_eq!(world.stored_session(&living), living);
}

/// Sessions that end at moments 100, 200 and so on, in each of the ways that record a moment; and one session without
/// an end.
fn sessions_by_end(world: StoreHarness<'_>, user: &User) -> Vec<(i64, Session)> {
    let mut dead = Vec::new();
    for (number, moment) in [(10, 100), (20, 200), (30, 300)] {
        let expired = Session { expires: Some(at(moment)), ..session(user, number) };
        let ended =
            Session { expires: None, hard_end: Some(at(moment)), ..session(user, number + 1) };
        let closed = Session { expires: None, ..session(user, number + 2) };
        for session in [&expired, &ended, &closed] {
            world.open(session);
        }
        world.apply(Change::EndSession { id: closed.id, now: at(moment) });
        dead.extend([(moment, expired), (moment, ended), (moment, closed)]);
    }
    let endless = Session { expires: None, ..session(user, 90) };
    world.open(&endless);
    dead.push((i64::MAX, endless));
    dead
}

pub(super) fn a_purge_drops_only_sessions_that_died_before_its_moment(store: &Arc<dyn Store>) {
    let world = StoreHarness(store);
    let user = world.user(1, "ann");
    let dead = sessions_by_end(world, &user);
    for (before, rows) in [(100, 0), (200, 3), (200, 0), (301, 6), (9000, 0)] {
        let answer = world.apply(Change::PurgeSessions { before: at(before), limit: 1000 });
        assert_eq!(answer, Applied::Rows(rows), "before {before}");
        for (died, session) in &dead {
            assert_eq!(world.find(session.digest).is_none(), *died < before, "{session:?}");
        }
    }
}

pub(super) fn a_purge_keeps_to_its_limit(store: &Arc<dyn Store>) {
    let world = StoreHarness(store);
    let user = world.user(1, "ann");
    sessions_by_end(world, &user);
    let purge = |limit| world.apply(Change::PurgeSessions { before: at(5000), limit });
    assert_eq!(purge(0), Applied::Rows(0));
    assert_eq!(
        [purge(4), purge(4), purge(4)],
        [Applied::Rows(4), Applied::Rows(4), Applied::Rows(1)]
    );
    assert!(world.is_live(digest(90), 0));
}

//! Claims about the session limit: how many sessions a user may have.

use std::sync::Arc;

use crate::ports::{Applied, Change, SessionQuery, Store};
use crate::{ConcurrentSessions, Session};

use super::harness::{StoreHarness, at, block_on, digest, session, touch};

/// A login of a user with `most` as the session limit.
pub(super) fn login_with_limit(session: &Session, most: u32) -> Change {
    let session = Box::new(session.clone());
    Change::OpenSession {
        session,
        concurrent_sessions: ConcurrentSessions::Allow,
        rehash: None,
        session_limit: Some(most),
        reservation: None,
    }
}

/// Logs in, and asserts which of the sessions 1 to 9 have rows afterwards.
#[track_caller]
fn check(world: StoreHarness<'_>, login: &Session, most: u32, left: &[u128]) {
    assert!(matches!(world.apply(login_with_limit(login, most)), Applied::Opened(_)));
    let rows: Vec<_> = (1..=9).filter(|number| world.find(digest(*number)).is_some()).collect();
    assert_eq!(rows, left);
}

pub(super) fn a_login_beyond_the_session_limit_drops_the_oldest(store: &Arc<dyn Store>) {
    let world = StoreHarness(store);
    let (ann, bob) = (world.user(1, "ann"), world.user(2, "bob"));
    let bobs = session(&bob, 9);
    world.open(&bobs);
    // The limit counts all dialects together. The oldest login goes first, in any order of the ids.
    let elsewhere = |session: Session| Session { dialect: "other-wire".to_owned(), ..session };
    let of = |number, moment| Session { created: at(moment), ..session(&ann, number) };
    check(world, &of(3, 10), 3, &[3, 9]);
    check(world, &elsewhere(of(2, 20)), 3, &[2, 3, 9]);
    check(world, &of(1, 30), 3, &[1, 2, 3, 9]);
    check(world, &of(4, 40), 3, &[1, 2, 4, 9]);
    check(world, &of(5, 50), 3, &[1, 4, 5, 9]);
    check(world, &of(6, 60), 1, &[6, 9]);
    assert!(world.is_live(digest(6), 60) && world.is_live(digest(9), 60));
}

pub(super) fn dead_sessions_are_dropped_before_the_oldest(store: &Arc<dyn Store>) {
    /// One minute after the expiry of the sessions that expire.
    const LATE: i64 = 60_100;
    let world = StoreHarness(store);
    let ann = world.user(1, "ann");
    world.open(&session(&ann, 6));
    world.apply(Change::RevokeUser(ann.canonical.clone()));
    let ann = world.stored_user(&ann);
    let of =
        |number, moment| Session { created: at(moment), expires: None, ..session(&ann, number) };
    let expired = Session { expires: Some(at(40)), ..of(2, 10) };
    let ended = Session { hard_end: Some(at(40)), ..of(3, 20) };
    let closed = of(4, 30);
    [&of(1, 0), &expired, &ended, &closed].into_iter().for_each(|session| world.open(session));
    world.apply(Change::EndSession { id: closed.id, now: at(35) });
    check(world, &of(5, LATE), 5, &[1, 2, 3, 4, 5]);
    check(world, &of(6, LATE), 5, &[1, 3, 4, 5, 6]);
    check(world, &of(7, LATE), 3, &[5, 6, 7]);
    check(world, &of(8, LATE), 3, &[6, 7, 8]);
}

pub(super) fn a_session_kept_live_by_a_touch_is_not_dropped_first(store: &Arc<dyn Store>) {
    let world = StoreHarness(store);
    let ann = world.user(1, "ann");
    let of = |number, moment| Session { created: at(moment), ..session(&ann, number) };
    let used = Session { expires: Some(at(100)), ..of(2, 20) };
    [&of(1, 10), &used].into_iter().for_each(|session| world.open(session));
    world.touch(touch(&used, 90, 500));
    check(world, &of(3, 200), 2, &[2, 3]);
    check(world, &of(4, 600), 2, &[3, 4]);
}

pub(super) fn a_login_within_the_session_limit_drops_nothing(store: &Arc<dyn Store>) {
    let world = StoreHarness(store);
    let ann = world.user(1, "ann");
    let closed = session(&ann, 1);
    world.open(&closed);
    world.apply(Change::EndSession { id: closed.id, now: at(1) });
    check(world, &session(&ann, 2), 2, &[1, 2]);
    // A refused login drops no session.
    let taken = Session { digest: digest(1), ..session(&ann, 3) };
    assert_eq!(world.apply(login_with_limit(&taken, 1)), Applied::Conflict);
    let refused = Session { epoch: 7, ..session(&ann, 3) };
    assert_eq!(world.apply(login_with_limit(&refused, 1)), Applied::Refused);
    assert!(world.find(digest(1)).is_some() && world.is_live(digest(2), 1));
}

pub(super) fn many_logins_of_one_user_stay_within_the_session_limit(store: &Arc<dyn Store>) {
    const LOGINS: u128 = 1001;
    const CAP: u32 = 50;
    let world = StoreHarness(store);
    let ann = world.user(1, "ann");
    let login = |number: u128| {
        let moment = at(i64::try_from(number).unwrap_or(i64::MAX));
        login_with_limit(&Session { created: moment, expires: None, ..session(&ann, number) }, CAP)
    };
    let numbers: Vec<_> = (1..=LOGINS).collect();
    // Many logins at once, as under load: a store may put them into one transaction.
    for numbers in numbers.chunks(500) {
        let logins: Vec<_> = numbers.iter().map(|number| store.apply(login(*number))).collect();
        assert!(logins.into_iter().all(|login| matches!(block_on(login), Applied::Opened(_))));
    }
    let newest = LOGINS + 1 - u128::from(CAP);
    let looks: Vec<_> = (1..=LOGINS).map(|number| store.session(digest(number))).collect();
    let left: Vec<_> =
        looks.into_iter().filter_map(block_on).map(|(session, _)| session.id).collect();
    let newest: Vec<_> = (newest..=LOGINS).map(|number| session(&ann, number).id).collect();
    assert_eq!(left, newest);
    assert_eq!(block_on(store.sessions(SessionQuery::live(at(1)))).len(), CAP as usize);
}

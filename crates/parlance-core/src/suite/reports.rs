//! Claims about pages, lists and counts.

use std::sync::Arc;

use crate::ports::{Change, Store};
use crate::{Session, User};

use super::world::{World, at, session, touch, wait};

pub(super) fn users_come_in_pages_by_canonical_name(store: &Arc<dyn Store>) {
    let world = World(store);
    assert_eq!((wait(store.users(0, 10)).total, wait(store.users(0, 10)).items), (0, Vec::new()));
    // The order is that of the bytes, whatever the language of the database's server.
    let names = ["-z", "10", "9", "_a", "a b", "a-b", "ab", "b", "z", "\u{e9}", "\u{65e5}\u{672c}"];
    let mut users: Vec<_> =
        (1..=11).rev().zip(names.into_iter().rev()).map(|(n, name)| world.user(n, name)).collect();
    users.reverse();
    for (offset, limit) in [(0, 100), (0, 4), (4, 4), (8, 4), (11, 4), (3, 0), (u64::MAX, 5)] {
        let page = wait(store.users(offset, limit));
        let skip = usize::try_from(offset).unwrap_or(usize::MAX);
        let expected: Vec<User> = users.iter().skip(skip).take(limit as usize).cloned().collect();
        assert_eq!((page.total, page.items), (11, expected), "{offset} {limit}");
    }
}

pub(super) fn living_sessions_are_listed_oldest_first(store: &Arc<dyn Store>) {
    let world = World(store);
    let (ann, bob) = (world.user(1, "Ann"), world.user(2, "Bob"));
    let first = Session { created: at(1), ..session(&bob, 9) };
    let second = Session { created: at(2), ..session(&ann, 3) };
    let third = Session { created: at(2), expires: None, ..session(&ann, 4) };
    let slid = Session { created: at(3), expires: Some(at(10)), ..session(&bob, 1) };
    let expired = Session { expires: Some(at(500)), ..session(&ann, 5) };
    let closed = session(&ann, 6);
    for session in [&third, &second, &slid, &first, &expired, &closed] {
        world.open(session);
    }
    world.apply(Change::Close { id: closed.id, now: at(5) });
    world.touch(touch(&slid, 4, 900));
    world.flush();
    let slid = world.session(&slid);

    let list = |of: Option<&User>, now| {
        wait(store.sessions(of.map(|user| user.canonical.clone()), at(now)))
    };
    let of = |session: &Session, name: &str| (session.clone(), name.to_owned());
    let (one, two, three) = (of(&first, "Bob"), of(&second, "Ann"), of(&third, "Ann"));
    let four = of(&slid, "Bob");
    assert_eq!(list(None, 500), [one.clone(), two.clone(), three.clone(), four.clone()]);
    assert_eq!(list(Some(&ann), 500), [two, three.clone()]);
    assert_eq!(list(Some(&bob), 500), [one, four]);
    assert_eq!(list(None, 5000), [three]);
    world.apply(Change::SetEnabled(ann.canonical.clone(), false));
    assert_eq!(list(Some(&ann), 500), []);
    assert_eq!(list(None, 5000), []);
}

pub(super) fn living_sessions_are_counted_by_dialect(store: &Arc<dyn Store>) {
    let world = World(store);
    assert_eq!(wait(store.live(at(0))), []);
    let user = world.user(1, "ann");
    for (number, dialect, expires) in [(1, "b", 10), (2, "b", 20), (3, "a", 20), (4, "c", 5)] {
        let (dialect, expires) = (dialect.to_owned(), Some(at(expires)));
        world.open(&Session { dialect, expires, ..session(&user, number) });
    }
    let counts = |now| wait(store.live(at(now)));
    let of = |dialect: &str, count| (dialect.to_owned(), count);
    assert_eq!(counts(4), [of("a", 1), of("b", 2), of("c", 1)]);
    assert_eq!(counts(10), [of("a", 1), of("b", 1)]);
    world.apply(Change::RevokeAll);
    assert_eq!(counts(4), []);
}

pub(super) fn a_ping_is_answered(store: &Arc<dyn Store>) {
    wait(store.ping());
}

//! Claims about pages, lists and counts.

use std::sync::Arc;

use crate::ports::{Change, SessionQuery, Store, UserQuery};
use crate::{Session, SessionId, User, UserId};

use super::harness::{StoreHarness, at, block_on, canonical, session, touch};

pub(super) fn users_come_in_pages_by_canonical_name(store: &Arc<dyn Store>) {
    let world = StoreHarness(store);
    assert_eq!(
        (block_on(store.users(0, 10)).total, block_on(store.users(0, 10)).items),
        (0, Vec::new())
    );
    // The order is that of the bytes, independent of the locale of the database server.
    let names = ["-z", "10", "9", "_a", "a b", "a-b", "ab", "b", "z", "\u{e9}", "\u{65e5}\u{672c}"];
    let mut users: Vec<_> =
        (1..=11).rev().zip(names.into_iter().rev()).map(|(n, name)| world.user(n, name)).collect();
    users.reverse();
    for (offset, limit) in [(0, 100), (0, 4), (4, 4), (8, 4), (11, 4), (3, 0), (u64::MAX, 5)] {
        let page = block_on(store.users(offset, limit));
        let skip = usize::try_from(offset).unwrap_or(usize::MAX);
        let expected: Vec<User> = users.iter().skip(skip).take(limit as usize).cloned().collect();
        assert_eq!((page.total, page.items), (11, expected), "{offset} {limit}");
    }
}

pub(super) fn live_sessions_are_listed_oldest_first(store: &Arc<dyn Store>) {
    let world = StoreHarness(store);
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
    world.apply(Change::EndSession { id: closed.id, now: at(5) });
    world.touch(touch(&slid, 4, 900));
    world.flush();
    let slid = world.stored_session(&slid);

    let list = |of: Option<&User>, now| {
        let user = of.map(|user| user.canonical.clone());
        let found = block_on(store.sessions(SessionQuery { user, ..SessionQuery::live(at(now)) }));
        found.into_iter().map(|(session, user)| (session, user.name)).collect::<Vec<_>>()
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

pub(super) fn users_are_found_by_id_and_after_a_name(store: &Arc<dyn Store>) {
    let world = StoreHarness(store);
    let users = [world.user(3, "Ann"), world.user(1, "bob"), world.user(2, "Zoe")];
    let find = |id: Option<u128>, after: Option<&str>, limit| {
        let id = id.map(|id| UserId(uuid::Uuid::from_u128(id)));
        block_on(store.find_users(UserQuery { id, after: after.map(canonical), limit }))
    };
    assert_eq!(find(None, None, 9), users);
    assert_eq!(find(None, None, 2), users[..2]);
    assert_eq!(find(None, Some("ann"), 9), users[1..]);
    // With or without a user of that name.
    assert_eq!(find(None, Some("ant"), 1), users[1..2]);
    assert_eq!(find(None, Some("zoe"), 9), []);
    assert_eq!(find(Some(2), None, 9), users[2..]);
    assert_eq!((find(Some(4), None, 9), find(Some(3), None, 0)), (Vec::new(), Vec::new()));
}

pub(super) fn sessions_are_filtered_by_every_query_field(store: &Arc<dyn Store>) {
    let world = StoreHarness(store);
    let (ann, bob) = (world.user(1, "Ann"), world.user(2, "Bob"));
    let other = "another-wire".to_owned();
    let all = [
        Session { created: at(1), ..session(&ann, 5) },
        Session { created: at(1), dialect: other.clone(), ..session(&bob, 6) },
        Session { created: at(2), expires: Some(at(10)), ..session(&ann, 1) },
        Session { created: at(3), dialect: other.clone(), ..session(&ann, 2) },
    ];
    all.iter().for_each(|session| world.open(session));
    let find = |query: SessionQuery| {
        let found = block_on(store.sessions(query));
        assert!(found.iter().all(|(session, user)| session.user == user.id));
        found.into_iter().map(|(session, _)| session.id.0.as_u128()).collect::<Vec<_>>()
    };
    let any = SessionQuery::default;
    let id = SessionId(uuid::Uuid::from_u128(6));
    assert_eq!(find(any()), [5, 6, 1, 2]);
    assert_eq!(find(SessionQuery { id: Some(id), ..any() }), [6]);
    assert_eq!(find(SessionQuery { user: Some(canonical("ann")), ..any() }), [5, 1, 2]);
    assert_eq!(find(SessionQuery { user: Some(canonical("nobody")), ..any() }), []);
    assert_eq!(find(SessionQuery { dialect: Some(other.clone()), ..any() }), [6, 2]);
    assert_eq!(find(SessionQuery { since: Some(at(2)), ..any() }), [1, 2]);
    assert_eq!(find(SessionQuery::live(at(10))), [5, 6, 2]);
    let narrow = SessionQuery {
        user: Some(canonical("ann")),
        dialect: Some(other),
        since: Some(at(3)),
        ..SessionQuery::live(at(4))
    };
    assert_eq!(find(narrow.clone()), [2]);
    // Dead sessions are found for as long as their rows exist, but are not live.
    world.apply(Change::RevokeUser(ann.canonical));
    assert_eq!((find(narrow), find(any())), (Vec::new(), vec![5, 6, 1, 2]));
}

pub(super) fn session_pages_are_stable_while_sessions_are_dropped(store: &Arc<dyn Store>) {
    let world = StoreHarness(store);
    let ann = world.user(1, "ann");
    // Three moments. Sessions of the same moment are not in the order of their numbers.
    let all: Vec<_> = [(4, 1), (2, 1), (9, 2), (7, 2), (1, 3)]
        .map(|(number, created)| Session { created: at(created), ..session(&ann, number) })
        .into();
    all.iter().for_each(|session| world.open(session));
    for limit in [1, 2, 3, 5] {
        let (mut seen, mut after) = (Vec::new(), None);
        loop {
            let query = SessionQuery { after, limit, ..SessionQuery::live(at(5)) };
            let page = block_on(store.sessions(query));
            assert!(page.len() <= limit as usize);
            let Some((last, _)) = page.last() else { break };
            after = Some((last.created, last.id));
            seen.extend(page.iter().map(|(session, _)| session.id.0.as_u128()));
        }
        assert_eq!(seen, [2, 4, 7, 9, 1], "{limit} at a time");
    }
    // A page after a deleted session begins at the former position of that session.
    let gone = all.first().map(|session| (session.created, session.id));
    gone.into_iter().for_each(|(_, id)| drop(world.apply(Change::EndSession { id, now: at(4) })));
    gone.into_iter()
        .for_each(|(_, id)| drop(world.apply(Change::DeleteDeadSession { id, now: at(4) })));
    let rest = block_on(store.sessions(SessionQuery { after: gone, ..SessionQuery::default() }));
    assert_eq!(rest.len(), 3);
}

pub(super) fn live_sessions_are_counted_by_dialect(store: &Arc<dyn Store>) {
    let world = StoreHarness(store);
    assert_eq!(block_on(store.count_live_sessions(at(0))), []);
    let user = world.user(1, "ann");
    for (number, dialect, expires) in [(1, "b", 10), (2, "b", 20), (3, "a", 20), (4, "c", 5)] {
        let (dialect, expires) = (dialect.to_owned(), Some(at(expires)));
        world.open(&Session { dialect, expires, ..session(&user, number) });
    }
    let counts = |now| block_on(store.count_live_sessions(at(now)));
    let of = |dialect: &str, count| (dialect.to_owned(), count);
    assert_eq!(counts(4), [of("a", 1), of("b", 2), of("c", 1)]);
    assert_eq!(counts(10), [of("a", 1), of("b", 1)]);
    world.apply(Change::RevokeAll);
    assert_eq!(counts(4), []);
}

pub(super) fn a_ping_is_answered(store: &Arc<dyn Store>) {
    block_on(store.ping());
}

//! Claims about logins.

use std::sync::Arc;

use crate::ports::{Applied, Change, Store};
use crate::{ConcurrentSessions, Session, SessionId, Timestamp};

use super::harness::{StoreHarness, address, at, digest, hash, open_change, session, user};

pub(super) fn an_opened_session_is_found_as_it_was_opened(store: &Arc<dyn Store>) {
    let world = StoreHarness(store);
    let user = world.user(1, "Ann");
    let opened = Session {
        public_id: Some("123456789".to_owned()),
        hard_end: Some(at(5000)),
        address: address("2001:db8::7"),
        note: Some("of use; | to \"nobody\" \u{1F511}".to_owned()),
        ..session(&user, 1)
    };
    world.open(&opened);
    let plain = Session { address: address("192.0.2.7"), ..session(&user, 2) };
    world.open(&plain);
    for opened in [opened, plain] {
        let user = crate::User { last_login: Some(at(0)), ..user.clone() };
        assert_eq!(world.find(opened.digest), Some((opened, user)));
    }
}

pub(super) fn extreme_times_and_empty_fields_come_back(store: &Arc<dyn Store>) {
    let world = StoreHarness(store);
    let user = world.user(1, "ann");
    let first = Session {
        created: Timestamp::MIN,
        expires: Some(Timestamp::MAX),
        hard_end: Some(Timestamp::MAX),
        ..session(&user, 1)
    };
    let second = Session { expires: None, note: Some(String::new()), ..session(&user, 2) };
    for session in [first, second] {
        world.open(&session);
        assert_eq!(world.stored_session(&session), session);
    }
}

pub(super) fn an_unknown_digest_finds_nothing(store: &Arc<dyn Store>) {
    let world = StoreHarness(store);
    assert_eq!(world.find(digest(1)), None);
    let user = world.user(1, "ann");
    world.open(&session(&user, 1));
    assert_eq!(world.find(digest(2)), None);
}

pub(super) fn a_login_sets_the_last_login_and_the_new_hash(store: &Arc<dyn Store>) {
    let world = StoreHarness(store);
    let user = world.user(1, "ann");
    world.open(&Session { created: at(7), ..session(&user, 1) });
    assert_eq!(world.stored_user(&user), crate::User { last_login: Some(at(7)), ..user.clone() });

    let session = Box::new(Session { created: at(8), ..session(&user, 2) });
    let change = Change::OpenSession {
        session,
        concurrent_sessions: ConcurrentSessions::Allow,
        rehash: Some(hash("$argon2id$second")),
        reservation: None,
        session_limit: None,
    };
    assert!(matches!(world.apply(change), Applied::Opened(_)));
    let (last_login, password) = (Some(at(8)), Some(hash("$argon2id$second")));
    assert_eq!(world.stored_user(&user), crate::User { last_login, password, ..user.clone() });
}

pub(super) fn a_refused_login_changes_nothing(store: &Arc<dyn Store>) {
    let world = StoreHarness(store);
    let stranger = user(9, "nobody");
    let refused = |session: &Session| {
        let change = Change::OpenSession {
            session: Box::new(session.clone()),
            concurrent_sessions: ConcurrentSessions::EndOthers,
            rehash: Some(hash("$argon2id$other")),
            reservation: None,
            session_limit: None,
        };
        assert_eq!(world.apply(change), Applied::Refused);
        assert_eq!(world.find(session.digest), None);
    };
    refused(&session(&stranger, 1));

    let ann = world.user(1, "ann");
    world.open(&session(&ann, 2));
    refused(&Session { epoch: 1, ..session(&ann, 3) });
    assert!(world.is_live(digest(2), 0));

    world.apply(Change::ExpirePassword(ann.canonical.clone()));
    let before = world.stored_user(&ann);
    refused(&session(&ann, 4));
    assert_eq!(world.stored_user(&ann), before);
    assert!(world.is_live(digest(2), 0));

    let bob = world.user(2, "bob");
    world.apply(Change::SetEnabled(bob.canonical.clone(), false));
    let before = world.stored_user(&bob);
    refused(&Session { epoch: before.epoch, ..session(&bob, 5) });
    assert_eq!(world.stored_user(&bob), before);
}

pub(super) fn a_duplicate_digest_opens_nothing(store: &Arc<dyn Store>) {
    let world = StoreHarness(store);
    let (ann, bob) = (world.user(1, "ann"), world.user(2, "bob"));
    let first = session(&ann, 1);
    world.open(&first);
    world.open(&session(&bob, 2));
    let ended = session(&ann, 3);
    world.open(&ended);
    world.apply(Change::EndSession { id: ended.id, now: at(1) });

    let before = world.stored_user(&bob);
    for concurrent_sessions in
        [ConcurrentSessions::Allow, ConcurrentSessions::EndOthers, ConcurrentSessions::TakeOver]
    {
        for digest in [first.digest, ended.digest, digest(2)] {
            let again = Session { digest, created: at(9), ..session(&bob, 10) };
            let change = Change::OpenSession {
                session: Box::new(again),
                concurrent_sessions,
                rehash: Some(hash("$argon2id$other")),
                reservation: None,
                session_limit: None,
            };
            assert_eq!(world.apply(change), Applied::Conflict, "{concurrent_sessions:?}");
        }
    }
    assert_eq!(world.stored_user(&bob), before);
    assert_eq!(world.stored_session(&first), first);
    assert!(world.is_live(digest(2), 9));
}

pub(super) fn a_duplicate_id_opens_nothing(store: &Arc<dyn Store>) {
    let world = StoreHarness(store);
    let user = world.user(1, "ann");
    let first = session(&user, 1);
    world.open(&first);
    let again = Session { digest: digest(2), ..first.clone() };
    assert_eq!(world.apply(open_change(&again, ConcurrentSessions::Allow)), Applied::Conflict);
    assert_eq!(world.stored_session(&first), first);
}

pub(super) fn a_public_id_is_unique_among_unrevoked_sessions(store: &Arc<dyn Store>) {
    let world = StoreHarness(store);
    let (ann, bob) = (world.user(1, "ann"), world.user(2, "bob"));
    let with_public_id =
        |session: Session| Session { public_id: Some("100000001".to_owned()), ..session };
    world.open(&with_public_id(session(&ann, 1)));
    // The first session has expired but is not revoked.
    let later =
        Session { created: at(2000), expires: Some(at(3000)), ..with_public_id(session(&bob, 2)) };
    assert_eq!(world.apply(open_change(&later, ConcurrentSessions::Allow)), Applied::Conflict);
    assert_eq!(
        world.apply(open_change(&with_public_id(session(&ann, 2)), ConcurrentSessions::EndOthers)),
        Applied::Conflict
    );
    assert!(world.is_live(digest(1), 0));

    world.apply(Change::EndSession { id: session(&ann, 1).id, now: at(5) });
    world.open(&later);
    let others = [session(&ann, 3), session(&ann, 4)];
    others.iter().for_each(|session| world.open(session));
}

pub(super) fn allow_keeps_the_other_sessions(store: &Arc<dyn Store>) {
    let world = StoreHarness(store);
    let user = world.user(1, "ann");
    (1..=3).for_each(|number| world.open(&session(&user, number)));
    assert!((1..=3).all(|number| world.is_live(digest(number), 0)));
}

pub(super) fn end_others_ends_the_live_sessions_of_the_dialect(store: &Arc<dyn Store>) {
    let world = StoreHarness(store);
    let (ann, bob) = (world.user(1, "ann"), world.user(2, "bob"));
    let elsewhere = Session { dialect: "other-wire".to_owned(), ..session(&ann, 2) };
    let expired = Session { expires: Some(at(10)), ..session(&ann, 3) };
    let bobs = session(&bob, 4);
    world.open(&session(&ann, 1));
    [&elsewhere, &expired, &bobs].into_iter().for_each(|session| world.open(session));

    let new = Session { created: at(10), ..session(&ann, 5) };
    assert_eq!(world.login(&new, ConcurrentSessions::EndOthers), new);
    let killed = Session { revoked: Some(at(10)), version: 1, ..session(&ann, 1) };
    for expected in [killed, elsewhere, expired, bobs, new] {
        assert_eq!(world.stored_session(&expected), expected);
    }
}

pub(super) fn take_over_continues_the_newest_session(store: &Arc<dyn Store>) {
    let world = StoreHarness(store);
    let user = world.user(1, "ann");
    let older = session(&user, 1);
    let old = Session {
        created: at(5),
        public_id: Some("100000001".to_owned()),
        address: address("192.0.2.1"),
        ..session(&user, 2)
    };
    [&older, &old].into_iter().for_each(|session| world.open(session));

    let new = Session {
        created: at(20),
        expires: Some(at(1020)),
        public_id: Some("100000002".to_owned()),
        address: address("192.0.2.2"),
        ..session(&user, 3)
    };
    let expected = Session {
        id: old.id,
        public_id: old.public_id.clone(),
        created: old.created,
        last_used: Some(at(20)),
        version: 1,
        ..new.clone()
    };
    assert_eq!(world.login(&new, ConcurrentSessions::TakeOver), expected);
    assert_eq!(world.stored_session(&new), expected);
    assert_eq!(world.find(old.digest), None);
    assert_eq!(world.stored_session(&older), older);
    assert_eq!(world.stored_user(&user).last_login, Some(at(20)));
}

pub(super) fn take_over_keeps_the_hard_end(store: &Arc<dyn Store>) {
    let world = StoreHarness(store);
    let cases = [(Some(3000), Some(1500)), (Some(1200), Some(1200)), (None, Some(1500))];
    for (number, (asked, expected)) in (1..).zip(cases) {
        let user = world.user(number, &format!("user{number}"));
        let old = Session { hard_end: Some(at(1500)), ..session(&user, 10 * number) };
        world.open(&old);
        let new = Session {
            created: at(20),
            expires: asked.map(at),
            hard_end: Some(at(9000)),
            ..session(&user, 10 * number + 1)
        };
        let opened = world.login(&new, ConcurrentSessions::TakeOver);
        assert_eq!(
            (opened.id, opened.expires, opened.hard_end),
            (old.id, expected.map(at), Some(at(1500)))
        );
        assert_eq!(world.stored_session(&new), opened);
    }
}

pub(super) fn take_over_without_a_live_session_opens_one(store: &Arc<dyn Store>) {
    let world = StoreHarness(store);
    let (ann, bob) = (world.user(1, "ann"), world.user(2, "bob"));
    let closed = session(&ann, 1);
    world.open(&closed);
    world.apply(Change::EndSession { id: closed.id, now: at(1) });
    world.open(&Session { expires: Some(at(10)), ..session(&ann, 2) });
    world.open(&Session { hard_end: Some(at(10)), ..session(&ann, 3) });
    world.open(&Session { dialect: "other-wire".to_owned(), ..session(&ann, 4) });
    world.open(&session(&bob, 5));

    let new =
        Session { created: at(10), public_id: Some("100000003".to_owned()), ..session(&ann, 6) };
    assert_eq!(world.login(&new, ConcurrentSessions::TakeOver), new);

    world.apply(Change::RevokeUser(ann.canonical.clone()));
    let again = Session { created: at(11), epoch: 1, ..session(&ann, 7) };
    assert_eq!(world.login(&again, ConcurrentSessions::TakeOver), again);
    let id = SessionId(uuid::Uuid::from_u128(7));
    assert_eq!(again.id, id);
}

pub(super) fn take_over_refuses_a_duplicate_digest(store: &Arc<dyn Store>) {
    let world = StoreHarness(store);
    let (ann, bob) = (world.user(1, "ann"), world.user(2, "bob"));
    let (anns, bobs) = (session(&ann, 1), session(&bob, 2));
    [&anns, &bobs].into_iter().for_each(|session| world.open(session));
    let before = world.stored_user(&ann);
    for digest in [anns.digest, bobs.digest] {
        let new = Session { digest, created: at(3), ..session(&ann, 3) };
        assert_eq!(world.apply(open_change(&new, ConcurrentSessions::TakeOver)), Applied::Conflict);
    }
    assert_eq!((world.stored_session(&anns), world.stored_session(&bobs)), (anns, bobs));
    assert_eq!(world.stored_user(&ann), before);
}

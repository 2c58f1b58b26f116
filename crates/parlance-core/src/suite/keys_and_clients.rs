//! Claims about keys and service clients.

use std::slice;
use std::sync::Arc;

use uuid::Uuid;

use crate::ports::{Applied, Change, SealedKey, Store};
use crate::{Client, Digest};

use super::harness::{StoreHarness, at, block_on};

fn key(purpose: &str, kid: &str, active: i64) -> SealedKey {
    SealedKey {
        kid: kid.to_owned(),
        purpose: purpose.to_owned(),
        created: at(1),
        active_from: at(active),
        sealed: vec![0, 1, 255],
    }
}

fn add_change(key: &SealedKey, after: Option<&str>) -> Change {
    Change::AddKey { key: Box::new(key.clone()), expected_newest: after.map(str::to_owned) }
}

fn drop_change(kid: &str, moment: i64, fallback: Option<&SealedKey>) -> Change {
    let fallback = fallback.cloned().map(Box::new);
    Change::DropKey { kid: kid.to_owned(), now: at(moment), fallback }
}

pub(super) fn the_first_key_wins(store: &Arc<dyn Store>) {
    let world = StoreHarness(store);
    assert_eq!(block_on(store.keys()), []);
    let first = key("one", "b", 1);
    assert_eq!(world.apply(add_change(&first, None)), Applied::Done);
    for other in ["a", "c"] {
        assert_eq!(world.apply(add_change(&key("one", other, 1), None)), Applied::Refused);
    }
    assert_eq!(block_on(store.keys()), [first]);
}

pub(super) fn an_issuer_is_replaced_only_on_request(store: &Arc<dyn Store>) {
    let world = StoreHarness(store);
    let keep = |purpose: &str, issuer: &str, replace| Change::SetIssuer {
        purpose: purpose.to_owned(),
        issuer: issuer.to_owned(),
        replace,
    };
    let kept = |purpose: &str| block_on(store.issuer(purpose.to_owned()));
    assert_eq!(kept("one"), None);
    for (issuer, replace, applied, then) in [
        ("a", false, Applied::Done, "a"),
        ("b", false, Applied::Refused, "a"),
        ("a", true, Applied::Refused, "a"),
        ("z\u{e9}", true, Applied::Done, "z\u{e9}"),
        ("a", false, Applied::Refused, "z\u{e9}"),
    ] {
        assert_eq!(world.apply(keep("one", issuer, replace)), applied, "{issuer} {replace}");
        assert_eq!(kept("one").as_deref(), Some(then));
    }
    assert_eq!(kept("two"), None, "another purpose has its own");
    assert_eq!(world.apply(keep("two", "c", true)), Applied::Done);
    assert_eq!((kept("one").as_deref(), kept("two").as_deref()), (Some("z\u{e9}"), Some("c")));
}

pub(super) fn a_key_is_added_only_after_the_expected_newest(store: &Arc<dyn Store>) {
    let world = StoreHarness(store);
    let (first, next, other) = (key("one", "f", 10), key("one", "a", 20), key("two", "g", 15));
    assert_eq!(world.apply(add_change(&next, Some("f"))), Applied::Refused, "there is none");
    assert_eq!(world.apply(add_change(&first, None)), Applied::Done);
    assert_eq!(world.apply(add_change(&other, None)), Applied::Done, "another purpose");
    assert_eq!(world.apply(add_change(&next, Some("g"))), Applied::Refused, "that is another's");
    assert_eq!(world.apply(add_change(&next, Some("f"))), Applied::Done);
    let late = key("one", "h", 30);
    assert_eq!(world.apply(add_change(&late, Some("f"))), Applied::Refused, "no longer the newest");
    assert_eq!(block_on(store.keys()), [first, other, next], "in the order in which they sign");
    assert_eq!(world.apply(add_change(&key("three", "g", 1), None)), Applied::Conflict);
}

pub(super) fn a_dropped_signing_key_is_followed_by_the_next_or_the_fallback(
    store: &Arc<dyn Store>,
) {
    let world = StoreHarness(store);
    let keys = [key("one", "d", 10), key("one", "c", 20), key("one", "b", 30)];
    let [retired, active, next] = &keys;
    for (key, after) in [(retired, None), (active, Some("d")), (next, Some("c"))] {
        assert_eq!(world.apply(add_change(key, after)), Applied::Done);
    }
    let other = key("two", "z", 40);
    assert_eq!(world.apply(add_change(&other, None)), Applied::Done);
    let fallback = key("one", "a", 26);

    assert_eq!(world.apply(drop_change("x", 25, Some(&fallback))), Applied::Refused, "no such key");
    assert_eq!(world.apply(drop_change("c", 25, Some(&fallback))), Applied::Done);
    let promoted = SealedKey { active_from: at(25), ..next.clone() };
    assert_eq!(
        block_on(store.keys()),
        [retired.clone(), promoted, other.clone()],
        "the next signs"
    );

    assert_eq!(world.apply(drop_change("b", 26, Some(&fallback))), Applied::Done);
    assert_eq!(block_on(store.keys()), [retired.clone(), fallback.clone(), other]);

    assert_eq!(world.apply(drop_change("d", 27, None)), Applied::Done, "it signed no more");
    assert_eq!(world.apply(drop_change("z", 27, None)), Applied::Done, "it did not sign yet");
    assert_eq!(block_on(store.keys()), slice::from_ref(&fallback));
    assert_eq!(
        world.apply(drop_change("a", 27, None)),
        Applied::Done,
        "although nothing signs then"
    );
    assert_eq!(block_on(store.keys()), []);
}

pub(super) fn a_client_is_found_as_added_until_removed(store: &Arc<dyn Store>) {
    let world = StoreHarness(store);
    assert_eq!(block_on(store.clients()), []);
    let client = |number, name: &str| Client {
        id: Uuid::from_u128(number),
        name: name.to_owned(),
        digest: Digest::of("test", name),
        created: at(7),
    };
    let (wiki, mail) = (client(1, "wiki"), client(2, "Mail \u{e9}"));
    for client in [&wiki, &mail] {
        assert_eq!(world.apply(Change::AddClient(Box::new(client.clone()))), Applied::Done);
    }
    let taken = Change::AddClient(Box::new(client(3, "wiki")));
    assert_eq!(world.apply(taken), Applied::Conflict);
    assert_eq!(
        block_on(store.clients()),
        [mail.clone(), wiki.clone()],
        "in the order of the names"
    );
    assert_eq!(block_on(store.client(wiki.id)), Some(wiki));
    assert_eq!(block_on(store.client(Uuid::from_u128(3))), None);
    assert_eq!(world.apply(Change::RemoveClient("Wiki".to_owned())), Applied::Refused);
    assert_eq!(world.apply(Change::RemoveClient("wiki".to_owned())), Applied::Done);
    assert_eq!(world.apply(Change::RemoveClient("wiki".to_owned())), Applied::Refused);
    assert_eq!(block_on(store.clients()), [mail]);
}

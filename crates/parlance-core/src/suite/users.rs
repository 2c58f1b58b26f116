//! Claims about users and the fate of their sessions.

use std::sync::Arc;

use uuid::Uuid;

use crate::ports::{Applied, Change, Store};
use crate::{User, UserName};

use super::harness::{StoreHarness, at, block_on, canonical, digest, hash, session, user};

pub(super) fn a_user_is_found_as_added(store: &Arc<dyn Store>) {
    let world = StoreHarness(store);
    let full = User {
        unrestricted: true,
        password_expired: true,
        roles: vec![Uuid::from_u128(7), Uuid::from_u128(5)],
        last_login: Some(at(3)),
        epoch: 4,
        version: 5,
        ..user(1, "Stra\u{df}e \u{1F511} O'Neil")
    };
    let bare = User { password: None, enabled: false, ..user(2, "bare") };
    for user in [full, bare] {
        assert_eq!(world.apply(Change::AddUser(Box::new(user.clone()))), Applied::Done);
        assert_eq!(world.stored_user(&user), user);
    }
    assert_eq!(block_on(store.user(canonical("nobody"))), None);
    assert_eq!(block_on(store.user(canonical(""))), None);
}

pub(super) fn one_name_belongs_to_one_user(store: &Arc<dyn Store>) {
    let world = StoreHarness(store);
    let ann = world.user(1, "Ann");
    assert_eq!(world.apply(Change::AddUser(Box::new(user(2, "aNN")))), Applied::Conflict);
    assert_eq!(world.apply(Change::AddUser(Box::new(user(1, "bob")))), Applied::Conflict, "the id");
    assert_eq!(world.stored_user(&ann), ann);
    assert_eq!(world.apply(Change::RemoveUser(ann.canonical)), Applied::Done);
    world.user(2, "aNN");
}

pub(super) fn an_external_user_has_one_row_under_the_latest_name(store: &Arc<dyn Store>) {
    let world = StoreHarness(store);
    let keep = |user: &User| world.apply(Change::UpsertExternalUser(Box::new(user.clone())));
    let (ann, bob) = (user(1, "Ann"), user(2, "bob"));
    for user in [&ann, &bob, &ann] {
        assert_eq!(keep(user), Applied::Done);
        assert_eq!(world.stored_user(user), *user);
    }
    world.open(&session(&ann, 1));
    world.open(&session(&bob, 2));
    // A new name for the same user: the sessions and the stored facts of the user stay.
    assert_eq!(keep(&user(1, "Anna")), Applied::Done);
    let renamed = User { last_login: Some(at(0)), ..user(1, "Anna") };
    assert_eq!(world.stored_user(&renamed), renamed);
    assert_eq!(block_on(store.user(canonical("ann"))), None);
    assert_eq!((world.is_live(digest(1), 0), world.is_live(digest(2), 0)), (true, true));
    // Another user has the name now: the former holder of the name goes, with all sessions.
    assert_eq!(keep(&user(2, "anna")), Applied::Done);
    assert_eq!(world.stored_user(&user(2, "anna")).id, bob.id);
    assert_eq!((world.is_live(digest(1), 0), world.is_live(digest(2), 0)), (false, true));
    assert_eq!(keep(&user(3, "ANNA")), Applied::Done);
    assert!(!world.is_live(digest(2), 0));
    assert_eq!(block_on(store.users(0, 10)).total, 1);
}

pub(super) fn a_new_password_ends_the_sessions_of_the_user(store: &Arc<dyn Store>) {
    let world = StoreHarness(store);
    let (ann, bob) = (world.user(1, "ann"), world.user(2, "bob"));
    world.open(&session(&ann, 1));
    world.open(&session(&bob, 2));
    world.apply(Change::ExpirePassword(ann.canonical.clone()));
    let change = Change::SetPassword(ann.canonical.clone(), hash("$argon2id$second"));
    assert_eq!(world.apply(change), Applied::Done);
    let expected = User {
        password: Some(hash("$argon2id$second")),
        last_login: Some(at(0)),
        epoch: 1,
        version: 2,
        ..ann
    };
    assert_eq!(world.stored_user(&expected), expected);
    assert_eq!((world.is_live(digest(1), 0), world.is_live(digest(2), 0)), (false, true));
}

pub(super) fn disabling_a_user_ends_the_sessions_and_enabling_revives_none(store: &Arc<dyn Store>) {
    let world = StoreHarness(store);
    let (ann, bob) = (world.user(1, "ann"), world.user(2, "bob"));
    world.open(&session(&ann, 1));
    world.open(&session(&bob, 2));
    let set = |enabled| world.apply(Change::SetEnabled(ann.canonical.clone(), enabled));
    for (enabled, epoch, version) in [(false, 1, 1), (true, 1, 2), (true, 1, 3), (false, 2, 4)] {
        assert_eq!(set(enabled), Applied::Done);
        let found = world.stored_user(&ann);
        assert_eq!((found.enabled, found.epoch, found.version), (enabled, epoch, version));
        assert_eq!((world.is_live(digest(1), 0), world.is_live(digest(2), 0)), (false, true));
    }
}

pub(super) fn an_expired_password_keeps_sessions(store: &Arc<dyn Store>) {
    let world = StoreHarness(store);
    let ann = world.user(1, "ann");
    world.open(&session(&ann, 1));
    assert_eq!(world.apply(Change::ExpirePassword(ann.canonical.clone())), Applied::Done);
    let found = world.stored_user(&ann);
    assert_eq!((found.password_expired, found.epoch, found.version), (true, 0, 1));
    assert!(world.is_live(digest(1), 0));
}

pub(super) fn role_changes_keep_sessions(store: &Arc<dyn Store>) {
    let world = StoreHarness(store);
    let (ann, bob) = (world.user(1, "ann"), world.user(2, "bob"));
    world.open(&session(&ann, 1));
    let roles = |roles: &[u128]| roles.iter().copied().map(Uuid::from_u128).collect::<Vec<_>>();
    let mut expected = User { last_login: Some(at(0)), ..ann.clone() };
    for (version, given) in (1..).zip([roles(&[7, 5]), roles(&[9]), roles(&[])]) {
        let change = Change::SetRoles(ann.canonical.clone(), given.clone());
        assert_eq!(world.apply(change), Applied::Done);
        expected = User { roles: given, version, ..expected };
        assert_eq!(world.stored_user(&ann), expected);
    }
    for (version, unrestricted) in (4..).zip([true, true, false]) {
        let change = Change::SetUnrestricted(ann.canonical.clone(), unrestricted);
        assert_eq!(world.apply(change), Applied::Done);
        expected = User { unrestricted, version, ..expected };
        assert_eq!(world.stored_user(&ann), expected);
    }
    // A check of the session returns the user as stored now.
    world.apply(Change::SetRoles(ann.canonical, roles(&[3])));
    let shown = world.find(digest(1)).map(|(_, user)| user.roles);
    assert_eq!((shown, world.is_live(digest(1), 0)), (Some(roles(&[3])), true));
    assert_eq!(world.stored_user(&bob), bob);
}

fn rename(world: StoreHarness<'_>, old: &str, new: &str) -> Applied {
    let new = UserName::new(new);
    assert!(new.is_ok(), "the suite's own names are good");
    new.map_or(Applied::Refused, |new| world.apply(Change::RenameUser(canonical(old), new)))
}

pub(super) fn a_renamed_user_keeps_everything_but_the_sessions(store: &Arc<dyn Store>) {
    let world = StoreHarness(store);
    let (ann, bob) = (world.user(1, "Ann"), world.user(2, "bob"));
    world.open(&session(&ann, 1));
    world.open(&session(&bob, 2));
    assert_eq!(rename(world, "ann", "Anna O'Neil"), Applied::Done);
    let renamed = User { last_login: Some(at(0)), epoch: 1, version: 1, ..user(1, "Anna O'Neil") };
    assert_eq!(world.stored_user(&renamed), renamed);
    assert_eq!(block_on(store.user(canonical("ann"))), None);
    assert_eq!((world.is_live(digest(1), 0), world.is_live(digest(2), 0)), (false, true));
    world.open(&session(&renamed, 3));
    // A user may take another spelling of the own name. On the wires, that spelling is another name.
    assert_eq!(rename(world, "anna o'neil", "ANNA o'neil"), Applied::Done);
    let spelt = User { epoch: 2, version: 2, ..user(1, "ANNA o'neil") };
    assert_eq!(world.stored_user(&spelt), User { last_login: Some(at(0)), ..spelt.clone() });
    assert!(!world.is_live(digest(3), 0));
    // The old name is free.
    world.user(3, "ann");
}

pub(super) fn a_rename_never_takes_the_name_of_another_user(store: &Arc<dyn Store>) {
    let world = StoreHarness(store);
    let (ann, bob) = (world.user(1, "ann"), world.user(2, "Bob"));
    world.open(&session(&ann, 1));
    for taken in ["bob", "BOB", "\u{ff22}ob"] {
        assert_eq!(rename(world, "ann", taken), Applied::Conflict, "{taken}");
    }
    assert_eq!(rename(world, "nobody", "new"), Applied::Refused);
    assert_eq!(rename(world, "nobody", "bob"), Applied::Refused);
    assert_eq!(world.stored_user(&ann), User { last_login: Some(at(0)), ..ann });
    assert_eq!(world.stored_user(&bob), bob);
    assert!(world.is_live(digest(1), 0));
}

pub(super) fn a_removed_user_leaves_no_session(store: &Arc<dyn Store>) {
    let world = StoreHarness(store);
    let (ann, bob) = (world.user(1, "ann"), world.user(2, "bob"));
    (1..=3).for_each(|number| world.open(&session(&ann, number)));
    world.open(&session(&bob, 4));
    assert_eq!(world.apply(Change::RemoveUser(ann.canonical.clone())), Applied::Done);
    assert_eq!(block_on(store.user(ann.canonical)), None);
    assert!((1..=3).all(|number| world.find(digest(number)).is_none()));
    assert!(world.is_live(digest(4), 0));
    // A new user of the same name inherits nothing.
    world.user(3, "ann");
    assert!((1..=3).all(|number| world.find(digest(number)).is_none()));
}

pub(super) fn revoking_a_user_ends_only_the_sessions_of_that_user(store: &Arc<dyn Store>) {
    let world = StoreHarness(store);
    let (ann, bob) = (world.user(1, "ann"), world.user(2, "bob"));
    world.open(&session(&ann, 1));
    world.open(&session(&bob, 2));
    assert_eq!(world.apply(Change::RevokeUser(ann.canonical.clone())), Applied::Done);
    let found = world.stored_user(&ann);
    assert_eq!((found.epoch, found.version), (1, 1));
    assert_eq!((world.is_live(digest(1), 0), world.is_live(digest(2), 0)), (false, true));
    world.open(&session(&found, 3));
    assert!(world.is_live(digest(3), 0));
}

pub(super) fn revoking_all_ends_every_session(store: &Arc<dyn Store>) {
    let world = StoreHarness(store);
    assert_eq!(world.apply(Change::RevokeAll), Applied::Rows(0));
    let users = [world.user(1, "ann"), world.user(2, "bob")];
    (1..).zip(&users).for_each(|(number, user)| world.open(&session(user, number)));
    assert_eq!(world.apply(Change::RevokeAll), Applied::Rows(2));
    assert_eq!((world.is_live(digest(1), 0), world.is_live(digest(2), 0)), (false, false));
    (11..)
        .zip(&users)
        .for_each(|(number, user)| world.open(&session(&world.stored_user(user), number)));
    assert_eq!((world.is_live(digest(11), 0), world.is_live(digest(12), 0)), (true, true));
}

pub(super) fn a_login_is_recorded_only_for_an_enabled_user(store: &Arc<dyn Store>) {
    let world = StoreHarness(store);
    let ann = world.user(1, "ann");
    assert_eq!(world.apply(Change::RecordLogin { user: ann.id, now: at(5) }), Applied::Done);
    assert_eq!(world.stored_user(&ann), User { last_login: Some(at(5)), ..ann.clone() });
    world.apply(Change::SetEnabled(ann.canonical.clone(), false));
    assert_eq!(world.apply(Change::RecordLogin { user: ann.id, now: at(6) }), Applied::Refused);
    assert_eq!(world.stored_user(&ann).last_login, Some(at(5)));
    let unknown = user(2, "nobody").id;
    assert_eq!(world.apply(Change::RecordLogin { user: unknown, now: at(6) }), Applied::Refused);
}

pub(super) fn changes_to_an_unknown_user_or_session_are_refused(store: &Arc<dyn Store>) {
    let world = StoreHarness(store);
    let ann = world.user(1, "ann");
    let changes = [
        Change::SetPassword(canonical("nobody"), hash("$argon2id$other")),
        Change::SetEnabled(canonical("nobody"), false),
        Change::ExpirePassword(canonical("nobody")),
        Change::SetRoles(canonical("nobody"), Vec::new()),
        Change::SetUnrestricted(canonical("nobody"), true),
        Change::RemoveUser(canonical("nobody")),
        Change::RevokeUser(canonical("nobody")),
        Change::RevokeSession(session(&ann, 1).id, at(0)),
        Change::RenewSession { id: session(&ann, 1).id, now: at(0), expires: None },
        Change::DeleteDeadSession { id: session(&ann, 1).id, now: at(0) },
    ];
    for change in changes {
        assert_eq!(world.apply(change.clone()), Applied::Refused, "{change:?}");
    }
    assert_eq!(world.stored_user(&ann), ann);
}

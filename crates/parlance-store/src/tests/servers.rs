//! Tests of which PostgreSQL servers are accepted, and of the settings that a connection makes.

use std::time::Duration;

use diesel::RunQueryDsl as _;
use diesel::dsl::sql;
use diesel::sql_types::Text;

use super::postgres::{COLUMNS, TestDatabase, administer, empty_database, migrated_database, text};
use crate::connection::{
    ConnectionSetup, ConnectionSlot, OpenFile, build_pool, check_server_state,
};
use crate::url::Target;
use crate::{Options, migrate, migrate_if_empty, open};

#[test]
fn a_server_that_may_lose_commits_is_refused() {
    let fresh = migrated_database();
    for (level, fit) in [("off", false), ("local", false), ("remote_apply", true), ("on", true)] {
        administer(&format!("ALTER DATABASE {} SET synchronous_commit = {level}", fresh.name));
        match open(&fresh.url, Options::default()) {
            Ok(_) => assert!(fit, "{level}"),
            Err(error) => {
                let text = error.to_string();
                assert!(
                    !fit && text.contains(&format!("synchronous_commit is `{level}`")),
                    "{text}"
                );
            }
        }
    }
}

#[test]
fn server_states_are_accepted_or_refused() {
    for (facts, says) in [
        ("f off UTF8 UTF8 on", None),
        ("f off SQL_ASCII UTF8 remote_write", None),
        ("f off UTF8 UTF8 remote_apply", None),
        ("t on UTF8 UTF8 on", Some("the server is a standby")),
        ("t off UTF8 UTF8 on", Some("the server is a standby")),
        ("f on UTF8 UTF8 on", Some("accepts no changes")),
        ("f off LATIN1 UTF8 on", Some("its encoding is `LATIN1`")),
        ("f off UTF8 LATIN1 on", Some("client_encoding is `LATIN1`")),
        ("f off UTF8 UTF8 local", Some("synchronous_commit is `local`")),
        ("", Some("the server is a standby")),
    ] {
        let judged = check_server_state(facts).err();
        assert_eq!(judged.is_some(), says.is_some(), "{facts}: {judged:?}");
        assert!(judged.unwrap_or_default().contains(says.unwrap_or_default()), "{facts}");
    }
}

#[test]
fn a_database_in_another_encoding_is_refused_before_anything_is_made() {
    let bare = empty_database();
    let name = format!("{}_latin", bare.name);
    administer(&format!(
        "CREATE DATABASE {name} ENCODING 'LATIN1' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'"
    ));
    let (front, _) = bare.server.rsplit_once('/').unwrap();
    let latin = TestDatabase { url: format!("{front}/{name}"), name, server: bare.server.clone() };
    for result in [migrate(&latin.url).map(drop), open(&latin.url, Options::default()).map(drop)] {
        let error = result.unwrap_err().to_string();
        assert!(error.contains("its encoding is `LATIN1`"), "{error}");
    }
    assert_eq!(text(&mut latin.connect(), COLUMNS), "");
}

#[test]
fn a_database_that_is_only_read_by_default_is_refused() {
    let fresh = migrated_database();
    administer(&format!("ALTER DATABASE {} SET default_transaction_read_only = on", fresh.name));
    let error = open(&fresh.url, Options::default()).unwrap_err().to_string();
    assert!(error.contains("accepts no changes"), "{error}");
}

#[test]
fn a_session_keeps_the_synchronous_commit_that_it_was_opened_with() {
    let fresh = migrated_database();
    let set = |level: &str| {
        administer(&format!("ALTER DATABASE {} SET synchronous_commit = {level}", fresh.name));
    };
    for level in ["on", "remote_apply", "remote_write"] {
        set(level);
        let mut slot = connection_slot(&fresh.url);
        let setting = "setting || ' ' || source FROM pg_settings WHERE name = 'synchronous_commit'";
        let found = diesel::select(sql::<Text>(setting));
        // A session's own setting precedes those of the server, the database and the role.
        let found: String = found.get_result(slot.get().unwrap()).unwrap();
        assert_eq!(found, format!("{level} session"));
    }
}

#[test]
fn only_tables_that_are_not_there_are_an_empty_database() {
    let fresh = migrated_database();
    let role = format!("{}_poor", fresh.name);
    administer(&format!("CREATE ROLE {role} LOGIN"));
    let unprivileged = fresh.url.replacen("postgres@", &format!("{role}@"), 1);
    let results = [
        open(&unprivileged, Options::default()).map(drop),
        migrate_if_empty(&unprivileged).map(drop),
        migrate(&unprivileged).map(drop),
    ];
    administer(&format!("DROP ROLE {role}"));
    for result in results {
        let error = result.unwrap_err().to_string();
        assert!(error.contains("permission denied for"), "{error}");
    }
}

#[test]
fn no_lock_is_left_behind_by_a_migration() {
    let fresh = migrated_database();
    let mut slot = connection_slot(&fresh.url);
    migrate(&fresh.url).unwrap();
    let locks = "CAST(count(*) AS TEXT) FROM pg_locks JOIN pg_database ON database = pg_database.oid \
                 WHERE locktype = 'advisory' AND datname = current_database()";
    let locks: String = diesel::select(sql::<Text>(locks)).get_result(slot.get().unwrap()).unwrap();
    assert_eq!(locks, "0");
}

/// A worker's connection.
fn connection_slot(url: &str) -> ConnectionSlot {
    ConnectionSlot::new(
        build_pool(
            Target::parse(url).unwrap(),
            ConnectionSetup::default(),
            1,
            Duration::from_secs(1),
        )
        .unwrap(),
        OpenFile::default(),
    )
}

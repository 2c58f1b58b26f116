//! Claims about which PostgreSQL servers are worked with, and what a connection asks of one.

use std::time::Duration;

use diesel::RunQueryDsl as _;
use diesel::dsl::sql;
use diesel::sql_types::Text;

use super::postgres::{COLUMNS, Fresh, administer, bare, fresh, text};
use crate::connection::{Held, OpenFile, Setup, judge_server, pool};
use crate::url::Target;
use crate::{Options, make, migrate, open};

#[test]
fn a_server_that_may_lose_commits_is_refused() {
    let fresh = fresh();
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
fn which_servers_are_fit() {
    for (facts, says) in [
        ("f off UTF8 UTF8 on", None),
        ("f off SQL_ASCII UTF8 remote_write", None),
        ("f off UTF8 UTF8 remote_apply", None),
        ("t on UTF8 UTF8 on", Some("the server is a standby")),
        ("t off UTF8 UTF8 on", Some("the server is a standby")),
        ("f on UTF8 UTF8 on", Some("takes no changes")),
        ("f off LATIN1 UTF8 on", Some("its encoding is `LATIN1`")),
        ("f off UTF8 LATIN1 on", Some("client_encoding is `LATIN1`")),
        ("f off UTF8 UTF8 local", Some("synchronous_commit is `local`")),
        ("", Some("the server is a standby")),
    ] {
        let judged = judge_server(facts).err();
        assert_eq!(judged.is_some(), says.is_some(), "{facts}: {judged:?}");
        assert!(judged.unwrap_or_default().contains(says.unwrap_or_default()), "{facts}");
    }
}

#[test]
fn a_database_in_another_encoding_is_refused_before_anything_is_made() {
    let bare = bare();
    let name = format!("{}_latin", bare.name);
    administer(&format!(
        "CREATE DATABASE {name} ENCODING 'LATIN1' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'"
    ));
    let (front, _) = bare.server.rsplit_once('/').unwrap();
    let latin = Fresh { url: format!("{front}/{name}"), name, server: bare.server.clone() };
    for result in [migrate(&latin.url).map(drop), open(&latin.url, Options::default()).map(drop)] {
        let error = result.unwrap_err().to_string();
        assert!(error.contains("its encoding is `LATIN1`"), "{error}");
    }
    assert_eq!(text(&mut latin.connect(), COLUMNS), "");
}

#[test]
fn a_database_that_is_only_read_by_default_is_refused() {
    let fresh = fresh();
    administer(&format!("ALTER DATABASE {} SET default_transaction_read_only = on", fresh.name));
    let error = open(&fresh.url, Options::default()).unwrap_err().to_string();
    assert!(error.contains("takes no changes"), "{error}");
}

#[test]
fn a_session_keeps_the_synchronous_commit_that_it_was_opened_with() {
    let fresh = fresh();
    let set = |level: &str| {
        administer(&format!("ALTER DATABASE {} SET synchronous_commit = {level}", fresh.name));
    };
    for level in ["on", "remote_apply", "remote_write"] {
        set(level);
        let mut held = held(&fresh.url);
        let setting = "setting || ' ' || source FROM pg_settings WHERE name = 'synchronous_commit'";
        let found = diesel::select(sql::<Text>(setting));
        // What a session has set for itself comes before the server's, the database's and the role's.
        let found: String = found.get_result(held.get().unwrap()).unwrap();
        assert_eq!(found, format!("{level} session"));
    }
}

#[test]
fn only_tables_that_are_not_there_are_an_empty_database() {
    let fresh = fresh();
    let role = format!("{}_poor", fresh.name);
    administer(&format!("CREATE ROLE {role} LOGIN"));
    let poor = fresh.url.replacen("postgres@", &format!("{role}@"), 1);
    let results = [
        open(&poor, Options::default()).map(drop),
        make(&poor).map(drop),
        migrate(&poor).map(drop),
    ];
    administer(&format!("DROP ROLE {role}"));
    for result in results {
        let error = result.unwrap_err().to_string();
        assert!(error.contains("permission denied for"), "{error}");
    }
}

#[test]
fn no_lock_is_left_behind_by_a_migration() {
    let fresh = fresh();
    let mut held = held(&fresh.url);
    migrate(&fresh.url).unwrap();
    let locks = "CAST(count(*) AS TEXT) FROM pg_locks JOIN pg_database ON database = pg_database.oid \
                 WHERE locktype = 'advisory' AND datname = current_database()";
    let locks: String = diesel::select(sql::<Text>(locks)).get_result(held.get().unwrap()).unwrap();
    assert_eq!(locks, "0");
}

/// A connection of a lane's.
fn held(url: &str) -> Held {
    Held::new(
        pool(Target::parse(url).unwrap(), Setup::default(), 1, Duration::from_secs(1)).unwrap(),
        OpenFile::default(),
    )
}

//! Tests of SQLite.

use std::sync::Arc;
use std::time::Duration;

use diesel::connection::SimpleConnection as _;
use diesel::dsl::sql;
use diesel::sql_types::Text;
use diesel::{Connection as _, RunQueryDsl as _, SqliteConnection};
use diesel_migrations::MigrationHarness as _;
use futures_executor::block_on;
use parlance_core::ports::{Applied, Store, StoreError};
use tempfile::TempDir;

use super::{at, find_session, populate, record_login, touch};
use crate::connection::{ConnectionSetup, build_pool, sqlite_is_too_old};
use crate::migrations::SQLITE_MIGRATIONS;
use crate::url::Target;
use crate::{OpenError, Options, migrate, open};

/// A database in a directory of its own.
pub(super) struct TestDatabase {
    dir: TempDir,
    pub(super) url: String,
}

/// An empty folder for a database.
fn empty_database() -> TestDatabase {
    let dir = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", dir.path().join("parlance.db").display());
    TestDatabase { dir, url }
}

pub(super) fn migrated_database() -> TestDatabase {
    let fresh = empty_database();
    migrate(&fresh.url).unwrap();
    fresh
}

impl TestDatabase {
    /// A connection of another client.
    fn connect(&self) -> SqliteConnection {
        SqliteConnection::establish(self.url.strip_prefix("sqlite:").unwrap()).unwrap()
    }
}

fn text(conn: &mut SqliteConnection, expression: &str) -> String {
    diesel::select(sql::<Text>(&as_text(expression))).get_result(conn).unwrap()
}

fn as_text(expression: &str) -> String {
    format!("CAST(({expression}) AS TEXT)")
}

/// Tables, views and their columns.
pub(super) const COLUMNS: &str = "SELECT group_concat(line, char(10)) FROM (SELECT t.name || '.' || c.name AS line FROM sqlite_schema AS t, \
                       pragma_table_info(t.name) AS c WHERE t.type IN ('table', 'view') AND t.name NOT LIKE '\\_\\_%' ESCAPE '\\' ORDER BY line)";

#[cfg(feature = "postgres")]
pub(super) fn columns() -> String {
    text(&mut migrated_database().connect(), COLUMNS)
}

mod suite {
    use super::*;

    macro_rules! mount {
        ($($case:ident)*) => {
            $(#[test]
            fn $case() {
                let fresh = migrated_database();
                let store: Arc<dyn Store> = Arc::new(open(&fresh.url, Options::default()).unwrap());
                parlance_core::suite::run(stringify!($case), &store);
            })*
        };
    }

    parlance_core::store_cases!(mount);
}

#[test]
fn every_pooled_connection_waits_syncs_and_checks_references() {
    let fresh = migrated_database();
    let pool = build_pool(
        Target::parse(&fresh.url).unwrap(),
        ConnectionSetup::default(),
        3,
        Duration::from_secs(1),
    )
    .unwrap();
    let links: Vec<_> = (0..3).map(|_| pool.get().unwrap()).collect();
    for mut link in links {
        let conn = &mut link.conn;
        let settings = [
            ("SELECT timeout FROM pragma_busy_timeout", "5000"),
            ("SELECT journal_mode FROM pragma_journal_mode", "wal"),
            ("SELECT synchronous FROM pragma_synchronous", "2"),
            ("SELECT foreign_keys FROM pragma_foreign_keys", "1"),
            // In memory: the system may have no folder for temporary files.
            ("SELECT temp_store FROM pragma_temp_store", "2"),
        ];
        for (pragma, expected) in settings {
            let found: String =
                diesel::select(sql::<Text>(&as_text(pragma))).get_result(conn).unwrap();
            assert_eq!(found, expected, "{pragma}");
        }
    }
}

#[test]
fn the_bundled_sqlite_loses_no_commits() {
    let version = text(&mut migrated_database().connect(), "SELECT sqlite_version()");
    assert!(!sqlite_is_too_old(&version), "{version}");
    for old in ["3.40.1", "3.51.2", "3.9.99", "2.99.99", ""] {
        assert!(sqlite_is_too_old(old), "{old}");
    }
    for new in ["3.51.3", "3.53.2", "4.0.0"] {
        assert!(!sqlite_is_too_old(new), "{new}");
    }
}

#[test]
fn opening_makes_no_file() {
    let bare = empty_database();
    assert!(matches!(open(&bare.url, Options::default()), Err(OpenError::NoFile(_))));
    assert_eq!(std::fs::read_dir(bare.dir.path()).unwrap().count(), 0);
}

#[test]
fn a_file_that_is_no_database_is_not_touched() {
    let bare = empty_database();
    let path = bare.dir.path().join("parlance.db");
    std::fs::write(
        &path,
        "a letter, and a long one, of more than a hundred characters: ".repeat(9),
    )
    .unwrap();
    let before = std::fs::read(&path).unwrap();
    assert!(open(&bare.url, Options::default()).is_err());
    assert!(migrate(&bare.url).is_err());
    assert_eq!(std::fs::read(&path).unwrap(), before);
}

#[test]
fn a_directory_that_is_not_there_is_named() {
    let error = migrate("sqlite:/nowhere/at/all/parlance.db").unwrap_err().to_string();
    assert!(error.contains("/nowhere/at/all/parlance.db"), "{error}");
}

#[cfg(unix)]
#[test]
fn only_its_owner_reads_the_database() {
    use std::os::unix::fs::PermissionsExt as _;
    let fresh = migrated_database();
    let mode =
        std::fs::metadata(fresh.dir.path().join("parlance.db")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn a_schema_that_is_missing_older_or_newer_is_told_apart() {
    let fresh = empty_database();
    std::fs::write(fresh.dir.path().join("parlance.db"), "").unwrap();
    assert!(matches!(open(&fresh.url, Options::default()), Err(OpenError::NoTables)));
    migrate(&fresh.url).unwrap();
    let last = text(&mut fresh.connect(), "SELECT max(version) FROM __diesel_schema_migrations");

    // A migration that this program does not know, and need not know.
    fresh
        .connect()
        .batch_execute("INSERT INTO __diesel_schema_migrations (version) VALUES ('9998')")
        .unwrap();
    assert!(open(&fresh.url, Options::default()).is_ok());
    fresh.connect().batch_execute("UPDATE schema_floor SET lowest = 9998").unwrap();
    let newer = open(&fresh.url, Options::default()).unwrap_err().to_string();
    assert!(newer.contains("newer than this program") && newer.contains("9998"), "{newer}");
    assert!(matches!(migrate(&fresh.url), Err(OpenError::SchemaTooNew { wanted: 9998, .. })));

    fresh
        .connect()
        .batch_execute(&format!("DELETE FROM __diesel_schema_migrations WHERE version = '{last}'"))
        .unwrap();
    assert!(
        matches!(open(&fresh.url, Options::default()), Err(OpenError::SchemaTooOld(version)) if version == last)
    );
}

#[test]
fn migrations_go_up_down_and_up_again() {
    let fresh = migrated_database();
    let mut conn = fresh.connect();
    let before = text(&mut conn, COLUMNS);
    conn.revert_all_migrations(SQLITE_MIGRATIONS).unwrap();
    assert_eq!(
        text(
            &mut conn,
            "SELECT count(*) FROM sqlite_schema WHERE name NOT LIKE '%schema_migrations%'"
        ),
        "0"
    );
    conn.run_pending_migrations(SQLITE_MIGRATIONS).unwrap();
    assert_eq!(text(&mut conn, COLUMNS), before);
}

#[test]
fn the_release_before_reads_and_adds_keys_on_this_schema() {
    let fresh = migrated_database();
    let mut conn = fresh.connect();
    conn.batch_execute(
        "BEGIN IMMEDIATE; SELECT kid FROM signing_keys LIMIT 1; \
         INSERT INTO signing_keys (kid, created_at, sealed) VALUES ('first', 5, x'00'); COMMIT; \
         INSERT INTO keys (kid, created_at, sealed, purpose, active_at) VALUES ('other', 6, x'00', 'assertion', 6), \
         ('next', 7, x'00', 'axxon-jsonrpc', 253402300799999)",
    )
    .unwrap();
    super::check_first_key(&fresh.url, &text(&mut conn, super::NEWEST_KEY_OF_THE_PREVIOUS_RELEASE));
}

#[test]
fn migrating_again_changes_nothing_and_at_once_does_no_harm() {
    let bare = empty_database();
    let run: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(|| migrate(&bare.url))).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap().unwrap()).collect()
    });
    assert_eq!(run, ["0001", "0002", "0003", "0004", "0005", "0006"]);
    assert_eq!(migrate(&bare.url).unwrap(), [""; 0]);
}

#[test]
fn a_full_queue_answers_busy_and_queued_changes_are_applied() {
    let fresh = migrated_database();
    let options = Options { queue_capacity: 1, ..Options::default() };
    let store = open(&fresh.url, options).unwrap();
    populate(&store, [1]);
    let mut outside = fresh.connect();
    outside.batch_execute("BEGIN IMMEDIATE").unwrap();
    // One change is with the worker, which waits for the lock; one is in the queue.
    let mut taken = Vec::new();
    loop {
        assert!(taken.len() <= 2);
        let mut answer = store.apply(record_login(1, 7));
        match block_on(std::future::poll_fn(|cx| std::task::Poll::Ready(answer.as_mut().poll(cx))))
        {
            std::task::Poll::Pending => taken.push(answer),
            std::task::Poll::Ready(answer) => {
                assert_eq!(answer, Err(StoreError::Busy));
                break;
            }
        }
    }
    // A look-up waits for no lock.
    assert!(find_session(&store, 1).unwrap().is_some());
    outside.batch_execute("COMMIT").unwrap();
    assert!(taken.into_iter().all(|answer| block_on(answer) == Ok(Applied::Done)));
}

#[test]
fn a_touch_is_written_without_an_explicit_flush() {
    let fresh = migrated_database();
    let store = open(
        &fresh.url,
        Options { flush_interval: Duration::from_millis(1), ..Options::default() },
    )
    .unwrap();
    populate(&store, [1]);
    store.touch(touch(1, 500));
    let other = open(&fresh.url, Options::default()).unwrap();
    let expected = touch(1, 500).expires;
    assert!((0..100_000).any(|_| find_session(&other, 1).unwrap().unwrap().expires == expected));
}

#[test]
fn a_dropped_store_has_flushed_its_touches_and_applied_queued_changes() {
    let fresh = migrated_database();
    let store = open(
        &fresh.url,
        Options { flush_interval: Duration::from_secs(3600), ..Options::default() },
    )
    .unwrap();
    populate(&store, [1]);
    store.touch(touch(1, 500));
    let answer = store.apply(record_login(1, 77));
    drop(store);
    assert_eq!(block_on(answer), Ok(Applied::Done));
    let store = open(&fresh.url, Options::default()).unwrap();
    assert_eq!(find_session(&store, 1).unwrap().unwrap().expires, touch(1, 500).expires);
    assert_eq!(
        block_on(store.user(super::user(1).canonical)).unwrap().unwrap().last_login,
        Some(at(77))
    );
}

#[test]
fn a_removed_file_is_not_created_again() {
    let fresh = migrated_database();
    let path = fresh.dir.path().join("parlance.db");
    let pool = build_pool(
        Target::parse(&fresh.url).unwrap(),
        ConnectionSetup::default(),
        1,
        Duration::from_millis(300),
    )
    .unwrap();
    std::fs::remove_file(&path).unwrap();
    let error = pool.get().map(drop).unwrap_err().to_string();
    assert!(error.contains("there is no file"), "{error}");
    assert!(!path.exists());
}

#[test]
fn an_sqlite_error_names_the_database_file() {
    let fresh = empty_database();
    let folder = fresh.dir.path().join("folder");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(fresh.dir.path().join("text"), "no database".repeat(100)).unwrap();
    for (name, why) in [("folder", "is not a regular file"), ("text", "file is not a database")] {
        let path = fresh.dir.path().join(name);
        let url = format!("sqlite:{}", path.display());
        let path = path.display().to_string();
        for said in [
            open(&url, Options::default()).unwrap_err().to_string(),
            migrate(&url).unwrap_err().to_string(),
            crate::migrate_if_empty(&url).unwrap_err().to_string(),
        ] {
            assert!(said.contains(&path) && said.contains(why), "{said}");
        }
    }
}

#[test]
fn a_database_is_created_only_where_none_exists() {
    let fresh = empty_database();
    let made = crate::migrate_if_empty(&fresh.url).unwrap();
    assert!(!made.is_empty());
    assert_eq!(crate::migrate_if_empty(&fresh.url).unwrap(), [""; 0]);
    let mut conn = fresh.connect();
    let newest = "(SELECT max(version) FROM __diesel_schema_migrations)";
    conn.batch_execute(&format!("DELETE FROM __diesel_schema_migrations WHERE version = {newest}"))
        .unwrap();
    assert_eq!(
        crate::migrate_if_empty(&fresh.url).unwrap(),
        [""; 0],
        "an older one is for `serve` to migrate"
    );
    assert!(matches!(open(&fresh.url, Options::default()), Err(OpenError::SchemaTooOld(_))));
}

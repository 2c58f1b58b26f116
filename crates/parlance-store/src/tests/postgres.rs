//! Tests of PostgreSQL. They need a server of their own, as `cargo xtask test` starts one.

mod nodes;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use diesel::connection::SimpleConnection as _;
use diesel::dsl::sql;
use diesel::sql_types::Text;
use diesel::{Connection as _, PgConnection, RunQueryDsl as _};
use diesel_migrations::MigrationHarness as _;
use futures_executor::block_on;
use parlance_core::ports::{Applied, Change, Store, StoreError};

use self::nodes::Nodes;
use super::{apply, find_session, open_session, populate, record_login, session, touch, user};
use crate::connection::{ConnectionSetup, ConnectionSlot, OpenFile, build_pool};
use crate::migrations::POSTGRES_MIGRATIONS;
use crate::queue::{Queue, submit};
use crate::url::Target;
use crate::worker::run_worker;
use crate::writes::{Write, WriteWorker};
use crate::{OpenError, Options, migrate, open};

/// Tables and their columns.
pub(super) const COLUMNS: &str = "SELECT coalesce(string_agg(line, chr(10) ORDER BY line COLLATE \"C\"), '') FROM (SELECT table_name || '.' || column_name \
                       AS line FROM information_schema.columns WHERE table_schema = 'public' AND table_name NOT LIKE '\\_\\_%') AS lines";

pub(super) fn text(conn: &mut PgConnection, expression: &str) -> String {
    diesel::select(sql::<Text>(&format!("CAST(({expression}) AS TEXT)"))).get_result(conn).unwrap()
}

/// A database of its own.
pub(super) struct TestDatabase {
    pub(super) url: String,
    pub(super) name: String,
    pub(super) server: String,
}

/// The server's own database, as a superuser.
pub(super) fn server() -> String {
    match std::env::var("PARLANCE_TEST_POSTGRES") {
        Ok(url) => url,
        Err(_) => panic!(
            "the PostgreSQL tests need a server: run them by `cargo xtask test`, which starts one"
        ),
    }
}

pub(super) fn administer(statement: &str) {
    PgConnection::establish(&server()).unwrap().batch_execute(statement).unwrap();
}

/// A database without tables.
pub(super) fn empty_database() -> TestDatabase {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let server = server();
    let name =
        format!("parlance_{}_{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
    administer(&format!("CREATE DATABASE {name}"));
    let (front, _) = server.rsplit_once('/').unwrap();
    TestDatabase { url: format!("{front}/{name}"), name, server }
}

pub(super) fn migrated_database() -> TestDatabase {
    let fresh = empty_database();
    migrate(&fresh.url).unwrap();
    fresh
}

impl TestDatabase {
    /// A connection of another client.
    pub(super) fn connect(&self) -> PgConnection {
        PgConnection::establish(&self.url).unwrap()
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        let dropped = PgConnection::establish(&self.server).map(|mut server| {
            server.batch_execute(&format!("DROP DATABASE {} WITH (FORCE)", self.name))
        });
        assert!(std::thread::panicking() || matches!(dropped, Ok(Ok(()))));
    }
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

/// Races on two nodes that share one database.
mod two_nodes {
    use super::*;

    macro_rules! mount {
        ($($case:ident)*) => {
            $(#[test]
            fn $case() {
                let fresh = migrated_database();
                let node = || open(&fresh.url, Options::default()).unwrap();
                let store: Arc<dyn Store> = Arc::new(Nodes { nodes: [node(), node()], turn: AtomicU32::new(0) });
                parlance_core::suite::run(stringify!($case), &store);
            })*
        };
    }

    mount! {
        a_renewal_never_survives_an_acknowledged_revocation
        two_takeovers_leave_one_secret
        two_logins_that_end_others_leave_one_session
        no_session_survives_an_acknowledged_disabling
        one_of_two_gets_the_same_digest
        one_of_two_gets_the_same_public_id
        one_of_two_gets_the_same_name
        one_of_two_nodes_makes_the_first_key
        a_failed_change_does_not_affect_its_batch
        a_purge_keeps_to_its_limit
        revoking_all_ends_every_session
    }
}

#[test]
fn every_pooled_connection_is_bounded_in_time() {
    let fresh = migrated_database();
    let pool = build_pool(
        Target::parse(&fresh.url).unwrap(),
        ConnectionSetup::default(),
        4,
        Duration::from_secs(1),
    )
    .unwrap();
    let links: Vec<_> = (0..4).map(|_| pool.get().unwrap()).collect();
    for mut link in links {
        let settings = [
            ("statement_timeout", "5s"),
            ("lock_timeout", "3s"),
            ("application_name", "parlance"),
            ("synchronous_commit", "on"),
        ];
        for (setting, expected) in settings {
            let value = diesel::select(sql::<Text>(&format!("current_setting('{setting}')")));
            assert_eq!(value.get_result::<String>(&mut link.conn).unwrap(), expected, "{setting}");
        }
    }
}

#[test]
fn a_schema_that_is_missing_older_or_newer_is_told_apart() {
    let fresh = empty_database();
    let execute = |statement: &str| fresh.connect().batch_execute(statement).unwrap();
    assert!(matches!(open(&fresh.url, Options::default()), Err(OpenError::NoTables)));
    migrate(&fresh.url).unwrap();
    execute("INSERT INTO __diesel_schema_migrations (version) VALUES ('9998')");
    assert!(open(&fresh.url, Options::default()).is_ok());
    execute("UPDATE schema_floor SET lowest = 9998");
    assert!(matches!(
        open(&fresh.url, Options::default()),
        Err(OpenError::SchemaTooNew { wanted: 9998, .. })
    ));
    execute("DELETE FROM __diesel_schema_migrations WHERE version < '9998'");
    assert!(matches!(open(&fresh.url, Options::default()), Err(OpenError::SchemaTooOld(_))));
}

#[test]
fn migrations_go_up_down_and_up_again() {
    let fresh = migrated_database();
    let mut conn = fresh.connect();
    let before = text(&mut conn, COLUMNS);
    conn.revert_all_migrations(POSTGRES_MIGRATIONS).unwrap();
    assert_eq!(text(&mut conn, COLUMNS), "");
    conn.run_pending_migrations(POSTGRES_MIGRATIONS).unwrap();
    assert_eq!(text(&mut conn, COLUMNS), before);
}

#[test]
fn the_release_before_reads_and_adds_keys_on_this_schema() {
    let fresh = migrated_database();
    let mut conn = fresh.connect();
    conn.batch_execute(
        "BEGIN; LOCK TABLE signing_keys IN SHARE ROW EXCLUSIVE MODE; SELECT kid FROM signing_keys LIMIT 1; \
         INSERT INTO signing_keys (kid, created_at, sealed) VALUES ('first', 5, '\\x00'); COMMIT; \
         INSERT INTO keys (kid, created_at, sealed, purpose, active_at) VALUES ('other', 6, '\\x00', 'assertion', 6), \
         ('next', 7, '\\x00', 'axxon-jsonrpc', 253402300799999)",
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

#[cfg(feature = "sqlite")]
#[test]
fn twin_migrations_leave_the_same_tables_and_columns() {
    assert_eq!(text(&mut migrated_database().connect(), COLUMNS), super::sqlite::columns());
}

#[test]
fn terminated_idle_connections_fail_no_lookup_and_no_change() {
    let fresh = migrated_database();
    let store = open(&fresh.url, Options::default()).unwrap();
    populate(&store, 1..=3);
    for round in 0..20 {
        administer(&format!(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{}'",
            fresh.name
        ));
        assert_eq!(find_session(&store, 1), Ok(Some(session(1))));
        // Idle when cut: no call was under way, so no outcome is unknown.
        assert_eq!(apply(&store, record_login(1, round)), Ok(Applied::Done));
        assert_eq!(block_on(store.keys()), Ok(Vec::new()));
    }
    let connections = text(
        &mut fresh.connect(),
        &format!(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = '{}' AND application_name = 'parlance'",
            fresh.name
        ),
    );
    assert!(connections.parse::<u32>().unwrap() <= 4, "{connections}");
}

#[test]
fn connections_cut_under_load_lose_nothing_that_was_acknowledged() {
    let fresh = migrated_database();
    let store = open(&fresh.url, Options::default()).unwrap();
    populate(&store, []);
    let cut = format!(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{}'",
        fresh.name
    );
    let mut acknowledged = Vec::new();
    std::thread::scope(|scope| {
        let cutter = scope.spawn(|| (0..50).for_each(|_| administer(&cut)));
        for number in 1.. {
            match apply(&store, open_session(number)) {
                Ok(Applied::Opened(_)) => acknowledged.push(number),
                Ok(other) => panic!("{other:?}"),
                Err(error) => assert!(matches!(error, StoreError::Unavailable(_))),
            }
            if cutter.is_finished() {
                break;
            }
        }
    });
    assert!(!acknowledged.is_empty());
    for number in acknowledged {
        assert_eq!(find_session(&store, number), Ok(Some(session(number))));
    }
}

#[test]
fn an_unreachable_database_is_unavailable_and_the_store_reconnects() {
    let fresh = migrated_database();
    let store = open(
        &fresh.url,
        Options { connection_timeout: Duration::from_millis(300), ..Options::default() },
    )
    .unwrap();
    populate(&store, [1]);
    store.touch(touch(1, 500));
    let allow = |allowed: bool| {
        administer(&format!("ALTER DATABASE {} ALLOW_CONNECTIONS {allowed}", fresh.name));
        administer(&format!(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{}'",
            fresh.name
        ));
    };
    allow(false);
    for _ in 0..3 {
        assert!(matches!(find_session(&store, 1), Err(StoreError::Unavailable(_))));
        assert!(matches!(apply(&store, record_login(1, 1)), Err(StoreError::Unavailable(_))));
        assert!(matches!(block_on(store.flush()), Err(StoreError::Unavailable(_)) | Ok(())));
        assert!(matches!(block_on(store.keys()), Err(StoreError::Unavailable(_))));
        assert!(matches!(block_on(store.ping()), Err(StoreError::Unavailable(_))));
    }
    allow(true);
    assert!((0..20).any(|_| find_session(&store, 1).is_ok()));
    assert_eq!(apply(&store, record_login(1, 2)), Ok(Applied::Done));
    assert_eq!(block_on(store.flush()), Ok(()));
    drop(store);
    let store = open(&fresh.url, Options::default()).unwrap();
    assert_eq!(find_session(&store, 1).unwrap().unwrap().expires, touch(1, 500).expires);
}

#[test]
fn a_row_locked_by_another_connection_delays_only_its_own_change() {
    let fresh = migrated_database();
    let store = open(&fresh.url, Options::default()).unwrap();
    populate(&store, [1]);
    let mut outside = fresh.connect();
    outside
        .batch_execute("BEGIN; UPDATE users SET version = version WHERE canonical = 'user1'")
        .unwrap();
    // Queued together: both share a batch, or the second waits for the first.
    let (locked, free) = (store.apply(record_login(1, 7)), store.apply(record_login(2, 7)));
    assert_eq!(find_session(&store, 1), Ok(Some(session(1))));
    assert!(matches!(block_on(locked), Err(StoreError::Unavailable(_))));
    assert_eq!(block_on(free), Ok(Applied::Done));
    outside.batch_execute("ROLLBACK").unwrap();
    assert_eq!(apply(&store, record_login(1, 8)), Ok(Applied::Done));
}

#[test]
fn a_deadlock_is_retried_and_fails_no_change() {
    let fresh = migrated_database();
    populate(&open(&fresh.url, Options::default()).unwrap(), []);
    let queue = Queue::new(2);
    let batch = [1, 2].map(|number| Change::ExpirePassword(user(number).canonical));
    let answers = batch.map(|change| submit(&queue, |reply| Write::Change(change, reply)));
    queue.close();

    let mut outside = fresh.connect();
    // The first connection to notice a deadlock is its victim: not this one.
    let statement =
        "SET deadlock_timeout = '100s'; BEGIN; UPDATE users SET version = 7 WHERE canonical = ";
    outside.batch_execute(&format!("{statement}'user2'")).unwrap();
    std::thread::scope(|scope| {
        let pool = build_pool(
            Target::parse(&fresh.url).unwrap(),
            ConnectionSetup::default(),
            1,
            Duration::from_secs(1),
        )
        .unwrap();
        scope.spawn(|| {
            run_worker(
                &queue,
                &mut ConnectionSlot::new(pool, OpenFile::default()),
                &mut WriteWorker::new(Arc::default()),
            )
        });
        let blocked = format!(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = '{}' AND wait_event_type = 'Lock'",
            fresh.name
        );
        let mut watch = fresh.connect();
        while text(&mut watch, &blocked) == "0" {}
        outside
            .batch_execute("UPDATE users SET version = 7 WHERE canonical = 'user1'; COMMIT")
            .unwrap();
    });
    for answer in answers {
        assert_eq!(block_on(answer), Ok(Applied::Done));
    }
    let store = open(&fresh.url, Options::default()).unwrap();
    for number in [1, 2] {
        let found = block_on(store.user(user(number).canonical)).unwrap().unwrap();
        assert_eq!((found.version, found.password_expired), (8, true));
    }
}

//! Claims about PostgreSQL. They need a server that nobody else uses, as `cargo xtask test` starts one.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use diesel::connection::SimpleConnection as _;
use diesel::dsl::sql;
use diesel::sql_types::Text;
use diesel::{Connection as _, PgConnection, RunQueryDsl as _};
use diesel_migrations::MigrationHarness as _;
use futures_executor::block_on;
use parlance_core::ports::{
    Applied, Change, Pending, SealedKey, SessionQuery, Store, StoreError, Touch, UserPage,
    UserQuery,
};
use parlance_core::{CanonicalName, Client, Digest, Session, Timestamp, User};
use uuid::Uuid;

use super::{apply, bump, found, opening, populate, session, touch, user};
use crate::connection::{Held, OpenFile, Setup, pool};
use crate::lane::run;
use crate::migrations::POSTGRES;
use crate::queue::{Queue, ask};
use crate::url::Target;
use crate::writer::{Write, Writer};
use crate::{Database, OpenError, Options, migrate, open};

/// Tables and their columns.
pub(super) const COLUMNS: &str = "SELECT coalesce(string_agg(line, chr(10) ORDER BY line COLLATE \"C\"), '') FROM (SELECT table_name || '.' || column_name \
                       AS line FROM information_schema.columns WHERE table_schema = 'public' AND table_name NOT LIKE '\\_\\_%') AS lines";

pub(super) fn text(conn: &mut PgConnection, expression: &str) -> String {
    diesel::select(sql::<Text>(&format!("CAST(({expression}) AS TEXT)"))).get_result(conn).unwrap()
}

/// A database of its own.
pub(super) struct Fresh {
    pub(super) url: String,
    pub(super) name: String,
    pub(super) server: String,
}

/// The server's own database; a superuser's.
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
pub(super) fn bare() -> Fresh {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let server = server();
    let name =
        format!("parlance_{}_{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
    administer(&format!("CREATE DATABASE {name}"));
    let (front, _) = server.rsplit_once('/').unwrap();
    Fresh { url: format!("{front}/{name}"), name, server }
}

pub(super) fn fresh() -> Fresh {
    let fresh = bare();
    migrate(&fresh.url).unwrap();
    fresh
}

impl Fresh {
    /// Somebody else's connection.
    pub(super) fn connect(&self) -> PgConnection {
        PgConnection::establish(&self.url).unwrap()
    }
}

impl Drop for Fresh {
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
                let fresh = fresh();
                let store: Arc<dyn Store> = Arc::new(open(&fresh.url, Options::default()).unwrap());
                parlance_core::suite::run(stringify!($case), &store);
            })*
        };
    }

    parlance_core::store_cases!(mount);
}

/// The races, on two nodes that share one database.
mod two_nodes {
    use super::*;

    macro_rules! mount {
        ($($case:ident)*) => {
            $(#[test]
            fn $case() {
                let fresh = fresh();
                let node = || open(&fresh.url, Options::default()).unwrap();
                let store: Arc<dyn Store> = Arc::new(Nodes { nodes: [node(), node()], turn: AtomicU32::new(0) });
                parlance_core::suite::run(stringify!($case), &store);
            })*
        };
    }

    mount! {
        a_renewal_never_survives_an_acknowledged_revocation
        two_possessions_leave_one_secret
        two_kills_leave_one_session
        no_session_survives_an_acknowledged_disabling
        one_of_two_gets_the_same_digest
        one_of_two_gets_the_same_sid
        one_of_two_gets_the_same_name
        one_of_two_nodes_makes_the_first_key
        a_bad_change_takes_no_other_with_it
        a_purge_keeps_to_its_limit
        revoking_all_ends_every_session
    }
}

/// Two nodes that take calls in turn. Their touches are not each other's.
struct Nodes {
    nodes: [Database; 2],
    turn: AtomicU32,
}

impl Nodes {
    fn next(&self) -> &Database {
        &self.nodes[self.turn.fetch_add(1, Ordering::Relaxed) as usize % 2]
    }
}

impl Store for Nodes {
    fn session(&self, digest: Digest) -> Pending<Option<(Session, User)>> {
        self.next().session(digest)
    }

    fn user(&self, name: CanonicalName) -> Pending<Option<User>> {
        self.next().user(name)
    }

    fn users(&self, offset: u64, limit: u32) -> Pending<UserPage> {
        self.next().users(offset, limit)
    }

    fn find_users(&self, query: UserQuery) -> Pending<Vec<User>> {
        self.next().find_users(query)
    }

    fn sessions(&self, query: SessionQuery) -> Pending<Vec<(Session, User)>> {
        self.next().sessions(query)
    }

    fn live(&self, now: Timestamp) -> Pending<Vec<(String, u64)>> {
        self.next().live(now)
    }

    fn keys(&self) -> Pending<Vec<SealedKey>> {
        self.next().keys()
    }

    fn client(&self, id: Uuid) -> Pending<Option<Client>> {
        self.next().client(id)
    }

    fn clients(&self) -> Pending<Vec<Client>> {
        self.next().clients()
    }

    fn ping(&self) -> Pending<()> {
        self.next().ping()
    }

    fn apply(&self, change: Change) -> Pending<Applied> {
        self.next().apply(change)
    }

    fn touch(&self, touch: Touch) {
        self.next().touch(touch);
    }

    fn flush(&self) -> Pending<()> {
        self.next().flush()
    }
}

#[test]
fn every_pooled_connection_is_bounded_in_time() {
    let fresh = fresh();
    let pool =
        pool(Target::parse(&fresh.url).unwrap(), Setup::default(), 4, Duration::from_secs(1))
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
            assert_eq!(value.get_result::<String>(&mut link.any).unwrap(), expected, "{setting}");
        }
    }
}

#[test]
fn a_schema_that_is_missing_older_or_newer_is_told_apart() {
    let fresh = bare();
    let execute = |statement: &str| fresh.connect().batch_execute(statement).unwrap();
    assert!(matches!(open(&fresh.url, Options::default()), Err(OpenError::Empty)));
    migrate(&fresh.url).unwrap();
    execute("INSERT INTO __diesel_schema_migrations (version) VALUES ('9998')");
    assert!(open(&fresh.url, Options::default()).is_ok());
    execute("UPDATE schema_floor SET lowest = 9998");
    assert!(matches!(
        open(&fresh.url, Options::default()),
        Err(OpenError::Newer { wanted: 9998, .. })
    ));
    execute("DELETE FROM __diesel_schema_migrations WHERE version < '9998'");
    assert!(matches!(open(&fresh.url, Options::default()), Err(OpenError::Older(_))));
}

#[test]
fn migrations_go_up_down_and_up_again() {
    let fresh = fresh();
    let mut conn = fresh.connect();
    let before = text(&mut conn, COLUMNS);
    conn.revert_all_migrations(POSTGRES).unwrap();
    assert_eq!(text(&mut conn, COLUMNS), "");
    conn.run_pending_migrations(POSTGRES).unwrap();
    assert_eq!(text(&mut conn, COLUMNS), before);
}

#[test]
fn the_release_before_reads_and_adds_keys_on_this_schema() {
    let fresh = fresh();
    let mut conn = fresh.connect();
    conn.batch_execute(
        "BEGIN; LOCK TABLE signing_keys IN SHARE ROW EXCLUSIVE MODE; SELECT kid FROM signing_keys LIMIT 1; \
         INSERT INTO signing_keys (kid, created_at, sealed) VALUES ('first', 5, '\\x00'); COMMIT; \
         INSERT INTO keys (kid, created_at, sealed, purpose, active_at) VALUES ('other', 6, '\\x00', 'assertion', 6), \
         ('next', 7, '\\x00', 'axxon-jsonrpc', 253402300799999)",
    )
    .unwrap();
    super::check_first_key(&fresh.url, &text(&mut conn, super::KEYS_OF_THE_RELEASE_BEFORE));
}

#[test]
fn migrating_again_changes_nothing_and_at_once_does_no_harm() {
    let bare = bare();
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
    assert_eq!(text(&mut fresh().connect(), COLUMNS), super::sqlite::columns());
}

#[test]
fn what_terminated_connections_cost_is_nothing_for_checks_and_a_try_for_changes() {
    let fresh = fresh();
    let store = open(&fresh.url, Options::default()).unwrap();
    populate(&store, 1..=3);
    for round in 0..20 {
        administer(&format!(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{}'",
            fresh.name
        ));
        assert_eq!(found(&store, 1), Ok(Some(session(1))));
        // Idle when it was cut: nothing was under way, so nothing is unknown.
        assert_eq!(apply(&store, bump(1, round)), Ok(Applied::Done));
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
    let fresh = fresh();
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
            match apply(&store, opening(number)) {
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
        assert_eq!(found(&store, number), Ok(Some(session(number))));
    }
}

#[test]
fn a_database_that_goes_away_is_unavailable_and_comes_back_by_itself() {
    let fresh = fresh();
    let store = open(
        &fresh.url,
        Options { connect_within: Duration::from_millis(300), ..Options::default() },
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
        assert!(matches!(found(&store, 1), Err(StoreError::Unavailable(_))));
        assert!(matches!(apply(&store, bump(1, 1)), Err(StoreError::Unavailable(_))));
        assert!(matches!(block_on(store.flush()), Err(StoreError::Unavailable(_)) | Ok(())));
        assert!(matches!(block_on(store.keys()), Err(StoreError::Unavailable(_))));
        assert!(matches!(block_on(store.ping()), Err(StoreError::Unavailable(_))));
    }
    allow(true);
    assert!((0..20).any(|_| found(&store, 1).is_ok()));
    assert_eq!(apply(&store, bump(1, 2)), Ok(Applied::Done));
    assert_eq!(block_on(store.flush()), Ok(()));
    drop(store);
    let store = open(&fresh.url, Options::default()).unwrap();
    assert_eq!(found(&store, 1).unwrap().unwrap().expires, touch(1, 500).expires);
}

#[test]
fn a_row_that_somebody_else_locks_holds_up_its_own_change_alone() {
    let fresh = fresh();
    let store = open(&fresh.url, Options::default()).unwrap();
    populate(&store, [1]);
    let mut outside = fresh.connect();
    outside
        .batch_execute("BEGIN; UPDATE users SET version = version WHERE canonical = 'user1'")
        .unwrap();
    // Queued together, so they share a batch, or the second waits for the first.
    let (locked, free) = (store.apply(bump(1, 7)), store.apply(bump(2, 7)));
    assert_eq!(found(&store, 1), Ok(Some(session(1))));
    assert!(matches!(block_on(locked), Err(StoreError::Unavailable(_))));
    assert_eq!(block_on(free), Ok(Applied::Done));
    outside.batch_execute("ROLLBACK").unwrap();
    assert_eq!(apply(&store, bump(1, 8)), Ok(Applied::Done));
}

#[test]
fn a_deadlock_is_nobodys_failure() {
    let fresh = fresh();
    populate(&open(&fresh.url, Options::default()).unwrap(), []);
    let queue = Queue::new(2);
    let batch = [1, 2].map(|number| Change::ExpirePassword(user(number).canonical));
    let answers = batch.map(|change| ask(&queue, |reply| Write::Change(change, reply)));
    queue.close();

    let mut outside = fresh.connect();
    // The first to notice a deadlock is its victim: not this one.
    let statement =
        "SET deadlock_timeout = '100s'; BEGIN; UPDATE users SET version = 7 WHERE canonical = ";
    outside.batch_execute(&format!("{statement}'user2'")).unwrap();
    std::thread::scope(|scope| {
        let pool =
            pool(Target::parse(&fresh.url).unwrap(), Setup::default(), 1, Duration::from_secs(1))
                .unwrap();
        scope.spawn(|| {
            run(&queue, &mut Held::new(pool, OpenFile::default()), &mut Writer::new(Arc::default()))
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

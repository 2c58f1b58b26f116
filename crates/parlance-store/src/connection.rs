//! Connections to the database: how one is made, its settings, and when it is discarded.

mod slot;

use std::panic::{AssertUnwindSafe, catch_unwind};
#[cfg(feature = "sqlite")]
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use diesel::connection::SimpleConnection as _;
use diesel::dsl::sql;
use diesel::r2d2::R2D2Connection as _;
use diesel::sql_types::Text;
use diesel::{Connection as _, RunQueryDsl as _};

pub(crate) use self::slot::ConnectionSlot;
use crate::backend::AnyConnection;
#[cfg(feature = "sqlite")]
use crate::file::DatabaseFile;
use crate::options::OpenError;
use crate::url::Target;

/// The oldest SQLite version that keeps the commits of two connections: in older versions, a write and a checkpoint at
/// the same moment could lose commits.
#[cfg(feature = "sqlite")]
const MIN_SQLITE_VERSION: [u32; 3] = [3, 51, 3];

/// `busy_timeout` comes first: without it the other statements fail where they should wait. Under `synchronous=NORMAL`
/// a power cut could undo acknowledged commits. Reading through a memory mapping saves one copy and one lock for each
/// page, which doubles the look-ups per second among a million sessions; writes do not go through the mapping. The
/// whole file is mapped, or as much of the file as SQLite was compiled for (2 GiB by default). The data for undoing a
/// statement is kept in memory (`temp_store`): there may be no folder for temporary files.
#[cfg(feature = "sqlite")]
const SQLITE_SETTINGS: &str = "PRAGMA busy_timeout=5000; PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON; \
                               PRAGMA cache_size=-32768; PRAGMA mmap_size=1099511627776; PRAGMA temp_store=MEMORY;";

/// Facts about a server, checked before any other use. The last function also fixes `synchronous_commit` for this
/// session at the server's present value: turning the setting off on the server later does not affect this session.
#[cfg(feature = "postgres")]
const POSTGRES_SERVER_STATE: &str = "concat_ws(' ', pg_is_in_recovery(), current_setting('transaction_read_only'), current_setting('server_encoding'), \
     current_setting('client_encoding'), set_config('synchronous_commit', current_setting('synchronous_commit'), false))";

/// How often the server processes of two connections are compared before each connection is taken to have a process of
/// its own.
#[cfg(feature = "postgres")]
const POOLER_CHECK_ROUNDS: usize = 4;

/// A hanging statement must not block a worker, nor must a lock that another connection holds. Every statement finds
/// its rows by a key, so the plan does not depend on the key values: planning anew for each batch took nearly half of a
/// look-up.
#[cfg(feature = "postgres")]
const POSTGRES_SETTINGS: &str = "SET statement_timeout = '5s'; SET lock_timeout = '3s'; SET client_min_messages = 'warning'; \
     SET plan_cache_mode = force_generic_plan";

/// For connections that find rows one by one by their keys: from 64 sessions at a time on, the planner would read all
/// users to join them, which costs six times as much.
#[cfg(feature = "postgres")]
const POSTGRES_LOOKUP_SETTINGS: &str =
    "SET enable_hashjoin = off; SET enable_mergejoin = off; SET enable_seqscan = off";

pub(crate) type Pool = r2d2::Pool<ConnectionManager>;

/// A connection of the pool.
pub(crate) struct ManagedConnection {
    pub(crate) conn: AnyConnection,
    /// Set after a failure: the connection must not be used again.
    pub(crate) poisoned: bool,
}

/// Makes connections to one database.
pub(crate) struct ConnectionManager {
    target: Target,
    file: OpenFile,
}

/// The file of a SQLite database, verified before anything is asked over a connection.
#[cfg(feature = "sqlite")]
pub(crate) type OpenFile = Option<Arc<DatabaseFile>>;
/// Without SQLite no database has a file.
#[cfg(not(feature = "sqlite"))]
pub(crate) type OpenFile = Option<Arc<std::convert::Infallible>>;

/// Sets up each connection of the pool.
#[derive(Debug, Default, Clone)]
pub(crate) struct ConnectionSetup {
    /// Whether the connection only reads, and never waits for a lock.
    pub(crate) read_only: bool,
    /// Whether the connection reads whole tables.
    pub(crate) for_reports: bool,
    /// The file that is verified before a connection is made.
    pub(crate) file: OpenFile,
    /// Counts the statements of every connection.
    #[cfg(test)]
    pub(crate) statements: Arc<std::sync::atomic::AtomicUsize>,
}

/// Why there is no connection. The text holds no password.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectError {
    #[error("{0}")]
    Unreachable(String),
    #[error("{0}")]
    Unsuitable(String),
}

impl From<diesel::result::Error> for ConnectError {
    fn from(error: diesel::result::Error) -> Self {
        Self::Unreachable(error.to_string())
    }
}

impl From<ConnectError> for OpenError {
    fn from(error: ConnectError) -> Self {
        match error {
            ConnectError::Unreachable(text) => Self::Unreachable(text),
            ConnectError::Unsuitable(text) => Self::Unsuitable(text),
        }
    }
}

impl ConnectionSetup {
    /// For connections that only read and never wait for a lock.
    #[cfg(feature = "sqlite")]
    pub(crate) fn read_only(mut self) -> Self {
        self.read_only = true;
        self
    }

    /// For connections that read whole tables.
    pub(crate) fn for_reports(mut self) -> Self {
        self.for_reports = true;
        self
    }
}

impl ConnectionManager {
    pub(crate) fn new(target: Target, file: OpenFile) -> Self {
        Self { target, file }
    }
}

impl r2d2::ManageConnection for ConnectionManager {
    type Connection = ManagedConnection;
    type Error = ConnectError;

    fn connect(&self) -> Result<ManagedConnection, ConnectError> {
        verify_file(&self.file).map_err(ConnectError::Unreachable)?;
        let conn = connect(&self.target)?;
        // The same file before and after: the connection has opened the verified file.
        verify_file(&self.file).map_err(ConnectError::Unreachable)?;
        Ok(ManagedConnection { conn, poisoned: false })
    }

    fn is_valid(&self, managed: &mut ManagedConnection) -> Result<(), ConnectError> {
        Ok(managed.conn.ping()?)
    }

    fn has_broken(&self, managed: &mut ManagedConnection) -> bool {
        managed.poisoned || managed.conn.is_broken()
    }
}

impl r2d2::CustomizeConnection<ManagedConnection, ConnectError> for ConnectionSetup {
    fn on_acquire(&self, managed: &mut ManagedConnection) -> Result<(), ConnectError> {
        set_up(&mut managed.conn)?;
        #[cfg(feature = "postgres")]
        if !self.for_reports && matches!(managed.conn, AnyConnection::Postgres(_)) {
            managed.conn.batch_execute(POSTGRES_LOOKUP_SETTINGS)?;
        }
        if self.read_only {
            managed.conn.batch_execute("PRAGMA query_only=ON; PRAGMA busy_timeout=0;")?;
        }
        #[cfg(test)]
        {
            let statements = Arc::clone(&self.statements);
            managed.conn.set_instrumentation(
                move |event: diesel::connection::InstrumentationEvent<'_>| {
                    if matches!(event, diesel::connection::InstrumentationEvent::StartQuery { .. })
                    {
                        statements.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                    }
                },
            );
        }
        Ok(())
    }
}

/// A connection without settings and without checks. A missing file is not created.
pub(crate) fn connect(target: &Target) -> Result<AnyConnection, ConnectError> {
    match target {
        #[cfg(feature = "sqlite")]
        Target::Sqlite(path) => connect_sqlite(path),
        #[cfg(feature = "postgres")]
        Target::Postgres(server) => {
            let refused = |error: diesel::ConnectionError| {
                ConnectError::Unreachable(server.redact(&error.to_string()))
            };
            diesel::PgConnection::establish(&server.url)
                .map(AnyConnection::Postgres)
                .map_err(refused)
        }
    }
}

/// Like [`connect`], for a file.
#[cfg(feature = "sqlite")]
pub(crate) fn connect_sqlite(path: &Path) -> Result<AnyConnection, ConnectError> {
    let about = |reason: &dyn std::fmt::Display| ConnectError::Unreachable(reason.to_string());
    match std::fs::metadata(path) {
        Ok(found) if found.is_file() => {}
        Ok(_) => return Err(about(&"it is not a regular file")),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(about(&"there is no file"));
        }
        Err(error) => return Err(about(&error)),
    }
    let path = path.to_str().ok_or_else(|| about(&"the path is not Unicode"))?;
    // SQLite would take some relative paths for something else.
    let plain = if path.starts_with('/') { path.to_owned() } else { format!("./{path}") };
    let conn = diesel::SqliteConnection::establish(&plain).map_err(|error| about(&error))?;
    Ok(AnyConnection::Sqlite(conn))
}

/// Checks that a database's file is still the one that is open.
///
/// # Errors
/// The path leads to another file, or to none. The text is for operators.
pub(crate) fn verify_file(file: &OpenFile) -> Result<(), String> {
    match file {
        #[cfg(feature = "sqlite")]
        Some(file) => file.verify(),
        #[cfg(not(feature = "sqlite"))]
        Some(never) => match **never {},
        None => Ok(()),
    }
}

/// Applies the settings, and checks that the database is fit for work.
pub(crate) fn set_up(conn: &mut AnyConnection) -> Result<(), ConnectError> {
    match conn {
        #[cfg(feature = "sqlite")]
        AnyConnection::Sqlite(_) => {
            conn.batch_execute(SQLITE_SETTINGS)?;
            let version = select_text(conn, "sqlite_version()")?;
            if sqlite_is_too_old(&version) {
                let [major, minor, patch] = MIN_SQLITE_VERSION;
                return Err(ConnectError::Unsuitable(format!(
                    "SQLite {version} can lose commits; {major}.{minor}.{patch} is the oldest that does not"
                )));
            }
            match select_text(conn, "(SELECT journal_mode FROM pragma_journal_mode)")?.as_str() {
                "wal" => Ok(()),
                other => Err(ConnectError::Unsuitable(format!(
                    "SQLite keeps its journal as `{other}` and not as a write-ahead log here"
                ))),
            }
        }
        #[cfg(feature = "postgres")]
        AnyConnection::Postgres(_) => {
            conn.batch_execute(POSTGRES_SETTINGS)?;
            check_server_state(&select_text(conn, POSTGRES_SERVER_STATE)?)
                .map_err(ConnectError::Unsuitable)
        }
    }
}

/// Whether a server with these answers to [`POSTGRES_SERVER_STATE`] is fit, or why not. A running server does not become a
/// standby, so the facts are checked once for each connection; after a refusal the next connection checks them again.
#[cfg(feature = "postgres")]
pub(crate) fn check_server_state(facts: &str) -> Result<(), String> {
    let mut facts = facts.split(' ');
    let mut fact = || facts.next().unwrap_or_default();
    if fact() != "f" {
        return Err("the server is a standby, and its data may be out of date: name the primary in the URL, or both hosts with \
                    target_session_attrs=read-write"
            .to_owned());
    }
    if fact() != "off" {
        return Err("the server accepts no changes (default_transaction_read_only is on): name another server in the URL".to_owned());
    }
    match fact() {
        "UTF8" | "SQL_ASCII" => {}
        other => {
            return Err(format!(
                "its encoding is `{other}`, which cannot store every user name: create a database with ENCODING 'UTF8' TEMPLATE template0"
            ));
        }
    }
    match fact() {
        "UTF8" => {}
        other => {
            return Err(format!(
                "the connection's client_encoding is `{other}` and cannot be set to UTF8: a connection pooler in between may keep this encoding"
            ));
        }
    }
    match fact() {
        "on" | "remote_apply" | "remote_write" => Ok(()),
        weak => Err(format!(
            "synchronous_commit is `{weak}`, so a crash may undo acknowledged changes; set it to `on`"
        )),
    }
}

/// The first connection to a database; a program begins with this one.
///
/// # Errors
/// There is no connection, or a pooler gives each transaction another server process. Then settings, prepared
/// statements and session locks do not hold.
pub(crate) fn connect_first(target: &Target) -> Result<AnyConnection, ConnectError> {
    #[cfg_attr(not(feature = "postgres"), expect(unused_mut, reason = "asked of PostgreSQL alone"))]
    let mut conn = connect(target)?;
    #[cfg(feature = "postgres")]
    if let AnyConnection::Postgres(one) = &mut conn
        && let AnyConnection::Postgres(other) = &mut connect(target)?
    {
        let own = backend_pid(one)?;
        for _ in 0..POOLER_CHECK_ROUNDS {
            if backend_pid(other)? == own || backend_pid(one)? != own {
                return Err(ConnectError::Unsuitable(
                    "a connection pooler (such as PgBouncer) gives each transaction another server process, which loses settings and prepared \
                     statements: set the pooler to pool whole sessions (pool_mode = session), or connect to the server itself"
                        .to_owned(),
                ));
            }
        }
    }
    Ok(conn)
}

#[cfg(feature = "postgres")]
#[derive(diesel::QueryableByName)]
struct BackendPid {
    #[diesel(sql_type = diesel::sql_types::Integer)]
    pid: i32,
}

/// The server process behind a connection. The query runs in a transaction, and as a statement that is not kept
/// prepared: this works behind any pooler.
#[cfg(feature = "postgres")]
fn backend_pid(conn: &mut diesel::PgConnection) -> Result<i32, ConnectError> {
    conn.batch_execute("BEGIN")?;
    let found: BackendPid = diesel::sql_query("SELECT pg_backend_pid() AS pid").get_result(conn)?;
    conn.batch_execute("COMMIT")?;
    Ok(found.pid)
}

fn select_text(conn: &mut AnyConnection, expression: &str) -> Result<String, ConnectError> {
    Ok(diesel::select(sql::<Text>(expression)).get_result(conn)?)
}

#[cfg(feature = "sqlite")]
pub(crate) fn sqlite_is_too_old(version: &str) -> bool {
    let mut parts = version.split('.').map(|part| part.parse().unwrap_or(0));
    let version: [u32; 3] = std::array::from_fn(|_| parts.next().unwrap_or(0));
    version < MIN_SQLITE_VERSION
}

/// A pool for `size` threads, each of which keeps one connection. The pool connects on demand, and retries in the
/// background. Nothing is logged, since the workers report errors to their callers.
///
/// # Errors
/// The system gives no threads, at which the pool's own library panics.
pub(crate) fn build_pool(
    target: Target,
    setup: ConnectionSetup,
    size: u32,
    connection_timeout: Duration,
) -> Result<Pool, OpenError> {
    // A connection that never waits for a lock is not waited for either: such connections are made ahead of their use.
    let min_idle = if setup.read_only { size } else { 0 };
    let file = setup.file.clone();
    let builder = r2d2::Pool::builder()
        .max_size(size)
        .min_idle(Some(min_idle))
        .max_lifetime(None)
        .idle_timeout(None)
        .test_on_check_out(true)
        .connection_timeout(connection_timeout)
        .connection_customizer(Box::new(setup))
        .error_handler(Box::new(r2d2::NopErrorHandler));
    let build = || builder.build_unchecked(ConnectionManager::new(target, file));
    let no_threads = |_| OpenError::Threads(std::io::ErrorKind::WouldBlock.into());
    catch_unwind(AssertUnwindSafe(build)).map_err(no_threads)
}

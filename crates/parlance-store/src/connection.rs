//! Connections: how they are made, what is set on each, when one is thrown away.

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

use crate::any::AnyConnection;
#[cfg(feature = "sqlite")]
use crate::file::DatabaseFile;
use crate::options::OpenError;
use crate::url::Target;

/// The oldest SQLite that keeps what two connections write: before it, a write and a checkpoint at one moment could lose commits.
#[cfg(feature = "sqlite")]
const OLDEST_SQLITE: [u32; 3] = [3, 51, 3];

/// `busy_timeout` comes first, or the others fail where they should wait. Under `synchronous=NORMAL` a power cut could undo what has been
/// acknowledged. Reading through a mapping spares a copy and a lock a page, which doubles the look-ups a second among a million sessions;
/// nothing is written through it. The whole file is mapped, or as much of it as SQLite was compiled for (2 GiB, if nobody says otherwise).
/// What a statement must be able to undo is kept in memory: there may be no folder for temporary files.
#[cfg(feature = "sqlite")]
const SQLITE_SETTINGS: &str = "PRAGMA busy_timeout=5000; PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON; \
                               PRAGMA cache_size=-32768; PRAGMA mmap_size=1099511627776; PRAGMA temp_store=MEMORY;";

/// What a server is asked before it is worked with. The last one also sets for this session what the server said: turned off there later,
/// it stays as it was here.
#[cfg(feature = "postgres")]
const POSTGRES_FACTS: &str = "concat_ws(' ', pg_is_in_recovery(), current_setting('transaction_read_only'), current_setting('server_encoding'), \
     current_setting('client_encoding'), set_config('synchronous_commit', current_setting('synchronous_commit'), false))";

/// How often two connections are compared before each is believed to have a server process of its own.
#[cfg(feature = "postgres")]
const COMPARISONS: usize = 4;

/// A statement that hangs must not hold up its lane, nor a lock that somebody else holds. Every statement finds its rows by a key, so that
/// the plan does not depend on which keys: planning anew for each batch of them took nearly half of a look-up.
#[cfg(feature = "postgres")]
const POSTGRES_SETTINGS: &str = "SET statement_timeout = '5s'; SET lock_timeout = '3s'; SET client_min_messages = 'warning'; \
     SET plan_cache_mode = force_generic_plan";

/// For connections over which rows are found by their keys, one by one: from 64 sessions at a time on, the planner would read all the users
/// there are to join them, which costs six times as much.
#[cfg(feature = "postgres")]
const POSTGRES_BY_KEY: &str =
    "SET enable_hashjoin = off; SET enable_mergejoin = off; SET enable_seqscan = off";

/// A pool of connections.
pub(crate) type Pool = r2d2::Pool<Manager>;

/// A connection of the pool.
pub(crate) struct Link {
    pub(crate) any: AnyConnection,
    /// Something failed on it: it is not to be used again.
    pub(crate) spoilt: bool,
}

/// Makes connections to one database.
pub(crate) struct Manager {
    target: Target,
    file: OpenFile,
}

/// The file of a SQLite database, to be looked at before anything is asked over a connection.
#[cfg(feature = "sqlite")]
pub(crate) type OpenFile = Option<Arc<DatabaseFile>>;
/// No database here has a file.
#[cfg(not(feature = "sqlite"))]
pub(crate) type OpenFile = Option<Arc<std::convert::Infallible>>;

/// Sets up each connection of the pool.
#[derive(Debug, Default, Clone)]
pub(crate) struct Setup {
    /// Whether nothing is written over it, and nobody is waited for.
    pub(crate) reads: bool,
    /// Whether whole tables are read over it.
    pub(crate) reports: bool,
    /// What is looked at before a connection is made.
    pub(crate) file: OpenFile,
    /// Counts the statements of every connection.
    #[cfg(test)]
    pub(crate) statements: Arc<std::sync::atomic::AtomicUsize>,
}

/// Why a connection cannot be had. The text holds no password.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LinkError {
    #[error("{0}")]
    NotMade(String),
    #[error("{0}")]
    Unfit(String),
}

impl From<diesel::result::Error> for LinkError {
    fn from(error: diesel::result::Error) -> Self {
        Self::NotMade(error.to_string())
    }
}

impl From<LinkError> for OpenError {
    fn from(error: LinkError) -> Self {
        match error {
            LinkError::NotMade(text) => Self::Unreachable(text),
            LinkError::Unfit(text) => Self::Unfit(text),
        }
    }
}

impl Setup {
    /// For connections over which nothing is written, and which wait for nobody.
    #[cfg(feature = "sqlite")]
    pub(crate) fn reading(mut self) -> Self {
        self.reads = true;
        self
    }

    /// For connections over which whole tables are read.
    pub(crate) fn reporting(mut self) -> Self {
        self.reports = true;
        self
    }
}

impl Manager {
    pub(crate) fn new(target: Target, file: OpenFile) -> Self {
        Self { target, file }
    }
}

impl r2d2::ManageConnection for Manager {
    type Connection = Link;
    type Error = LinkError;

    fn connect(&self) -> Result<Link, LinkError> {
        verify(&self.file).map_err(LinkError::NotMade)?;
        let any = connect(&self.target)?;
        // What stood there when it was opened is what stands there.
        verify(&self.file).map_err(LinkError::NotMade)?;
        Ok(Link { any, spoilt: false })
    }

    fn is_valid(&self, link: &mut Link) -> Result<(), LinkError> {
        Ok(link.any.ping()?)
    }

    fn has_broken(&self, link: &mut Link) -> bool {
        link.spoilt || link.any.is_broken()
    }
}

impl r2d2::CustomizeConnection<Link, LinkError> for Setup {
    fn on_acquire(&self, link: &mut Link) -> Result<(), LinkError> {
        set_up(&mut link.any)?;
        #[cfg(feature = "postgres")]
        if !self.reports && matches!(link.any, AnyConnection::Postgres(_)) {
            link.any.batch_execute(POSTGRES_BY_KEY)?;
        }
        if self.reads {
            link.any.batch_execute("PRAGMA query_only=ON; PRAGMA busy_timeout=0;")?;
        }
        #[cfg(test)]
        {
            let statements = Arc::clone(&self.statements);
            link.any.set_instrumentation(
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

/// A connection as it comes: nothing is set, nothing is asserted. A file that is not there is not made.
pub(crate) fn connect(target: &Target) -> Result<AnyConnection, LinkError> {
    match target {
        #[cfg(feature = "sqlite")]
        Target::Sqlite(path) => establish(path),
        #[cfg(feature = "postgres")]
        Target::Postgres(server) => {
            let refused = |error: diesel::ConnectionError| {
                LinkError::NotMade(server.redact(&error.to_string()))
            };
            diesel::PgConnection::establish(&server.url)
                .map(AnyConnection::Postgres)
                .map_err(refused)
        }
    }
}

/// As [`connect`], to a file.
#[cfg(feature = "sqlite")]
pub(crate) fn establish(path: &Path) -> Result<AnyConnection, LinkError> {
    let about = |reason: &dyn std::fmt::Display| LinkError::NotMade(reason.to_string());
    match std::fs::metadata(path) {
        Ok(found) if found.is_file() => {}
        Ok(_) => return Err(about(&"it is no file")),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(about(&"there is no file"));
        }
        Err(error) => return Err(about(&error)),
    }
    let path = path.to_str().ok_or_else(|| about(&"the path is not Unicode"))?;
    // Relative paths that SQLite would take for something else.
    let plain = if path.starts_with('/') { path.to_owned() } else { format!("./{path}") };
    let conn = diesel::SqliteConnection::establish(&plain).map_err(|error| about(&error))?;
    Ok(AnyConnection::Sqlite(conn))
}

/// Looks whether a database's file is still the one that is open.
///
/// # Errors
/// It is not. The text is for operators.
pub(crate) fn verify(file: &OpenFile) -> Result<(), String> {
    match file {
        #[cfg(feature = "sqlite")]
        Some(file) => file.verify(),
        #[cfg(not(feature = "sqlite"))]
        Some(never) => match **never {},
        None => Ok(()),
    }
}

/// Settings and assertions for a connection that is to be worked with.
pub(crate) fn set_up(any: &mut AnyConnection) -> Result<(), LinkError> {
    match any {
        #[cfg(feature = "sqlite")]
        AnyConnection::Sqlite(_) => {
            any.batch_execute(SQLITE_SETTINGS)?;
            let version = text(any, "sqlite_version()")?;
            if sqlite_is_older(&version) {
                let [major, minor, patch] = OLDEST_SQLITE;
                return Err(LinkError::Unfit(format!(
                    "SQLite {version} can lose commits; {major}.{minor}.{patch} is the oldest that does not"
                )));
            }
            match text(any, "(SELECT journal_mode FROM pragma_journal_mode)")?.as_str() {
                "wal" => Ok(()),
                other => Err(LinkError::Unfit(format!(
                    "SQLite keeps its journal as `{other}` and not as a write-ahead log here"
                ))),
            }
        }
        #[cfg(feature = "postgres")]
        AnyConnection::Postgres(_) => {
            any.batch_execute(POSTGRES_SETTINGS)?;
            judge_server(&text(any, POSTGRES_FACTS)?).map_err(LinkError::Unfit)
        }
    }
}

/// Whether a server that answers so to [`POSTGRES_FACTS`] can be worked with, or why not. A server does not become a standby while it
/// runs, so it is asked once a connection; what was refused is asked again with the next one.
#[cfg(feature = "postgres")]
pub(crate) fn judge_server(facts: &str) -> Result<(), String> {
    let mut facts = facts.split(' ');
    let mut fact = || facts.next().unwrap_or_default();
    if fact() != "f" {
        return Err("the server is a standby, and what it shows may be old: let the URL name the primary, or both hosts with \
                    target_session_attrs=read-write"
            .to_owned());
    }
    if fact() != "off" {
        return Err("the server takes no changes (default_transaction_read_only is on): let the URL name one that does".to_owned());
    }
    match fact() {
        "UTF8" | "SQL_ASCII" => {}
        other => {
            return Err(format!(
                "its encoding is `{other}`, which cannot hold every name: make a database with ENCODING 'UTF8' TEMPLATE template0"
            ));
        }
    }
    match fact() {
        "UTF8" => {}
        other => {
            return Err(format!(
                "the connection's client_encoding is `{other}` and cannot be set to UTF8: a pooler between may keep it"
            ));
        }
    }
    match fact() {
        "on" | "remote_apply" | "remote_write" => Ok(()),
        weak => Err(format!(
            "synchronous_commit is `{weak}`, so a crash may undo what has been acknowledged; set it to `on`"
        )),
    }
}

/// The first connection to a database: a program begins with it.
///
/// # Errors
/// There is none to be had, or a pooler gives each transaction another server process. Then neither settings nor prepared statements nor locks
/// of a session hold.
pub(crate) fn connect_first(target: &Target) -> Result<AnyConnection, LinkError> {
    #[cfg_attr(not(feature = "postgres"), expect(unused_mut, reason = "asked of PostgreSQL alone"))]
    let mut any = connect(target)?;
    #[cfg(feature = "postgres")]
    if let AnyConnection::Postgres(one) = &mut any
        && let AnyConnection::Postgres(other) = &mut connect(target)?
    {
        let own = process(one)?;
        for _ in 0..COMPARISONS {
            if process(other)? == own || process(one)? != own {
                return Err(LinkError::Unfit(
                    "a pooler (PgBouncer, say) gives each transaction another server process, which forgets settings and prepared \
                     statements: let it pool whole sessions (pool_mode = session), or connect to the server itself"
                        .to_owned(),
                ));
            }
        }
    }
    Ok(any)
}

#[cfg(feature = "postgres")]
#[derive(diesel::QueryableByName)]
struct Process {
    #[diesel(sql_type = diesel::sql_types::Integer)]
    pid: i32,
}

/// The server process behind a connection. In a transaction, and by a statement that is not kept prepared: it works behind any pooler.
#[cfg(feature = "postgres")]
fn process(conn: &mut diesel::PgConnection) -> Result<i32, LinkError> {
    conn.batch_execute("BEGIN")?;
    let found: Process = diesel::sql_query("SELECT pg_backend_pid() AS pid").get_result(conn)?;
    conn.batch_execute("COMMIT")?;
    Ok(found.pid)
}

fn text(any: &mut AnyConnection, expression: &str) -> Result<String, LinkError> {
    Ok(diesel::select(sql::<Text>(expression)).get_result(any)?)
}

#[cfg(feature = "sqlite")]
pub(crate) fn sqlite_is_older(version: &str) -> bool {
    let mut parts = version.split('.').map(|part| part.parse().unwrap_or(0));
    let version: [u32; 3] = std::array::from_fn(|_| parts.next().unwrap_or(0));
    version < OLDEST_SQLITE
}

/// A pool for `lanes` threads, each of which keeps one. It connects when it is asked, and tries again in the background; nothing of it
/// is logged, since the lanes tell their callers.
///
/// # Errors
/// The system gives no threads, at which the pool's own library panics.
pub(crate) fn pool(
    target: Target,
    setup: Setup,
    lanes: u32,
    connect_within: Duration,
) -> Result<Pool, OpenError> {
    // Whoever waits for nobody does not wait for a connection either: they must be there before they are asked for.
    let ahead = if setup.reads { lanes } else { 0 };
    let file = setup.file.clone();
    let builder = r2d2::Pool::builder()
        .max_size(lanes)
        .min_idle(Some(ahead))
        .max_lifetime(None)
        .idle_timeout(None)
        .test_on_check_out(true)
        .connection_timeout(connect_within)
        .connection_customizer(Box::new(setup))
        .error_handler(Box::new(r2d2::NopErrorHandler));
    let build = || builder.build_unchecked(Manager::new(target, file));
    let no_threads = |_| OpenError::Threads(std::io::ErrorKind::WouldBlock.into());
    catch_unwind(AssertUnwindSafe(build)).map_err(no_threads)
}

/// A lane's connection. It is kept from turn to turn, and thrown away after any failure, so that the pool makes a new one.
pub(crate) struct Held {
    pool: Pool,
    file: OpenFile,
    link: Option<r2d2::PooledConnection<Manager>>,
}

impl Held {
    pub(crate) fn new(pool: Pool, file: OpenFile) -> Self {
        Self { pool, file, link: None }
    }

    /// Looks whether the database's file is still the one that is open.
    ///
    /// # Errors
    /// It is not. The text is for operators.
    pub(crate) fn verify(&self) -> Result<(), String> {
        verify(&self.file)
    }

    /// # Errors
    /// None can be had within the time, or the database's file was replaced. The text is for operators.
    pub(crate) fn get(&mut self) -> Result<&mut AnyConnection, String> {
        self.verify()?;
        let link = match self.link.take() {
            Some(link) => link,
            None => self.pool.get().map_err(|error| error.to_string())?,
        };
        Ok(&mut self.link.insert(link).any)
    }

    /// Throws the connection away. Whether the server was still there.
    pub(crate) fn discard(&mut self) -> bool {
        let Some(mut link) = self.link.take() else { return false };
        link.spoilt = true;
        link.any.ping().is_ok()
    }

    /// Does something that may be done twice: once more on a fresh connection if the first turns out to be dead.
    ///
    /// # Errors
    /// It failed, or there is no connection.
    pub(crate) fn twice<T, E: ToString>(
        &mut self,
        mut act: impl FnMut(&mut AnyConnection) -> Result<T, E>,
    ) -> Result<T, Setback> {
        let away = |text| Setback { text, answered: false };
        match act(self.get().map_err(away)?) {
            Ok(done) => Ok(done),
            Err(error) if self.discard() => {
                Err(Setback { text: error.to_string(), answered: true })
            }
            Err(_) => {
                let again = act(self.get().map_err(away)?);
                again.map_err(|error| Setback { answered: self.discard(), text: error.to_string() })
            }
        }
    }
}

/// Why something was not done.
#[derive(Debug, thiserror::Error)]
#[error("{text}")]
pub(crate) struct Setback {
    /// For operators.
    pub(crate) text: String,
    /// Whether the database was there: then it is the act that is at fault.
    pub(crate) answered: bool,
}

//! The schema: bringing it up to date, and whether it is.

#[cfg(feature = "sqlite")]
use std::os::unix::fs::OpenOptionsExt as _;
#[cfg(feature = "sqlite")]
use std::path::Path;

use diesel::backend::Backend;
use diesel::connection::SimpleConnection as _;
use diesel::dsl::sql;
use diesel::migration::MigrationSource;
use diesel::prelude::*;
use diesel::sql_types::Bool;
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};

use crate::any::AnyConnection;
use crate::connection::connect_first;
#[cfg(feature = "sqlite")]
use crate::file::{examine, lock::Lock};
use crate::options::OpenError;
#[cfg(feature = "sqlite")]
use crate::owner::give;
use crate::schema::{applied_migrations, schema_floor};
use crate::url::Target;

#[cfg(feature = "sqlite")]
pub(crate) const SQLITE: EmbeddedMigrations = embed_migrations!("../../migrations/sqlite");
#[cfg(feature = "postgres")]
pub(crate) const POSTGRES: EmbeddedMigrations = embed_migrations!("../../migrations/postgres");

/// The lock under which PostgreSQL is migrated: "parlance" in ASCII.
#[cfg(feature = "postgres")]
pub(crate) const LOCK: i64 = i64::from_be_bytes(*b"parlance");

/// Brings the database's tables up to date, and makes the file of a SQLite database that is not there yet (readable by its owner alone).
/// May be run again and by several processes at once. Answers which migrations it has run.
///
/// # Errors
/// The database cannot be reached or migrated; what it held is unchanged then.
pub fn migrate(url: &str) -> Result<Vec<String>, OpenError> {
    let target = Target::parse(url)?;
    run(&target, |_| Ok(true)).map_err(|error| error.of(&target))
}

/// As [`migrate`], where the database is not there yet or holds no tables of parlance; any other is left as it is, fit or not.
///
/// # Errors
/// As [`migrate`].
pub fn make(url: &str) -> Result<Vec<String>, OpenError> {
    let target = Target::parse(url)?;
    let is_empty = |any: &mut AnyConnection| match check(any) {
        Err(OpenError::Empty) => Ok(true),
        // Whoever opens it next says what is wrong with it.
        Ok(()) | Err(OpenError::Older(_) | OpenError::Newer { .. }) => Ok(false),
        Err(other) => Err(other),
    };
    run(&target, is_empty).map_err(|error| error.of(&target))
}

/// Whether there is something to open at this URL: the file of a SQLite database. A database server always counts as there.
///
/// # Errors
/// The URL names no database that this program can open.
pub fn is_there(url: &str) -> Result<bool, OpenError> {
    match Target::parse(url)? {
        // What the system does not let us see is for opening it to say.
        #[cfg(feature = "sqlite")]
        Target::Sqlite(path) => Ok(path.try_exists().unwrap_or(true)),
        #[cfg(feature = "postgres")]
        Target::Postgres(_) => Ok(true),
    }
}

fn run(
    target: &Target,
    wanted: impl FnOnce(&mut AnyConnection) -> Result<bool, OpenError>,
) -> Result<Vec<String>, OpenError> {
    // Dropped after the connection.
    #[cfg(feature = "sqlite")]
    let _lock = match target {
        Target::Sqlite(path) => {
            make_file(path)?;
            Some(Lock::share(&examine::check(path)?)?)
        }
        #[cfg(feature = "postgres")]
        Target::Postgres(_) => None,
    };
    let mut any = connect_first(target)?;
    settle(&mut any)?;
    let run = match &mut any {
        #[cfg(feature = "sqlite")]
        AnyConnection::Sqlite(_) => {
            if !wanted(&mut any)? {
                return Ok(Vec::new());
            }
            Some(transact(&mut any, pending)?)
        }
        #[cfg(feature = "postgres")]
        AnyConnection::Postgres(_) => transact(&mut any, |any| {
            // Before anything is looked at: another process may have run only the first of several migrations. The lock ends with the
            // transaction, so that a pooler's connection never keeps it.
            let lock = format!(
                "SET LOCAL lock_timeout = '60s'; SET LOCAL statement_timeout = 0; SELECT pg_advisory_xact_lock({LOCK})"
            );
            any.batch_execute(&lock).map_err(|error| failed(&error))?;
            if wanted(any)? { pending(any).map(Some) } else { Ok(None) }
        })?,
    };
    let Some(run) = run else { return Ok(Vec::new()) };
    check(&mut any)?;
    Ok(run)
}

/// Does all of it in one transaction, or nothing.
fn transact<T>(
    any: &mut AnyConnection,
    act: impl FnOnce(&mut AnyConnection) -> Result<T, OpenError>,
) -> Result<T, OpenError> {
    any.begin().map_err(|error| failed(&error))?;
    match act(any) {
        Ok(done) => any.commit().map_err(|error| failed(&error)).map(|()| done),
        Err(error) => {
            // Closing the connection does it as well.
            let _rolled_back = any.rollback();
            Err(error)
        }
    }
}

fn failed(error: &impl ToString) -> OpenError {
    OpenError::Migration(error.to_string())
}

/// Runs the migrations that were not run yet.
fn pending(any: &mut AnyConnection) -> Result<Vec<String>, OpenError> {
    match any {
        #[cfg(feature = "sqlite")]
        AnyConnection::Sqlite(conn) => run_pending(conn, SQLITE),
        #[cfg(feature = "postgres")]
        AnyConnection::Postgres(conn) => run_pending(conn, POSTGRES),
    }
}

fn run_pending<C: MigrationHarness<DB>, DB: Backend>(
    conn: &mut C,
    source: EmbeddedMigrations,
) -> Result<Vec<String>, OpenError> {
    let run = conn.run_pending_migrations(source).map_err(|error| failed(&error))?;
    Ok(run.iter().map(ToString::to_string).collect())
}

#[cfg(feature = "sqlite")]
fn make_file(path: &Path) -> Result<(), OpenError> {
    if examine::find(path)?.is_some() {
        return Ok(());
    }
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    let folder = examine::folder(path);
    let refused = |reason: std::io::Error| {
        if reason.kind() == std::io::ErrorKind::PermissionDenied {
            examine::refused(path, &folder, reason)
        } else {
            OpenError::NotMade { path: path.to_owned(), reason }
        }
    };
    match options.open(path) {
        // What root makes in a service's folder is the service's.
        Ok(file) => std::fs::metadata(&folder).and_then(|like| give(&file, &like)).map_err(refused),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(refused(error)),
    }
}

/// Sets up the connection that migrates. Two processes that make a SQLite database a write-ahead log at one moment are in each other's
/// way, and SQLite does not wait for that; but it waits for a write lock, so that is how we wait.
fn settle(any: &mut AnyConnection) -> Result<(), OpenError> {
    match any {
        #[cfg(feature = "sqlite")]
        AnyConnection::Sqlite(conn) => {
            for _ in 0..20 {
                if conn.batch_execute("PRAGMA busy_timeout=5000; PRAGMA journal_mode=WAL;").is_ok()
                {
                    break;
                }
                // Whether this works or not, time has passed.
                drop(conn.batch_execute("BEGIN IMMEDIATE; COMMIT;"));
            }
        }
        #[cfg(feature = "postgres")]
        AnyConnection::Postgres(_) => {}
    }
    crate::connection::set_up(any)?;
    Ok(())
}

/// Whether this program can work on the database's tables.
pub(crate) fn check(any: &mut AnyConnection) -> Result<(), OpenError> {
    let known = known(any)?;
    // Asked for, since an error may say anything: that a right is missing, or the server gone.
    if !has_tables(any)? {
        return Err(OpenError::Empty);
    }
    let applied = applied_migrations::table.select(applied_migrations::version).load::<String>(any);
    let applied = applied.map_err(|error| unreachable(&error))?;
    if applied.is_empty() {
        return Err(OpenError::Empty);
    }
    if let Some(missing) = known.iter().find(|version| !applied.contains(version)) {
        return Err(OpenError::Older(missing.clone()));
    }
    let wanted: i64 = schema_floor::table
        .select(schema_floor::lowest)
        .first(any)
        .map_err(|error| unreachable(&error))?;
    let known = known.iter().filter_map(|version| version.parse().ok()).max().unwrap_or(0);
    if wanted > known { Err(OpenError::Newer { wanted, known }) } else { Ok(()) }
}

fn unreachable(error: &impl ToString) -> OpenError {
    OpenError::Unreachable(error.to_string())
}

/// Whether there is the table that says which migrations were run.
fn has_tables(any: &mut AnyConnection) -> Result<bool, OpenError> {
    let is_there = match any {
        #[cfg(feature = "sqlite")]
        AnyConnection::Sqlite(_) => {
            "EXISTS (SELECT 1 FROM sqlite_schema WHERE name = '__diesel_schema_migrations')"
        }
        #[cfg(feature = "postgres")]
        AnyConnection::Postgres(_) => "to_regclass('__diesel_schema_migrations') IS NOT NULL",
    };
    diesel::select(sql::<Bool>(is_there)).get_result(any).map_err(|error| unreachable(&error))
}

fn known(any: &AnyConnection) -> Result<Vec<String>, OpenError> {
    match any {
        #[cfg(feature = "sqlite")]
        AnyConnection::Sqlite(_) => versions::<diesel::sqlite::Sqlite>(&SQLITE),
        #[cfg(feature = "postgres")]
        AnyConnection::Postgres(_) => versions::<diesel::pg::Pg>(&POSTGRES),
    }
}

/// The number of the newest migration.
#[cfg(feature = "postgres")]
pub(crate) fn newest<DB: Backend>(source: &EmbeddedMigrations) -> Result<i64, OpenError> {
    let versions = versions::<DB>(source)?;
    Ok(versions.iter().filter_map(|version| version.parse().ok()).max().unwrap_or(0))
}

fn versions<DB: Backend>(source: &EmbeddedMigrations) -> Result<Vec<String>, OpenError> {
    let migrations = MigrationSource::<DB>::migrations(source)
        .map_err(|error| OpenError::Migration(error.to_string()))?;
    let mut versions: Vec<_> =
        migrations.iter().map(|migration| migration.name().version().to_string()).collect();
    versions.sort_unstable();
    Ok(versions)
}

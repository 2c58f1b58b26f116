//! The schema: runs migrations, and checks whether the schema is up to date.

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

use crate::backend::AnyConnection;
use crate::connection::connect_first;
#[cfg(feature = "sqlite")]
use crate::file::{examine, lock::DatabaseLock};
use crate::options::OpenError;
#[cfg(feature = "sqlite")]
use crate::owner::chown_like;
use crate::schema::{applied_migrations, schema_floor};
use crate::url::Target;

#[cfg(feature = "sqlite")]
pub(crate) const SQLITE_MIGRATIONS: EmbeddedMigrations =
    embed_migrations!("../../migrations/sqlite");
#[cfg(feature = "postgres")]
pub(crate) const POSTGRES_MIGRATIONS: EmbeddedMigrations =
    embed_migrations!("../../migrations/postgres");

/// The advisory lock of a migration on PostgreSQL: "parlance" in ASCII.
#[cfg(feature = "postgres")]
pub(crate) const MIGRATION_LOCK_ID: i64 = i64::from_be_bytes(*b"parlance");

/// Brings the database's tables up to date, and creates the file of a missing SQLite database (readable by its owner
/// alone). May be run again, and by several processes at once. Returns the migrations that were run.
///
/// # Errors
/// The database cannot be reached or migrated; its content is unchanged then.
pub fn migrate(url: &str) -> Result<Vec<String>, OpenError> {
    let target = Target::parse(url)?;
    run_migrations(&target, |_| Ok(true)).map_err(|error| error.with_path(&target))
}

/// Like [`migrate`], for a database that is missing or holds no tables of parlance; any other is left unchanged, fit or
/// not.
///
/// # Errors
/// As [`migrate`].
pub fn migrate_if_empty(url: &str) -> Result<Vec<String>, OpenError> {
    let target = Target::parse(url)?;
    let is_empty = |conn: &mut AnyConnection| match check_schema(conn) {
        Err(OpenError::NoTables) => Ok(true),
        // The next opening reports the fault.
        Ok(()) | Err(OpenError::SchemaTooOld(_) | OpenError::SchemaTooNew { .. }) => Ok(false),
        Err(other) => Err(other),
    };
    run_migrations(&target, is_empty).map_err(|error| error.with_path(&target))
}

/// Whether there is a database to open at this URL: the file of a SQLite database. A database server always counts as
/// present.
///
/// # Errors
/// The URL names no database that this program can open.
pub fn database_exists(url: &str) -> Result<bool, OpenError> {
    match Target::parse(url)? {
        // A path that the system hides counts as present: the opening reports the reason.
        #[cfg(feature = "sqlite")]
        Target::Sqlite(path) => Ok(path.try_exists().unwrap_or(true)),
        #[cfg(feature = "postgres")]
        Target::Postgres(_) => Ok(true),
    }
}

fn run_migrations(
    target: &Target,
    wanted: impl FnOnce(&mut AnyConnection) -> Result<bool, OpenError>,
) -> Result<Vec<String>, OpenError> {
    // Dropped after the connection.
    #[cfg(feature = "sqlite")]
    let _lock = match target {
        Target::Sqlite(path) => {
            create_file(path)?;
            Some(DatabaseLock::acquire_shared(&examine::check_database_file(path)?)?)
        }
        #[cfg(feature = "postgres")]
        Target::Postgres(_) => None,
    };
    let mut conn = connect_first(target)?;
    set_up_for_migration(&mut conn)?;
    let run = match &mut conn {
        #[cfg(feature = "sqlite")]
        AnyConnection::Sqlite(_) => {
            if !wanted(&mut conn)? {
                return Ok(Vec::new());
            }
            Some(transact(&mut conn, run_all_pending)?)
        }
        #[cfg(feature = "postgres")]
        AnyConnection::Postgres(_) => transact(&mut conn, |conn| {
            // Locks before any look at the tables: another process may have run only the first of several migrations.
            // Earlier releases take the same lock. The lock ends with the transaction, so that a pooler's connection
            // never keeps the lock. The statement timeout of requests, five seconds, is too short for an index on a
            // large table.
            let lock = format!(
                "SET LOCAL lock_timeout = '60s'; SET LOCAL statement_timeout = 0; SELECT pg_advisory_xact_lock({MIGRATION_LOCK_ID})"
            );
            conn.batch_execute(&lock).map_err(|error| migration_error(&error))?;
            if wanted(conn)? { run_all_pending(conn).map(Some) } else { Ok(None) }
        })?,
    };
    let Some(run) = run else { return Ok(Vec::new()) };
    check_schema(&mut conn)?;
    Ok(run)
}

/// Runs an act in one transaction, as a whole or not at all.
fn transact<T>(
    conn: &mut AnyConnection,
    act: impl FnOnce(&mut AnyConnection) -> Result<T, OpenError>,
) -> Result<T, OpenError> {
    conn.begin().map_err(|error| migration_error(&error))?;
    match act(conn) {
        Ok(done) => conn.commit().map_err(|error| migration_error(&error)).map(|()| done),
        Err(error) => {
            // Closing the connection rolls back as well.
            let _rolled_back = conn.rollback();
            Err(error)
        }
    }
}

fn migration_error(error: &impl ToString) -> OpenError {
    OpenError::Migration(error.to_string())
}

/// Runs the pending migrations.
fn run_all_pending(conn: &mut AnyConnection) -> Result<Vec<String>, OpenError> {
    match conn {
        #[cfg(feature = "sqlite")]
        AnyConnection::Sqlite(conn) => run_pending(conn, SQLITE_MIGRATIONS),
        #[cfg(feature = "postgres")]
        AnyConnection::Postgres(conn) => run_pending(conn, POSTGRES_MIGRATIONS),
    }
}

fn run_pending<C: MigrationHarness<DB>, DB: Backend>(
    conn: &mut C,
    source: EmbeddedMigrations,
) -> Result<Vec<String>, OpenError> {
    let run = conn.run_pending_migrations(source).map_err(|error| migration_error(&error))?;
    Ok(run.iter().map(ToString::to_string).collect())
}

#[cfg(feature = "sqlite")]
fn create_file(path: &Path) -> Result<(), OpenError> {
    if examine::file_metadata(path)?.is_some() {
        return Ok(());
    }
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    let folder = examine::parent_folder(path);
    let refused = |reason: std::io::Error| {
        if reason.kind() == std::io::ErrorKind::PermissionDenied {
            examine::access_error(path, &folder, reason)
        } else {
            OpenError::CannotCreate { path: path.to_owned(), reason }
        }
    };
    match options.open(path) {
        // A file that root creates in a service's folder belongs to the service.
        Ok(file) => {
            std::fs::metadata(&folder).and_then(|like| chown_like(&file, &like)).map_err(refused)
        }
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(refused(error)),
    }
}

/// Sets up the connection for migrations. Two processes that switch a SQLite database to a write-ahead log at the same
/// moment disturb each other, and SQLite does not wait for that. But SQLite waits for a write lock, which serves as the
/// wait here.
fn set_up_for_migration(conn: &mut AnyConnection) -> Result<(), OpenError> {
    match conn {
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
    crate::connection::set_up(conn)?;
    Ok(())
}

/// Whether this program can work on the database's tables.
pub(crate) fn check_schema(conn: &mut AnyConnection) -> Result<(), OpenError> {
    let known = known_versions(conn)?;
    // Checked explicitly, since an error can have any cause: a missing right, or a lost server.
    if !has_tables(conn)? {
        return Err(OpenError::NoTables);
    }
    let applied =
        applied_migrations::table.select(applied_migrations::version).load::<String>(conn);
    let applied = applied.map_err(|error| unreachable_error(&error))?;
    if applied.is_empty() {
        return Err(OpenError::NoTables);
    }
    if let Some(missing) = known.iter().find(|version| !applied.contains(version)) {
        return Err(OpenError::SchemaTooOld(missing.clone()));
    }
    let wanted: i64 = schema_floor::table
        .select(schema_floor::lowest)
        .first(conn)
        .map_err(|error| unreachable_error(&error))?;
    let known = known.iter().filter_map(|version| version.parse().ok()).max().unwrap_or(0);
    if wanted > known { Err(OpenError::SchemaTooNew { wanted, known }) } else { Ok(()) }
}

fn unreachable_error(error: &impl ToString) -> OpenError {
    OpenError::Unreachable(error.to_string())
}

/// Whether the table that lists the applied migrations exists.
fn has_tables(conn: &mut AnyConnection) -> Result<bool, OpenError> {
    let is_there = match conn {
        #[cfg(feature = "sqlite")]
        AnyConnection::Sqlite(_) => {
            "EXISTS (SELECT 1 FROM sqlite_schema WHERE name = '__diesel_schema_migrations')"
        }
        #[cfg(feature = "postgres")]
        AnyConnection::Postgres(_) => "to_regclass('__diesel_schema_migrations') IS NOT NULL",
    };
    diesel::select(sql::<Bool>(is_there))
        .get_result(conn)
        .map_err(|error| unreachable_error(&error))
}

fn known_versions(conn: &AnyConnection) -> Result<Vec<String>, OpenError> {
    match conn {
        #[cfg(feature = "sqlite")]
        AnyConnection::Sqlite(_) => versions::<diesel::sqlite::Sqlite>(&SQLITE_MIGRATIONS),
        #[cfg(feature = "postgres")]
        AnyConnection::Postgres(_) => versions::<diesel::pg::Pg>(&POSTGRES_MIGRATIONS),
    }
}

/// The number of the newest migration.
#[cfg(feature = "postgres")]
pub(crate) fn newest_version<DB: Backend>(source: &EmbeddedMigrations) -> Result<i64, OpenError> {
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

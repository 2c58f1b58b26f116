//! Backup and restore of PostgreSQL, by its own programs.

use std::io::{self, BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use diesel::connection::SimpleConnection as _;
use diesel::dsl::{count_star, sql};
use diesel::sql_types::{BigInt, Bool};
use diesel::{QueryDsl as _, RunQueryDsl as _};

use super::{
    BackupError, BackupSummary, PG_DUMP_MAGIC, RestoreSummary, SQLITE_MAGIC, check_destination,
    create_partial, finish_partial, open_backup,
};
use crate::backend::AnyConnection;
use crate::connection::{connect_first, set_up};
use crate::migrations::{self, MIGRATION_LOCK_ID};
use crate::options::OpenError;
use crate::revocation::revoke_all;
use crate::schema::users;
use crate::url::{PostgresServer, Target};

pub(super) fn backup(
    server: &PostgresServer,
    file: &Path,
    overwrite: bool,
) -> Result<BackupSummary, BackupError> {
    check_destination(file, overwrite)?;
    let mut conn = connect(server)?;
    match migrations::check_schema(&mut conn) {
        Ok(()) | Err(OpenError::SchemaTooOld(_) | OpenError::SchemaTooNew { .. }) => {}
        Err(other) => return Err(other.into()),
    }
    drop(conn);
    let made = create_partial(file)?;
    let failed = |reason| BackupError::File { path: file.to_owned(), act: "write", reason };
    let mut dump = client_program(server, "pg_dump")?;
    dump.args(["--format=custom", "--no-owner", "--no-privileges"]);
    dump.stdout(Stdio::from(made.as_file().try_clone().map_err(failed)?));
    run_program(server, dump, "pg_dump")?;
    let bytes = made.as_file().metadata().map_err(failed)?.len();
    finish_partial(made, file, overwrite)?;
    Ok(BackupSummary { bytes })
}

pub(super) fn restore(
    server: &PostgresServer,
    file: &Path,
    keep_sessions: bool,
) -> Result<RestoreSummary, BackupError> {
    open_backup(
        file,
        PG_DUMP_MAGIC,
        (SQLITE_MAGIC, "it is a backup of SQLite, and the database is PostgreSQL"),
    )?;
    let mut conn = connect(server)?;
    let failed = |error: diesel::result::Error| OpenError::Unreachable(error.to_string());
    // A server that starts meanwhile waits for this lock, and then finds everything in place.
    let lock = sql::<Bool>(&format!("pg_try_advisory_lock({MIGRATION_LOCK_ID})"));
    if !diesel::select(lock).get_result::<bool>(&mut conn).map_err(failed)? {
        let text = "another process of parlance creates or restores this database".to_owned();
        return Err(BackupError::NotEmpty(text));
    }
    let relations = "(SELECT count(*) FROM pg_class WHERE relnamespace = ANY (SELECT oid FROM pg_namespace \
                     WHERE nspname <> 'information_schema' AND nspname NOT LIKE 'pg\\_%'))";
    let there: i64 =
        diesel::select(sql::<BigInt>(relations)).get_result(&mut conn).map_err(failed)?;
    if there > 0 {
        return Err(BackupError::NotEmpty(
            "a backup is restored into an empty PostgreSQL database, and this one is not empty: create a new database (createdb), \
             restore into the new one, and set `database` to its URL"
                .to_owned(),
        ));
    }
    check_backup_schema(server, file)?;
    let mut into = client_program(server, "pg_restore")?;
    into.args(["--single-transaction", "--exit-on-error", "--no-owner", "--no-privileges"]);
    into.arg(file).stdout(Stdio::null());
    run_program(server, into, "pg_restore")?;
    let ended = |error: diesel::result::Error| {
        BackupError::Tool(format!(
            "the backup is restored, but its sessions are not revoked ({error}): run `parlance session revoke --all` before a server uses the database"
        ))
    };
    if !keep_sessions {
        // Ending all sessions may take any time.
        conn.batch_execute("SET statement_timeout = 0").map_err(ended)?;
        diesel::Connection::transaction(&mut conn, |conn: &mut AnyConnection| revoke_all(conn))
            .map_err(ended)?;
    }
    let users: i64 = users::table.select(count_star()).first(&mut conn).map_err(failed)?;
    let users = u64::try_from(users).unwrap_or(0);
    Ok(RestoreSummary { users, sessions_ended: !keep_sessions })
}

fn connect(server: &PostgresServer) -> Result<AnyConnection, OpenError> {
    let mut conn = connect_first(&Target::Postgres(server.clone()))?;
    set_up(&mut conn)?;
    Ok(conn)
}

/// Checks that a backup holds tables of parlance, and that this program knows the migration that the backup demands.
fn check_backup_schema(server: &PostgresServer, file: &Path) -> Result<(), BackupError> {
    let unfit = |why: String| BackupError::NotRestorable { path: file.to_owned(), why };
    let mut read = Command::new("pg_restore");
    read.args(["--data-only", "--table=schema_floor", "--file=-"]).arg(file).stdout(Stdio::piped());
    let text = program_output(server, read, "pg_restore")?;
    let mut lines = BufReader::new(text.as_slice()).lines().map_while(io::Result::ok);
    // COPY schema_floor (only_row, lowest) FROM stdin;
    let copies = lines.any(|line| line.starts_with("COPY ") && line.contains("(only_row, lowest)"));
    let row = lines.next().filter(|_| copies);
    let lowest = row.and_then(|row| row.split('\t').nth(1)?.parse().ok());
    let wanted: i64 = lowest.ok_or_else(|| unfit("it holds no tables of parlance".to_owned()))?;
    let known = migrations::newest_version::<diesel::pg::Pg>(&migrations::POSTGRES_MIGRATIONS)?;
    if wanted > known {
        return Err(unfit(OpenError::SchemaTooNew { wanted, known }.to_string()));
    }
    Ok(())
}

/// A program of PostgreSQL on this database. Its arguments hold no password, since every user of the machine can read
/// them.
fn client_program(server: &PostgresServer, name: &str) -> Result<Command, BackupError> {
    let (url, password) = server.without_password().ok_or_else(|| {
        BackupError::Tool(format!(
            "`sslpassword` in the database's URL cannot be passed to {name} without other users seeing it: run {name} yourself"
        ))
    })?;
    let mut command = Command::new(name);
    command.arg(format!("--dbname={url}"));
    if let Some(password) = password {
        command.env("PGPASSWORD", password);
    }
    Ok(command)
}

fn run_program(server: &PostgresServer, command: Command, name: &str) -> Result<(), BackupError> {
    program_output(server, command, name).map(drop)
}

fn program_output(
    server: &PostgresServer,
    mut command: Command,
    name: &str,
) -> Result<Vec<u8>, BackupError> {
    let child = command.stdin(Stdio::null()).stderr(Stdio::piped());
    let done = child.spawn().and_then(std::process::Child::wait_with_output);
    let done = done.map_err(|error| {
        BackupError::Tool(format!(
            "cannot run {name} ({error}): install PostgreSQL's client programs (Debian: postgresql-client) of the server's version or later"
        ))
    })?;
    if done.status.success() {
        return Ok(done.stdout);
    }
    let said = server.redact(&String::from_utf8_lossy(&done.stderr));
    Err(BackupError::Tool(format!("{name} failed: {}", said.replace('\n', "; "))))
}

//! Of PostgreSQL, by its own programs.

use std::io::{self, BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use diesel::connection::SimpleConnection as _;
use diesel::dsl::{count_star, sql};
use diesel::sql_types::{BigInt, Bool};
use diesel::{QueryDsl as _, RunQueryDsl as _};

use super::{
    BackedUp, BackupError, POSTGRES, Restored, SQLITE, begin, check_free, check_kind, finish,
};
use crate::any::AnyConnection;
use crate::changes::revoke_all;
use crate::connection::{connect_first, set_up};
use crate::migrations::{self, LOCK};
use crate::options::OpenError;
use crate::schema::users;
use crate::url::{Server, Target};

pub(super) fn backup(
    server: &Server,
    file: &Path,
    overwrite: bool,
) -> Result<BackedUp, BackupError> {
    check_free(file, overwrite)?;
    let mut any = open(server)?;
    match migrations::check(&mut any) {
        Ok(()) | Err(OpenError::Older(_) | OpenError::Newer { .. }) => {}
        Err(other) => return Err(other.into()),
    }
    drop(any);
    let made = begin(file)?;
    let failed = |reason| BackupError::File { path: file.to_owned(), act: "write", reason };
    let mut dump = tool(server, "pg_dump")?;
    dump.args(["--format=custom", "--no-owner", "--no-privileges"]);
    dump.stdout(Stdio::from(made.as_file().try_clone().map_err(failed)?));
    run(server, dump, "pg_dump")?;
    let bytes = made.as_file().metadata().map_err(failed)?.len();
    finish(made, file, overwrite)?;
    Ok(BackedUp { bytes })
}

pub(super) fn restore(
    server: &Server,
    file: &Path,
    keep_sessions: bool,
) -> Result<Restored, BackupError> {
    check_kind(
        file,
        POSTGRES,
        (SQLITE, "it is a backup of SQLite, and the database is PostgreSQL"),
    )?;
    let mut any = open(server)?;
    let failed = |error: diesel::result::Error| OpenError::Unreachable(error.to_string());
    // A server that starts meanwhile waits for it, and finds everything in place.
    let lock = sql::<Bool>(&format!("pg_try_advisory_lock({LOCK})"));
    if !diesel::select(lock).get_result::<bool>(&mut any).map_err(failed)? {
        let text = "another parlance is making or restoring this database".to_owned();
        return Err(BackupError::NotEmpty(text));
    }
    let relations = "(SELECT count(*) FROM pg_class WHERE relnamespace = ANY (SELECT oid FROM pg_namespace \
                     WHERE nspname <> 'information_schema' AND nspname NOT LIKE 'pg\\_%'))";
    let there: i64 =
        diesel::select(sql::<BigInt>(relations)).get_result(&mut any).map_err(failed)?;
    if there > 0 {
        return Err(BackupError::NotEmpty(
            "a backup is restored into an empty PostgreSQL database, and this one holds something: make a new one (createdb), \
             restore into that, and let `database` name it"
                .to_owned(),
        ));
    }
    check_schema(server, file)?;
    let mut into = tool(server, "pg_restore")?;
    into.args(["--single-transaction", "--exit-on-error", "--no-owner", "--no-privileges"]);
    into.arg(file).stdout(Stdio::null());
    run(server, into, "pg_restore")?;
    let ended = |error: diesel::result::Error| {
        BackupError::Tool(format!(
            "the backup is in place, but its sessions are not ended ({error}): run `parlance session revoke --all` before anything serves it"
        ))
    };
    if !keep_sessions {
        // However long it takes.
        any.batch_execute("SET statement_timeout = 0").map_err(ended)?;
        diesel::Connection::transaction(&mut any, |any: &mut AnyConnection| revoke_all(any))
            .map_err(ended)?;
    }
    let users: i64 = users::table.select(count_star()).first(&mut any).map_err(failed)?;
    let users = u64::try_from(users).unwrap_or(0);
    Ok(Restored { users, sessions_ended: !keep_sessions })
}

fn open(server: &Server) -> Result<AnyConnection, OpenError> {
    let mut any = connect_first(&Target::Postgres(server.clone()))?;
    set_up(&mut any)?;
    Ok(any)
}

/// Reads from a backup whether it is parlance's, and which program it wants.
fn check_schema(server: &Server, file: &Path) -> Result<(), BackupError> {
    let unfit = |why: String| BackupError::Unfit { path: file.to_owned(), why };
    let mut read = Command::new("pg_restore");
    read.args(["--data-only", "--table=schema_floor", "--file=-"]).arg(file).stdout(Stdio::piped());
    let text = output(server, read, "pg_restore")?;
    let mut lines = BufReader::new(text.as_slice()).lines().map_while(io::Result::ok);
    // COPY schema_floor (only_row, lowest) FROM stdin;
    let copies = lines.any(|line| line.starts_with("COPY ") && line.contains("(only_row, lowest)"));
    let row = lines.next().filter(|_| copies);
    let lowest = row.and_then(|row| row.split('\t').nth(1)?.parse().ok());
    let wanted: i64 = lowest.ok_or_else(|| unfit("it holds no tables of parlance".to_owned()))?;
    let known = migrations::newest::<diesel::pg::Pg>(&migrations::POSTGRES)?;
    if wanted > known {
        return Err(unfit(OpenError::Newer { wanted, known }.to_string()));
    }
    Ok(())
}

/// A program of PostgreSQL's on this database. Its arguments, which everybody on the machine can read, hold no password.
fn tool(server: &Server, name: &str) -> Result<Command, BackupError> {
    let (url, password) = server.without_password().ok_or_else(|| {
        BackupError::Tool(format!(
            "`sslpassword` in the database's URL cannot be handed to {name} unseen: run {name} yourself"
        ))
    })?;
    let mut command = Command::new(name);
    command.arg(format!("--dbname={url}"));
    if let Some(password) = password {
        command.env("PGPASSWORD", password);
    }
    Ok(command)
}

fn run(server: &Server, command: Command, name: &str) -> Result<(), BackupError> {
    output(server, command, name).map(drop)
}

fn output(server: &Server, mut command: Command, name: &str) -> Result<Vec<u8>, BackupError> {
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

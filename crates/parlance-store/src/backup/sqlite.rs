//! Backup and restore of SQLite.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use diesel::connection::SimpleConnection as _;
use diesel::dsl::{count_star, sql};
use diesel::sql_types::Text;
use diesel::{QueryDsl as _, RunQueryDsl as _};
use tempfile::NamedTempFile;

use super::{
    BackupError, BackupSummary, PG_DUMP_MAGIC, RestoreSummary, SIDECAR_SUFFIXES, SQLITE_MAGIC,
    check_destination, create_partial, finish_partial, open_backup, sync_folder,
};
use crate::backend::AnyConnection;
use crate::connection::{connect_sqlite, set_up};
use crate::file::examine::{self, sidecar_path};
use crate::file::lock::DatabaseLock;
use crate::migrations;
use crate::options::OpenError;
use crate::owner::chown_like;
use crate::revocation::revoke_all;
use crate::schema::users;

pub(super) fn backup(
    path: &Path,
    file: &Path,
    overwrite: bool,
) -> Result<BackupSummary, BackupError> {
    check_destination(file, overwrite)?;
    let real = examine::check_database_file(path)?;
    let lock = DatabaseLock::acquire_shared(&real)?;
    let there = fs::canonicalize(file).ok();
    let is_ours = |own: PathBuf| there.as_ref().is_some_and(|there| *there == own);
    let mut ends = SIDECAR_SUFFIXES.iter().chain(&["-lock"]);
    if is_ours(real.clone()) || ends.any(|end| is_ours(sidecar_path(&real, end))) {
        return Err(BackupError::NotABackup(file.to_owned()));
    }
    let mut conn = connect_sqlite(path).map_err(OpenError::from)?;
    set_up(&mut conn).map_err(OpenError::from)?;
    match migrations::check_schema(&mut conn) {
        // A database of an older or newer program is copied as it is.
        Ok(()) | Err(OpenError::SchemaTooOld(_) | OpenError::SchemaTooNew { .. }) => {}
        Err(other) => return Err(other.into()),
    }
    let made = create_partial(file)?;
    let into = made.path().to_str().map(ToOwned::to_owned);
    let into = into.ok_or_else(|| OpenError::Unreachable("the path is not Unicode".to_owned()))?;
    let failed = |error: diesel::result::Error| {
        let reason = io::Error::other(error.to_string());
        BackupError::File { path: file.to_owned(), act: "write", reason }
    };
    // `VACUUM INTO` reads the state of one moment, and holds up no writer.
    let copy = diesel::sql_query("VACUUM INTO ?").bind::<Text, _>(into);
    copy.execute(&mut conn).map_err(failed)?;
    // The connection is closed before the lock is released.
    drop(conn);
    drop(lock);
    let failed = |reason| BackupError::File { path: file.to_owned(), act: "write", reason };
    let bytes = fs::metadata(made.path()).map_err(failed)?.len();
    finish_partial(made, file, overwrite)?;
    Ok(BackupSummary { bytes })
}

pub(super) fn restore(
    path: &Path,
    file: &Path,
    keep_sessions: bool,
) -> Result<RestoreSummary, BackupError> {
    let kind = "it is a backup of PostgreSQL, and the database is SQLite";
    let source = open_backup(file, SQLITE_MAGIC, (PG_DUMP_MAGIC, kind))?;
    let unfit = |why: String| BackupError::NotRestorable { path: file.to_owned(), why };
    for suffix in ["-wal", "-journal"] {
        let log = sidecar_path(file, suffix);
        if fs::metadata(&log).is_ok_and(|found| found.len() > 0) {
            let (file, log) = (file.display(), log.display());
            return Err(unfit(format!(
                "a part of its data is in {log}: the file is in use, or was not closed; make a backup of it \
                 (`parlance --database sqlite:{file} backup COPY`) and restore that"
            )));
        }
    }
    let (real, like) = resolve_target(path)?;
    let same = |found: &fs::Metadata| (found.dev(), found.ino());
    let copied = source
        .metadata()
        .is_ok_and(|copied| fs::metadata(&real).is_ok_and(|there| same(&there) == same(&copied)));
    if copied {
        return Err(unfit("it is the database itself".to_owned()));
    }
    let lock = DatabaseLock::acquire_exclusive(&real)?;
    let made = UnfinishedRestore(create_partial(&real)?);
    let failed = |reason| BackupError::File { path: real.clone(), act: "write", reason };
    io::copy(&mut &source, &mut made.0.as_file()).map_err(failed)?;
    chown_like(made.0.as_file(), &like).map_err(failed)?;
    let users = check_and_prepare(made.0.path(), keep_sessions).map_err(unfit)?;
    // Until the old log is removed, the mark tells its file: after a crash the remains are refused, and neither file
    // gets the log of the other.
    lock.record_open_files(&real);
    made.finish(&real)?;
    for suffix in SIDECAR_SUFFIXES {
        match fs::remove_file(sidecar_path(&real, suffix)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            Ok(()) | Err(_) => {}
        }
    }
    sync_folder(&real).map_err(failed)?;
    lock.record_open_files(&real);
    Ok(RestoreSummary { users, sessions_ended: !keep_sessions })
}

/// The present or future path of the database, and the metadata that gives its owner.
fn resolve_target(path: &Path) -> Result<(PathBuf, fs::Metadata), BackupError> {
    let unreadable = |reason| BackupError::from(OpenError::unreadable(path, reason));
    if examine::file_metadata(path)?.is_some() {
        let real = examine::check_database_file(path)?;
        let like = fs::metadata(&real).map_err(unreadable)?;
        return Ok((real, like));
    }
    let folder = fs::canonicalize(examine::parent_folder(path)).map_err(unreadable)?;
    let like = fs::metadata(&folder).map_err(unreadable)?;
    Ok((folder.join(path.file_name().unwrap_or_default()), like))
}

/// A copy that is to become the database. SQLite's files beside the copy are removed together with the copy.
struct UnfinishedRestore(NamedTempFile);

impl UnfinishedRestore {
    fn finish(self, real: &Path) -> Result<(), BackupError> {
        self.remove_sidecars();
        // Dropping the guard would only clean up once more.
        let Self(made) = &self;
        let failed = |reason| BackupError::File { path: real.to_owned(), act: "write", reason };
        File::open(made.path()).and_then(|file| file.sync_all()).map_err(failed)?;
        fs::rename(made.path(), real).map_err(failed)?;
        sync_folder(real).map_err(failed)
    }

    fn remove_sidecars(&self) {
        for suffix in SIDECAR_SUFFIXES {
            let _absent = fs::remove_file(sidecar_path(self.0.path(), suffix));
        }
    }
}

impl Drop for UnfinishedRestore {
    fn drop(&mut self) {
        self.remove_sidecars();
    }
}

/// Checks a copy, and ends its sessions. Returns the number of its users, or why the copy is of no use.
fn check_and_prepare(copy: &Path, keep_sessions: bool) -> Result<u64, String> {
    let mut conn = connect_sqlite(copy).map_err(|error| error.to_string())?;
    set_up(&mut conn).map_err(|error| error.to_string())?;
    let failed = |error: diesel::result::Error| error.to_string();
    let check = "(SELECT integrity_check FROM pragma_integrity_check LIMIT 1)";
    let found = diesel::select(sql::<Text>(check));
    let found: String = found.get_result(&mut conn).map_err(failed)?;
    if found != "ok" {
        return Err(format!("it is damaged: {found}"));
    }
    match migrations::check_schema(&mut conn) {
        // `parlance serve` migrates an older database.
        Ok(()) | Err(OpenError::SchemaTooOld(_)) => {}
        Err(OpenError::NoTables) => return Err("it holds no tables of parlance".to_owned()),
        Err(other) => return Err(other.to_string()),
    }
    if !keep_sessions {
        diesel::Connection::transaction(&mut conn, |conn: &mut AnyConnection| revoke_all(conn))
            .map_err(failed)?;
    }
    let users: i64 = users::table.select(count_star()).first(&mut conn).map_err(failed)?;
    conn.batch_execute("PRAGMA wal_checkpoint(TRUNCATE)").map_err(failed)?;
    Ok(u64::try_from(users).unwrap_or(0))
}

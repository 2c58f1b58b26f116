//! Of SQLite.

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
    BESIDE, BackedUp, BackupError, POSTGRES, Restored, SQLITE, begin, check_free, check_kind,
    finish, sync_folder,
};
use crate::any::AnyConnection;
use crate::changes::revoke_all;
use crate::connection::{establish, set_up};
use crate::file::examine::{self, beside};
use crate::file::lock::Lock;
use crate::migrations;
use crate::options::OpenError;
use crate::owner::give;
use crate::schema::users;

pub(super) fn backup(path: &Path, file: &Path, overwrite: bool) -> Result<BackedUp, BackupError> {
    check_free(file, overwrite)?;
    let real = examine::check(path)?;
    let lock = Lock::share(&real)?;
    let there = fs::canonicalize(file).ok();
    let is_ours = |own: PathBuf| there.as_ref().is_some_and(|there| *there == own);
    let mut ends = BESIDE.iter().chain(&["-lock"]);
    if is_ours(real.clone()) || ends.any(|end| is_ours(beside(&real, end))) {
        return Err(BackupError::NotOverwritten(file.to_owned()));
    }
    let mut any = establish(path).map_err(OpenError::from)?;
    set_up(&mut any).map_err(OpenError::from)?;
    match migrations::check(&mut any) {
        // What an older or newer program has made is copied as it is.
        Ok(()) | Err(OpenError::Older(_) | OpenError::Newer { .. }) => {}
        Err(other) => return Err(other.into()),
    }
    let made = begin(file)?;
    let into = made.path().to_str().map(ToOwned::to_owned);
    let into = into.ok_or_else(|| OpenError::Unreachable("the path is not Unicode".to_owned()))?;
    let failed = |error: diesel::result::Error| {
        let reason = io::Error::other(error.to_string());
        BackupError::File { path: file.to_owned(), act: "write", reason }
    };
    // It reads as of one moment, and holds up nobody who writes.
    let copy = diesel::sql_query("VACUUM INTO ?").bind::<Text, _>(into);
    copy.execute(&mut any).map_err(failed)?;
    // The connection before the lock.
    drop(any);
    drop(lock);
    let failed = |reason| BackupError::File { path: file.to_owned(), act: "write", reason };
    let bytes = fs::metadata(made.path()).map_err(failed)?.len();
    finish(made, file, overwrite)?;
    Ok(BackedUp { bytes })
}

pub(super) fn restore(
    path: &Path,
    file: &Path,
    keep_sessions: bool,
) -> Result<Restored, BackupError> {
    let kind = "it is a backup of PostgreSQL, and the database is SQLite";
    let source = check_kind(file, SQLITE, (POSTGRES, kind))?;
    let unfit = |why: String| BackupError::Unfit { path: file.to_owned(), why };
    for suffix in ["-wal", "-journal"] {
        let log = beside(file, suffix);
        if fs::metadata(&log).is_ok_and(|found| found.len() > 0) {
            let (file, log) = (file.display(), log.display());
            return Err(unfit(format!(
                "what belongs to it is in {log} too, so that it is in use or was not closed: make a backup of it \
                 (`parlance --database sqlite:{file} backup COPY`) and restore that"
            )));
        }
    }
    let (real, like) = place(path)?;
    let same = |found: &fs::Metadata| (found.dev(), found.ino());
    let copied = source
        .metadata()
        .is_ok_and(|copied| fs::metadata(&real).is_ok_and(|there| same(&there) == same(&copied)));
    if copied {
        return Err(unfit("it is the database itself".to_owned()));
    }
    let lock = Lock::alone(&real)?;
    let made = Made(begin(&real)?);
    let failed = |reason| BackupError::File { path: real.clone(), act: "write", reason };
    io::copy(&mut &source, &mut made.0.as_file()).map_err(failed)?;
    give(made.0.as_file(), &like).map_err(failed)?;
    let users = prepare(made.0.path(), keep_sessions).map_err(unfit)?;
    // Until the old log is gone it says whose that is: whatever a crash leaves of the two is refused, and neither is taken for the other's.
    lock.mark(&real);
    made.finish(&real)?;
    for suffix in BESIDE {
        match fs::remove_file(beside(&real, suffix)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            Ok(()) | Err(_) => {}
        }
    }
    sync_folder(&real).map_err(failed)?;
    lock.mark(&real);
    Ok(Restored { users, sessions_ended: !keep_sessions })
}

/// Where the database stands or will, and whose it is to be.
fn place(path: &Path) -> Result<(PathBuf, fs::Metadata), BackupError> {
    let unreadable = |reason| BackupError::from(OpenError::unreadable(path, reason));
    if examine::find(path)?.is_some() {
        let real = examine::check(path)?;
        let like = fs::metadata(&real).map_err(unreadable)?;
        return Ok((real, like));
    }
    let folder = fs::canonicalize(examine::folder(path)).map_err(unreadable)?;
    let like = fs::metadata(&folder).map_err(unreadable)?;
    Ok((folder.join(path.file_name().unwrap_or_default()), like))
}

/// A copy that is to become the database; what SQLite leaves beside it goes with it.
struct Made(NamedTempFile);

impl Made {
    fn finish(self, real: &Path) -> Result<(), BackupError> {
        self.tidy();
        // The guard would only tidy up once more.
        let Self(made) = &self;
        let failed = |reason| BackupError::File { path: real.to_owned(), act: "write", reason };
        File::open(made.path()).and_then(|file| file.sync_all()).map_err(failed)?;
        fs::rename(made.path(), real).map_err(failed)?;
        sync_folder(real).map_err(failed)
    }

    fn tidy(&self) {
        for suffix in BESIDE {
            let _absent = fs::remove_file(beside(self.0.path(), suffix));
        }
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        self.tidy();
    }
}

/// Checks a copy, and ends its sessions. How many users it holds, or why it is of no use.
fn prepare(copy: &Path, keep_sessions: bool) -> Result<u64, String> {
    let mut any = establish(copy).map_err(|error| error.to_string())?;
    set_up(&mut any).map_err(|error| error.to_string())?;
    let failed = |error: diesel::result::Error| error.to_string();
    let check = "(SELECT integrity_check FROM pragma_integrity_check LIMIT 1)";
    let found = diesel::select(sql::<Text>(check));
    let found: String = found.get_result(&mut any).map_err(failed)?;
    if found != "ok" {
        return Err(format!("it is damaged: {found}"));
    }
    match migrations::check(&mut any) {
        // `serve` brings it up to date.
        Ok(()) | Err(OpenError::Older(_)) => {}
        Err(OpenError::Empty) => return Err("it holds no tables of parlance".to_owned()),
        Err(other) => return Err(other.to_string()),
    }
    if !keep_sessions {
        diesel::Connection::transaction(&mut any, |any: &mut AnyConnection| revoke_all(any))
            .map_err(failed)?;
    }
    let users: i64 = users::table.select(count_star()).first(&mut any).map_err(failed)?;
    any.batch_execute("PRAGMA wal_checkpoint(TRUNCATE)").map_err(failed)?;
    Ok(u64::try_from(users).unwrap_or(0))
}

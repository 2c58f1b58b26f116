//! Backup and restore: a copy is made while the database is served, and put in its place while it is not in use.
//!
//! SQLite writes a copy by itself; for PostgreSQL its own programs do, `pg_dump` and `pg_restore`.

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "sqlite")]
mod sqlite;

use rustix::fs::OFlags;
use tempfile::NamedTempFile;

use crate::options::OpenError;
use crate::url::{Target, UrlError};

/// The result of a backup.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct BackupSummary {
    /// Length of the file in bytes.
    pub bytes: u64,
}

/// The result of a restore.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RestoreSummary {
    /// Number of users in the restored database.
    pub users: u64,
    /// Whether all of its sessions are ended.
    pub sessions_ended: bool,
}

/// Why a backup or a restore failed. No text holds a password.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BackupError {
    /// The database cannot be opened.
    #[error(transparent)]
    Database(#[from] OpenError),
    /// A file exists at the path already.
    #[error("{} exists already: choose another name, or give --overwrite", .0.display())]
    Exists(PathBuf),
    /// The file at the path is no backup, or is the database itself.
    #[error("{} is not a backup, and --overwrite replaces only backups: choose another name", .0.display())]
    NotABackup(PathBuf),
    /// Another process writes the same file.
    #[error("{} is being written by another process", .0.display())]
    InProgress(PathBuf),
    /// The system refused.
    #[error("cannot {act} {}: {reason}", .path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// `write`, `read`, and so on.
        act: &'static str,
        /// The system's reason.
        reason: io::Error,
    },
    /// The file is no backup for this database.
    #[error("{} cannot be restored: {why}", .path.display())]
    NotRestorable {
        /// Which file.
        path: PathBuf,
        /// Reason and remedy.
        why: String,
    },
    /// The target of the restore is not empty.
    #[error("{0}")]
    NotEmpty(String),
    /// A program of PostgreSQL is missing or failed.
    #[error("{0}")]
    Tool(String),
}

impl From<UrlError> for BackupError {
    fn from(error: UrlError) -> Self {
        Self::Database(error.into())
    }
}

/// Copies a database into a file that only its owner may read, while the database is served. The file appears once
/// complete and synced to disk, or not at all. An existing file is replaced only with `overwrite`.
///
/// # Errors
/// The database cannot be read, or the file cannot be written.
pub fn backup(url: &str, file: &Path, overwrite: bool) -> Result<BackupSummary, BackupError> {
    match Target::parse(url)? {
        #[cfg(feature = "sqlite")]
        Target::Sqlite(path) => sqlite::backup(&path, file, overwrite),
        #[cfg(feature = "postgres")]
        Target::Postgres(server) => postgres::backup(&server, file, overwrite),
    }
}

/// Puts a backup in the place of a database that no process has open; on PostgreSQL, into an empty database. All
/// sessions in the backup are ended unless `keep_sessions` is set: sessions that were ended after the backup would live
/// again.
///
/// # Errors
/// The database is in use, or the file is no backup of this kind of database that this program can read. Nothing was changed then, unless
/// the text says so.
pub fn restore(url: &str, file: &Path, keep_sessions: bool) -> Result<RestoreSummary, BackupError> {
    match Target::parse(url)? {
        #[cfg(feature = "sqlite")]
        Target::Sqlite(path) => sqlite::restore(&path, file, keep_sessions),
        #[cfg(feature = "postgres")]
        Target::Postgres(server) => postgres::restore(&server, file, keep_sessions),
    }
}

/// The path where this process writes a file before the file gets its name: `None` before that, and `None` where
/// another process writes. The next process removes a file that a killed process left there.
#[must_use]
pub fn partial_file(file: &Path) -> Option<PathBuf> {
    let path = partial_path(file);
    let found = fs::symlink_metadata(&path).ok()?;
    let begun = *LAST_PARTIAL_FILE_ID.lock().unwrap_or_else(PoisonError::into_inner);
    (begun == Some(file_id(&found))).then_some(path)
}

/// The file that this process began last, by device and inode: the path alone does not tell to which process the file
/// belongs.
static LAST_PARTIAL_FILE_ID: Mutex<Option<(u64, u64)>> = Mutex::new(None);

fn file_id(found: &fs::Metadata) -> (u64, u64) {
    (found.dev(), found.ino())
}

/// The path of a file before the file gets its name.
fn partial_path(file: &Path) -> PathBuf {
    let mut name = std::ffi::OsString::from(".");
    name.push(file.file_name().unwrap_or_default());
    name.push(PARTIAL_SUFFIX);
    parent_folder(file).join(name)
}

/// Suffix of an unfinished file.
const PARTIAL_SUFFIX: &str = ".parlance-part";

/// Suffixes of the files that SQLite keeps beside a database.
const SIDECAR_SUFFIXES: [&str; 3] = ["-wal", "-shm", "-journal"];

/// Begins a file that only its owner may read.
fn create_partial(file: &Path) -> Result<NamedTempFile, BackupError> {
    let partial = partial_path(file);
    let failed = |reason| BackupError::File { path: partial.clone(), act: "write", reason };
    let name = partial.file_name().unwrap_or_default();
    let make =
        || tempfile::Builder::new().prefix(name).rand_bytes(0).tempfile_in(parent_folder(file));
    let made = match make() {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let left = open_leftover(&partial).map_err(failed)?;
            if left.try_lock().is_err() {
                return Err(BackupError::InProgress(file.to_owned()));
            }
            fs::remove_file(&partial).map_err(failed)?;
            make()
        }
        made => made,
    };
    let made = made.map_err(failed)?;
    // SQLite would play a log that a killed process left into the new file.
    for suffix in SIDECAR_SUFFIXES {
        let mut beside = made.path().as_os_str().to_owned();
        beside.push(suffix);
        match fs::remove_file(&beside) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            Ok(()) | Err(_) => {}
        }
    }
    // The lock tells this file from the leftover of a killed process.
    made.as_file().try_lock().map_err(|error| failed(error.into()))?;
    let found = made.as_file().metadata().map_err(failed)?;
    *LAST_PARTIAL_FILE_ID.lock().unwrap_or_else(PoisonError::into_inner) = Some(file_id(&found));
    Ok(made)
}

/// Opens the leftover of another process. In a folder that others may write to, this can be a link, or a pipe without a
/// writer.
fn open_leftover(partial: &Path) -> io::Result<fs::File> {
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    let left = fs::OpenOptions::new().read(true).custom_flags(flags).open(partial)?;
    if left.metadata()?.is_file() {
        Ok(left)
    } else {
        Err(io::Error::other("it is not a regular file"))
    }
}

/// Gives a complete file its name.
fn finish_partial(made: NamedTempFile, file: &Path, overwrite: bool) -> Result<(), BackupError> {
    let failed = |reason| BackupError::File { path: file.to_owned(), act: "write", reason };
    made.as_file().sync_all().map_err(failed)?;
    let named = if overwrite { made.persist(file) } else { made.persist_noclobber(file) };
    named.map_err(|error| {
        if error.error.kind() == io::ErrorKind::AlreadyExists {
            BackupError::Exists(file.to_owned())
        } else {
            failed(error.error)
        }
    })?;
    sync_folder(file).map_err(failed)
}

/// Syncs the folder of a file to disk.
fn sync_folder(file: &Path) -> io::Result<()> {
    fs::File::open(parent_folder(file))?.sync_all()
}

/// Checks early whether the name is free.
fn check_destination(file: &Path, overwrite: bool) -> Result<(), BackupError> {
    if file.file_name().is_none() || file.is_dir() {
        let reason = io::Error::from(io::ErrorKind::IsADirectory);
        return Err(BackupError::File { path: file.to_owned(), act: "write", reason });
    }
    match fs::symlink_metadata(file) {
        Ok(_) if !overwrite => Err(BackupError::Exists(file.to_owned())),
        // A mistyped name must not replace a device, a key file or the log of a database.
        Ok(found) if !found.is_file() => Err(BackupError::NotABackup(file.to_owned())),
        Ok(_) if is_backup(file)? => Ok(()),
        Ok(_) => Err(BackupError::NotABackup(file.to_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(reason) => Err(BackupError::File { path: file.to_owned(), act: "write", reason }),
    }
}

/// Whether a file begins as a backup does, or is empty.
fn is_backup(file: &Path) -> Result<bool, BackupError> {
    use std::io::Read as _;
    let failed = |reason| BackupError::File { path: file.to_owned(), act: "read", reason };
    let mut head = Vec::new();
    let opened = fs::File::open(file).map_err(failed)?;
    opened.take(16).read_to_end(&mut head).map_err(failed)?;
    Ok(head.is_empty() || [SQLITE_MAGIC, PG_DUMP_MAGIC].iter().any(|start| head.starts_with(start)))
}

/// Checks the first bytes of a file, which tell the kind of database.
fn open_backup(file: &Path, wanted: &[u8], other: (&[u8], &str)) -> Result<fs::File, BackupError> {
    use std::io::{Read as _, Seek as _};
    let failed = |reason| BackupError::File { path: file.to_owned(), act: "read", reason };
    let unfit =
        |why: &str| BackupError::NotRestorable { path: file.to_owned(), why: why.to_owned() };
    let found = fs::metadata(file).map_err(failed)?;
    if !found.is_file() {
        return Err(unfit("it is not a regular file"));
    }
    let mut opened = fs::File::open(file).map_err(failed)?;
    let mut head = Vec::new();
    opened.by_ref().take(16).read_to_end(&mut head).map_err(failed)?;
    opened.rewind().map_err(failed)?;
    let (start, what) = other;
    match () {
        () if head.starts_with(wanted) => Ok(opened),
        () if head.starts_with(start) => Err(unfit(what)),
        () => Err(unfit("it is not a backup made by `parlance backup`")),
    }
}

/// The first bytes of a SQLite file.
const SQLITE_MAGIC: &[u8] = b"SQLite format 3\0";
/// The first bytes of a `pg_dump` file in the custom format.
const PG_DUMP_MAGIC: &[u8] = b"PGDMP";

/// The folder of a file; for a bare name, the working directory.
fn parent_folder(file: &Path) -> PathBuf {
    let parent = file.parent().filter(|parent| !parent.as_os_str().is_empty());
    parent.map_or_else(|| PathBuf::from("."), Path::to_owned)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use rustix::fs::{CWD, FileType, Mode, mknodat};

    use super::*;

    #[test]
    fn a_partial_file_belongs_to_the_process_that_has_locked_it() {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("copy");
        // A file that another process writes or has left.
        let other = fs::File::create(partial_path(&file)).unwrap();
        other.try_lock().unwrap();
        assert!(matches!(create_partial(&file), Err(BackupError::InProgress(_))));
        assert_eq!(partial_file(&file), None);
        drop(other);
        let made = create_partial(&file).unwrap();
        assert_eq!(partial_file(&file), Some(partial_path(&file)));
        finish_partial(made, &file, false).unwrap();
        assert_eq!(partial_file(&file), None);
    }

    #[test]
    fn a_partial_file_that_is_a_link_or_a_pipe_is_refused_and_left() {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("copy");
        fs::write(home.path().join("target"), "").unwrap();
        for kind in ["link", "pipe"] {
            match kind {
                "link" => symlink("target", partial_path(&file)).unwrap(),
                _ => mknodat(CWD, partial_path(&file), FileType::Fifo, Mode::RUSR, 0).unwrap(),
            }
            assert!(matches!(create_partial(&file), Err(BackupError::File { .. })), "{kind}");
            fs::remove_file(partial_path(&file)).unwrap();
        }
    }
}

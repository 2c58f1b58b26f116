//! Copies of a database, made while it is served, and put in its place while it is not.
//!
//! SQLite writes a copy by itself; of PostgreSQL its own programs do, `pg_dump` and `pg_restore`.

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

/// What was copied.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct BackedUp {
    /// How long the file is.
    pub bytes: u64,
}

/// What was put in place.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Restored {
    /// How many users it holds.
    pub users: u64,
    /// Whether all of its sessions are ended.
    pub sessions_ended: bool,
}

/// Why a copy was not made or not put in place. No text holds a password.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BackupError {
    /// The database.
    #[error(transparent)]
    Database(#[from] OpenError),
    /// There is something at the file's path.
    #[error("{} is there already: choose another name, or say --overwrite", .0.display())]
    Exists(PathBuf),
    /// What stands at the file's path is no backup, or the database itself.
    #[error("{} is no backup but something else, and --overwrite replaces backups alone: choose another name", .0.display())]
    NotOverwritten(PathBuf),
    /// Another process writes the same file.
    #[error("{} is being written by another process", .0.display())]
    UnderWay(PathBuf),
    /// The system refused.
    #[error("cannot {act} {}: {reason}", .path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// `write`, `read`, and so on.
        act: &'static str,
        /// What the system says.
        reason: io::Error,
    },
    /// The file is no backup for this database.
    #[error("{} cannot be restored: {why}", .path.display())]
    Unfit {
        /// Which file.
        path: PathBuf,
        /// Why, and what to do.
        why: String,
    },
    /// What should be restored into holds something.
    #[error("{0}")]
    NotEmpty(String),
    /// A program of PostgreSQL's is missing or failed.
    #[error("{0}")]
    Tool(String),
}

impl From<UrlError> for BackupError {
    fn from(error: UrlError) -> Self {
        Self::Database(error.into())
    }
}

/// Copies a database into a file that nobody else may read, while it is served. The file is there once it is whole and on the disk, or not
/// at all. It replaces a file only if told to.
///
/// # Errors
/// The database cannot be read, or the file cannot be written.
pub fn backup(url: &str, file: &Path, overwrite: bool) -> Result<BackedUp, BackupError> {
    match Target::parse(url)? {
        #[cfg(feature = "sqlite")]
        Target::Sqlite(path) => sqlite::backup(&path, file, overwrite),
        #[cfg(feature = "postgres")]
        Target::Postgres(server) => postgres::backup(&server, file, overwrite),
    }
}

/// Puts a backup in the place of a database that nobody has open; on PostgreSQL into an empty one. All sessions in it are ended, unless they
/// are to be kept: what was ended since it was made would live again.
///
/// # Errors
/// The database is in use, or the file is no backup of this kind of database that this program can read. Nothing was changed then, unless
/// the text says so.
pub fn restore(url: &str, file: &Path, keep_sessions: bool) -> Result<Restored, BackupError> {
    match Target::parse(url)? {
        #[cfg(feature = "sqlite")]
        Target::Sqlite(path) => sqlite::restore(&path, file, keep_sessions),
        #[cfg(feature = "postgres")]
        Target::Postgres(server) => postgres::restore(&server, file, keep_sessions),
    }
}

/// Where this process writes a file before it gets its name: nothing before it does, and nothing where another process does. What a
/// killed process has left there is removed by the next one.
#[must_use]
pub fn partial(file: &Path) -> Option<PathBuf> {
    let place = place(file);
    let found = fs::symlink_metadata(&place).ok()?;
    let begun = *BEGUN.lock().unwrap_or_else(PoisonError::into_inner);
    (begun == Some(number(&found))).then_some(place)
}

/// The file that this process has begun last, by its number: the path alone does not tell whose the file is.
static BEGUN: Mutex<Option<(u64, u64)>> = Mutex::new(None);

fn number(found: &fs::Metadata) -> (u64, u64) {
    (found.dev(), found.ino())
}

/// Where a file is written before it gets its name.
fn place(file: &Path) -> PathBuf {
    let mut name = std::ffi::OsString::from(".");
    name.push(file.file_name().unwrap_or_default());
    name.push(PARTIAL);
    folder(file).join(name)
}

/// How the name of a file ends that is not whole yet.
const PARTIAL: &str = ".parlance-part";

/// What SQLite keeps beside a file.
const BESIDE: [&str; 3] = ["-wal", "-shm", "-journal"];

/// A file that is being written, for its owner alone.
fn begin(file: &Path) -> Result<NamedTempFile, BackupError> {
    let partial = place(file);
    let failed = |reason| BackupError::File { path: partial.clone(), act: "write", reason };
    let name = partial.file_name().unwrap_or_default();
    let make = || tempfile::Builder::new().prefix(name).rand_bytes(0).tempfile_in(folder(file));
    let made = match make() {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let left = open_left(&partial).map_err(failed)?;
            if left.try_lock().is_err() {
                return Err(BackupError::UnderWay(file.to_owned()));
            }
            fs::remove_file(&partial).map_err(failed)?;
            make()
        }
        made => made,
    };
    let made = made.map_err(failed)?;
    // A log that a killed process has left would be played into the new file.
    for suffix in BESIDE {
        let mut beside = made.path().as_os_str().to_owned();
        beside.push(suffix);
        match fs::remove_file(&beside) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            Ok(()) | Err(_) => {}
        }
    }
    // Told from what a killed process has left.
    made.as_file().try_lock().map_err(|error| failed(error.into()))?;
    let found = made.as_file().metadata().map_err(failed)?;
    *BEGUN.lock().unwrap_or_else(PoisonError::into_inner) = Some(number(&found));
    Ok(made)
}

/// Opens what a process has left. In a folder that others may write to it can be a link, or a pipe that nobody writes to.
fn open_left(partial: &Path) -> io::Result<fs::File> {
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    let left = fs::OpenOptions::new().read(true).custom_flags(flags).open(partial)?;
    if left.metadata()?.is_file() { Ok(left) } else { Err(io::Error::other("it is no file")) }
}

/// Gives a whole file its name.
fn finish(made: NamedTempFile, file: &Path, overwrite: bool) -> Result<(), BackupError> {
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

/// Has what stands in a file's folder on the disk.
fn sync_folder(file: &Path) -> io::Result<()> {
    fs::File::open(folder(file))?.sync_all()
}

/// Looks early whether there is room for the name.
fn check_free(file: &Path, overwrite: bool) -> Result<(), BackupError> {
    if file.file_name().is_none() || file.is_dir() {
        let reason = io::Error::from(io::ErrorKind::IsADirectory);
        return Err(BackupError::File { path: file.to_owned(), act: "write", reason });
    }
    match fs::symlink_metadata(file) {
        Ok(_) if !overwrite => Err(BackupError::Exists(file.to_owned())),
        // A device, a key file or the log of a database is not replaced by a slip of the hand.
        Ok(found) if !found.is_file() => Err(BackupError::NotOverwritten(file.to_owned())),
        Ok(_) if is_backup(file)? => Ok(()),
        Ok(_) => Err(BackupError::NotOverwritten(file.to_owned())),
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
    Ok(head.is_empty() || [SQLITE, POSTGRES].iter().any(|start| head.starts_with(start)))
}

/// What a file begins with, to tell whose it is.
fn check_kind(file: &Path, wanted: &[u8], other: (&[u8], &str)) -> Result<fs::File, BackupError> {
    use std::io::{Read as _, Seek as _};
    let failed = |reason| BackupError::File { path: file.to_owned(), act: "read", reason };
    let unfit = |why: &str| BackupError::Unfit { path: file.to_owned(), why: why.to_owned() };
    let found = fs::metadata(file).map_err(failed)?;
    if !found.is_file() {
        return Err(unfit("it is no file"));
    }
    let mut opened = fs::File::open(file).map_err(failed)?;
    let mut head = Vec::new();
    opened.by_ref().take(16).read_to_end(&mut head).map_err(failed)?;
    opened.rewind().map_err(failed)?;
    let (start, what) = other;
    match () {
        () if head.starts_with(wanted) => Ok(opened),
        () if head.starts_with(start) => Err(unfit(what)),
        () => Err(unfit("it is no backup that `parlance backup` has made")),
    }
}

/// How a SQLite file begins.
const SQLITE: &[u8] = b"SQLite format 3\0";
/// How a file of `pg_dump` in its custom format begins.
const POSTGRES: &[u8] = b"PGDMP";

/// The folder of a file; that of a bare name is the working directory.
fn folder(file: &Path) -> PathBuf {
    let parent = file.parent().filter(|parent| !parent.as_os_str().is_empty());
    parent.map_or_else(|| PathBuf::from("."), Path::to_owned)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use rustix::fs::{CWD, FileType, Mode, mknodat};

    use super::*;

    #[test]
    fn a_partial_file_is_its_own_processes_once_it_is_locked() {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("copy");
        // Another process's, or what one has left.
        let other = fs::File::create(place(&file)).unwrap();
        other.try_lock().unwrap();
        assert!(matches!(begin(&file), Err(BackupError::UnderWay(_))));
        assert_eq!(partial(&file), None);
        drop(other);
        let made = begin(&file).unwrap();
        assert_eq!(partial(&file), Some(place(&file)));
        finish(made, &file, false).unwrap();
        assert_eq!(partial(&file), None);
    }

    #[test]
    fn a_partial_file_that_is_a_link_or_a_pipe_is_refused_and_left() {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("copy");
        fs::write(home.path().join("target"), "").unwrap();
        for kind in ["link", "pipe"] {
            match kind {
                "link" => symlink("target", place(&file)).unwrap(),
                _ => mknodat(CWD, place(&file), FileType::Fifo, Mode::RUSR, 0).unwrap(),
            }
            assert!(matches!(begin(&file), Err(BackupError::File { .. })), "{kind}");
            fs::remove_file(place(&file)).unwrap();
        }
    }
}

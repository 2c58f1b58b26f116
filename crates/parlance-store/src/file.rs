//! The file of a SQLite database while open: checks at opening, and detection of a replaced file.
//!
//! SQLite continues with the file that was opened, even if another one is put at the path. So each batch checks whether
//! the path still leads to that file, its folder and its write-ahead log, and is refused if not.

pub(crate) mod examine;
pub(crate) mod lock;

use std::fmt;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use diesel::connection::SimpleConnection as _;

use self::lock::DatabaseLock;
use crate::backend::AnyConnection;
use crate::connection::{connect_sqlite, set_up};
use crate::options::{FILE_REPLACED_PREFIX, FileReplacedCallback, OpenError};

/// Identity of a file, valid as long as any process has the file open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct FileId {
    device: u64,
    inode: u64,
}

/// The files that belong to a path.
#[derive(Debug, PartialEq, Eq)]
struct FileIds {
    file: FileId,
    folder: FileId,
    wal: FileId,
    /// The index of the log. A process with another index sees no change of this process, and neither process keeps the
    /// other from the log.
    wal_index: FileId,
}

/// The paths that lead to a `FileIds`. Each batch looks at all of them, so they are built once.
struct DatabasePaths {
    /// As named by the operator.
    as_named: PathBuf,
    /// The folder of that name; for a symbolic link, the folder of the file itself.
    folder: PathBuf,
    /// Without symbolic links.
    real: PathBuf,
    wal: PathBuf,
    wal_index: PathBuf,
}

/// The open file. A connection of its own (the anchor), never used for queries, keeps the write-ahead log from being
/// removed and the inode numbers from being reused.
pub(crate) struct DatabaseFile {
    paths: DatabasePaths,
    ids_at_open: FileIds,
    replaced: AtomicBool,
    on_replaced: Option<FileReplacedCallback>,
    idle_connection: Mutex<Option<AnyConnection>>,
    lock: DatabaseLock,
}

impl DatabaseFile {
    /// Opens the file, and tries out a connection to it.
    ///
    /// # Errors
    /// The file is missing, unsafe to use, being restored, or fails the trial.
    pub(crate) fn open(
        path: &Path,
        on_replaced: Option<FileReplacedCallback>,
        check: impl FnOnce(&mut AnyConnection) -> Result<(), OpenError>,
    ) -> Result<Self, OpenError> {
        let real = examine::check_database_file(path)?;
        let lock = DatabaseLock::acquire_shared(&real)?;
        let unknown = |reason| OpenError::unreadable(path, reason);
        let paths = DatabasePaths::of(path, real).map_err(unknown)?;
        let before = FileId::of(path).map_err(unknown)?;
        let mut idle_connection = connect_sqlite(path)?;
        set_up(&mut idle_connection)?;
        check(&mut idle_connection)?;
        let ids_at_open = paths.read_ids().map_err(unknown)?;
        if ids_at_open.file != before {
            return Err(OpenError::FileReplaced(path.to_owned()));
        }
        lock.record_open_files(&paths.real);
        let idle_connection = Mutex::new(Some(idle_connection));
        Ok(Self {
            paths,
            ids_at_open,
            replaced: AtomicBool::new(false),
            on_replaced,
            idle_connection,
            lock,
        })
    }

    /// Checks whether the path still leads to the open file.
    ///
    /// # Errors
    /// The path leads to another file, or to none. The text is for operators.
    pub(crate) fn verify(&self) -> Result<(), String> {
        let difference = match self.paths.read_ids() {
            Ok(found) if found == self.ids_at_open => None,
            Ok(found) if found.file != self.ids_at_open.file => Some(String::new()),
            Ok(found) if found.wal != self.ids_at_open.wal => {
                Some(" (its write-ahead log)".to_owned())
            }
            Ok(found) if found.wal_index != self.ids_at_open.wal_index => {
                Some(" (the index of its write-ahead log, -shm)".to_owned())
            }
            Ok(_) => Some(" (its folder)".to_owned()),
            Err(reason) => Some(format!(" ({reason})")),
        };
        let was = self.replaced.swap(difference.is_some(), Ordering::Relaxed);
        let result = match difference {
            None => Ok(()),
            Some(what_differs) => Err(format!(
                "{FILE_REPLACED_PREFIX}{what_differs}: {} is not the file that this program has open, and the program uses neither file any more; stop \
                 parlance and start it again to serve the file that is there now (to put a backup in place, use `parlance restore`)",
                self.paths.as_named.display()
            )),
        };
        if was != result.is_err()
            && let Some(on_replaced) = self.on_replaced
        {
            on_replaced(result.as_ref().err().map(String::as_str));
        }
        result
    }
}

impl fmt::Debug for DatabaseFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DatabaseFile").field("path", &self.paths.as_named).finish_non_exhaustive()
    }
}

impl Drop for DatabaseFile {
    fn drop(&mut self) {
        let idle_connection =
            self.idle_connection.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        let is_ours = |path: &Path, id: FileId| FileId::of(path).is_ok_and(|found| found == id);
        let DatabasePaths { real, wal, wal_index, .. } = &self.paths;
        // SQLite cleans up by itself where its file is still in place.
        if is_ours(real, self.ids_at_open.file) || !is_ours(wal, self.ids_at_open.wal) {
            return;
        }
        let Some(mut idle_connection) = idle_connection else { return };
        if self.lock.try_upgrade() {
            // The content of the log goes into the file to which the log belongs, wherever that is. Afterwards nothing
            // must take the log for that of the other file.
            let kept = idle_connection.batch_execute("PRAGMA wal_checkpoint(TRUNCATE)");
            drop(idle_connection);
            if kept.is_ok() {
                let _gone = fs::remove_file(wal);
                let _gone = fs::remove_file(wal_index);
            }
        }
    }
}

impl FileId {
    fn of(path: &Path) -> io::Result<Self> {
        fs::metadata(path).map(|found| Self::from(&found))
    }
}

impl From<&Metadata> for FileId {
    fn from(found: &Metadata) -> Self {
        Self { device: found.dev(), inode: found.ino() }
    }
}

impl DatabasePaths {
    fn of(path: &Path, real: PathBuf) -> io::Result<Self> {
        let is_link = fs::symlink_metadata(path)?.is_symlink();
        Ok(Self {
            as_named: path.to_owned(),
            folder: examine::parent_folder(if is_link { &real } else { path }),
            wal: examine::sidecar_path(&real, "-wal"),
            wal_index: examine::sidecar_path(&real, "-shm"),
            real,
        })
    }

    /// Looks at the files that stand there now.
    fn read_ids(&self) -> io::Result<FileIds> {
        Ok(FileIds {
            file: FileId::of(&self.as_named)?,
            folder: FileId::of(&self.folder)?,
            wal: FileId::of(&self.wal)?,
            wal_index: FileId::of(&self.wal_index)?,
        })
    }
}

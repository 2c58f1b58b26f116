//! The file of a SQLite database while it is open: that it may be opened at all, and that it is still the one that stands at its path.
//!
//! SQLite goes on with the file that it has opened, whatever is put at its path meanwhile. So each batch looks whether the path still leads
//! to that file, its folder and its write-ahead log, and is refused once it does not.

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

use self::lock::Lock;
use crate::any::AnyConnection;
use crate::connection::{establish, set_up};
use crate::options::{FILE_REPLACED, OpenError, Told};

/// Which file something is, as long as anybody has it open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct FileId {
    device: u64,
    inode: u64,
}

/// What stands at a path.
#[derive(Debug, PartialEq, Eq)]
struct Place {
    file: FileId,
    folder: FileId,
    log: FileId,
    /// The index of the log. A process that makes another one sees nothing of what this one does, and neither keeps the other from the log.
    index: FileId,
}

/// The paths that lead to a `Place`. Each batch looks at all of them, so none is put together anew.
struct Paths {
    /// As the operator named it.
    named: PathBuf,
    /// The folder in which that name stands; that of the file itself where the name is a symbolic link.
    folder: PathBuf,
    /// Without symbolic links.
    real: PathBuf,
    log: PathBuf,
    index: PathBuf,
}

/// The open file. A connection of its own, over which nothing is asked, keeps the write-ahead log from being removed and the numbers of
/// the files from being given to others.
pub(crate) struct DatabaseFile {
    paths: Paths,
    opened: Place,
    replaced: AtomicBool,
    told: Option<Told>,
    anchor: Mutex<Option<AnyConnection>>,
    lock: Lock,
}

impl DatabaseFile {
    /// Opens the file, and has a connection to it tried out.
    ///
    /// # Errors
    /// It is not there, not safe to use, being restored, or not what the trial wants.
    pub(crate) fn open(
        path: &Path,
        told: Option<Told>,
        trial: impl FnOnce(&mut AnyConnection) -> Result<(), OpenError>,
    ) -> Result<Self, OpenError> {
        let real = examine::check(path)?;
        let lock = Lock::share(&real)?;
        let unknown = |reason| OpenError::unreadable(path, reason);
        let paths = Paths::of(path, real).map_err(unknown)?;
        let before = FileId::of(path).map_err(unknown)?;
        let mut anchor = establish(path)?;
        set_up(&mut anchor)?;
        trial(&mut anchor)?;
        let opened = paths.look().map_err(unknown)?;
        if opened.file != before {
            return Err(OpenError::Replaced(path.to_owned()));
        }
        lock.mark(&paths.real);
        let anchor = Mutex::new(Some(anchor));
        Ok(Self { paths, opened, replaced: AtomicBool::new(false), told, anchor, lock })
    }

    /// Looks whether the path still leads to what is open.
    ///
    /// # Errors
    /// It does not. The text is for operators.
    pub(crate) fn verify(&self) -> Result<(), String> {
        let fault = match self.paths.look() {
            Ok(found) if found == self.opened => None,
            Ok(found) if found.file != self.opened.file => Some(String::new()),
            Ok(found) if found.log != self.opened.log => Some(" (its write-ahead log)".to_owned()),
            Ok(found) if found.index != self.opened.index => {
                Some(" (the index of its write-ahead log, -shm)".to_owned())
            }
            Ok(_) => Some(" (its folder)".to_owned()),
            Err(reason) => Some(format!(" ({reason})")),
        };
        let was = self.replaced.swap(fault.is_some(), Ordering::Relaxed);
        let result = match fault {
            None => Ok(()),
            Some(what) => Err(format!(
                "{FILE_REPLACED}{what}: {} is not what this program has open, and nothing is served from that any more; stop \
                 parlance and start it again to serve what stands there now (a backup is put in place by `parlance restore`)",
                self.paths.named.display()
            )),
        };
        if was != result.is_err()
            && let Some(told) = self.told
        {
            told(result.as_ref().err().map(String::as_str));
        }
        result
    }
}

impl fmt::Debug for DatabaseFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DatabaseFile").field("path", &self.paths.named).finish_non_exhaustive()
    }
}

impl Drop for DatabaseFile {
    fn drop(&mut self) {
        let anchor = self.anchor.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        let is_ours = |path: &Path, id: FileId| FileId::of(path).is_ok_and(|found| found == id);
        let Paths { real, log, index, .. } = &self.paths;
        // SQLite tidies up after itself where its file is still in its place.
        if is_ours(real, self.opened.file) || !is_ours(log, self.opened.log) {
            return;
        }
        let Some(mut anchor) = anchor else { return };
        if self.lock.is_last() {
            // What is in the log gets into the file to which it belongs, wherever that is; then it must not be taken for the other's.
            let kept = anchor.batch_execute("PRAGMA wal_checkpoint(TRUNCATE)");
            drop(anchor);
            if kept.is_ok() {
                let _gone = fs::remove_file(log);
                let _gone = fs::remove_file(index);
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

impl Paths {
    fn of(path: &Path, real: PathBuf) -> io::Result<Self> {
        let is_link = fs::symlink_metadata(path)?.is_symlink();
        Ok(Self {
            named: path.to_owned(),
            folder: examine::folder(if is_link { &real } else { path }),
            log: examine::beside(&real, "-wal"),
            index: examine::beside(&real, "-shm"),
            real,
        })
    }

    /// Looks at what stands there now.
    fn look(&self) -> io::Result<Place> {
        Ok(Place {
            file: FileId::of(&self.named)?,
            folder: FileId::of(&self.folder)?,
            log: FileId::of(&self.log)?,
            index: FileId::of(&self.index)?,
        })
    }
}

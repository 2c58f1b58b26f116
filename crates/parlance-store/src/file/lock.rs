//! The lock file beside a database: whoever has the database open shares it, and a restore has it alone. It goes with its process, however
//! that ends. In it stands which files the last of them had open, so that a log which a crash has left is not taken for another file's.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Read as _};
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, UNIX_EPOCH};

use rustix::process::{Flock, FlockOffsetType, FlockType, fcntl_getlk};

use super::examine;
use crate::options::OpenError;

/// How long to wait for another process that looks whether it is alone.
const SHARE_TIMEOUT: Duration = Duration::from_secs(3);
/// How long between two tries.
const SHARE_RETRY: Duration = Duration::from_millis(10);
/// The bytes of a database file that SQLite's locks stand on, the same on every system.
const SQLITE_LOCKS: (u64, u64) = (0x4000_0000, 512);

/// Which file something is, over restarts: its number and when it was made. The number of a device changes with each boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Born {
    inode: u64,
    /// Nanoseconds since 1970; 0 where the file system does not keep it.
    made: u128,
}

/// What had been open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mark {
    /// The lock file itself: a copy of it says nothing of the files that were copied with it.
    own: Born,
    pub(super) file: Option<Born>,
    pub(super) log: Option<Born>,
    /// The index of the log, by which the processes that share it see each other's changes and locks.
    pub(super) index: Option<Born>,
}

/// The lock.
#[derive(Debug)]
pub(crate) struct Lock {
    path: PathBuf,
    file: File,
}

impl Lock {
    /// Shares the lock with others that have the database open.
    ///
    /// # Errors
    /// A restore is under way, the log beside the file belongs to another file, or those others have another file open.
    pub(crate) fn share(real: &Path) -> Result<Self, OpenError> {
        let path = examine::beside(real, "-lock");
        let file = make(&path, real)?;
        let lock = Self { path, file };
        let mut left = SHARE_TIMEOUT;
        loop {
            let fault = match lock.try_share(real) {
                Ok(()) => return Ok(lock),
                // A moment ago, perhaps: the last of the others has just closed the file, and the next has not marked it yet.
                Err(fault @ (OpenError::Restoring(_) | OpenError::Replaced(_))) => fault,
                Err(other) => return Err(other),
            };
            if left.is_zero() {
                return Err(fault);
            }
            pause(SHARE_RETRY);
            left = left.saturating_sub(SHARE_RETRY);
        }
    }

    fn try_share(&self, real: &Path) -> Result<(), OpenError> {
        let file = &self.file;
        match file.try_lock() {
            Ok(()) => {
                if self.read().is_some_and(|mark| mark.is_foreign(real)) {
                    return Err(OpenError::ForeignLog(real.to_owned()));
                }
                self.mark(real);
                file.try_lock_shared().map_err(|error| self.unshared(real, error))
            }
            Err(TryLockError::WouldBlock) => {
                file.try_lock_shared().map_err(|error| self.unshared(real, error))?;
                if self.read().is_some_and(|mark| !mark.holds(real)) {
                    let _free = file.unlock();
                    return Err(OpenError::Replaced(real.to_owned()));
                }
                Ok(())
            }
            Err(error) => Err(self.unshared(real, error)),
        }
    }

    fn unshared(&self, real: &Path, error: TryLockError) -> OpenError {
        match error {
            TryLockError::WouldBlock => OpenError::Restoring(real.to_owned()),
            TryLockError::Error(error) => OpenError::unreadable(&self.path, error),
        }
    }

    /// Has the lock alone.
    ///
    /// # Errors
    /// Somebody has the database open.
    pub(crate) fn alone(real: &Path) -> Result<Self, OpenError> {
        let path = examine::beside(real, "-lock");
        let file = make(&path, real)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(OpenError::InUse { path: real.to_owned(), by: holder(real) });
            }
            Err(TryLockError::Error(error)) => return Err(OpenError::unreadable(&path, error)),
        }
        // A program that knows no lock file, such as an earlier release.
        if let Some(by) = holder(real) {
            return Err(OpenError::InUse { path: real.to_owned(), by: Some(by) });
        }
        Ok(Self { path, file })
    }

    /// Writes which files are open. It is missed by nobody where it cannot be written, on a full disk above all.
    pub(crate) fn mark(&self, real: &Path) {
        let Some(own) = Born::of(&self.path) else { return };
        let mark = Mark {
            own,
            file: Born::of(real),
            log: Born::of(&examine::beside(real, "-wal")),
            index: Born::of(&examine::beside(real, "-shm")),
        };
        if self.read() == Some(mark) {
            return;
        }
        let file = &self.file;
        let written = file.write_all_at(mark.text().as_bytes(), 0).and_then(|()| file.sync_all());
        if written.is_err() {
            let _unmarked = file.set_len(0);
        }
    }

    /// Whether nobody else shares it. Then nobody will before it is dropped.
    pub(super) fn is_last(&self) -> bool {
        self.file.try_lock().is_ok()
    }

    fn read(&self) -> Option<Mark> {
        let mut text = String::new();
        let mut file = File::open(&self.path).ok()?;
        file.read_to_string(&mut text).ok()?;
        let mark = Mark::parse(&text)?;
        (Some(mark.own) == Born::of(&self.path)).then_some(mark)
    }
}

impl Born {
    pub(super) fn of(path: &Path) -> Option<Self> {
        let found = fs::metadata(path).ok()?;
        let made = found.created().ok().and_then(|made| made.duration_since(UNIX_EPOCH).ok());
        Some(Self { inode: found.ino(), made: made.map_or(0, |made| made.as_nanos()) })
    }

    fn text(born: Option<Self>) -> String {
        let Self { inode, made } = born.unwrap_or(Self { inode: 0, made: 0 });
        format!("{inode:020} {made:020}")
    }
}

impl Mark {
    /// Whether these files stand there.
    fn holds(&self, real: &Path) -> bool {
        let stands =
            |marked: Option<Born>, path: &Path| marked.is_none() || marked == Born::of(path);
        stands(self.file, real)
            && stands(self.log, &examine::beside(real, "-wal"))
            && stands(self.index, &examine::beside(real, "-shm"))
    }

    /// Whether the log beside the file is the one that was there when another file stood in its place.
    fn is_foreign(&self, real: &Path) -> bool {
        let log = examine::beside(real, "-wal");
        self.log.is_some() && self.log == Born::of(&log) && self.file != Born::of(real)
    }

    /// Always as long, so that a disk that is full takes it where it took one before.
    fn text(&self) -> String {
        let [own, file, log, index] =
            [Some(self.own), self.file, self.log, self.index].map(Born::text);
        format!("parlance {own} {file} {log} {index}\n")
    }

    fn parse(text: &str) -> Option<Self> {
        let mut words = text.strip_prefix("parlance ")?.split_whitespace();
        let mut next = || -> Option<Option<Born>> {
            let (inode, made) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
            Some((inode != 0).then_some(Born { inode, made }))
        };
        Some(Self { own: next()??, file: next()?, log: next()?, index: next()? })
    }
}

/// Opens the lock file, which belongs to whoever the database belongs to.
fn make(path: &Path, real: &Path) -> Result<File, OpenError> {
    let refused = |reason| examine::refused(path, path, reason);
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(0o600);
    match options.open(path) {
        Ok(file) => return Ok(file),
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(refused(error)),
    }
    let file = options.create(true).truncate(false).open(path).map_err(refused)?;
    let like = fs::metadata(real).or_else(|_| fs::metadata(examine::folder(real)));
    crate::owner::give(&file, &like.map_err(refused)?).map_err(refused)?;
    Ok(file)
}

/// Which process has the database open by SQLite's own locks. Not for a process that has it open itself: closing a file gives up all of a
/// process's locks on it.
fn holder(real: &Path) -> Option<i32> {
    let file = OpenOptions::new().read(true).write(true).open(real).ok()?;
    let (start, length) = SQLITE_LOCKS;
    let wanted = Flock {
        start,
        length,
        pid: None,
        typ: FlockType::WriteLock,
        offset_type: FlockOffsetType::Set,
    };
    let found = fcntl_getlk(&file, &wanted).ok()??;
    // A process that cannot be seen from here has no number.
    Some(found.pid.map_or(0, rustix::process::Pid::as_raw_pid))
}

fn pause(time: Duration) {
    let (never, nobody) = (Mutex::new(()), Condvar::new());
    let guard = never.lock().unwrap_or_else(PoisonError::into_inner);
    drop(nobody.wait_timeout(guard, time));
}

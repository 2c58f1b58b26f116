//! The lock file beside a database: each process that has the database open shares the lock, and a restore holds the
//! lock alone. The lock ends with its process, however that ends. The content names the files that the last process had
//! open, so that a log left by a crash is not taken for another file's log.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Read as _};
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, UNIX_EPOCH};

use rustix::process::{Flock, FlockOffsetType, FlockType, fcntl_getlk};

use super::examine;
use crate::options::OpenError;

/// Timeout for another process that checks whether it is the last one.
const SHARED_LOCK_TIMEOUT: Duration = Duration::from_secs(3);
/// Interval between two attempts.
const SHARED_LOCK_RETRY_INTERVAL: Duration = Duration::from_millis(10);
/// The bytes of a database file that SQLite locks (start, length), the same on every system.
const SQLITE_LOCK_BYTES: (u64, u64) = (0x4000_0000, 512);

/// Identity of a file across restarts: inode and creation time. The device number changes with each boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PersistentFileId {
    inode: u64,
    /// Nanoseconds since 1970; 0 where the file system keeps no creation time.
    created_nanos: u128,
}

/// The content of the lock file: the files that were open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LockRecord {
    /// The lock file itself: a copied lock file says nothing of the files that were copied with it.
    lock_file: PersistentFileId,
    pub(super) file: Option<PersistentFileId>,
    pub(super) wal: Option<PersistentFileId>,
    /// The index of the log, through which the processes that share the log see each other's changes and locks.
    pub(super) wal_index: Option<PersistentFileId>,
}

#[derive(Debug)]
pub(crate) struct DatabaseLock {
    path: PathBuf,
    file: File,
}

impl DatabaseLock {
    /// Shares the lock with the other processes that have the database open.
    ///
    /// # Errors
    /// A restore is under way, the log beside the file belongs to another file, or the other processes have another
    /// file open.
    pub(crate) fn acquire_shared(real: &Path) -> Result<Self, OpenError> {
        let path = examine::sidecar_path(real, "-lock");
        let file = open_lock_file(&path, real)?;
        let lock = Self { path, file };
        let mut left = SHARED_LOCK_TIMEOUT;
        loop {
            let fault = match lock.try_acquire_shared(real) {
                Ok(()) => return Ok(lock),
                // Possibly transient: the last of the other processes has just closed the file, and the next has not
                // marked it yet.
                Err(fault @ (OpenError::RestoreInProgress(_) | OpenError::FileReplaced(_))) => {
                    fault
                }
                Err(other) => return Err(other),
            };
            if left.is_zero() {
                return Err(fault);
            }
            pause(SHARED_LOCK_RETRY_INTERVAL);
            left = left.saturating_sub(SHARED_LOCK_RETRY_INTERVAL);
        }
    }

    fn try_acquire_shared(&self, real: &Path) -> Result<(), OpenError> {
        let file = &self.file;
        match file.try_lock() {
            Ok(()) => {
                if self.read_record().is_some_and(|record| record.has_foreign_wal(real)) {
                    return Err(OpenError::ForeignWal(real.to_owned()));
                }
                self.record_open_files(real);
                file.try_lock_shared().map_err(|error| self.shared_lock_error(real, error))
            }
            Err(TryLockError::WouldBlock) => {
                file.try_lock_shared().map_err(|error| self.shared_lock_error(real, error))?;
                if self.read_record().is_some_and(|record| !record.matches_files(real)) {
                    let _free = file.unlock();
                    return Err(OpenError::FileReplaced(real.to_owned()));
                }
                Ok(())
            }
            Err(error) => Err(self.shared_lock_error(real, error)),
        }
    }

    fn shared_lock_error(&self, real: &Path, error: TryLockError) -> OpenError {
        match error {
            TryLockError::WouldBlock => OpenError::RestoreInProgress(real.to_owned()),
            TryLockError::Error(error) => OpenError::unreadable(&self.path, error),
        }
    }

    /// Takes the lock alone.
    ///
    /// # Errors
    /// Another process has the database open.
    pub(crate) fn acquire_exclusive(real: &Path) -> Result<Self, OpenError> {
        let path = examine::sidecar_path(real, "-lock");
        let file = open_lock_file(&path, real)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(OpenError::InUse {
                    path: real.to_owned(),
                    by: find_sqlite_lock_holder(real),
                });
            }
            Err(TryLockError::Error(error)) => return Err(OpenError::unreadable(&path, error)),
        }
        // Finds a program without a lock file, such as an earlier release.
        if let Some(by) = find_sqlite_lock_holder(real) {
            return Err(OpenError::InUse { path: real.to_owned(), by: Some(by) });
        }
        Ok(Self { path, file })
    }

    /// Writes which files are open. The mark is not essential: where writing fails, on a full disk above all, there is
    /// none.
    pub(crate) fn record_open_files(&self, real: &Path) {
        let Some(lock_file) = PersistentFileId::of(&self.path) else { return };
        let record = LockRecord {
            lock_file,
            file: PersistentFileId::of(real),
            wal: PersistentFileId::of(&examine::sidecar_path(real, "-wal")),
            wal_index: PersistentFileId::of(&examine::sidecar_path(real, "-shm")),
        };
        if self.read_record() == Some(record) {
            return;
        }
        let file = &self.file;
        let written = file.write_all_at(record.text().as_bytes(), 0).and_then(|()| file.sync_all());
        if written.is_err() {
            let _unmarked = file.set_len(0);
        }
    }

    /// Whether no other process shares the lock. Then none can until this lock is dropped.
    pub(super) fn try_upgrade(&self) -> bool {
        self.file.try_lock().is_ok()
    }

    fn read_record(&self) -> Option<LockRecord> {
        let mut text = String::new();
        let mut file = File::open(&self.path).ok()?;
        file.read_to_string(&mut text).ok()?;
        let record = LockRecord::parse(&text)?;
        (Some(record.lock_file) == PersistentFileId::of(&self.path)).then_some(record)
    }
}

impl PersistentFileId {
    pub(super) fn of(path: &Path) -> Option<Self> {
        let found = fs::metadata(path).ok()?;
        let made = found.created().ok().and_then(|made| made.duration_since(UNIX_EPOCH).ok());
        Some(Self { inode: found.ino(), created_nanos: made.map_or(0, |made| made.as_nanos()) })
    }

    fn text(file_id: Option<Self>) -> String {
        let Self { inode, created_nanos: made } =
            file_id.unwrap_or(Self { inode: 0, created_nanos: 0 });
        format!("{inode:020} {made:020}")
    }
}

impl LockRecord {
    /// Whether the marked files still stand there.
    fn matches_files(&self, real: &Path) -> bool {
        let stands = |marked: Option<PersistentFileId>, path: &Path| {
            marked.is_none() || marked == PersistentFileId::of(path)
        };
        stands(self.file, real)
            && stands(self.wal, &examine::sidecar_path(real, "-wal"))
            && stands(self.wal_index, &examine::sidecar_path(real, "-shm"))
    }

    /// Whether the log beside the file already stood there when another file had its place.
    fn has_foreign_wal(&self, real: &Path) -> bool {
        let log = examine::sidecar_path(real, "-wal");
        self.wal.is_some()
            && self.wal == PersistentFileId::of(&log)
            && self.file != PersistentFileId::of(real)
    }

    /// Always of the same length, so that a full disk takes a mark where an older one stood.
    fn text(&self) -> String {
        let [own, file, log, index] =
            [Some(self.lock_file), self.file, self.wal, self.wal_index].map(PersistentFileId::text);
        format!("parlance {own} {file} {log} {index}\n")
    }

    fn parse(text: &str) -> Option<Self> {
        let mut words = text.strip_prefix("parlance ")?.split_whitespace();
        let mut next = || -> Option<Option<PersistentFileId>> {
            let (inode, made) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
            Some((inode != 0).then_some(PersistentFileId { inode, created_nanos: made }))
        };
        Some(Self { lock_file: next()??, file: next()?, wal: next()?, wal_index: next()? })
    }
}

/// Opens the lock file. A new one gets the owner of the database.
fn open_lock_file(path: &Path, real: &Path) -> Result<File, OpenError> {
    let refused = |reason| examine::access_error(path, path, reason);
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(0o600);
    match options.open(path) {
        Ok(file) => return Ok(file),
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(refused(error)),
    }
    let file = options.create(true).truncate(false).open(path).map_err(refused)?;
    let like = fs::metadata(real).or_else(|_| fs::metadata(examine::parent_folder(real)));
    crate::owner::chown_like(&file, &like.map_err(refused)?).map_err(refused)?;
    Ok(file)
}

/// The process that has the database open, by SQLite's own locks. Not for a process that has the database open itself:
/// closing a file releases all locks of the process on that file.
fn find_sqlite_lock_holder(real: &Path) -> Option<i32> {
    let file = OpenOptions::new().read(true).write(true).open(real).ok()?;
    let (start, length) = SQLITE_LOCK_BYTES;
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
    let (mutex, never_notified) = (Mutex::new(()), Condvar::new());
    let guard = mutex.lock().unwrap_or_else(PoisonError::into_inner);
    drop(never_notified.wait_timeout(guard, time));
}

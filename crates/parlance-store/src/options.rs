//! Options of a store, and the errors of opening one.

use std::fmt;
#[cfg(feature = "sqlite")]
use std::fs::Metadata;
#[cfg(feature = "sqlite")]
use std::os::unix::fs::MetadataExt as _;
#[cfg(feature = "sqlite")]
use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;

#[cfg(feature = "sqlite")]
use crate::owner;
use crate::url::{Target, UrlError};

/// Runs a job after the current executor turn, once everything that is ready now is done: in a runtime of one thread,
/// as a new task. Called outside of such a runtime, the function drops the job without running it.
pub type Defer = fn(Box<dyn FnOnce() + Send>);

/// The beginning of every refusal of a call because the open database file was replaced at its path.
pub const FILE_REPLACED_PREFIX: &str = "the database's file was replaced";

/// Called once with a message when the database's file is no longer the open one, and once with `None` when the open
/// one is back.
pub type FileReplacedCallback = fn(Option<&str>);

/// How a store works.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Coalescing: the look-ups that a thread asks for in one executor turn become one query, which on SQLite that
    /// thread runs itself. With `None` look-ups go to a worker thread of the store, one by one. Default: `None`.
    pub defer: Option<Defer>,
    /// How many calls may wait for each of the three workers; one more is refused at once (load shedding). Default:
    /// 4096.
    pub queue_capacity: usize,
    /// Interval of the write-behind: uses that slide an expiry are written at most so often for one session. Default: 1
    /// s; less where lifetimes are short, so that a session in use does not look dead to another process.
    pub flush_interval: Duration,
    /// How long a worker waits for a connection before its calls fail as unavailable. Default: 1 s.
    pub connection_timeout: Duration,
    /// Whether a PostgreSQL server beyond this machine must prove its name (`sslmode=verify-full` in the URL). Default:
    /// `false`; [`crate::security_warning`] then reports the exposure.
    pub require_verified_tls: bool,
    /// Called when the file of a SQLite database is replaced while open; from then on every call is refused. Default:
    /// `None`.
    pub on_file_replaced: Option<FileReplacedCallback>,
}

impl Default for Options {
    fn default() -> Self {
        let second = Duration::from_secs(1);
        Self {
            defer: None,
            queue_capacity: 4096,
            flush_interval: second,
            connection_timeout: second,
            require_verified_tls: false,
            on_file_replaced: None,
        }
    }
}

#[cfg(feature = "sqlite")]
impl OpenError {
    /// The system gives no information about the path.
    pub(crate) fn unreadable(path: &Path, reason: std::io::Error) -> Self {
        Self::Unreadable { path: path.to_owned(), reason }
    }

    /// The system denies this process the use of a file, because of something at or above its path.
    pub(crate) fn permission_denied(
        path: &Path,
        at: &Path,
        found: &Metadata,
        reason: &std::io::Error,
    ) -> Self {
        let about = owner::describe(at, found);
        let advice = owner::permission_hint(at, found.uid(), owner::effective_uid());
        Self::PermissionDenied(format!("{}: {reason}: {about}; {advice}", path.display()))
    }
}

impl OpenError {
    /// Adds the file's name to SQLite's message, which never contains the name.
    pub(crate) fn with_path(self, target: &Target) -> Self {
        match (target, self) {
            #[cfg(feature = "sqlite")]
            (Target::Sqlite(path), Self::Unreachable(text)) => {
                Self::Unreachable(format!("{}: {text}", path.display()))
            }
            #[cfg(feature = "sqlite")]
            (Target::Sqlite(path), Self::Migration(text)) => {
                Self::Migration(format!("{}: {text}", path.display()))
            }
            (_, other) => other,
        }
    }
}

/// Why a store does not open. No text holds a password.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The URL names no database.
    #[error(transparent)]
    Url(#[from] UrlError),
    /// There is no such file.
    #[error("there is no database at {}; `parlance serve` and `parlance user add` create the database when they first run", .0.display())]
    NoFile(PathBuf),
    /// The path leads to something other than a file.
    #[error("{} is not a regular file: `sqlite:` takes the path of the database's file, not of its folder", .0.display())]
    NotAFile(PathBuf),
    /// The file cannot be made.
    #[error("cannot create the database {}: {reason}", .path.display())]
    CannotCreate {
        /// Which file.
        path: PathBuf,
        /// The system's reason.
        reason: std::io::Error,
    },
    /// The system denies this process the use of the file: its owner, and the user to run this program as.
    #[error("cannot use the database {0}")]
    PermissionDenied(String),
    /// The system gives no information about the path.
    #[error("cannot use the database {}: {reason}", .path.display())]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// The system's reason.
        reason: std::io::Error,
    },
    /// Others could change the database.
    #[error("{0}")]
    WritableByOthers(String),
    /// More than one path leads to the file, each with a write-ahead log of its own.
    #[error("the database {} cannot be served from there: {why}", .path.display())]
    MultiplePaths {
        /// Which file.
        path: PathBuf,
        /// Reason and remedy.
        why: String,
    },
    /// The processes that have the database open use another file, which this one has replaced.
    #[error(
        "another process has the database {} open, but uses another file than the one that is there now: stop that process \
         first, or that process does not see the changes made here", .0.display()
    )]
    FileReplaced(PathBuf),
    /// The write-ahead log beside the file belongs to another file.
    #[error(
        "the write-ahead log beside {} belongs to the file that was there before, and would destroy this one: bring that file \
         back, or put this one in its place with `parlance restore` (from a copy at another path)", .0.display()
    )]
    ForeignWal(PathBuf),
    /// A restore is under way.
    #[error("the database {} is being restored: try again when that is done", .0.display())]
    RestoreInProgress(PathBuf),
    /// Another process has the database open.
    #[error(
        "the database {} is in use{}: stop the process that has it open, usually `parlance serve`", .path.display(), by_process(*.by)
    )]
    InUse {
        /// Which file.
        path: PathBuf,
        /// The process, where known.
        by: Option<i32>,
    },
    /// The database does not answer, or refuses.
    #[error("cannot open the database: {0}")]
    Unreachable(String),
    /// The database answers, but could lose acknowledged changes.
    #[error("this database cannot be trusted with sessions: {0}")]
    Unsuitable(String),
    /// `require_verified_tls` is set, and the URL does not demand TLS.
    #[error("{0}")]
    UnverifiedTls(String),
    /// The database holds no tables of parlance.
    #[error(
        "the database holds no tables of parlance yet: run `parlance serve` or `parlance user add` once"
    )]
    NoTables,
    /// The tables are older than this program.
    #[error(
        "the database is older than this program (it lacks migration {0}): run `parlance serve` of this version once"
    )]
    SchemaTooOld(String),
    /// The tables are newer than this program can handle.
    #[error(
        "the database is newer than this program: it needs a program that knows migration {wanted:04}, and the last migration that this program knows is {known:04}"
    )]
    SchemaTooNew {
        /// The lowest number that a program must know.
        wanted: i64,
        /// The highest number that this program knows.
        known: i64,
    },
    /// A migration failed.
    #[error("cannot migrate the database: {0}")]
    Migration(String),
    /// The system gives no threads.
    #[error("cannot start the store's threads: {0}")]
    Threads(std::io::Error),
}

/// The text: `main` prints an error by its `Debug`.
impl fmt::Debug for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Names the process in a message.
fn by_process(number: Option<i32>) -> String {
    match number {
        Some(0) | None => String::new(),
        Some(number) => format!(" by process {number}"),
    }
}

//! What may be chosen, and why a store does not open.

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

/// Has a thread do something once it has done whatever is ready now: in a runtime of one thread, a new task. Whoever calls it from
/// elsewhere has it dropped instead, undone.
pub type Soon = fn(Box<dyn FnOnce() + Send>);

/// How each refusal begins that comes of a database's file which is no longer the one that is open.
pub const FILE_REPLACED: &str = "the database's file was replaced";

/// Hears once that the database's file is no longer the one that is open, with what to say of it, and once that it is again (`None`).
pub type Told = fn(Option<&str>);

/// How a store works.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// How look-ups are gathered: those that a thread asks for in one turn of its loop are then one query, which on SQLite that thread makes
    /// itself. Without it they go to a thread of the store's, one by one. `None`.
    pub soon: Option<Soon>,
    /// How many calls may wait for each of the three lanes; one more is refused at once. 4096.
    pub queue: usize,
    /// How often uses that slide an expiry are written: at most so often for one session. 1 s; less where lifetimes are short, so that a
    /// session in use is not dead in the eyes of another process.
    pub touch_every: Duration,
    /// How long a lane waits for a connection before its calls hear that the store is unavailable. 1 s.
    pub connect_within: Duration,
    /// Whether a PostgreSQL server beyond this machine must prove its name (`sslmode=verify-full` in the URL). `false`:
    /// [`crate::advice`] says what is exposed.
    pub demand_tls: bool,
    /// Hears when the file of a SQLite database is replaced while it is open; every call is refused from then on. `None`.
    pub file_replaced: Option<Told>,
}

impl Default for Options {
    fn default() -> Self {
        let second = Duration::from_secs(1);
        Self {
            soon: None,
            queue: 4096,
            touch_every: second,
            connect_within: second,
            demand_tls: false,
            file_replaced: None,
        }
    }
}

#[cfg(feature = "sqlite")]
impl OpenError {
    /// The system does not say what stands there.
    pub(crate) fn unreadable(path: &Path, reason: std::io::Error) -> Self {
        Self::Unreadable { path: path.to_owned(), reason }
    }

    /// The system does not let this process use a file, because of something at or above it.
    pub(crate) fn denied(
        path: &Path,
        place: &Path,
        found: &Metadata,
        reason: &std::io::Error,
    ) -> Self {
        let about = owner::describe(place, found);
        let advice = owner::advice(place, found.uid(), owner::own_user());
        Self::Denied(format!("{}: {reason}: {about}; {advice}", path.display()))
    }
}

impl OpenError {
    /// With the file's name in what SQLite says, which never tells it.
    pub(crate) fn of(self, target: &Target) -> Self {
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
    #[error("there is no database at {}; `parlance serve` and `parlance user add` make it when they are run for the first time", .0.display())]
    NoFile(PathBuf),
    /// What stands there is no file.
    #[error("{} is no file: `sqlite:` takes the path of the database's file, not of its folder", .0.display())]
    NotAFile(PathBuf),
    /// The file cannot be made.
    #[error("cannot make the database {}: {reason}", .path.display())]
    NotMade {
        /// Which file.
        path: PathBuf,
        /// What the system says.
        reason: std::io::Error,
    },
    /// The system does not let this process use it: whose it is, and as whom to run this.
    #[error("cannot use the database {0}")]
    Denied(String),
    /// The system does not say what stands there.
    #[error("cannot use the database {}: {reason}", .path.display())]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// What the system says.
        reason: std::io::Error,
    },
    /// Others could change it.
    #[error("{0}")]
    Writable(String),
    /// The file is reached by more than one path, each with a log of its own.
    #[error("the database {} cannot be served from there: {why}", .path.display())]
    TwoPlaces {
        /// Which file.
        path: PathBuf,
        /// Why, and what to do.
        why: String,
    },
    /// Those who have it open have another file, in whose place this one was put.
    #[error(
        "another process has the database {} open, and it is another file than the one that stands there now: stop that process \
         first, or what is done here is not felt there", .0.display()
    )]
    Replaced(PathBuf),
    /// The write-ahead log beside it belongs to another file.
    #[error(
        "the write-ahead log beside {} belongs to the file that stood there before, and would destroy this one: bring that file \
         back, or put this one in its place with `parlance restore` (from a copy that lies elsewhere)", .0.display()
    )]
    ForeignLog(PathBuf),
    /// A restore is under way.
    #[error("the database {} is being restored: try again when that is done", .0.display())]
    Restoring(PathBuf),
    /// Somebody has it open.
    #[error(
        "the database {} is in use{}: stop what has it open, `parlance serve` above all", .path.display(), by_process(*.by)
    )]
    InUse {
        /// Which file.
        path: PathBuf,
        /// Which process, where that is known.
        by: Option<i32>,
    },
    /// The database does not answer, or refuses.
    #[error("cannot open the database: {0}")]
    Unreachable(String),
    /// The database answers, but could lose what it has acknowledged.
    #[error("this database cannot be trusted with sessions: {0}")]
    Unfit(String),
    /// `demand_tls` is set, and the URL does not demand it.
    #[error("{0}")]
    Exposed(String),
    /// It holds no tables of parlance.
    #[error(
        "the database holds no tables of parlance yet: run `parlance serve` or `parlance user add` once"
    )]
    Empty,
    /// Its tables are older than this program.
    #[error(
        "the database is older than this program (it lacks migration {0}): run `parlance serve` of this version once"
    )]
    Older(String),
    /// Its tables are newer than this program can bear.
    #[error(
        "the database is newer than this program: it wants one that knows migration {wanted:04}, this one ends at {known:04}"
    )]
    Newer {
        /// The lowest number that a program must know.
        wanted: i64,
        /// The highest that this one knows.
        known: i64,
    },
    /// A migration failed.
    #[error("cannot bring the database up to date: {0}")]
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

/// Which process it is.
fn by_process(number: Option<i32>) -> String {
    match number {
        Some(0) | None => String::new(),
        Some(number) => format!(" by process {number}"),
    }
}

//! What may be chosen, and why a store does not open.

use std::path::PathBuf;
use std::time::Duration;

use crate::url::{Target, UrlError};

/// Has a thread do something once it has done whatever is ready now: in a runtime of one thread, a new task. Whoever calls it from
/// elsewhere has it dropped instead, undone.
pub type Soon = fn(Box<dyn FnOnce() + Send>);

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
        }
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
#[derive(Debug, thiserror::Error)]
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

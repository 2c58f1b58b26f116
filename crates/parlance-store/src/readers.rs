//! SQLite's readers: connections on which a caller's own thread looks up what it has gathered.
//!
//! A reader of a write-ahead log waits for nobody, so a look-up costs less than telling another thread of it. What a reader cannot
//! answer at once is given back, for the lane, which may wait.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::checks::{Asked, Check, Checks};
use crate::connection::{Manager, OpenFile, Pool, verify};

type Reader = r2d2::PooledConnection<Manager>;

/// The readers of one database.
pub(crate) struct Readers {
    pool: Pool,
    idle: Mutex<Vec<Reader>>,
    checks: Checks,
    file: OpenFile,
}

impl Readers {
    /// Readers from this pool, which makes and heals them.
    pub(crate) fn new(pool: Pool, checks: Checks, file: OpenFile) -> Self {
        Self { pool, idle: Mutex::default(), checks, file }
    }

    /// Answers look-ups, or gives them back: no reader is free or connected, it failed, or the file was replaced.
    pub(crate) fn answer(&self, checks: Vec<Check>) -> Vec<Check> {
        if checks.is_empty() || verify(&self.file).is_err() {
            return checks;
        }
        let idle = self.idle().pop();
        let Some(mut reader) = idle.or_else(|| self.pool.try_get()) else { return checks };
        let asked = Asked::of(checks);
        let found = catch_unwind(AssertUnwindSafe(|| self.checks.look_up(&mut reader.any, &asked)));
        match found {
            Ok(Ok(found)) => {
                self.idle().push(reader);
                asked.answer(found);
                Vec::new()
            }
            Ok(Err(_)) | Err(_) => {
                reader.spoilt = true;
                asked.into_checks()
            }
        }
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Reader>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

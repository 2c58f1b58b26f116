//! SQLite's readers: connections on which a caller's own thread looks up its coalesced batch.
//!
//! A reader of a write-ahead log waits for no lock, so a look-up costs less than a hand-over to another thread: a lock,
//! two wake-ups and the way back. Look-ups that a reader cannot answer at once are returned for the worker, which may
//! wait. Look-ups one by one pay for a transaction each and did worse than the worker: the gain is a batch without a
//! thread in between.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::connection::{ConnectionManager, OpenFile, Pool, verify_file};
use crate::lookups::{Lookup, LookupBatch, LookupWorker};

type Reader = r2d2::PooledConnection<ConnectionManager>;

/// The readers of one database.
pub(crate) struct Readers {
    pool: Pool,
    idle: Mutex<Vec<Reader>>,
    worker: LookupWorker,
    file: OpenFile,
}

impl Readers {
    /// Readers from this pool, which makes and repairs them.
    pub(crate) fn new(pool: Pool, worker: LookupWorker, file: OpenFile) -> Self {
        Self { pool, idle: Mutex::default(), worker, file }
    }

    /// Answers look-ups, or returns them: no reader is free or connected, the reader failed, or the file was replaced.
    pub(crate) fn answer(&self, lookups: Vec<Lookup>) -> Vec<Lookup> {
        if lookups.is_empty() || verify_file(&self.file).is_err() {
            return lookups;
        }
        let idle = self.idle().pop();
        let Some(mut reader) = idle.or_else(|| self.pool.try_get()) else { return lookups };
        let batch = LookupBatch::from_lookups(lookups);
        let found =
            catch_unwind(AssertUnwindSafe(|| self.worker.look_up(&mut reader.conn, &batch)));
        match found {
            Ok(Ok(found)) => {
                self.idle().push(reader);
                batch.resolve(found);
                Vec::new()
            }
            Ok(Err(_)) | Err(_) => {
                reader.poisoned = true;
                batch.into_lookups()
            }
        }
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Reader>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

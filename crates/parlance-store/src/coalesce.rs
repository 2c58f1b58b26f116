//! Coalescing: the look-ups that a thread asks for in one executor turn become one batch, without another thread.
//!
//! A look-up joins the batch of its thread. The first one of a batch defers the answering until everything that is
//! ready now is done, so that the batch holds the look-ups of the whole turn; a look-up alone waits for no other.
//! SQLite answers the batch in the same thread, on a connection that only reads. All look-ups that cannot be answered
//! there, and all of PostgreSQL, go to the look-up worker.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use parlance_core::ports::StoreFuture;

use crate::fragments::MAX_KEYS_PER_STATEMENT;
use crate::lookups::Lookup;
use crate::options::Defer;
use crate::queue::{Queue, Reply, await_reply, submit};
#[cfg(feature = "sqlite")]
use crate::readers::Readers;

/// Number of batches. More threads than that share them, which costs a wake-up and nothing else.
const BATCH_COUNT: usize = 16;

/// The open batches of look-ups, with the readers and the worker that answer them.
pub(crate) struct Coalescer {
    batches: [Mutex<Vec<Lookup>>; BATCH_COUNT],
    defer: Option<Defer>,
    queue: Arc<Queue<Lookup>>,
    #[cfg(feature = "sqlite")]
    readers: Option<Readers>,
}

impl Coalescer {
    /// Batches for the look-up worker. Without `defer` there are no batches: each look-up goes to the worker at once.
    pub(crate) fn new(defer: Option<Defer>, queue: Arc<Queue<Lookup>>) -> Self {
        Self {
            batches: Default::default(),
            defer,
            queue,
            #[cfg(feature = "sqlite")]
            readers: None,
        }
    }

    /// Tries these readers first.
    #[cfg(feature = "sqlite")]
    pub(crate) fn with_readers(self, readers: Readers) -> Self {
        Self { readers: Some(readers), ..self }
    }

    /// Adds a look-up to the batch of this thread.
    pub(crate) fn submit<T: Send + 'static>(
        self: &Arc<Self>,
        lookup: impl FnOnce(Reply<T>) -> Lookup,
    ) -> StoreFuture<T> {
        let Some(defer) = self.defer else { return submit(&self.queue, lookup) };
        let index = batch_index();
        let mut batch = self.lock(index);
        // One query takes no more.
        if batch.len() >= MAX_KEYS_PER_STATEMENT {
            drop(batch);
            return submit(&self.queue, lookup);
        }
        let (reply, answer) = futures_channel::oneshot::channel();
        batch.push(lookup(reply));
        let first = batch.len() == 1;
        drop(batch);
        if first {
            let deferred = DeferredBatch { coalescer: Arc::clone(self), index };
            defer(Box::new(move || deferred.answer()));
        }
        await_reply(answer)
    }

    #[expect(clippy::indexing_slicing, reason = "a place is less than the number of piles")]
    fn lock(&self, index: usize) -> MutexGuard<'_, Vec<Lookup>> {
        // No code under this lock can panic halfway.
        self.batches[index].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The number of this thread's batch.
fn batch_index() -> usize {
    static NEXT_THREAD: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static INDEX: usize = NEXT_THREAD.fetch_add(1, Ordering::Relaxed) % BATCH_COUNT;
    }
    INDEX.with(|index| *index)
}

/// Takes a batch away. Dropped unused, for example when an executor ends, this value hands the batch to the worker.
struct DeferredBatch {
    coalescer: Arc<Coalescer>,
    index: usize,
}

impl DeferredBatch {
    /// Answers the batch in this thread, where possible.
    fn answer(self) {
        #[cfg(feature = "sqlite")]
        if let Some(readers) = &self.coalescer.readers {
            let batch = std::mem::take(&mut *self.coalescer.lock(self.index));
            let rest = readers.answer(batch);
            self.hand_over(rest);
        }
    }

    fn hand_over(&self, lookups: Vec<Lookup>) {
        if let Err((refused, error)) = self.coalescer.queue.push_all(lookups) {
            refused.into_iter().for_each(|lookup| lookup.fail(error.clone()));
        }
    }
}

impl Drop for DeferredBatch {
    fn drop(&mut self) {
        let batch = std::mem::take(&mut *self.coalescer.lock(self.index));
        self.hand_over(batch);
    }
}

//! A worker: one thread, one connection, one queue. Each batch takes the jobs that gathered since the last one and
//! answers all of them.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, PoisonError, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::connection::ConnectionSlot;
use crate::queue::Queue;
use crate::writes::Write;

/// The work of a worker on its jobs.
pub(crate) trait Worker: Send + 'static {
    type Job: Send + 'static;
    /// Maximum number of jobs in one batch.
    const MAX_BATCH: usize;

    /// Runs a batch and answers its jobs. A dropped job is answered too: its caller hears that the store is
    /// unavailable.
    fn run_batch(&mut self, jobs: Vec<Self::Job>, slot: &mut ConnectionSlot);

    /// Whether another batch must run even without new jobs.
    fn is_unfinished(&self) -> bool {
        false
    }

    /// Called after a batch panicked; its jobs are dropped and its connection is discarded.
    fn recover(&mut self) {}

    /// Called once the queue is closed and empty (graceful shutdown).
    fn on_shutdown(&mut self, _slot: &mut ConnectionSlot) {}
}

/// Starts a worker.
///
/// # Errors
/// The system gives no thread.
pub(crate) fn spawn_worker<W: Worker>(
    name: &str,
    queue: Arc<Queue<W::Job>>,
    mut slot: ConnectionSlot,
    mut worker: W,
) -> std::io::Result<JoinHandle<()>> {
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(move || run_worker(&queue, &mut slot, &mut worker))
}

/// Runs batches until the queue is closed and empty, and nothing is unfinished.
pub(crate) fn run_worker<W: Worker>(
    queue: &Queue<W::Job>,
    slot: &mut ConnectionSlot,
    worker: &mut W,
) {
    loop {
        let jobs = match queue.take_batch(W::MAX_BATCH, !worker.is_unfinished()) {
            Some(jobs) => jobs,
            None if worker.is_unfinished() => Vec::new(),
            None => break,
        };
        // A panic may leave things half done: the connection is discarded, and the work recovers.
        if catch_unwind(AssertUnwindSafe(|| worker.run_batch(jobs, slot))).is_err() {
            slot.discard();
            worker.recover();
        }
    }
    worker.on_shutdown(slot);
}

/// Asks the write worker at intervals to flush the touches. Reads no clock.
#[derive(Debug, Default)]
pub(crate) struct Ticker {
    stopped: Mutex<bool>,
    stop_requested: Condvar,
}

impl Ticker {
    /// Starts the thread.
    ///
    /// # Errors
    /// The system gives no thread.
    pub(crate) fn start(
        self: &Arc<Self>,
        interval: Duration,
        writes: Arc<Queue<Write>>,
    ) -> std::io::Result<JoinHandle<()>> {
        let ticker = Arc::clone(self);
        std::thread::Builder::new().name("store-ticker".to_owned()).spawn(move || {
            while ticker.wait_for_tick(interval) {
                let (done, written) = mpsc::channel();
                writes.push_unbounded(Write::Tick(done));
                // Dropped once the flush is written, has failed, or never will be. The next interval begins here.
                written.recv().unwrap_or_default();
            }
        })
    }

    /// Waits for the interval; `false` once stopped.
    fn wait_for_tick(&self, interval: Duration) -> bool {
        let stopped = self.stopped.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.stop_requested.wait_timeout_while(stopped, interval, |stopped| !*stopped);
        !*waited.unwrap_or_else(PoisonError::into_inner).0
    }

    pub(crate) fn stop(&self) {
        *self.stopped.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.stop_requested.notify_all();
    }
}

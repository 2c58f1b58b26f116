//! A lane: one thread, one connection, one queue. It takes what has gathered since its last turn and answers all of it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, PoisonError, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::connection::Held;
use crate::queue::Queue;
use crate::writer::Write;

/// What a lane does with its jobs.
pub(crate) trait Work: Send + 'static {
    type Job: Send + 'static;
    /// How many jobs one turn takes at most.
    const MOST: usize;

    /// Does the jobs and answers them. A job that is dropped is answered too: its caller hears that the store is unavailable.
    fn turn(&mut self, jobs: Vec<Self::Job>, held: &mut Held);

    /// Whether it wants another turn even if nobody asks for anything.
    fn is_unfinished(&self) -> bool {
        false
    }

    /// A turn panicked; its jobs are dropped, its connection thrown away.
    fn recover(&mut self) {}

    /// The queue is closed and empty.
    fn last(&mut self, _held: &mut Held) {}
}

/// Starts a lane.
///
/// # Errors
/// The system gives no thread.
pub(crate) fn start<W: Work>(
    name: &str,
    queue: Arc<Queue<W::Job>>,
    mut held: Held,
    mut work: W,
) -> std::io::Result<JoinHandle<()>> {
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(move || run(&queue, &mut held, &mut work))
}

/// Works until the queue is closed and empty, and nothing is unfinished.
pub(crate) fn run<W: Work>(queue: &Queue<W::Job>, held: &mut Held, work: &mut W) {
    loop {
        let jobs = match queue.take(W::MOST, !work.is_unfinished()) {
            Some(jobs) => jobs,
            None if work.is_unfinished() => Vec::new(),
            None => break,
        };
        // What a panic may leave half done is put right: the connection goes, and the work recovers.
        if catch_unwind(AssertUnwindSafe(|| work.turn(jobs, held))).is_err() {
            held.discard();
            work.recover();
        }
    }
    work.last(held);
}

/// Reminds the lane of changes, so often, to write the touches. Nothing reads a clock.
#[derive(Debug, Default)]
pub(crate) struct Ticker {
    stopped: Mutex<bool>,
    stop: Condvar,
}

impl Ticker {
    /// Starts the thread.
    ///
    /// # Errors
    /// The system gives none.
    pub(crate) fn start(
        self: &Arc<Self>,
        every: Duration,
        writes: Arc<Queue<Write>>,
    ) -> std::io::Result<JoinHandle<()>> {
        let ticker = Arc::clone(self);
        std::thread::Builder::new().name("store-ticker".to_owned()).spawn(move || {
            while ticker.waits(every) {
                let (done, written) = mpsc::channel();
                writes.push_own(Write::Tick(done));
                // Dropped once it is written, or has failed, or never will be. The next one is counted from here.
                written.recv().unwrap_or_default();
            }
        })
    }

    /// Waits; `false` once it is stopped.
    fn waits(&self, every: Duration) -> bool {
        let stopped = self.stopped.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.stop.wait_timeout_while(stopped, every, |stopped| !*stopped);
        !*waited.unwrap_or_else(PoisonError::into_inner).0
    }

    /// Stops it.
    pub(crate) fn stop(&self) {
        *self.stopped.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.stop.notify_all();
    }
}

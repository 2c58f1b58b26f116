//! The threads on which passwords are hashed and credentials signed.

use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use futures_channel::oneshot;

use crate::password::Scratch;
use crate::ports::Clock;
use crate::{Failure, Timestamp};

/// How many pieces of work may wait.
const WAITING: usize = 64;
/// How long one may wait; its client has given up by then, or soon will.
const PATIENCE: Duration = Duration::from_secs(3);

/// A piece of work for a hashing thread.
type Work = Box<dyn FnOnce(&mut Bench) + Send>;

/// What a piece of work finds on its thread.
#[derive(Default)]
pub(crate) struct Bench {
    pub(crate) scratch: Scratch,
}

/// A fixed number of threads behind a short queue. Work beyond it is refused at once, so a flood of logins costs neither memory nor
/// the latency of a check.
pub struct HashThreads {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
    clock: Arc<dyn Clock>,
    seated: AtomicUsize,
}

/// A seat of somebody who is about to have a password verified; it is free again once this is dropped.
pub(crate) struct Seat<'t>(&'t AtomicUsize);

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

struct Shared {
    queue: Mutex<Queue>,
    filled: Condvar,
}

struct Queue {
    work: VecDeque<(Timestamp, Work)>,
    open: bool,
}

impl HashThreads {
    /// Starts `threads` threads, at least one: as many as there are cores serves best. Should the system start none of them, all work is
    /// refused.
    #[must_use]
    pub fn start(threads: usize, clock: Arc<dyn Clock>) -> Self {
        let queue = Mutex::new(Queue { work: VecDeque::with_capacity(WAITING), open: true });
        let shared = Arc::new(Shared { queue, filled: Condvar::new() });
        let spawn = |number: usize| {
            let (shared, clock) = (Arc::clone(&shared), Arc::clone(&clock));
            let name = format!("hash-{number}");
            std::thread::Builder::new().name(name).spawn(move || shared.work(&*clock)).ok()
        };
        let threads: Vec<_> = (0..threads.max(1)).filter_map(spawn).collect();
        shared.lock().open = !threads.is_empty();
        Self { shared, threads, clock, seated: AtomicUsize::new(0) }
    }

    /// A seat, of which there are as many as pieces of work can be under way or wait. Taken before a login takes a place on
    /// the ladder of its account, it keeps right logins that come all at once from filling the day of that account.
    ///
    /// # Errors
    /// There is none: [`Failure::Busy`].
    pub(crate) fn seat(&self) -> Result<Seat<'_>, Failure> {
        let seat = Seat(&self.seated);
        let others = self.seated.fetch_add(1, Ordering::Relaxed);
        if others < WAITING + self.threads.len() { Ok(seat) } else { Err(Failure::Busy) }
    }

    /// Queues a piece of work. It is refused as [`Failure::Busy`] if 64 pieces wait already, or if it has waited for three seconds. It is
    /// not begun if nobody waits for its answer any more.
    pub(crate) fn run<T: Send + 'static, W: FnOnce(&mut Bench) -> T + Send + 'static>(
        &self,
        work: W,
    ) -> impl Future<Output = Result<T, Failure>> + use<T, W> {
        let (answer, answered) = oneshot::channel();
        let work: Work = Box::new(move |bench| {
            if !answer.is_canceled() {
                let _gone = answer.send(work(bench));
            }
        });
        let queued = self.shared.push(self.clock.now(), work);
        async move {
            if !queued {
                return Err(Failure::Busy);
            }
            answered.await.map_err(|_| Failure::Busy)
        }
    }
}

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, now: Timestamp, work: Work) -> bool {
        let mut queue = self.lock();
        let room = queue.open && queue.work.len() < WAITING;
        if room {
            queue.work.push_back((now, work));
            self.filled.notify_one();
        }
        room
    }

    fn work(&self, clock: &dyn Clock) {
        let mut bench = Bench::default();
        loop {
            let mut queue = self.lock();
            let (queued, work) = loop {
                match queue.work.pop_front() {
                    Some(next) => break next,
                    None if !queue.open => return,
                    None => queue = self.filled.wait(queue).unwrap_or_else(PoisonError::into_inner),
                }
            };
            drop(queue);
            // Dropping the work drops its answer's sender, which the waiting side reads as a refusal.
            if clock.now().since(queued) <= PATIENCE {
                // A dialect's code runs here. If it panics, that one login is refused, and the thread lives.
                let _panicked = catch_unwind(AssertUnwindSafe(|| work(&mut bench)));
            }
        }
    }
}

impl Drop for HashThreads {
    fn drop(&mut self) {
        self.shared.lock().open = false;
        self.shared.filled.notify_all();
        for thread in self.threads.drain(..) {
            let _panicked = thread.join();
        }
    }
}

impl fmt::Debug for HashThreads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HashThreads").field("threads", &self.threads.len()).finish_non_exhaustive()
    }
}

impl fmt::Debug for Bench {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Bench")
    }
}

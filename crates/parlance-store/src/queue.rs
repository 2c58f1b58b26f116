//! The bounded queue of a worker. Jobs are data; a full queue refuses (backpressure).

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use futures_channel::oneshot;
use parlance_core::ports::{StoreError, StoreFuture};

/// The sender of an answer.
pub(crate) type Reply<T> = oneshot::Sender<Result<T, StoreError>>;

/// The jobs of one worker.
#[derive(Debug)]
pub(crate) struct Queue<J> {
    state: Mutex<State<J>>,
    not_empty: Condvar,
    capacity: usize,
}

#[derive(Debug)]
struct State<J> {
    jobs: VecDeque<J>,
    open: bool,
}

impl<J> Queue<J> {
    pub(crate) fn new(capacity: usize) -> Self {
        let state =
            Mutex::new(State { jobs: VecDeque::with_capacity(capacity.min(4096)), open: true });
        Self { state, not_empty: Condvar::new(), capacity }
    }

    /// # Errors
    /// The queue is full; nothing was queued.
    pub(crate) fn push(&self, job: J) -> Result<(), StoreError> {
        let mut state = self.lock();
        if !state.open {
            return Err(closed_error());
        }
        if state.jobs.len() >= self.capacity {
            return Err(StoreError::Busy);
        }
        self.push_locked(&mut state, job);
        Ok(())
    }

    /// Queues jobs together.
    ///
    /// # Errors
    /// The jobs that found no room, or all of them if the store is closed.
    pub(crate) fn push_all(&self, mut jobs: Vec<J>) -> Result<(), (Vec<J>, StoreError)> {
        if jobs.is_empty() {
            return Ok(());
        }
        let mut state = self.lock();
        if !state.open {
            return Err((jobs, closed_error()));
        }
        let room = self.capacity.saturating_sub(state.jobs.len());
        let refused = jobs.split_off(room.min(jobs.len()));
        state.jobs.extend(jobs);
        self.not_empty.notify_one();
        if refused.is_empty() { Ok(()) } else { Err((refused, StoreError::Busy)) }
    }

    /// Queues a job of the store itself, whatever the bound; the job is dropped if the queue is closed.
    pub(crate) fn push_unbounded(&self, job: J) {
        let mut state = self.lock();
        if state.open {
            self.push_locked(&mut state, job);
        }
    }

    fn push_locked(&self, state: &mut State<J>, job: J) {
        state.jobs.push_back(job);
        self.not_empty.notify_one();
    }

    /// Takes the queued jobs, at most `most`. With `wait`, waits for the first job. `None` once the queue is closed and
    /// empty.
    pub(crate) fn take_batch(&self, max: usize, wait: bool) -> Option<Vec<J>> {
        let mut state = self.lock();
        if wait {
            let waits = |state: &mut State<J>| state.open && state.jobs.is_empty();
            state = self.not_empty.wait_while(state, waits).unwrap_or_else(PoisonError::into_inner);
        }
        if state.jobs.is_empty() && !state.open {
            return None;
        }
        let taken = state.jobs.len().min(max);
        Some(state.jobs.drain(..taken).collect())
    }

    /// Number of queued jobs.
    pub(crate) fn len(&self) -> usize {
        self.lock().jobs.len()
    }

    /// Accepts no more jobs; the queued ones are still done.
    pub(crate) fn close(&self) {
        self.lock().open = false;
        self.not_empty.notify_all();
    }

    // A worker that panicked holds no lock: no code under this lock can panic halfway.
    fn lock(&self) -> MutexGuard<'_, State<J>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Queues a job, and returns its future answer.
pub(crate) fn submit<J, T: Send + 'static>(
    queue: &Queue<J>,
    job: impl FnOnce(Reply<T>) -> J,
) -> StoreFuture<T> {
    let (reply, answer) = oneshot::channel();
    match queue.push(job(reply)) {
        Ok(()) => await_reply(answer),
        Err(refusal) => ready(Err(refusal)),
    }
}

/// The future answer of a queued job.
pub(crate) fn await_reply<T: Send + 'static>(
    answer: oneshot::Receiver<Result<T, StoreError>>,
) -> StoreFuture<T> {
    Box::pin(async move { answer.await.unwrap_or_else(|_| Err(dropped_error())) })
}

fn ready<T: Send + 'static>(
    answer: Result<T, StoreError>,
) -> Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send>> {
    Box::pin(std::future::ready(answer))
}

fn closed_error() -> StoreError {
    StoreError::Unavailable("the store is closed".to_owned())
}

/// The worker dropped the job: because of a panic, or because the store was closed.
fn dropped_error() -> StoreError {
    StoreError::Unavailable("the store dropped the call".to_owned())
}

/// Sends an answer. A caller that has stopped waiting is no error.
pub(crate) fn send_reply<T>(reply: Reply<T>, result: Result<T, StoreError>) {
    drop(reply.send(result));
}

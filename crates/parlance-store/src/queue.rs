//! Work that waits for a lane: data, bounded.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use futures_channel::oneshot;
use parlance_core::ports::{Pending, StoreError};

/// Where an answer goes.
pub(crate) type Reply<T> = oneshot::Sender<Result<T, StoreError>>;

/// The jobs of one lane.
#[derive(Debug)]
pub(crate) struct Queue<J> {
    state: Mutex<State<J>>,
    filled: Condvar,
    bound: usize,
}

#[derive(Debug)]
struct State<J> {
    jobs: VecDeque<J>,
    open: bool,
}

impl<J> Queue<J> {
    pub(crate) fn new(bound: usize) -> Self {
        let state =
            Mutex::new(State { jobs: VecDeque::with_capacity(bound.min(4096)), open: true });
        Self { state, filled: Condvar::new(), bound }
    }

    /// # Errors
    /// The queue is full; nothing was queued.
    pub(crate) fn push(&self, job: J) -> Result<(), StoreError> {
        let mut state = self.lock();
        if !state.open {
            return Err(closed());
        }
        if state.jobs.len() >= self.bound {
            return Err(StoreError::Busy);
        }
        self.put(&mut state, job);
        Ok(())
    }

    /// Queues jobs together.
    ///
    /// # Errors
    /// Those that found no room, or all of them if the store is closed.
    pub(crate) fn push_all(&self, mut jobs: Vec<J>) -> Result<(), (Vec<J>, StoreError)> {
        if jobs.is_empty() {
            return Ok(());
        }
        let mut state = self.lock();
        if !state.open {
            return Err((jobs, closed()));
        }
        let room = self.bound.saturating_sub(state.jobs.len());
        let refused = jobs.split_off(room.min(jobs.len()));
        state.jobs.extend(jobs);
        self.filled.notify_one();
        if refused.is_empty() { Ok(()) } else { Err((refused, StoreError::Busy)) }
    }

    /// Queues a job of the store's own, whatever the bound; dropped if the queue is closed.
    pub(crate) fn push_own(&self, job: J) {
        let mut state = self.lock();
        if state.open {
            self.put(&mut state, job);
        }
    }

    fn put(&self, state: &mut State<J>, job: J) {
        state.jobs.push_back(job);
        self.filled.notify_one();
    }

    /// Takes what has gathered, at most so many. Waits for the first one if told to; `None` once the queue is closed and empty.
    pub(crate) fn take(&self, most: usize, wait: bool) -> Option<Vec<J>> {
        let mut state = self.lock();
        if wait {
            let waits = |state: &mut State<J>| state.open && state.jobs.is_empty();
            state = self.filled.wait_while(state, waits).unwrap_or_else(PoisonError::into_inner);
        }
        if state.jobs.is_empty() && !state.open {
            return None;
        }
        let taken = state.jobs.len().min(most);
        Some(state.jobs.drain(..taken).collect())
    }

    /// How many jobs wait.
    pub(crate) fn len(&self) -> usize {
        self.lock().jobs.len()
    }

    /// Takes no more jobs; those that wait are still done.
    pub(crate) fn close(&self) {
        self.lock().open = false;
        self.filled.notify_all();
    }

    // A lane that panicked holds no lock: nothing that is done under it can panic halfway.
    fn lock(&self) -> MutexGuard<'_, State<J>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Queues a job, and gives back the answer that it will have.
pub(crate) fn ask<J, T: Send + 'static>(
    queue: &Queue<J>,
    job: impl FnOnce(Reply<T>) -> J,
) -> Pending<T> {
    let (reply, answer) = oneshot::channel();
    match queue.push(job(reply)) {
        Ok(()) => await_answer(answer),
        Err(refusal) => ready(Err(refusal)),
    }
}

/// The answer to come.
pub(crate) fn await_answer<T: Send + 'static>(
    answer: oneshot::Receiver<Result<T, StoreError>>,
) -> Pending<T> {
    Box::pin(async move { answer.await.unwrap_or_else(|_| Err(lost())) })
}

fn ready<T: Send + 'static>(
    answer: Result<T, StoreError>,
) -> Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send>> {
    Box::pin(std::future::ready(answer))
}

fn closed() -> StoreError {
    StoreError::Unavailable("the store is closed".to_owned())
}

/// The lane dropped the job: it panicked, or the store was closed.
fn lost() -> StoreError {
    StoreError::Unavailable("the store dropped the call".to_owned())
}

/// Answers; whoever has stopped waiting is no error.
pub(crate) fn answer<T>(reply: Reply<T>, result: Result<T, StoreError>) {
    drop(reply.send(result));
}

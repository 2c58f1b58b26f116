//! Look-ups that are asked for in one turn of a thread's loop, gathered into one batch without another thread.
//!
//! A look-up is put on the pile of its thread. The first on a pile has the thread's loop take the pile away once whatever is ready now has
//! been done, so that it holds the look-ups of all of it; alone, it waits for nobody. SQLite answers the pile there and then, on a
//! connection that only reads; what it cannot answer, and everything on PostgreSQL, goes to the lane of checks.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use parlance_core::ports::Pending;

use crate::checks::Check;
use crate::fragments::MOST;
use crate::options::Soon;
use crate::queue::{Queue, Reply, ask, await_answer};
#[cfg(feature = "sqlite")]
use crate::readers::Readers;

/// How many piles there are. Threads beyond that share them, which costs them a wake-up and nothing else.
const PILES: usize = 16;

/// Piles of look-ups, and who answers them.
pub(crate) struct Gather {
    piles: [Mutex<Vec<Check>>; PILES],
    soon: Option<Soon>,
    lane: Arc<Queue<Check>>,
    #[cfg(feature = "sqlite")]
    readers: Option<Readers>,
}

impl Gather {
    /// Piles that the lane answers. Without a `soon` there are none: each look-up goes to the lane at once.
    pub(crate) fn new(soon: Option<Soon>, lane: Arc<Queue<Check>>) -> Self {
        Self {
            piles: Default::default(),
            soon,
            lane,
            #[cfg(feature = "sqlite")]
            readers: None,
        }
    }

    /// Has these readers answer first.
    #[cfg(feature = "sqlite")]
    pub(crate) fn with_readers(self, readers: Readers) -> Self {
        Self { readers: Some(readers), ..self }
    }

    /// Puts a look-up on this thread's pile.
    pub(crate) fn ask<T: Send + 'static>(
        self: &Arc<Self>,
        check: impl FnOnce(Reply<T>) -> Check,
    ) -> Pending<T> {
        let Some(soon) = self.soon else { return ask(&self.lane, check) };
        let place = place();
        let mut pile = self.lock(place);
        // More than one query asks for.
        if pile.len() >= MOST {
            drop(pile);
            return ask(&self.lane, check);
        }
        let (reply, answer) = futures_channel::oneshot::channel();
        pile.push(check(reply));
        let first = pile.len() == 1;
        drop(pile);
        if first {
            let away = Away { gather: Arc::clone(self), place };
            soon(Box::new(move || away.answer()));
        }
        await_answer(answer)
    }

    #[expect(clippy::indexing_slicing, reason = "a place is less than the number of piles")]
    fn lock(&self, place: usize) -> MutexGuard<'_, Vec<Check>> {
        // Nothing that is done under the lock can panic halfway.
        self.piles[place].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Which pile is this thread's.
fn place() -> usize {
    static THREADS: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static PLACE: usize = THREADS.fetch_add(1, Ordering::Relaxed) % PILES;
    }
    PLACE.with(|place| *place)
}

/// Takes a pile away. Whoever drops it unused, such as a loop that ends, hands the pile to the lane.
struct Away {
    gather: Arc<Gather>,
    place: usize,
}

impl Away {
    /// Has the pile answered here, if it can be.
    fn answer(self) {
        #[cfg(feature = "sqlite")]
        if let Some(readers) = &self.gather.readers {
            let pile = std::mem::take(&mut *self.gather.lock(self.place));
            let rest = readers.answer(pile);
            self.hand_over(rest);
        }
    }

    fn hand_over(&self, checks: Vec<Check>) {
        if let Err((refused, error)) = self.gather.lane.push_all(checks) {
            refused.into_iter().for_each(|check| check.refuse(error.clone()));
        }
    }
}

impl Drop for Away {
    fn drop(&mut self) {
        let pile = std::mem::take(&mut *self.gather.lock(self.place));
        self.hand_over(pile);
    }
}

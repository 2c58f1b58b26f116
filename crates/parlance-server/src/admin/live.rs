//! How many sessions live. Among millions a count takes seconds of a core, so that it is not made anew for everybody who asks.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use actix_web::rt;
use futures_util::lock;
use parlance::core::ports::{Clock, Store};
use parlance::system::Stopwatch;

use super::health::PATIENCE;

/// A count stands for so many times as long as it took, also one that failed: counting takes a twentieth of the time at most.
const STANDS: u32 = 19;

/// So many of each dialect.
type PerDialect = Arc<[(String, u64)]>;

/// The last count.
#[derive(Default)]
pub(crate) struct LiveSessions {
    /// Whoever counts holds it, so that nobody else does.
    turn: Arc<lock::Mutex<()>>,
    last: Mutex<Option<Count>>,
}

struct Count {
    /// `None` if the database did not answer, or gave up.
    found: Option<PerDialect>,
    took: Duration,
    since: Stopwatch,
}

impl LiveSessions {
    /// How many live, by a count that stands or by a new one. One that is not made within [`PATIENCE`] goes on, and what is known meanwhile is
    /// the one before. `None` if there is none, or if the database did not answer the last time.
    pub(super) async fn per_dialect(
        self: Arc<Self>,
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
    ) -> Option<PerDialect> {
        let counted = async {
            match self.turn.try_lock_owned() {
                Some(turn) => drop(rt::spawn(Arc::clone(&self).count(turn, store, clock)).await),
                // Somebody is counting: that count will do.
                None => drop(self.turn.lock().await),
            }
        };
        let _in_time = rt::time::timeout(PATIENCE, counted).await;
        self.last().as_ref().and_then(|count| count.found.clone())
    }

    async fn count(
        self: Arc<Self>,
        _turn: lock::OwnedMutexGuard<()>,
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
    ) {
        if self.last().as_ref().is_some_and(|last| stands(last.took, last.since.elapsed())) {
            return;
        }
        let watch = Stopwatch::start();
        let found = store.live(clock.now()).await.ok().map(Into::into);
        let took = watch.elapsed();
        *self.last() = Some(Count { found, took, since: Stopwatch::start() });
    }

    fn last(&self) -> MutexGuard<'_, Option<Count>> {
        // Nothing that is done under the lock can panic halfway.
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a count that took so long still stands when it is so old.
fn stands(took: Duration, age: Duration) -> bool {
    age < took * STANDS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(took: Duration, age: Duration, expected: bool) {
        assert_eq!(stands(took, age), expected, "took {took:?}, {age:?} old");
    }

    #[test]
    fn counting_takes_a_twentieth_of_the_time_at_most() {
        let (millisecond, second) = (Duration::from_millis(1), Duration::from_secs(1));
        check(millisecond, 18 * millisecond, true);
        check(millisecond, 19 * millisecond, false);
        check(16 * second, 303 * second, true);
        check(16 * second, 304 * second, false);
    }
}

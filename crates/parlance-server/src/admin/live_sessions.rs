//! The number of live sessions, counted in the background and cached: among millions of sessions a count takes seconds
//! of a core, too long for every scrape.
//!
//! On SQLite a count takes 1.6 s of a core for a million sessions and a quarter of a minute for ten million. A count
//! for every scrape kept a core busy, and evicted from the processor's caches the database pages that checks read. A
//! running counter instead would have to learn of every session's expiry, on every node.
//!
//! Among thousands of sessions the figure is current. With several scrapes a minute the figure is at most half a minute
//! old among a million sessions, and five minutes among ten million; a scrape once an hour shows the count that the
//! last scrape began. PostgreSQL cancels a statement after 5 s, about the time of ten million on two busy cores, so
//! there the figure may be missing. Each node counts for itself.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use actix_web::rt;
use futures_util::lock;
use parlance::core::ports::{Clock, Store};
use parlance::system::Stopwatch;

use super::health::DATABASE_TIMEOUT;

/// A count, also a failed one, is valid for this many times its own duration: counting takes at most a twentieth of the
/// time.
const COUNT_VALIDITY_FACTOR: u32 = 19;

/// The number of live sessions of each dialect.
type CountPerDialect = Arc<[(String, u64)]>;

/// The last count, and the right to make the next one.
#[derive(Default)]
pub(crate) struct LiveSessions {
    /// Held while counting, so that only one count runs at a time.
    counting: Arc<lock::Mutex<()>>,
    last_count: Mutex<Option<Count>>,
}

struct Count {
    /// `None` if the database did not answer, or gave up.
    per_dialect: Option<CountPerDialect>,
    took: Duration,
    since: Stopwatch,
}

impl LiveSessions {
    /// The number of live sessions, from a valid count or a new one. A count that takes longer than [`DATABASE_TIMEOUT`] goes
    /// on in the background, and the previous count is returned meanwhile. `None` without a previous count, or if the
    /// last count failed.
    pub(super) async fn per_dialect(
        self: Arc<Self>,
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
    ) -> Option<CountPerDialect> {
        let counted = async {
            match self.counting.try_lock_owned() {
                Some(counting) => {
                    drop(rt::spawn(Arc::clone(&self).count(counting, store, clock)).await)
                }
                // Another scrape is counting: its count serves both.
                None => drop(self.counting.lock().await),
            }
        };
        let _in_time = rt::time::timeout(DATABASE_TIMEOUT, counted).await;
        self.last_count().as_ref().and_then(|count| count.per_dialect.clone())
    }

    async fn count(
        self: Arc<Self>,
        _counting: lock::OwnedMutexGuard<()>,
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
    ) {
        if self
            .last_count()
            .as_ref()
            .is_some_and(|last| is_current(last.took, last.since.elapsed()))
        {
            return;
        }
        let watch = Stopwatch::start();
        let per_dialect = store.count_live_sessions(clock.now()).await.ok().map(Into::into);
        let took = watch.elapsed();
        *self.last_count() = Some(Count { per_dialect, took, since: Stopwatch::start() });
    }

    fn last_count(&self) -> MutexGuard<'_, Option<Count>> {
        // No code under the lock can panic halfway.
        self.last_count.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a count of this duration is still valid at this age.
fn is_current(took: Duration, age: Duration) -> bool {
    age < took * COUNT_VALIDITY_FACTOR
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(took: Duration, age: Duration, expected: bool) {
        assert_eq!(is_current(took, age), expected, "took {took:?}, {age:?} old");
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

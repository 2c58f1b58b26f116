//! One clock for all nodes on one database.

use std::fmt;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures_executor::block_on;
use parlance_core::Timestamp;
use parlance_core::ports::{Clock, Store, StoreError};

use crate::system::{Stopwatch, SystemClock};

/// How often the store is asked for its time.
pub const EVERY: Duration = Duration::from_secs(10);

/// Nothing was measured: the store has no clock.
const NONE: i64 = i64::MIN;

/// The store's clock, for every node on it: what the machine's own clock says, and that it may be stepped, counts for nothing. A store
/// without a clock, as on SQLite, has one node, and the machine's clock counts.
///
/// The store is asked once at the start and then every [`EVERY`]; between two questions the time goes on by a stopwatch, so that reading it
/// costs no more than reading the machine's. It is wrong by no more than the last question took, and by what the stopwatch drifts in between
/// (500 ppm, the most that a clock may be slewed by, are 5 ms in ten seconds). When the store's own clock is stepped, or a machine
/// was suspended, it follows within [`EVERY`].
///
/// Dropping it ends its thread.
pub struct SharedClock {
    kept: Arc<Kept>,
    /// What the thread waits on.
    _keeper: Sender<()>,
}

/// What is known.
struct Kept {
    watch: Stopwatch,
    /// The store's time when the watch was started, in milliseconds since 1970.
    zero: AtomicI64,
}

impl SharedClock {
    /// Asks the store, waiting for its answer, and starts the thread that goes on asking.
    ///
    /// # Errors
    /// The store does not answer, or the system gives no thread.
    pub fn start(store: &Arc<dyn Store>) -> Result<Self, StoreError> {
        let kept = Arc::new(Kept { watch: Stopwatch::start(), zero: AtomicI64::new(NONE) });
        let (keeper, dropped) = mpsc::channel();
        let (tell, measured) = mpsc::channel();
        let (theirs, store) = (Arc::clone(&kept), Arc::clone(store));
        // The first question too: an answer cannot be waited for on the thread of an executor, which may be the caller's.
        let asks = move || {
            // The first question may have had to wait for a connection, which says little; the second has it.
            let first = theirs.measure(&*store).and_then(|_| theirs.measure(&*store));
            let has_clock = first == Ok(true);
            let _gone = tell.send(first);
            let weak = Arc::downgrade(&store);
            drop(store);
            if has_clock {
                theirs.keep(&weak, &dropped);
            }
        };
        std::thread::Builder::new()
            .name("shared-clock".to_owned())
            .spawn(asks)
            .map_err(|error| StoreError::Unavailable(format!("no thread for a clock: {error}")))?;
        let ended = || StoreError::Unavailable("the thread of the clock failed".to_owned());
        measured.recv().map_err(|_| ended())??;
        Ok(Self { kept, _keeper: keeper })
    }
}

impl Clock for SharedClock {
    fn now(&self) -> Timestamp {
        match self.kept.zero.load(Ordering::Relaxed) {
            NONE => SystemClock.now(),
            zero => Timestamp::from_millis(zero.saturating_add(self.kept.elapsed())),
        }
    }
}

impl Kept {
    fn elapsed(&self) -> i64 {
        i64::try_from(self.watch.elapsed().as_millis()).unwrap_or(i64::MAX)
    }

    /// Whether the store has a clock.
    fn measure(&self, store: &dyn Store) -> Result<bool, StoreError> {
        let asked = self.elapsed();
        let Some(time) = block_on(store.time())? else { return Ok(false) };
        let zero = self.zero.load(Ordering::Relaxed);
        let zero = (zero != NONE).then_some(zero);
        self.zero.store(corrected(zero, asked, time.millis(), self.elapsed()), Ordering::Relaxed);
        Ok(true)
    }

    fn keep(&self, store: &Weak<dyn Store>, dropped: &Receiver<()>) {
        while dropped.recv_timeout(EVERY) == Err(RecvTimeoutError::Timeout) {
            let Some(store) = store.upgrade() else { return };
            // While the store is away nothing is judged, and the stopwatch goes on.
            let _later = self.measure(&*store);
        }
    }
}

/// Where zero is, after a question that the store answered with `time` at some moment between `asked` and `answered`. What was known
/// before stands as long as it may be true, so that a slow answer spoils nothing.
fn corrected(zero: Option<i64>, asked: i64, time: i64, answered: i64) -> i64 {
    let (earliest, latest) = (time.saturating_sub(answered), time.saturating_sub(asked));
    match zero {
        Some(zero) => zero.max(earliest).min(latest),
        None => earliest.midpoint(latest),
    }
}

impl fmt::Debug for SharedClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedClock").field("now", &self.now()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::corrected;

    #[track_caller]
    fn check(zero: Option<i64>, asked: i64, time: i64, answered: i64, expected: i64) {
        assert_eq!(corrected(zero, asked, time, answered), expected);
    }

    #[test]
    fn the_first_answer_counts_from_the_middle_of_its_way() {
        check(None, 0, 1_000_010, 20, 1_000_000);
        check(None, 5, 1_000_005, 5, 1_000_000);
    }

    #[test]
    fn what_may_still_be_true_stands() {
        check(Some(1_000_003), 100, 1_000_110, 120, 1_000_003);
        // A question that took five seconds says little.
        check(Some(1_000_003), 100, 1_000_200, 5_100, 1_000_003);
    }

    #[test]
    fn what_cannot_be_true_moves_as_far_as_it_must() {
        check(Some(1_000_003), 100, 1_003_710, 120, 1_003_590);
        check(Some(1_000_003), 100, 996_510, 120, 996_410);
    }
}

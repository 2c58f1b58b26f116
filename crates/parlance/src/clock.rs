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

/// Interval at which the store is asked for its time.
pub const SYNC_INTERVAL: Duration = Duration::from_secs(10);

/// No measurement: the store has no clock.
const NO_STORE_CLOCK: i64 = i64::MIN;

/// The store's clock, for every node on that store. The machine's own clock, which may be stepped, counts for nothing.
/// A store without a clock, as on SQLite, has one node, and the machine's clock counts.
///
/// The store is asked once at the start and then every [`SYNC_INTERVAL`]. Between two questions the time goes on by a
/// stopwatch, so that a reading costs no more than a reading of the machine's clock. The error is at most the time that
/// the last question took, plus the drift of the stopwatch since then (500 ppm, the most that a clock may be slewed by,
/// are 5 ms in ten seconds). After a step of the store's own clock, or a suspension of the machine, the shared clock
/// follows within [`SYNC_INTERVAL`].
///
/// Dropping the clock ends its thread.
pub struct SharedClock {
    state: Arc<ClockState>,
    /// The thread waits on the other end of this channel.
    _stop_sender: Sender<()>,
}

/// The measurement, shared with the thread.
struct ClockState {
    stopwatch: Stopwatch,
    /// The store's time when the watch was started, in milliseconds since 1970.
    origin_millis: AtomicI64,
}

impl SharedClock {
    /// Asks the store, waits for the answer, and starts the thread that goes on asking.
    ///
    /// # Errors
    /// The store does not answer, or the system gives no thread.
    pub fn start(store: &Arc<dyn Store>) -> Result<Self, StoreError> {
        let state = Arc::new(ClockState {
            stopwatch: Stopwatch::start(),
            origin_millis: AtomicI64::new(NO_STORE_CLOCK),
        });
        let (stop_sender, stop_receiver) = mpsc::channel();
        let (first_result_sender, first_result_receiver) = mpsc::channel();
        let (thread_state, store) = (Arc::clone(&state), Arc::clone(store));
        // The first question too: the thread of an executor, perhaps the caller's, cannot wait for an answer.
        let run = move || {
            // The first question may have had to wait for a connection, which says little; the second has a connection.
            let first = thread_state.sync(&*store).and_then(|_| thread_state.sync(&*store));
            let has_clock = first == Ok(true);
            let _gone = first_result_sender.send(first);
            let weak = Arc::downgrade(&store);
            drop(store);
            if has_clock {
                thread_state.sync_until_stopped(&weak, &stop_receiver);
            }
        };
        std::thread::Builder::new()
            .name("shared-clock".to_owned())
            .spawn(run)
            .map_err(|error| StoreError::Unavailable(format!("no thread for a clock: {error}")))?;
        let ended = || StoreError::Unavailable("the thread of the clock failed".to_owned());
        first_result_receiver.recv().map_err(|_| ended())??;
        Ok(Self { state, _stop_sender: stop_sender })
    }
}

impl Clock for SharedClock {
    fn now(&self) -> Timestamp {
        match self.state.origin_millis.load(Ordering::Relaxed) {
            NO_STORE_CLOCK => SystemClock.now(),
            origin_millis => {
                Timestamp::from_millis(origin_millis.saturating_add(self.state.elapsed()))
            }
        }
    }
}

impl ClockState {
    fn elapsed(&self) -> i64 {
        i64::try_from(self.stopwatch.elapsed().as_millis()).unwrap_or(i64::MAX)
    }

    /// Asks the store for its time; `false` if the store has no clock.
    fn sync(&self, store: &dyn Store) -> Result<bool, StoreError> {
        let asked = self.elapsed();
        let Some(time) = block_on(store.time())? else { return Ok(false) };
        let origin_millis = self.origin_millis.load(Ordering::Relaxed);
        let origin_millis = (origin_millis != NO_STORE_CLOCK).then_some(origin_millis);
        self.origin_millis.store(
            corrected_origin(origin_millis, asked, time.millis(), self.elapsed()),
            Ordering::Relaxed,
        );
        Ok(true)
    }

    fn sync_until_stopped(&self, store: &Weak<dyn Store>, stop_receiver: &Receiver<()>) {
        while stop_receiver.recv_timeout(SYNC_INTERVAL) == Err(RecvTimeoutError::Timeout) {
            let Some(store) = store.upgrade() else { return };
            // While the store is unavailable nothing is judged, and the stopwatch goes on.
            let _later = self.sync(&*store);
        }
    }
}

/// The store's time at the start of the stopwatch, after a question that the store answered with `time` at some moment
/// between `asked` and `answered`. A previous value that may still be true stands, so that a slow answer spoils
/// nothing.
fn corrected_origin(origin_millis: Option<i64>, asked: i64, time: i64, answered: i64) -> i64 {
    let (earliest, latest) = (time.saturating_sub(answered), time.saturating_sub(asked));
    match origin_millis {
        Some(origin_millis) => origin_millis.max(earliest).min(latest),
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
    use super::corrected_origin;

    #[track_caller]
    fn check(zero: Option<i64>, asked: i64, time: i64, answered: i64, expected: i64) {
        assert_eq!(corrected_origin(zero, asked, time, answered), expected);
    }

    #[test]
    fn the_first_measurement_assumes_half_the_round_trip() {
        check(None, 0, 1_000_010, 20, 1_000_000);
        check(None, 5, 1_000_005, 5, 1_000_000);
    }

    #[test]
    fn an_origin_within_the_bounds_is_kept() {
        check(Some(1_000_003), 100, 1_000_110, 120, 1_000_003);
        // A question that took five seconds says little.
        check(Some(1_000_003), 100, 1_000_200, 5_100, 1_000_003);
    }

    #[test]
    fn an_origin_outside_the_bounds_moves_to_the_nearest_one() {
        check(Some(1_000_003), 100, 1_003_710, 120, 1_003_590);
        check(Some(1_000_003), 100, 996_510, 120, 996_410);
    }
}

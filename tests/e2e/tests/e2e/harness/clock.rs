//! Time and randomness of the tests. The binary reads the machine's clock, which no test may step.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A stopwatch.
#[derive(Clone, Copy)]
pub(crate) struct Stopwatch(Instant);

impl Stopwatch {
    #[expect(clippy::disallowed_methods, reason = "a test of the real binary lives in real time")]
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }
}

/// The time since 1970.
#[expect(clippy::disallowed_methods, reason = "a test of the real binary lives in real time")]
pub(crate) fn unix_time() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap()
}

/// Lets this much real time pass. Only for events that the clock itself decides: a session's lifetime, a random moment
/// for a kill, the next attempt at a port. For an event that can be observed, a test waits with [`until`] instead.
pub(crate) fn sleep(span: Duration) {
    let (_nobody, silence) = mpsc::channel::<()>();
    let _timed_out = silence.recv_timeout(span);
}

/// Tries again every 20 ms until there is a result, for at most a minute.
#[track_caller]
pub(crate) fn wait_for<T>(what: &str, mut attempt: impl FnMut() -> Option<T>) -> T {
    for _ in 0..3000 {
        if let Some(found) = attempt() {
            return found;
        }
        sleep(Duration::from_millis(20));
    }
    panic!("waited a minute for {what}");
}

/// Tells threads beside a test to end, even when the test panics: a scope waits for its threads before the panic goes
/// on.
pub(crate) struct StopOnDrop<'f>(pub(crate) &'f AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// A seeded random generator (`SplitMix64`), so that a failing run can be repeated.
pub(crate) struct Rng(u64);

impl Rng {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below `limit`.
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next_u64() % limit.max(1) as u64).unwrap()
    }

    pub(crate) fn pick<'i, T>(&mut self, items: &'i [T]) -> &'i T {
        &items[self.below(items.len())]
    }
}

//! The system's clock and randomness: the one place that reads the wall clock and draws the randomness of secrets.
//! Every rule gets both as arguments. Reads of the monotonic clock elsewhere bound a wait and judge no session;
//! `docs/architecture.md` lists them.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use parlance_core::Timestamp;
use parlance_core::ports::{Clock, Entropy, EntropyError};

/// The system's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        #[expect(clippy::disallowed_methods, reason = "the one reading of the clock")]
        let now = SystemTime::now();
        let since = |span: Duration| i64::try_from(span.as_millis()).unwrap_or(i64::MAX);
        Timestamp::from_millis(
            now.duration_since(UNIX_EPOCH).map_or_else(|before| -since(before.duration()), since),
        )
    }
}

/// The system's randomness, fit for secrets.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemEntropy;

impl Entropy for SystemEntropy {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), EntropyError> {
        #[expect(clippy::disallowed_methods, reason = "the one reading of randomness")]
        let filled = getrandom::fill(bytes);
        filled.map_err(|_| EntropyError)
    }
}

/// Measures a duration by the monotonic clock: for metrics and the log, and between two questions of
/// [`crate::clock::SharedClock`].
#[derive(Debug, Clone, Copy)]
pub struct Stopwatch(Instant);

impl Stopwatch {
    /// Starts now.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "measuring is no rule")]
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// Time since the start.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }
}

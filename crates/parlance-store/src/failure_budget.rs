//! Bounds how long failures may hold up a worker while the parts of a failed batch are done one by one.

use std::time::{Duration, Instant};

/// How long consecutive failures may take together: two that wait for a lock or for the server's time limit, or very
/// many that fail at once.
const MAX_TIME_IN_FAILURES: Duration = Duration::from_millis(5500);

/// The failure budget of a worker. A faulty part fails at once, so the other parts get their answers, however many are
/// faulty. Where the database itself is slow or locked, each part would wait as long as the first.
#[derive(Debug, Default)]
pub(crate) struct FailureBudget {
    time_in_failures: Duration,
}

impl FailureBudget {
    /// Runs an act. `None`: not run, because failures have used up the time.
    pub(crate) fn run<T, E>(
        &mut self,
        action: impl FnOnce() -> Result<T, E>,
    ) -> Option<Result<T, E>> {
        if self.time_in_failures >= MAX_TIME_IN_FAILURES {
            return None;
        }
        let begun = now();
        let result = action();
        self.time_in_failures = match &result {
            Ok(_) => Duration::ZERO,
            Err(_) => self.time_in_failures + begun.elapsed(),
        };
        Some(result)
    }
}

#[expect(clippy::disallowed_methods, reason = "bounds a lane's own waiting, and judges no session")]
fn now() -> Instant {
    Instant::now()
}

//! How long what fails may hold up a lane, when the parts of a failed batch are done one by one.

use std::time::{Duration, Instant};

/// How long failures in a row may take together: two that wait for a lock or for the server's time limit, or very many that fail at once.
const FAILURES_IN_A_ROW: Duration = Duration::from_millis(5500);

/// What a lane still bears. A part that is at fault fails at once, and however many do, the others get their answers; where the database
/// itself is slow or locked, each would wait as long as the first.
#[derive(Debug, Default)]
pub(crate) struct Patience {
    spent: Duration,
}

impl Patience {
    /// Does something; `None`, undone, once too much time went into failures.
    pub(crate) fn bear<T, E>(
        &mut self,
        act: impl FnOnce() -> Result<T, E>,
    ) -> Option<Result<T, E>> {
        if self.spent >= FAILURES_IN_A_ROW {
            return None;
        }
        let begun = now();
        let result = act();
        self.spent = match &result {
            Ok(_) => Duration::ZERO,
            Err(_) => self.spent + begun.elapsed(),
        };
        Some(result)
    }
}

#[expect(clippy::disallowed_methods, reason = "bounds a lane's own waiting, and judges no session")]
fn now() -> Instant {
    Instant::now()
}

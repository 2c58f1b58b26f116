//! Key rotation: the state of each key follows from the rows and the time alone, so that all nodes decide alike.

use std::time::Duration;

use parlance_core::Timestamp;
use parlance_core::ports::SealedKey;

/// Minimum time between publication and first use of a key that is made in time: verifiers elsewhere may cache the
/// published keys for five minutes.
const PUBLICATION_LEAD_TIME: Duration = Duration::from_secs(10 * 60);

/// The state of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyState {
    /// Published, and will sign.
    Next,
    /// Signs.
    Current,
    /// Has signed, and verifies until everything signed with the key could have expired.
    Retired,
}

impl KeyState {
    /// The state in one word.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Next => "next",
            Self::Current => "active",
            Self::Retired => "retired",
        }
    }
}

/// The schedule of key rotation. All nodes share the schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Schedule {
    /// Interval at which each node reads the keys.
    pub poll_interval: Duration,
    /// How long a key signs; `None` means until an operator rotates.
    pub rotation_interval: Option<Duration>,
}

/// As `parlance serve` has it by default: the keys are read every five seconds, and one signs for 90 days.
impl Default for Schedule {
    fn default() -> Self {
        Self {
            poll_interval: Duration::from_secs(5),
            rotation_interval: Some(Duration::from_secs(90 * 24 * 60 * 60)),
        }
    }
}

impl Schedule {
    /// How long a key is published before signing: long enough for every node to read the keys twice.
    #[must_use]
    pub fn notice(&self) -> Duration {
        self.poll_interval.saturating_mul(2)
    }

    /// The time from which the next key shall sign, if that key is to be published now.
    pub(super) fn next_activation(&self, keys: &[SealedKey], now: Timestamp) -> Option<Timestamp> {
        let rotation_interval = self.rotation_interval?;
        let newest = keys.last().filter(|newest| newest.active_from <= now)?;
        let lead = PUBLICATION_LEAD_TIME.min(rotation_interval / 2).max(self.notice());
        let due = newest.active_from.plus(rotation_interval);
        (due.minus(lead) <= now).then(|| due.max(now.plus(lead)))
    }

    /// The keys that have retired so long ago that nothing signed with them, with a lifetime of `life`, can count any
    /// more. Waits two polls longer, since a node may not have changed over at once.
    pub(super) fn expired(
        &self,
        keys: &[SealedKey],
        token_lifetime: Duration,
        now: Timestamp,
    ) -> Vec<String> {
        let ended = |successor: &SealedKey| {
            successor.active_from.plus(token_lifetime).plus(self.notice()) < now
        };
        let pairs = keys.iter().zip(keys.iter().skip(1));
        pairs.filter(|(_, successor)| ended(successor)).map(|(key, _)| key.kid.clone()).collect()
    }
}

/// The state of each key of one purpose now. `keys` come in the order in which they sign.
#[must_use]
pub fn key_states(keys: &[SealedKey], now: Timestamp) -> Vec<(&SealedKey, KeyState)> {
    // Where a clock is behind that of the node which made the first key, that key signs all the same.
    let current = keys.iter().rposition(|key| key.active_from <= now).unwrap_or(0);
    let state = |at: usize| match at.cmp(&current) {
        std::cmp::Ordering::Less => KeyState::Retired,
        std::cmp::Ordering::Equal => KeyState::Current,
        std::cmp::Ordering::Greater => KeyState::Next,
    };
    keys.iter().enumerate().map(|(at, key)| (key, state(at))).collect()
}

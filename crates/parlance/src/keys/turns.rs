//! Whose turn it is: decided from the rows and the time alone, so that all nodes decide alike.

use std::time::Duration;

use parlance_core::Timestamp;
use parlance_core::ports::SealedKey;

/// How long before it signs a key is published at least, of those that are made in time: verifiers elsewhere may keep the published keys
/// for five minutes.
const LEAD: Duration = Duration::from_secs(10 * 60);

/// What a key does now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// It is published, and will sign.
    Next,
    /// It signs.
    Active,
    /// It has signed, and verifies until the last that it has signed could have ended.
    Retired,
}

impl Turn {
    /// In one word.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Next => "next",
            Self::Active => "active",
            Self::Retired => "retired",
        }
    }
}

/// How keys take turns. All nodes share it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Schedule {
    /// How often each node reads the keys.
    pub poll: Duration,
    /// How long a key signs; `None` is until an operator says otherwise.
    pub every: Option<Duration>,
}

/// As `parlance serve` has it by default: the keys are read every five seconds, and one signs for 90 days.
impl Default for Schedule {
    fn default() -> Self {
        Self { poll: Duration::from_secs(5), every: Some(Duration::from_secs(90 * 24 * 60 * 60)) }
    }
}

impl Schedule {
    /// How long a key is published before it signs: long enough for every node to read it twice.
    #[must_use]
    pub fn notice(&self) -> Duration {
        self.poll.saturating_mul(2)
    }

    /// When the key after these shall sign, if it is time to publish it.
    pub(super) fn due(&self, keys: &[SealedKey], now: Timestamp) -> Option<Timestamp> {
        let every = self.every?;
        let newest = keys.last().filter(|newest| newest.active <= now)?;
        let lead = LEAD.min(every / 2).max(self.notice());
        let due = newest.active.plus(every);
        (due.minus(lead) <= now).then(|| due.max(now.plus(lead)))
    }

    /// The keys that have retired so long ago that nothing they have signed, which lives for `life`, can count any more. Two polls more,
    /// since a node may not have changed over at once.
    pub(super) fn over(&self, keys: &[SealedKey], life: Duration, now: Timestamp) -> Vec<String> {
        let ended = |successor: &SealedKey| successor.active.plus(life).plus(self.notice()) < now;
        let pairs = keys.iter().zip(keys.iter().skip(1));
        pairs.filter(|(_, successor)| ended(successor)).map(|(key, _)| key.kid.clone()).collect()
    }
}

/// What each of the keys of one purpose does now. They come in the order in which they sign.
#[must_use]
pub fn turns(keys: &[SealedKey], now: Timestamp) -> Vec<(&SealedKey, Turn)> {
    // Where a clock is behind that of the node which made the first key, that key signs all the same.
    let active = keys.iter().rposition(|key| key.active <= now).unwrap_or(0);
    let turn = |at: usize| match at.cmp(&active) {
        std::cmp::Ordering::Less => Turn::Retired,
        std::cmp::Ordering::Equal => Turn::Active,
        std::cmp::Ordering::Greater => Turn::Next,
    };
    keys.iter().enumerate().map(|(at, key)| (key, turn(at))).collect()
}

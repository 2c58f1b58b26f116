//! Records that any stranger can cause as fast as the network carries: one for each source, reason and minute, with a count.

use std::collections::HashMap;
use std::collections::hash_map;
use std::net::IpAddr;
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::Duration;

use parlance::core::lockout::home;
use parlance::core::ports::TurnedAway;
use parlance::core::{Failure, UserId};
use parlance::system::Stopwatch;
use tracing::{info, warn};

use super::CALL;

/// How long a source is only counted after each record of it.
const REPORT_INTERVAL: Duration = Duration::from_secs(60);
/// How many sources, with their reasons, are told apart. What comes from others beyond them is told together, without an address.
const MAX_SOURCES: usize = 2048;

/// What is counted, all nodes of one process together.
static REPEATS: LazyLock<(Stopwatch, Mutex<Table>)> =
    LazyLock::new(|| (Stopwatch::start(), Mutex::default()));

/// What is told once a minute, and of whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Refusal {
    /// A connection that was ended at once.
    Connection,
    /// A request that was not served.
    NotServed(Failure),
    /// A call that a dialect refuses by itself, in words that say what a client must change.
    Call(&'static str, TurnedAway),
    /// A login that must wait, with the account if it is the account that waits.
    Login(Failure, Option<UserId>),
}

/// A source, as [`home`] has it, and why it is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Key {
    source: Option<IpAddr>,
    refusal: Refusal,
}

/// How many came of a key since its last record.
#[derive(Debug, Default)]
struct Table(HashMap<Key, Entry>);

#[derive(Debug)]
struct Entry {
    count: u64,
    told: Duration,
}

impl Table {
    /// Counts one; how many are to be told of now.
    fn note(&mut self, key: Key, now: Duration) -> Option<(Key, u64)> {
        let is_full = self.0.len() >= MAX_SOURCES;
        let key = if is_full && !self.0.contains_key(&key) { key.of_nobody() } else { key };
        match self.0.entry(key) {
            hash_map::Entry::Vacant(entry) => {
                entry.insert(Entry { count: 0, told: now });
                Some((key, 1))
            }
            hash_map::Entry::Occupied(mut entry) => {
                entry.get_mut().count += 1;
                None
            }
        }
    }

    /// What is to be told after a minute, and those that were silent since are forgotten.
    fn take_due(&mut self, now: Duration, interval: Duration) -> Vec<(Key, u64)> {
        let mut due = Vec::new();
        self.0.retain(|key, entry| {
            if now.saturating_sub(entry.told) < interval {
                return true;
            }
            if entry.count > 0 {
                due.push((*key, entry.count));
            }
            let stays = entry.count > 0;
            *entry = Entry { count: 0, told: now };
            stays
        });
        due
    }
}

impl Key {
    /// The key of all sources that find no room.
    fn of_nobody(self) -> Self {
        let refusal = match self.refusal {
            Refusal::Login(failure, _) => Refusal::Login(failure, None),
            Refusal::Connection | Refusal::NotServed(_) | Refusal::Call(..) => self.refusal,
        };
        Self { source: None, refusal }
    }

    /// The record.
    fn tell(self, count: u64) {
        let peer = self.source.map(tracing::field::display);
        match self.refusal {
            Refusal::Connection => {
                warn!(peer, count, "connections refused: the address holds as many as it may");
            }
            Refusal::NotServed(failure) => {
                warn!(reason = failure.reason(), peer, count, "not served");
            }
            Refusal::Call(dialect, why) => {
                info!(dialect, action = CALL, reason = why.reason(), peer, count, "call refused");
            }
            Refusal::Login(failure, user) => {
                let user = user.map(tracing::field::display);
                info!(reason = failure.reason(), user, peer, count, "login refused");
            }
        }
    }
}

/// Takes note of a refusal. The first of a source is told at once, the others with their number, once a minute.
pub(crate) fn refused(refusal: Refusal, peer: Option<IpAddr>) {
    let (watch, table) = &*REPEATS;
    let key = Key { source: peer.map(home), refusal };
    let told = table.lock().unwrap_or_else(PoisonError::into_inner).note(key, watch.elapsed());
    if let Some((key, count)) = told {
        key.tell(count);
    }
}

/// Tells of what was counted a minute ago or earlier. To be called every few seconds.
pub(crate) fn tell_due() {
    tell(REPORT_INTERVAL);
}

/// Tells of all that was counted.
pub(crate) fn tell_all() {
    tell(Duration::ZERO);
}

fn tell(interval: Duration) {
    let (watch, table) = &*REPEATS;
    let mut table = table.lock().unwrap_or_else(PoisonError::into_inner);
    let due = table.take_due(watch.elapsed(), interval);
    drop(table);
    due.into_iter().for_each(|(key, count)| key.tell(count));
}

#[cfg(test)]
mod tests {
    use super::*;

    const THROTTLED: Refusal = Refusal::Login(Failure::Throttled, None);

    fn key(number: u32, refusal: Refusal) -> Key {
        Key { source: Some(IpAddr::from(number.to_be_bytes())), refusal }
    }

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_source_is_told_of_at_once_and_then_once_a_minute_with_a_count() {
        let (mut table, here) = (Table::default(), key(1, THROTTLED));
        assert_eq!(table.note(here, at(0)), Some((here, 1)));
        let rest: Vec<_> = (0..1000).filter_map(|_| table.note(here, at(1))).collect();
        assert_eq!(rest, []);
        let (busy, there) = (key(1, Refusal::NotServed(Failure::Busy)), key(2, THROTTLED));
        assert_eq!(table.note(busy, at(1)), Some((busy, 1)), "another reason");
        assert_eq!(table.note(there, at(1)), Some((there, 1)), "another source");
        assert_eq!(table.take_due(at(59), REPORT_INTERVAL), []);
        assert_eq!(table.take_due(at(60), REPORT_INTERVAL), [(here, 1000)]);
        assert_eq!(table.note(here, at(61)), None, "a minute after that record");
        assert_eq!(table.take_due(at(120), REPORT_INTERVAL), [(here, 1)]);
        assert_eq!(table.take_due(at(180), REPORT_INTERVAL), []);
        assert_eq!(table.0.len(), 0, "who was silent is forgotten");
        assert_eq!(table.note(here, at(181)), Some((here, 1)));
    }

    #[test]
    fn more_sources_than_there_is_room_for_are_told_together() {
        let mut table = Table::default();
        let told = (0..100_000).filter_map(|source| {
            let user = Some(UserId(uuid::Uuid::from_u128(source.into())));
            table.note(key(source, Refusal::Login(Failure::Throttled, user)), at(0))
        });
        assert_eq!(told.count(), MAX_SOURCES + 1);
        let others = Key { source: None, refusal: THROTTLED };
        let due = table.take_due(at(60), REPORT_INTERVAL);
        assert_eq!(due, [(others, (100_000 - MAX_SOURCES - 1) as u64)]);
    }
}

//! Rate limit on log records that any stranger can cause at network speed: one record for each source, reason and
//! minute, with a count.

use std::collections::HashMap;
use std::collections::hash_map;
use std::net::IpAddr;
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::Duration;

use parlance::core::lockout::client_prefix;
use parlance::core::ports::TurnedAway;
use parlance::core::{Failure, UserId};
use parlance::system::Stopwatch;
use tracing::{info, warn};

use super::CALL_ACTION;

/// Interval between two records of a source; in between, refusals are only counted.
const REPORT_INTERVAL: Duration = Duration::from_secs(60);
/// Most pairs of source and reason told apart. Refusals from further sources share one record, without an address.
const MAX_SOURCES: usize = 2048;

/// The counts, for all nodes of one process together.
static REFUSAL_COUNTS: LazyLock<(Stopwatch, Mutex<RefusalTable>)> =
    LazyLock::new(|| (Stopwatch::start(), Mutex::default()));

/// A refusal that is logged at most once a minute for each source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum CountedRefusal {
    /// A connection that was closed at once.
    Connection,
    /// A request that was not served.
    NotServed(Failure),
    /// A call that a dialect refuses before the authority, with a reason that names the mistake of the client.
    Call(&'static str, TurnedAway),
    /// A login that must wait, with the account if the account is locked out.
    Login(Failure, Option<UserId>),
}

/// A source, as the prefix that [`client_prefix`] returns, and the refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct RefusalKey {
    source: Option<IpAddr>,
    refusal: CountedRefusal,
}

/// The number of refusals of each key since its last record.
#[derive(Debug, Default)]
struct RefusalTable(HashMap<RefusalKey, RefusalCount>);

#[derive(Debug)]
struct RefusalCount {
    count: u64,
    reported_at: Duration,
}

impl RefusalTable {
    /// Counts one refusal. Returns the key and the count if a record is due now.
    fn record(&mut self, key: RefusalKey, now: Duration) -> Option<(RefusalKey, u64)> {
        let is_full = self.0.len() >= MAX_SOURCES;
        let key = if is_full && !self.0.contains_key(&key) { key.without_source() } else { key };
        match self.0.entry(key) {
            hash_map::Entry::Vacant(entry) => {
                entry.insert(RefusalCount { count: 0, reported_at: now });
                Some((key, 1))
            }
            hash_map::Entry::Occupied(mut entry) => {
                entry.get_mut().count += 1;
                None
            }
        }
    }

    /// Takes the counts that are due after `interval`, and forgets the sources without a refusal since.
    fn take_due(&mut self, now: Duration, interval: Duration) -> Vec<(RefusalKey, u64)> {
        let mut due = Vec::new();
        self.0.retain(|key, entry| {
            if now.saturating_sub(entry.reported_at) < interval {
                return true;
            }
            if entry.count > 0 {
                due.push((*key, entry.count));
            }
            let stays = entry.count > 0;
            *entry = RefusalCount { count: 0, reported_at: now };
            stays
        });
        due
    }
}

impl RefusalKey {
    /// The shared key of all sources beyond [`MAX_SOURCES`].
    fn without_source(self) -> Self {
        let refusal = match self.refusal {
            CountedRefusal::Login(failure, _) => CountedRefusal::Login(failure, None),
            CountedRefusal::Connection
            | CountedRefusal::NotServed(_)
            | CountedRefusal::Call(..) => self.refusal,
        };
        Self { source: None, refusal }
    }

    /// Writes the record.
    fn log(self, count: u64) {
        let peer = self.source.map(tracing::field::display);
        match self.refusal {
            CountedRefusal::Connection => {
                warn!(
                    peer,
                    count,
                    "connections refused: the address or the listener is at its connection limit"
                );
            }
            CountedRefusal::NotServed(failure) => {
                warn!(reason = failure.reason(), peer, count, "not served");
            }
            CountedRefusal::Call(dialect, why) => {
                info!(
                    dialect,
                    action = CALL_ACTION,
                    reason = why.reason(),
                    peer,
                    count,
                    "call refused"
                );
            }
            CountedRefusal::Login(failure, user) => {
                let user = user.map(tracing::field::display);
                info!(reason = failure.reason(), user, peer, count, "login refused");
            }
        }
    }
}

/// Notes a refusal. The first of a source is logged at once, the others with their number, once a minute.
pub(crate) fn record_refusal(refusal: CountedRefusal, peer: Option<IpAddr>) {
    let (watch, table) = &*REFUSAL_COUNTS;
    let key = RefusalKey { source: peer.map(client_prefix), refusal };
    let told = table.lock().unwrap_or_else(PoisonError::into_inner).record(key, watch.elapsed());
    if let Some((key, count)) = told {
        key.log(count);
    }
}

/// Logs the counts that are at least a minute old. To be called every few seconds.
pub(crate) fn log_due_refusals() {
    log_refusals_older_than(REPORT_INTERVAL);
}

/// Logs all counts, at shutdown.
pub(crate) fn log_all_refusals() {
    log_refusals_older_than(Duration::ZERO);
}

fn log_refusals_older_than(interval: Duration) {
    let (watch, table) = &*REFUSAL_COUNTS;
    let mut table = table.lock().unwrap_or_else(PoisonError::into_inner);
    let due = table.take_due(watch.elapsed(), interval);
    drop(table);
    due.into_iter().for_each(|(key, count)| key.log(count));
}

#[cfg(test)]
mod tests {
    use super::*;

    const THROTTLED: CountedRefusal = CountedRefusal::Login(Failure::RateLimited, None);

    fn key(number: u32, refusal: CountedRefusal) -> RefusalKey {
        RefusalKey { source: Some(IpAddr::from(number.to_be_bytes())), refusal }
    }

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_source_is_logged_at_once_and_then_once_a_minute_with_a_count() {
        let (mut table, here) = (RefusalTable::default(), key(1, THROTTLED));
        assert_eq!(table.record(here, at(0)), Some((here, 1)));
        let rest: Vec<_> = (0..1000).filter_map(|_| table.record(here, at(1))).collect();
        assert_eq!(rest, []);
        let (busy, there) = (key(1, CountedRefusal::NotServed(Failure::Busy)), key(2, THROTTLED));
        assert_eq!(table.record(busy, at(1)), Some((busy, 1)), "another reason");
        assert_eq!(table.record(there, at(1)), Some((there, 1)), "another source");
        assert_eq!(table.take_due(at(59), REPORT_INTERVAL), []);
        assert_eq!(table.take_due(at(60), REPORT_INTERVAL), [(here, 1000)]);
        assert_eq!(table.record(here, at(61)), None, "a minute after that record");
        assert_eq!(table.take_due(at(120), REPORT_INTERVAL), [(here, 1)]);
        assert_eq!(table.take_due(at(180), REPORT_INTERVAL), []);
        assert_eq!(table.0.len(), 0, "who was silent is forgotten");
        assert_eq!(table.record(here, at(181)), Some((here, 1)));
    }

    #[test]
    fn sources_beyond_the_limit_are_logged_together() {
        let mut table = RefusalTable::default();
        let told = (0..100_000).filter_map(|source| {
            let user = Some(UserId(uuid::Uuid::from_u128(source.into())));
            table.record(key(source, CountedRefusal::Login(Failure::RateLimited, user)), at(0))
        });
        assert_eq!(told.count(), MAX_SOURCES + 1);
        let others = RefusalKey { source: None, refusal: THROTTLED };
        let due = table.take_due(at(60), REPORT_INTERVAL);
        assert_eq!(due, [(others, (100_000 - MAX_SOURCES - 1) as u64)]);
    }
}

//! Maintenance while dialects are at work: dead rows are dropped, and signing keys rotate.
//!
//! `parlance serve` and [`crate::Builder::build`] do both. An app that puts its own dependencies together spawns these futures
//! beside its server.

use std::sync::{Arc, Weak};
use std::time::Duration;

use parlance_core::Authority;
use parlance_core::lockout::MAX_UNKNOWN_NAMES;
use parlance_core::ports::{Applied, Change, Clock, Store};
use tracing::warn;

#[cfg(any(feature = "axxon-jsonrpc", feature = "assertions"))]
use crate::keys::{KeyManager, KeyState, Purpose};
#[cfg(any(feature = "axxon-jsonrpc", feature = "assertions"))]
use crate::system::Stopwatch;

/// Interval at which dead rows are dropped.
const PURGE_INTERVAL: Duration = Duration::from_secs(60);
/// How long a dead session's row stays: cluster-api tells a client once that its token has expired.
const DEAD_SESSION_RETENTION: Duration = Duration::from_secs(60 * 60);
/// How long counted failed logins stay after the last of them: more than the day for which they count.
const ATTEMPT_RETENTION: Duration = Duration::from_secs(25 * 60 * 60);
/// Interval between warnings about tokens for another issuer.
#[cfg(any(feature = "axxon-jsonrpc", feature = "assertions"))]
const WRONG_ISSUER_WARNING_INTERVAL: Duration = Duration::from_secs(60);
/// Rows that one statement drops.
const ROWS_PER_PURGE: u32 = 500;

/// Drops the rows of sessions that died long ago, and of names that are not tried any more, a few at a time: at once,
/// and every minute until the authority is gone. Needs a runtime with timers.
pub async fn purge_dead_rows(authority: Weak<Authority>, clock: Arc<dyn Clock>) {
    let mut tick = tokio::time::interval(PURGE_INTERVAL);
    loop {
        tick.tick().await;
        let Some(store) = authority.upgrade().map(|authority| Arc::clone(authority.store())) else {
            return;
        };
        let before = clock.now().minus(DEAD_SESSION_RETENTION);
        let dead = Change::PurgeSessions { before, limit: ROWS_PER_PURGE };
        purge(&*store, &dead, "dead sessions").await;
        let before = clock.now().minus(ATTEMPT_RETENTION);
        let stale_attempts = Change::PurgeAttempts {
            before,
            max_unknown_names: MAX_UNKNOWN_NAMES,
            limit: ROWS_PER_PURGE,
        };
        purge(&*store, &stale_attempts, "counters of failed logins").await;
    }
}

/// Drops rows until there are no more.
async fn purge(store: &dyn Store, change: &Change, what: &str) {
    loop {
        match store.apply(change.clone()).await {
            Ok(Applied::Rows(rows)) if rows >= u64::from(ROWS_PER_PURGE) => {}
            Ok(_) => return,
            Err(error) => {
                warn!(%error, "could not drop {what}; trying again in a minute");
                return;
            }
        }
    }
}

/// Reads the signing keys once per poll, and rotates them, until the authority is gone. Needs a runtime with timers.
#[cfg(any(feature = "axxon-jsonrpc", feature = "assertions"))]
pub async fn refresh_keys(
    authority: Weak<Authority>,
    key_manager: Arc<KeyManager>,
    poll_interval: Duration,
) {
    let mut tick = tokio::time::interval(poll_interval);
    let mut failing = false;
    let mut last_warning: Option<Stopwatch> = None;
    loop {
        tick.tick().await;
        if last_warning.as_ref().is_none_or(|told| told.elapsed() >= WRONG_ISSUER_WARNING_INTERVAL)
            && let Some((issuer, shown)) = key_manager.take_wrong_issuer()
        {
            warn!(
                issuer,
                shown,
                "tokens with a signature of a known key are refused, since they were signed for another issuer: give the \
                 dialect the same issuer on all nodes (of the server: dialects.axxon-jsonrpc.issuer), or let clients log in again"
            );
            last_warning = Some(Stopwatch::start());
        }
        if authority.strong_count() == 0 {
            return;
        }
        let on_change = |purpose: Purpose, keys: &[(String, KeyState)]| {
            let keys: Vec<_> =
                keys.iter().map(|(kid, turn)| format!("{kid} {}", turn.name())).collect();
            tracing::info!(
                purpose = purpose.name(),
                keys = keys.join(", "),
                "signing keys changed"
            );
        };
        match key_manager.refresh(on_change).await {
            Ok(()) => failing = false,
            // Once: a database that is unavailable for an hour is one event.
            Err(error) if !failing => {
                warn!(%error, "signing keys cannot be kept up to date; revoked keys are dropped nevertheless");
                failing = true;
            }
            Err(_) => {}
        }
    }
}

//! What is done now and then while dialects are at work: rows of the dead are dropped, and signing keys change over.
//!
//! `parlance serve` and [`crate::Setup::site`] do both. An app that puts its own parts together spawns these futures beside its server.

use std::sync::{Arc, Weak};
use std::time::Duration;

use parlance_core::Authority;
use parlance_core::lockout::UNKNOWN_NAMES;
use parlance_core::ports::{Applied, Change, Clock, Store};
use tracing::warn;

#[cfg(any(feature = "axxon-jsonrpc", feature = "assertions"))]
use crate::keys::{Keychain, Purpose, Turn};
#[cfg(any(feature = "axxon-jsonrpc", feature = "assertions"))]
use crate::system::Stopwatch;

/// How often dead rows are dropped.
const PURGE_INTERVAL: Duration = Duration::from_secs(60);
/// How long a dead session's row stays: cluster-api tells a client once that its token has expired.
const DEAD_SESSION_RETENTION: Duration = Duration::from_secs(60 * 60);
/// How long what counted failed logins stays after the last of them: more than the day that it counts for.
const ATTEMPT_RETENTION: Duration = Duration::from_secs(25 * 60 * 60);
/// How often tokens for another issuer are told of.
#[cfg(any(feature = "axxon-jsonrpc", feature = "assertions"))]
const FOREIGN_TOKENS_INTERVAL: Duration = Duration::from_secs(60);
/// How many rows one statement drops.
const ROWS_PER_PURGE: u32 = 500;

/// Drops the rows of sessions that died long ago, and of names that nobody tries any more, a few at a time: at once, and every minute until the
/// authority is gone. It wants a runtime with timers.
pub async fn purge_dead_rows(authority: Weak<Authority>, clock: Arc<dyn Clock>) {
    let mut tick = tokio::time::interval(PURGE_INTERVAL);
    loop {
        tick.tick().await;
        let Some(store) = authority.upgrade().map(|authority| Arc::clone(authority.store())) else {
            return;
        };
        let before = clock.now().minus(DEAD_SESSION_RETENTION);
        let dead = Change::Purge { before, limit: ROWS_PER_PURGE };
        purge(&*store, &dead, "dead sessions").await;
        let before = clock.now().minus(ATTEMPT_RETENTION);
        let untried =
            Change::PurgeAttempts { before, unknown: UNKNOWN_NAMES, limit: ROWS_PER_PURGE };
        purge(&*store, &untried, "what counted failed logins").await;
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

/// Reads the signing keys once a poll, and lets them take turns, until the authority is gone. It wants a runtime with timers.
#[cfg(any(feature = "axxon-jsonrpc", feature = "assertions"))]
pub async fn refresh_keys(authority: Weak<Authority>, keychain: Arc<Keychain>, poll: Duration) {
    let mut tick = tokio::time::interval(poll);
    let mut failing = false;
    let mut told: Option<Stopwatch> = None;
    loop {
        tick.tick().await;
        if told.as_ref().is_none_or(|told| told.elapsed() >= FOREIGN_TOKENS_INTERVAL)
            && let Some((issuer, shown)) = keychain.take_foreign()
        {
            warn!(
                issuer,
                shown,
                "tokens that a key of ours has signed are refused, since they were signed for another issuer: give the \
                 dialect the same issuer on all nodes (of the server: dialects.axxon-jsonrpc.issuer), or let clients log in again"
            );
            told = Some(Stopwatch::start());
        }
        if authority.strong_count() == 0 {
            return;
        }
        let tell = |purpose: Purpose, keys: &[(String, Turn)]| {
            let keys: Vec<_> =
                keys.iter().map(|(kid, turn)| format!("{kid} {}", turn.name())).collect();
            tracing::info!(
                purpose = purpose.name(),
                keys = keys.join(", "),
                "signing keys changed"
            );
        };
        match keychain.tick(tell).await {
            Ok(()) => failing = false,
            // Once: the database away for an hour is one event.
            Err(error) if !failing => {
                warn!(%error, "signing keys cannot be kept up to date; revoked ones are dropped all the same");
                failing = true;
            }
            Err(_) => {}
        }
    }
}

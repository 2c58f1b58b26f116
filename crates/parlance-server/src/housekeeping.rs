//! Drops the rows of sessions that died long ago, a few at a time.

use std::sync::Arc;
use std::time::Duration;

use actix_web::rt;
use parlance::core::Timestamp;
use parlance::core::ports::{Applied, Change, Clock as _, Store, StoreError};
use parlance::system::SystemClock;
use tracing::warn;

/// How often rows of dead sessions are dropped.
const PURGE_EVERY: Duration = Duration::from_secs(60);
/// How long a dead session's row stays: cluster-api tells a client once that its token has expired.
const TOMBSTONE: Duration = Duration::from_secs(60 * 60);
/// How many rows one statement drops. Whatever else is to be written goes in between.
const PURGE_ROWS: u32 = 500;

/// Drops them once a minute, for ever.
pub(crate) async fn run(store: Arc<dyn Store>) {
    let mut tick = rt::time::interval(PURGE_EVERY);
    loop {
        tick.tick().await;
        if let Err(error) = purge(&*store, SystemClock.now()).await {
            warn!(%error, "could not drop dead sessions; trying again in a minute");
        }
    }
}

/// Drops all that there are now.
async fn purge(store: &dyn Store, now: Timestamp) -> Result<(), StoreError> {
    let before = now.minus(TOMBSTONE);
    loop {
        match store.apply(Change::Purge { before, limit: PURGE_ROWS }).await? {
            Applied::Rows(rows) if rows >= u64::from(PURGE_ROWS) => {}
            Applied::Rows(_)
            | Applied::Done
            | Applied::Opened(_)
            | Applied::Refused
            | Applied::Taken => return Ok(()),
        }
    }
}

//! How many sessions a user may have.

use std::time::Duration;

use diesel::prelude::*;
use parlance_core::Session;

use crate::changes::Scene;
use crate::fragments::{MOST, OneOf};
use crate::rows::Id;
use crate::schema::sessions;

/// For how long an expired session is not yet taken for dead: a use that is not written yet may keep it alive.
const UNWRITTEN: Duration = Duration::from_secs(60);

impl Scene<'_> {
    /// Drops what a user has beside the session of his login and beyond this number: the dead first, then the oldest. His row is locked:
    /// he is enabled, and at the session's epoch. At most [`MOST`] at a time, so that a cap that was lowered holds up nobody: the next
    /// logins drop the rest.
    pub(crate) fn cap(&mut self, opened: &Session, most: u32) -> QueryResult<()> {
        let his = sessions::table.filter(sessions::user_id.eq(opened.user.0.as_bytes().as_slice()));
        // Usually none, which the index alone says. It is asked for its own order lest anything else be read.
        let over: Vec<Id> = his
            .order((sessions::user_id, sessions::dialect))
            .select(sessions::user_id)
            .offset(most.into())
            .limit(MOST as i64)
            .load(self.any)?;
        if over.is_empty() {
            return Ok(());
        }
        let now = opened.created;
        let lasts = sessions::expires_at
            .is_null()
            .or(sessions::expires_at.assume_not_null().gt(now.minus(UNWRITTEN).millis()));
        let may_last = sessions::hard_end_at
            .is_null()
            .or(sessions::hard_end_at.assume_not_null().gt(now.millis()));
        let stands = sessions::revoked_at.is_null().and(sessions::enabled);
        let lives = stands.and(sessions::epoch.eq(opened.epoch)).and(lasts).and(may_last);
        let dropped: Vec<Id> = his
            .filter(sessions::id.ne(opened.id.0.as_bytes().as_slice()))
            .order((lives.asc(), sessions::created_at, sessions::id))
            .select(sessions::id)
            .limit(over.len() as i64)
            .load(self.any)?;
        let dropped = OneOf::new(sessions::id, dropped.iter().map(|id| id.0.as_bytes().as_slice()));
        diesel::delete(sessions::table.filter(dropped)).execute(self.any).map(drop)
    }
}

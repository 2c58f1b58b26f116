//! The session limit of a user.

use std::time::Duration;

use diesel::prelude::*;
use parlance_core::Session;

use crate::changes::Transaction;
use crate::fragments::{InList, MAX_KEYS_PER_STATEMENT};
use crate::rows::IdColumn;
use crate::schema::sessions;

/// How long an expired session is not yet taken for dead: a use that is not written yet may keep the session alive.
const UNWRITTEN_TOUCH_GRACE: Duration = Duration::from_secs(60);

impl Transaction<'_> {
    /// Drops the user's sessions beyond the limit, except the one just opened: the dead first, then the oldest. The
    /// user's row is locked: the user is enabled, and at the session's epoch. Drops at most [`MAX_KEYS_PER_STATEMENT`] at a time, so that
    /// a lowered limit holds up no login: the next logins drop the rest.
    pub(crate) fn enforce_session_limit(
        &mut self,
        session: &Session,
        session_limit: u32,
    ) -> QueryResult<()> {
        let of_user =
            sessions::table.filter(sessions::user_id.eq(session.user.0.as_bytes().as_slice()));
        // Usually none, which the index alone says. The query uses the order of the index, so that nothing else is
        // read.
        let over: Vec<IdColumn> = of_user
            .order((sessions::user_id, sessions::dialect))
            .select(sessions::user_id)
            .offset(session_limit.into())
            .limit(MAX_KEYS_PER_STATEMENT as i64)
            .load(self.conn)?;
        if over.is_empty() {
            return Ok(());
        }
        let now = session.created;
        let not_expired = sessions::expires_at.is_null().or(sessions::expires_at
            .assume_not_null()
            .gt(now.minus(UNWRITTEN_TOUCH_GRACE).millis()));
        let before_hard_end = sessions::hard_end_at
            .is_null()
            .or(sessions::hard_end_at.assume_not_null().gt(now.millis()));
        let not_ended = sessions::revoked_at.is_null().and(sessions::enabled);
        let is_live =
            not_ended.and(sessions::epoch.eq(session.epoch)).and(not_expired).and(before_hard_end);
        let dropped: Vec<IdColumn> = of_user
            .filter(sessions::id.ne(session.id.0.as_bytes().as_slice()))
            .order((is_live.asc(), sessions::created_at, sessions::id))
            .select(sessions::id)
            .limit(over.len() as i64)
            .load(self.conn)?;
        let dropped =
            InList::new(sessions::id, dropped.iter().map(|id| id.0.as_bytes().as_slice()));
        diesel::delete(sessions::table.filter(dropped)).execute(self.conn).map(drop)
    }
}

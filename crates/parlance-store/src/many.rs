//! Renewals and ends of many sessions in one statement: a round trip for each would be most of what it costs.

use std::collections::HashSet;

use diesel::QueryResult;
use diesel::backend::Backend;
use diesel::prelude::RunQueryDsl;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::serialize::ToSql;
use diesel::sql_types::{BigInt, Binary, Bool, HasSqlType, Nullable};
use parlance_core::ports::{Change, Touch};
use parlance_core::{SessionId, Timestamp};

use crate::any::AnyConnection;
use crate::fragments::{MOST, values};
use crate::rows::Id;
use crate::touches::{Touches, outlasts};

/// What is done to sessions, each found by its id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Act {
    /// End one that nobody has ended.
    Close,
    /// End one that lives.
    Revoke,
    /// Move the expiry of one that lives.
    Renew,
}

/// A session to which something is done.
#[derive(Debug)]
pub(crate) struct One {
    pub(crate) id: SessionId,
    now: i64,
    /// Until when it then lives.
    expires: Option<i64>,
    /// Its use that may not be written yet.
    pub(crate) touch: Option<Touch>,
    /// Whether that use keeps it from having expired.
    used: bool,
}

impl Act {
    /// The sessions to which the first of these changes do this, and no session twice: so many are one statement.
    pub(crate) fn first_of(self, changes: &[Change], touches: &Touches) -> Vec<One> {
        let mut seen = HashSet::new();
        let same = changes.iter().map_while(|change| self.on(change)).take(MOST);
        let other = same.take_while(|(id, ..)| seen.insert(*id));
        let one = |(id, now, expires): (SessionId, Timestamp, Option<Timestamp>)| {
            let touch = touches.of(id);
            let (used, expires) = (outlasts(touch, now), expires.map(Timestamp::millis));
            One { id, now: now.millis(), expires, touch, used }
        };
        other.map(one).collect()
    }

    /// To which session a change does this, when, and until when it then lives.
    fn on(self, change: &Change) -> Option<(SessionId, Timestamp, Option<Timestamp>)> {
        match (self, change) {
            (Self::Close, Change::Close { id, now })
            | (Self::Revoke, Change::RevokeSession(id, now)) => Some((*id, *now, None)),
            (Self::Renew, Change::Renew { id, now, expires }) => Some((*id, *now, *expires)),
            _ => None,
        }
    }

    /// Does it to these sessions, at least one. To which of them it was done.
    ///
    /// # Errors
    /// The database's.
    pub(crate) fn apply(
        self,
        any: &mut AnyConnection,
        ones: &[One],
    ) -> QueryResult<HashSet<SessionId>> {
        let mut ones: Vec<_> = ones.iter().collect();
        // Two nodes that are about the same sessions meet in the same order.
        ones.sort_unstable_by_key(|one| one.id);
        let ids: Vec<Id> = Many { act: self, ones }.load(any)?;
        Ok(ids.into_iter().map(|id| SessionId(id.0)).collect())
    }

    fn set(self) -> &'static str {
        match self {
            Self::Close | Self::Revoke => "revoked_at = t.column2",
            Self::Renew => "expires_at = t.column3, last_used_at = t.column2",
        }
    }

    /// Of which sessions. [`crate::live::is_live`] is the same rule.
    fn filter(self) -> &'static str {
        match self {
            Self::Close => "sessions.revoked_at IS NULL",
            Self::Revoke | Self::Renew => {
                "sessions.revoked_at IS NULL AND sessions.enabled \
                 AND (sessions.expires_at IS NULL OR sessions.expires_at > t.column2 OR t.column4) \
                 AND (sessions.hard_end_at IS NULL OR sessions.hard_end_at > t.column2) \
                 AND EXISTS (SELECT 1 FROM users \
                 WHERE users.id = sessions.user_id AND users.enabled AND users.epoch = sessions.epoch)"
            }
        }
    }
}

/// The statement.
#[derive(Debug)]
struct Many<'o> {
    act: Act,
    ones: Vec<&'o One>,
}

impl QueryId for Many<'_> {
    type QueryId = ();
    // The text differs from length to length.
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl Query for Many<'_> {
    type SqlType = Binary;
}

impl<Conn> RunQueryDsl<Conn> for Many<'_> {}

impl<DB> QueryFragment<DB> for Many<'_>
where
    DB: Backend
        + HasSqlType<Binary>
        + HasSqlType<BigInt>
        + HasSqlType<Bool>
        + HasSqlType<Nullable<BigInt>>,
    [u8]: ToSql<Binary, DB>,
    i64: ToSql<BigInt, DB>,
    bool: ToSql<Bool, DB>,
    Option<i64>: ToSql<Nullable<BigInt>, DB>,
{
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, DB>) -> QueryResult<()> {
        out.push_sql("UPDATE sessions SET version = sessions.version + 1, ");
        out.push_sql(self.act.set());
        out.push_sql(" FROM ");
        values(out.reborrow(), &self.ones, |one, mut out| {
            out.push_bind_param::<Binary, [u8]>(one.id.0.as_bytes())?;
            out.push_sql(",");
            out.push_bind_param::<BigInt, i64>(&one.now)?;
            out.push_sql(",");
            out.push_bind_param::<Nullable<BigInt>, Option<i64>>(&one.expires)?;
            out.push_sql(",");
            out.push_bind_param::<Bool, bool>(&one.used)
        })?;
        out.push_sql(" WHERE sessions.id = t.column1 AND ");
        out.push_sql(self.act.filter());
        out.push_sql(" RETURNING sessions.id");
        Ok(())
    }
}

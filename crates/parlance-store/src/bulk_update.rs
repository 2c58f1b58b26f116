//! Bulk updates: renewals and ends of many sessions in one statement, since the round trips would be most of the cost.
//!
//! With a statement for each change PostgreSQL did 1800 renewals a second, half of the rate of ten connections with a
//! transaction for each request. So a batch is sorted until such changes stand beside each other, ends first; a second
//! change of the same session is a second statement. Logins stay one by one: a password's hash costs a hundred times as
//! much as the statements of a login. The rule of which sessions live therefore stands twice in SQL; the behaviour
//! suite of the store runs both.

use std::collections::HashSet;

use diesel::QueryResult;
use diesel::backend::Backend;
use diesel::prelude::RunQueryDsl;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::serialize::ToSql;
use diesel::sql_types::{BigInt, Binary, Bool, HasSqlType, Nullable};
use parlance_core::ports::{Change, Touch};
use parlance_core::{SessionId, Timestamp};

use crate::backend::AnyConnection;
use crate::fragments::{MAX_KEYS_PER_STATEMENT, push_values};
use crate::rows::IdColumn;
use crate::touches::{Touches, keeps_alive};

/// The act on the sessions of a bulk update, each found by its id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum SessionUpdateKind {
    /// End a session that has not been ended.
    End,
    /// End a live session.
    Revoke,
    /// Move the expiry of a live session.
    Renew,
}

/// One session of a bulk update.
#[derive(Debug)]
pub(crate) struct SessionUpdate {
    pub(crate) id: SessionId,
    now: i64,
    /// The expiry after the act.
    expires: Option<i64>,
    /// The latest use of the session, which may not be written yet.
    pub(crate) touch: Option<Touch>,
    /// Whether that use keeps the session from having expired.
    extended_by_touch: bool,
}

impl SessionUpdateKind {
    /// The sessions to which the first of these changes do this act, no session twice: together these are one
    /// statement.
    pub(crate) fn leading_updates(
        self,
        changes: &[Change],
        touches: &Touches,
    ) -> Vec<SessionUpdate> {
        let mut seen = HashSet::new();
        let same =
            changes.iter().map_while(|change| self.target_of(change)).take(MAX_KEYS_PER_STATEMENT);
        let distinct = same.take_while(|(id, ..)| seen.insert(*id));
        let to_update = |(id, now, expires): (SessionId, Timestamp, Option<Timestamp>)| {
            let touch = touches.get(id);
            let (extended_by_touch, expires) =
                (keeps_alive(touch, now), expires.map(Timestamp::millis));
            SessionUpdate { id, now: now.millis(), expires, touch, extended_by_touch }
        };
        distinct.map(to_update).collect()
    }

    /// The session to which a change does this act, the time, and the expiry afterwards.
    fn target_of(self, change: &Change) -> Option<(SessionId, Timestamp, Option<Timestamp>)> {
        match (self, change) {
            (Self::End, Change::EndSession { id, now })
            | (Self::Revoke, Change::RevokeSession(id, now)) => Some((*id, *now, None)),
            (Self::Renew, Change::RenewSession { id, now, expires }) => Some((*id, *now, *expires)),
            _ => None,
        }
    }

    /// Acts on these sessions, at least one. Returns the sessions that were changed.
    ///
    /// # Errors
    /// The database's.
    pub(crate) fn apply(
        self,
        conn: &mut AnyConnection,
        updates: &[SessionUpdate],
    ) -> QueryResult<HashSet<SessionId>> {
        let mut updates: Vec<_> = updates.iter().collect();
        // Two nodes that change the same sessions lock rows in the same order.
        updates.sort_unstable_by_key(|update| update.id);
        let ids: Vec<IdColumn> = BulkUpdate { kind: self, updates }.load(conn)?;
        Ok(ids.into_iter().map(|id| SessionId(id.0)).collect())
    }

    fn set_clause(self) -> &'static str {
        match self {
            Self::End | Self::Revoke => "revoked_at = t.column2",
            Self::Renew => "expires_at = t.column3, last_used_at = t.column2",
        }
    }

    /// The condition on a session. [`crate::liveness::is_live`] is the same rule.
    fn where_clause(self) -> &'static str {
        match self {
            Self::End => "sessions.revoked_at IS NULL",
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

/// The statement of a bulk update.
#[derive(Debug)]
struct BulkUpdate<'o> {
    kind: SessionUpdateKind,
    updates: Vec<&'o SessionUpdate>,
}

impl QueryId for BulkUpdate<'_> {
    type QueryId = ();
    // The text differs from length to length.
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl Query for BulkUpdate<'_> {
    type SqlType = Binary;
}

impl<Conn> RunQueryDsl<Conn> for BulkUpdate<'_> {}

impl<DB> QueryFragment<DB> for BulkUpdate<'_>
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
        out.push_sql(self.kind.set_clause());
        out.push_sql(" FROM ");
        push_values(out.reborrow(), &self.updates, |update, mut out| {
            out.push_bind_param::<Binary, [u8]>(update.id.0.as_bytes())?;
            out.push_sql(",");
            out.push_bind_param::<BigInt, i64>(&update.now)?;
            out.push_sql(",");
            out.push_bind_param::<Nullable<BigInt>, Option<i64>>(&update.expires)?;
            out.push_sql(",");
            out.push_bind_param::<Bool, bool>(&update.extended_by_touch)
        })?;
        out.push_sql(" WHERE sessions.id = t.column1 AND ");
        out.push_sql(self.kind.where_clause());
        out.push_sql(" RETURNING sessions.id");
        Ok(())
    }
}

//! Renewals and ends of many sessions in one statement: a round trip for each would be most of what it costs.

use std::collections::HashSet;

use diesel::QueryResult;
use diesel::backend::Backend;
use diesel::prelude::RunQueryDsl;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::serialize::ToSql;
use diesel::sql_types::{BigInt, Binary, Bool, HasSqlType, Nullable};
use parlance_core::ports::Change;
use parlance_core::{SessionId, Timestamp};

use crate::any::AnyConnection;
use crate::fragments::{MOST, filled};
use crate::rows::Id;

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

/// To which session, when, and until when it then lives.
#[derive(Debug, Clone, Copy)]
pub(crate) struct One {
    pub(crate) id: SessionId,
    pub(crate) now: Timestamp,
    pub(crate) expires: Option<Timestamp>,
}

impl Act {
    /// The act that a change is, if it is one of them.
    pub(crate) fn of(change: &Change) -> Option<(Self, One)> {
        let (act, id, now, expires) = match *change {
            Change::Close { id, now } => (Self::Close, id, now, None),
            Change::RevokeSession(id, now) => (Self::Revoke, id, now, None),
            Change::Renew { id, now, expires } => (Self::Renew, id, now, expires),
            Change::Open { .. }
            | Change::Attempt(_)
            | Change::Failed(_)
            | Change::GiveBack(_)
            | Change::Unlock(_)
            | Change::PurgeAttempts { .. }
            | Change::Forget { .. }
            | Change::Bump { .. }
            | Change::AddUser(_)
            | Change::KeepUser(_)
            | Change::SetPassword(..)
            | Change::SetEnabled(..)
            | Change::ExpirePassword(_)
            | Change::RemoveUser(_)
            | Change::RevokeUser(_)
            | Change::RevokeAll
            | Change::AddKey { .. }
            | Change::DropKey { .. }
            | Change::AddClient(_)
            | Change::RemoveClient(_)
            | Change::Purge { .. } => return None,
        };
        Some((act, One { id, now, expires }))
    }

    /// How many of these changes, from the first on, are this act on sessions that differ: so many can be one statement.
    pub(crate) fn run(changes: &[Change]) -> Option<(Self, Vec<One>)> {
        let (act, _) = Self::of(changes.first()?)?;
        let mut seen = HashSet::new();
        let same = changes.iter().map_while(Self::of).take(MOST);
        let same = same.take_while(|(other, one)| *other == act && seen.insert(one.id));
        Some((act, same.map(|(_, one)| one).collect()))
    }

    /// Does it. Which sessions it was done to.
    ///
    /// # Errors
    /// The database's.
    pub(crate) fn apply(
        self,
        any: &mut AnyConnection,
        ones: &[One],
        is_used: impl Fn(&One) -> bool,
    ) -> QueryResult<HashSet<SessionId>> {
        let row = |one: &One| Row {
            id: one.id.0.into_bytes(),
            now: one.now.millis(),
            expires: one.expires.map(Timestamp::millis),
            used: is_used(one),
        };
        let mut rows: Vec<_> = ones.iter().map(row).collect();
        // Two nodes that are about the same sessions meet in the same order.
        rows.sort_unstable_by_key(|row| row.id);
        let ids: Vec<Id> = Many { act: self, rows }.load(any)?;
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
struct Many {
    act: Act,
    rows: Vec<Row>,
}

#[derive(Debug)]
struct Row {
    id: [u8; 16],
    now: i64,
    expires: Option<i64>,
    /// Whether a use that is not written yet keeps it from having expired.
    used: bool,
}

impl QueryId for Many {
    type QueryId = ();
    // The text differs from length to length.
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl Query for Many {
    type SqlType = Binary;
}

impl<Conn> RunQueryDsl<Conn> for Many {}

impl<DB> QueryFragment<DB> for Many
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
        // Both databases call the columns of VALUES so.
        out.push_sql(" FROM (VALUES ");
        for (number, row) in filled(&self.rows).enumerate() {
            out.push_sql(if number > 0 { ",(" } else { "(" });
            out.push_bind_param::<Binary, [u8]>(&row.id)?;
            out.push_sql(",");
            out.push_bind_param::<BigInt, i64>(&row.now)?;
            out.push_sql(",");
            out.push_bind_param::<Nullable<BigInt>, Option<i64>>(&row.expires)?;
            out.push_sql(",");
            out.push_bind_param::<Bool, bool>(&row.used)?;
            out.push_sql(")");
        }
        out.push_sql(") AS t WHERE sessions.id = t.column1 AND ");
        out.push_sql(self.act.filter());
        out.push_sql(" RETURNING sessions.id");
        Ok(())
    }
}

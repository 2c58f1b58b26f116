//! The pieces of SQL that diesel's own language lacks, and one that diesel writes too slowly. Each means the same on
//! both databases, and each can be kept prepared.

use std::sync::LazyLock;

use diesel::backend::Backend;
use diesel::dsl::{AsSelect, SqlTypeOf};
use diesel::expression::{
    AppearsOnTable, Expression, SelectableExpression, ValidGrouping, is_aggregate,
};
use diesel::prelude::{Column, QueryDsl, RunQueryDsl, SelectableHelper};
use diesel::query_builder::{AstPass, Query, QueryBuilder as _, QueryFragment, QueryId};
use diesel::serialize::ToSql;
use diesel::sql_types::{BigInt, Binary, Bool, HasSqlType, Nullable};
use diesel::{QueryResult, QuerySource};
use parlance_core::ports::Touch;

use crate::backend::AnyBackend;
use crate::rows::{SessionRow, UserRow};
use crate::schema::{sessions, users};

/// Maximum number of values in one statement; far below the limits of SQLite (32 766) and PostgreSQL (65 535).
pub(crate) const MAX_KEYS_PER_STATEMENT: usize = 512;

/// `column IN (...)`. The list is filled up to a power of two with its last value: there are ten such statements
/// instead of one for each length, and all of them stay prepared. diesel's own `eq_any` is prepared anew each time on
/// SQLite.
pub(crate) struct InList<'v, C, V: ?Sized> {
    column: C,
    values: Vec<&'v V>,
}

impl<'v, C, V: ?Sized> InList<'v, C, V> {
    /// At most [`MAX_KEYS_PER_STATEMENT`] values. An empty list matches nothing.
    pub(crate) fn new(column: C, values: impl IntoIterator<Item = &'v V>) -> Self {
        Self { column, values: values.into_iter().collect() }
    }
}

/// The values, with the last one repeated up to a power of two.
fn padded<T>(values: &[T]) -> impl Iterator<Item = &T> {
    let missing = values.len().next_power_of_two() - values.len();
    values.iter().chain(std::iter::repeat_n(values.last(), missing).flatten())
}

/// `(VALUES (...),(...)) AS t`: a row for each of these, with the last one repeated as in [`InList`]. Both databases
/// call the columns `column1` and so on.
pub(crate) fn push_values<'b, T, DB: Backend>(
    mut out: AstPass<'_, 'b, DB>,
    rows: &'b [T],
    bind: impl Fn(&'b T, AstPass<'_, 'b, DB>) -> QueryResult<()>,
) -> QueryResult<()> {
    out.push_sql("(VALUES ");
    for (number, row) in padded(rows).enumerate() {
        out.push_sql(if number > 0 { ",(" } else { "(" });
        bind(row, out.reborrow())?;
        out.push_sql(")");
    }
    out.push_sql(") AS t");
    Ok(())
}

impl<C: Column, V: ?Sized> Expression for InList<'_, C, V> {
    type SqlType = Bool;
}

impl<C: Column + AppearsOnTable<QS>, V: ?Sized, QS: ?Sized> AppearsOnTable<QS> for InList<'_, C, V> where
    Self: Expression
{
}

impl<C: Column + SelectableExpression<QS>, V: ?Sized, QS: ?Sized> SelectableExpression<QS>
    for InList<'_, C, V>
where
    Self: AppearsOnTable<QS>,
{
}

impl<C, V: ?Sized> ValidGrouping<()> for InList<'_, C, V> {
    type IsAggregate = is_aggregate::No;
}

impl<C, V: ?Sized> QueryId for InList<'_, C, V> {
    type QueryId = ();
    // The text differs from length to length.
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl<C, V, DB> QueryFragment<DB> for InList<'_, C, V>
where
    C: Column + QueryFragment<DB>,
    C::Table: QuerySource,
    V: ToSql<C::SqlType, DB> + ?Sized,
    DB: Backend + HasSqlType<C::SqlType>,
{
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, DB>) -> QueryResult<()> {
        if self.values.is_empty() {
            out.push_sql("1 = 0");
            return Ok(());
        }
        self.column.walk_ast(out.reborrow())?;
        out.push_sql(" IN (");
        for (number, value) in padded(&self.values).enumerate() {
            if number > 0 {
                out.push_sql(",");
            }
            out.push_bind_param::<C::SqlType, V>(value)?;
        }
        out.push_sql(")");
        Ok(())
    }
}

/// Sessions with their users, by digest. diesel builds the text once instead of name by name for each query: a
/// statement that is kept prepared is found again by its text.
pub(crate) struct SessionsAndUsers<'v>(pub(crate) InList<'v, sessions::digest, [u8]>);

#[cfg(feature = "sqlite")]
type TextBackend = diesel::sqlite::Sqlite;
#[cfg(not(feature = "sqlite"))]
type TextBackend = diesel::pg::Pg;

static SESSIONS_AND_USERS_SQL: LazyLock<String> = LazyLock::new(|| {
    let columns: (AsSelect<SessionRow, TextBackend>, AsSelect<UserRow, TextBackend>) =
        (SessionRow::as_select(), UserRow::as_select());
    let query = sessions::table.inner_join(users::table).select(columns);
    let mut text = <TextBackend as Backend>::QueryBuilder::default();
    // Building the text cannot fail; the databases would refuse an empty text.
    let written = QueryFragment::<TextBackend>::to_sql(&query, &mut text, &TextBackend::default());
    let text = written.map(|()| text.finish()).unwrap_or_default();
    // Both databases accept the quotes of the standard.
    text.replace('`', "\"") + " WHERE "
});

impl QueryId for SessionsAndUsers<'_> {
    type QueryId = ();
    // The text differs from length to length.
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl Query for SessionsAndUsers<'_> {
    type SqlType =
        (SqlTypeOf<AsSelect<SessionRow, AnyBackend>>, SqlTypeOf<AsSelect<UserRow, AnyBackend>>);
}

impl<Conn> RunQueryDsl<Conn> for SessionsAndUsers<'_> {}

impl<'v, DB: Backend> QueryFragment<DB> for SessionsAndUsers<'v>
where
    InList<'v, sessions::digest, [u8]>: QueryFragment<DB>,
{
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, DB>) -> QueryResult<()> {
        out.push_sql(&SESSIONS_AND_USERS_SQL);
        self.0.walk_ast(out)
    }
}

/// An `INSERT` that leaves an existing row alone.
#[derive(Debug, QueryId)]
pub(crate) struct OnConflictDoNothing<I>(pub(crate) I);

impl<I: QueryFragment<DB>, DB: Backend> QueryFragment<DB> for OnConflictDoNothing<I> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, DB>) -> QueryResult<()> {
        self.0.walk_ast(out.reborrow())?;
        out.push_sql(" ON CONFLICT DO NOTHING");
        Ok(())
    }
}

impl<I, Conn> RunQueryDsl<Conn> for OnConflictDoNothing<I> {}

/// Writes touches: forward only, and never to a session that has been ended.
#[derive(Debug)]
pub(crate) struct WriteTouches(Vec<TouchRow>);

#[derive(Debug)]
struct TouchRow {
    id: [u8; 16],
    used: i64,
    expires: Option<i64>,
}

impl WriteTouches {
    /// At most [`MAX_KEYS_PER_STATEMENT`] touches, and at least one.
    pub(crate) fn new(touches: &[Touch]) -> Self {
        let values = |touch: &Touch| TouchRow {
            id: touch.id.0.into_bytes(),
            used: touch.used.millis(),
            expires: touch.expires.map(parlance_core::Timestamp::millis),
        };
        Self(touches.iter().map(values).collect())
    }
}

impl QueryId for WriteTouches {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl<DB> QueryFragment<DB> for WriteTouches
where
    DB: Backend + HasSqlType<Binary> + HasSqlType<BigInt> + HasSqlType<Nullable<BigInt>>,
    [u8]: ToSql<Binary, DB>,
    i64: ToSql<BigInt, DB>,
    Option<i64>: ToSql<Nullable<BigInt>, DB>,
{
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, DB>) -> QueryResult<()> {
        out.push_sql(
            "UPDATE sessions SET \
             last_used_at = CASE WHEN last_used_at >= t.column2 THEN last_used_at ELSE t.column2 END, \
             expires_at = CASE WHEN expires_at < t.column3 THEN t.column3 ELSE expires_at END \
             FROM ",
        );
        push_values(out.reborrow(), &self.0, |touch, mut out| {
            out.push_bind_param::<Binary, [u8]>(&touch.id)?;
            out.push_sql(",");
            out.push_bind_param::<BigInt, i64>(&touch.used)?;
            out.push_sql(",");
            out.push_bind_param::<Nullable<BigInt>, Option<i64>>(&touch.expires)
        })?;
        out.push_sql(" WHERE sessions.id = t.column1 AND sessions.revoked_at IS NULL");
        Ok(())
    }
}

impl<Conn> RunQueryDsl<Conn> for WriteTouches {}

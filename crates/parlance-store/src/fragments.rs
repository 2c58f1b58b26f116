//! The pieces of SQL that diesel's own language lacks, and one that it writes too slowly. Each means the same on both databases, and each can
//! be kept prepared.

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

use crate::any::Any;
use crate::rows::{SessionRow, UserRow};
use crate::schema::{sessions, users};

/// How many values one statement asks about at most; far below what either database binds (32 766 and 65 535).
pub(crate) const MOST: usize = 512;

/// `column IN (...)`. The list is filled up to a power of two with its last value, so that there are ten such statements and not one
/// for each length, and all of them stay prepared. diesel's own `eq_any` is prepared anew each time on SQLite.
pub(crate) struct OneOf<'v, C, V: ?Sized> {
    column: C,
    values: Vec<&'v V>,
}

impl<'v, C, V: ?Sized> OneOf<'v, C, V> {
    /// At most [`MOST`] values. None match nothing.
    pub(crate) fn new(column: C, values: impl IntoIterator<Item = &'v V>) -> Self {
        Self { column, values: values.into_iter().collect() }
    }
}

/// The values, and the last of them again and again up to a power of two.
fn filled<T>(values: &[T]) -> impl Iterator<Item = &T> {
    let missing = values.len().next_power_of_two() - values.len();
    values.iter().chain(std::iter::repeat_n(values.last(), missing).flatten())
}

/// `(VALUES (...),(...)) AS t`: a row for each of these, and of the last one as many as [`OneOf`] has. Both databases call the columns
/// `column1` and so on.
pub(crate) fn values<'b, T, DB: Backend>(
    mut out: AstPass<'_, 'b, DB>,
    rows: &'b [T],
    bind: impl Fn(&'b T, AstPass<'_, 'b, DB>) -> QueryResult<()>,
) -> QueryResult<()> {
    out.push_sql("(VALUES ");
    for (number, row) in filled(rows).enumerate() {
        out.push_sql(if number > 0 { ",(" } else { "(" });
        bind(row, out.reborrow())?;
        out.push_sql(")");
    }
    out.push_sql(") AS t");
    Ok(())
}

impl<C: Column, V: ?Sized> Expression for OneOf<'_, C, V> {
    type SqlType = Bool;
}

impl<C: Column + AppearsOnTable<QS>, V: ?Sized, QS: ?Sized> AppearsOnTable<QS> for OneOf<'_, C, V> where
    Self: Expression
{
}

impl<C: Column + SelectableExpression<QS>, V: ?Sized, QS: ?Sized> SelectableExpression<QS>
    for OneOf<'_, C, V>
where
    Self: AppearsOnTable<QS>,
{
}

impl<C, V: ?Sized> ValidGrouping<()> for OneOf<'_, C, V> {
    type IsAggregate = is_aggregate::No;
}

impl<C, V: ?Sized> QueryId for OneOf<'_, C, V> {
    type QueryId = ();
    // The text differs from length to length.
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl<C, V, DB> QueryFragment<DB> for OneOf<'_, C, V>
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
        for (number, value) in filled(&self.values).enumerate() {
            if number > 0 {
                out.push_sql(",");
            }
            out.push_bind_param::<C::SqlType, V>(value)?;
        }
        out.push_sql(")");
        Ok(())
    }
}

/// Sessions with their users, by digest. diesel writes the text once and not each time anew, name by name: a statement that is kept prepared
/// is found again by its text.
pub(crate) struct SessionsAndUsers<'v>(pub(crate) OneOf<'v, sessions::digest, [u8]>);

#[cfg(feature = "sqlite")]
type Writes = diesel::sqlite::Sqlite;
#[cfg(not(feature = "sqlite"))]
type Writes = diesel::pg::Pg;

static SESSIONS_AND_USERS: LazyLock<String> = LazyLock::new(|| {
    let columns: (AsSelect<SessionRow, Writes>, AsSelect<UserRow, Writes>) =
        (SessionRow::as_select(), UserRow::as_select());
    let query = sessions::table.inner_join(users::table).select(columns);
    let mut text = <Writes as Backend>::QueryBuilder::default();
    // Writing it cannot fail; the databases would refuse an empty text.
    let written = QueryFragment::<Writes>::to_sql(&query, &mut text, &Writes::default());
    let text = written.map(|()| text.finish()).unwrap_or_default();
    // Both databases take the quotes of the standard.
    text.replace('`', "\"") + " WHERE "
});

impl QueryId for SessionsAndUsers<'_> {
    type QueryId = ();
    // The text differs from length to length.
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl Query for SessionsAndUsers<'_> {
    type SqlType = (SqlTypeOf<AsSelect<SessionRow, Any>>, SqlTypeOf<AsSelect<UserRow, Any>>);
}

impl<Conn> RunQueryDsl<Conn> for SessionsAndUsers<'_> {}

impl<'v, DB: Backend> QueryFragment<DB> for SessionsAndUsers<'v>
where
    OneOf<'v, sessions::digest, [u8]>: QueryFragment<DB>,
{
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, DB>) -> QueryResult<()> {
        out.push_sql(&SESSIONS_AND_USERS);
        self.0.walk_ast(out)
    }
}

/// An `INSERT` that leaves a row alone that is there already.
#[derive(Debug, QueryId)]
pub(crate) struct OrNothing<I>(pub(crate) I);

impl<I: QueryFragment<DB>, DB: Backend> QueryFragment<DB> for OrNothing<I> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, DB>) -> QueryResult<()> {
        self.0.walk_ast(out.reborrow())?;
        out.push_sql(" ON CONFLICT DO NOTHING");
        Ok(())
    }
}

impl<I, Conn> RunQueryDsl<Conn> for OrNothing<I> {}

/// Writes touches: forward only, and to no session that has been ended.
#[derive(Debug)]
pub(crate) struct TouchAll(Vec<TouchValues>);

#[derive(Debug)]
struct TouchValues {
    id: [u8; 16],
    used: i64,
    expires: Option<i64>,
}

impl TouchAll {
    /// At most [`MOST`] touches, and at least one.
    pub(crate) fn new(touches: &[Touch]) -> Self {
        let values = |touch: &Touch| TouchValues {
            id: touch.id.0.into_bytes(),
            used: touch.used.millis(),
            expires: touch.expires.map(parlance_core::Timestamp::millis),
        };
        Self(touches.iter().map(values).collect())
    }
}

impl QueryId for TouchAll {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl<DB> QueryFragment<DB> for TouchAll
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
        values(out.reborrow(), &self.0, |touch, mut out| {
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

impl<Conn> RunQueryDsl<Conn> for TouchAll {}

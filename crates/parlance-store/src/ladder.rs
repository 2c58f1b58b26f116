//! The two statements on a ladder that diesel's own language lacks.

use std::fmt::Write as _;
use std::sync::LazyLock;

use diesel::QueryResult;
use diesel::backend::Backend;
use diesel::prelude::RunQueryDsl;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::serialize::ToSql;
use diesel::sql_types::{BigInt, Binary, Bool, HasSqlType, Text};
use parlance_core::UserId;
use parlance_core::lockout::{Attempt, FREE, LADDER, RESERVE, RESERVED, Slot, day};
use uuid::Uuid;

/// The id of a user whom nobody is.
pub(crate) const NOBODY: UserId = UserId(Uuid::nil());

/// The wait after so many failures in a row, in milliseconds.
fn wait(failures: &str) -> String {
    let mut sql = "CASE".to_owned();
    for (upto, wait) in LADDER {
        let _written = write!(sql, " WHEN {failures} <= {upto} THEN {wait}");
    }
    sql + " ELSE 0 END"
}

/// Takes a place on a ladder if there is one now. Otherwise it counts that there was none, and takes one of those that are kept for the user's
/// address, if the account and the address have any left. It tells the day that a place counts for, the failures in a row before it, how many in a
/// row, this one included, have found none on the ladder, and whether it took one that was kept. A row of an earlier day counts for nothing; one of a later day,
/// which the clock of another node made, counts. While failures are free nobody waits, not even for a moment that has not come yet on the
/// clock of this node.
#[derive(Debug, QueryId)]
pub(crate) struct Take {
    account: [u8; 32],
    known: bool,
    day: i64,
    now: i64,
    limit: i64,
    user: [u8; 16],
    address: String,
}

impl Take {
    pub(crate) fn new(attempt: &Attempt) -> Self {
        Self {
            account: *attempt.account.as_bytes(),
            known: attempt.user.is_some(),
            day: day(attempt.now),
            now: attempt.now.millis(),
            limit: attempt.limit.into(),
            user: *attempt.user.unwrap_or(NOBODY).0.as_bytes(),
            address: attempt.address.map(|address| address.to_string()).unwrap_or_default(),
        }
    }
}

/// A value that its text names.
#[derive(Debug, Clone, Copy)]
enum Bound {
    Limit,
    User,
    Address,
}

/// Its text after the values: pieces, each with the value that stands before it. An excluded row is the one that would have been inserted: its
/// day is today, its wait ends now.
static TAKE: LazyLock<Vec<(Option<Bound>, String)>> = LazyLock::new(|| {
    let is_old = "login_attempts.day < excluded.day";
    let is_free = format!(
        "(login_attempts.failures <= {FREE} OR login_attempts.until_at <= excluded.until_at) AND login_attempts.taken < {{limit}}"
    );
    let is_kept = format!(
        "login_attempts.reserved < {RESERVED} AND EXISTS (SELECT 1 FROM known_addresses AS known_address \
         WHERE known_address.user_id = {{user}} AND known_address.address = {{address}} \
         AND (known_address.day < login_attempts.day OR known_address.taken < {RESERVE}))"
    );
    let wait = wait("login_attempts.failures");
    let sql = format!(
        ", 1, 0) ON CONFLICT (account) DO UPDATE SET \
         known = excluded.known, \
         taken = CASE WHEN {is_old} THEN 1 WHEN {is_free} THEN login_attempts.taken + 1 ELSE login_attempts.taken END, \
         until_at = CASE WHEN {is_old} THEN excluded.until_at WHEN {is_free} THEN excluded.until_at + {wait} \
         ELSE login_attempts.until_at END, \
         failures = CASE WHEN {is_old} THEN 0 ELSE login_attempts.failures END, \
         day = CASE WHEN {is_old} THEN excluded.day ELSE login_attempts.day END, \
         refused = CASE WHEN {is_old} OR {is_free} THEN 0 ELSE login_attempts.refused + 1 END, \
         reserved = CASE WHEN {is_old} THEN 0 WHEN {is_free} THEN login_attempts.reserved \
         WHEN {is_kept} THEN login_attempts.reserved + 1 ELSE login_attempts.reserved END, \
         from_reserve = CASE WHEN {is_old} OR {is_free} THEN FALSE ELSE {is_kept} END \
         RETURNING day, failures, refused, from_reserve"
    );
    let mut pieces = sql.split('{');
    let first = (None, pieces.next().unwrap_or_default().to_owned());
    let others = pieces.filter_map(|piece| {
        let (name, text) = piece.split_once('}')?;
        let bound = match name {
            "limit" => Bound::Limit,
            "user" => Bound::User,
            _ => Bound::Address,
        };
        Some((Some(bound), text.to_owned()))
    });
    std::iter::once(first).chain(others).collect()
});

impl Query for Take {
    type SqlType = (BigInt, BigInt, BigInt, Bool);
}

impl<Conn> RunQueryDsl<Conn> for Take {}

impl<DB> QueryFragment<DB> for Take
where
    DB: Backend + HasSqlType<Binary> + HasSqlType<BigInt> + HasSqlType<Bool> + HasSqlType<Text>,
    [u8]: ToSql<Binary, DB>,
    i64: ToSql<BigInt, DB>,
    bool: ToSql<Bool, DB>,
    str: ToSql<Text, DB>,
{
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, DB>) -> QueryResult<()> {
        out.push_sql(
            "INSERT INTO login_attempts (account, known, day, until_at, taken, failures) VALUES (",
        );
        out.push_bind_param::<Binary, [u8]>(&self.account)?;
        out.push_sql(",");
        out.push_bind_param::<Bool, bool>(&self.known)?;
        out.push_sql(",");
        out.push_bind_param::<BigInt, i64>(&self.day)?;
        out.push_sql(",");
        out.push_bind_param::<BigInt, i64>(&self.now)?;
        for (before, piece) in TAKE.iter() {
            match before {
                None => {}
                Some(Bound::Limit) => out.push_bind_param::<BigInt, i64>(&self.limit)?,
                Some(Bound::User) => out.push_bind_param::<Binary, [u8]>(&self.user)?,
                Some(Bound::Address) => out.push_bind_param::<Text, str>(&self.address)?,
            }
            out.push_sql(piece);
        }
        Ok(())
    }
}

/// Climbs a ladder: one more failure in a row, and the wait that follows, unless a longer one is under way.
#[derive(Debug, QueryId)]
pub(crate) struct Climb {
    account: [u8; 32],
    day: i64,
    now: i64,
}

impl Climb {
    pub(crate) fn new(slot: &Slot) -> Self {
        Self {
            account: *slot.attempt.account.as_bytes(),
            day: slot.admission.day,
            now: slot.attempt.now.millis(),
        }
    }
}

static WAIT_AFTER_ONE_MORE: LazyLock<String> = LazyLock::new(|| wait("failures + 1"));

impl<Conn> RunQueryDsl<Conn> for Climb {}

impl<DB> QueryFragment<DB> for Climb
where
    DB: Backend + HasSqlType<Binary> + HasSqlType<BigInt>,
    [u8]: ToSql<Binary, DB>,
    i64: ToSql<BigInt, DB>,
{
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, DB>) -> QueryResult<()> {
        let wait: &str = &WAIT_AFTER_ONE_MORE;
        out.push_sql(
            "UPDATE login_attempts SET failures = failures + 1, until_at = CASE WHEN until_at - ",
        );
        out.push_bind_param::<BigInt, i64>(&self.now)?;
        out.push_sql(" > ");
        out.push_sql(wait);
        out.push_sql(" THEN until_at ELSE ");
        out.push_bind_param::<BigInt, i64>(&self.now)?;
        out.push_sql(" + ");
        out.push_sql(wait);
        out.push_sql(" END WHERE account = ");
        out.push_bind_param::<Binary, [u8]>(&self.account)?;
        out.push_sql(" AND day = ");
        out.push_bind_param::<BigInt, i64>(&self.day)?;
        Ok(())
    }
}

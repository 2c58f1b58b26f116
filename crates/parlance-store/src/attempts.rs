//! The two statements of the account lock-out that diesel's own language lacks.

use std::fmt::Write as _;
use std::sync::LazyLock;

use diesel::QueryResult;
use diesel::backend::Backend;
use diesel::prelude::RunQueryDsl;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::serialize::ToSql;
use diesel::sql_types::{BigInt, Binary, Bool, HasSqlType, Text};
use parlance_core::UserId;
use parlance_core::lockout::{
    Attempt, DAILY_FAILURES_ALL_TRUSTED_ADDRESSES, DAILY_FAILURES_PER_TRUSTED_ADDRESS,
    FREE_FAILURES, LOCKOUT_DELAYS_MILLIS, Reservation, utc_day,
};
use uuid::Uuid;

/// An id that no user has.
pub(crate) const NO_USER: UserId = UserId(Uuid::nil());

/// The lock-out delay after so many consecutive failures, in milliseconds.
fn delay_case_sql(failures: &str) -> String {
    let mut sql = "CASE".to_owned();
    for (upto, wait) in LOCKOUT_DELAYS_MILLIS {
        let _written = write!(sql, " WHEN {failures} <= {upto} THEN {wait}");
    }
    sql + " ELSE 0 END"
}

/// Reserves an attempt of an account (brute-force protection) if one is free now. Otherwise counts the refusal, and
/// takes one of the attempts that are reserved for the user's trusted address, if the account and the address have any
/// left. Returns the day that the attempt counts for, the consecutive failures before the attempt, the consecutive
/// refusals including this one, and whether a reserved attempt was taken.
///
/// A row of an earlier day counts for nothing. A row of a later day, made by the clock of another node, counts. While
/// failures are free there is no wait, not even until a moment that is still to come on the clock of this node.
#[derive(Debug, QueryId)]
pub(crate) struct ReserveAttempt {
    account: [u8; 32],
    known: bool,
    day: i64,
    now: i64,
    limit: i64,
    user: [u8; 16],
    address: String,
}

impl ReserveAttempt {
    pub(crate) fn new(attempt: &Attempt) -> Self {
        Self {
            account: *attempt.account.as_bytes(),
            known: attempt.user.is_some(),
            day: utc_day(attempt.now),
            now: attempt.now.millis(),
            limit: attempt.limit.into(),
            user: *attempt.user.unwrap_or(NO_USER).0.as_bytes(),
            address: attempt.address.map(|address| address.to_string()).unwrap_or_default(),
        }
    }
}

/// A value that the statement's text refers to by name.
#[derive(Debug, Clone, Copy)]
enum Placeholder {
    Limit,
    User,
    Address,
}

/// The statement's text after the first values: pieces, each with the value that stands before the piece. The excluded
/// row is the row that would have been inserted: its day is today, and its wait ends now.
static RESERVE_SQL: LazyLock<Vec<(Option<Placeholder>, String)>> = LazyLock::new(|| {
    let is_old = "login_attempts.day < excluded.day";
    let is_free = format!(
        "(login_attempts.failures <= {FREE_FAILURES} OR login_attempts.until_at <= excluded.until_at) AND login_attempts.taken < {{limit}}"
    );
    let is_kept = format!(
        "login_attempts.reserved < {DAILY_FAILURES_ALL_TRUSTED_ADDRESSES} AND EXISTS (SELECT 1 FROM known_addresses AS known_address \
         WHERE known_address.user_id = {{user}} AND known_address.address = {{address}} \
         AND (known_address.day < login_attempts.day OR known_address.taken < {DAILY_FAILURES_PER_TRUSTED_ADDRESS}))"
    );
    let wait = delay_case_sql("login_attempts.failures");
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
            "limit" => Placeholder::Limit,
            "user" => Placeholder::User,
            _ => Placeholder::Address,
        };
        Some((Some(bound), text.to_owned()))
    });
    std::iter::once(first).chain(others).collect()
});

impl Query for ReserveAttempt {
    type SqlType = (BigInt, BigInt, BigInt, Bool);
}

impl<Conn> RunQueryDsl<Conn> for ReserveAttempt {}

impl<DB> QueryFragment<DB> for ReserveAttempt
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
        for (before, piece) in RESERVE_SQL.iter() {
            match before {
                None => {}
                Some(Placeholder::Limit) => out.push_bind_param::<BigInt, i64>(&self.limit)?,
                Some(Placeholder::User) => out.push_bind_param::<Binary, [u8]>(&self.user)?,
                Some(Placeholder::Address) => out.push_bind_param::<Text, str>(&self.address)?,
            }
            out.push_sql(piece);
        }
        Ok(())
    }
}

/// Records a failure: one more in a row, and the delay that follows, unless a longer delay is under way.
#[derive(Debug, QueryId)]
pub(crate) struct RecordFailure {
    account: [u8; 32],
    day: i64,
    now: i64,
}

impl RecordFailure {
    pub(crate) fn new(slot: &Reservation) -> Self {
        Self {
            account: *slot.attempt.account.as_bytes(),
            day: slot.admission.day,
            now: slot.attempt.now.millis(),
        }
    }
}

static DELAY_AFTER_FAILURE_SQL: LazyLock<String> = LazyLock::new(|| delay_case_sql("failures + 1"));

impl<Conn> RunQueryDsl<Conn> for RecordFailure {}

impl<DB> QueryFragment<DB> for RecordFailure
where
    DB: Backend + HasSqlType<Binary> + HasSqlType<BigInt>,
    [u8]: ToSql<Binary, DB>,
    i64: ToSql<BigInt, DB>,
{
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, DB>) -> QueryResult<()> {
        let wait: &str = &DELAY_AFTER_FAILURE_SQL;
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

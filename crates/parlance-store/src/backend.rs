//! One connection type over the databases that are compiled in, so that every statement is written once.
#![allow(
    missing_docs,
    unreachable_pub,
    unreachable_patterns,
    irrefutable_let_patterns,
    unused_qualifications,
    elided_lifetimes_in_paths,
    missing_debug_implementations,
    clippy::expect_used,
    clippy::wildcard_enum_match_arm,
    clippy::use_self,
    reason = "what diesel generates for the enum"
)]

use diesel::QueryResult;
use diesel::connection::{AnsiTransactionManager, TransactionManager};
#[cfg(feature = "postgres")]
use diesel::{RunQueryDsl as _, dsl::sql, sql_types::BigInt};
use parlance_core::Timestamp;

/// A connection to one of the databases. The order of the variants has no meaning: [`crate::connection::ConnectionManager`]
/// chooses the database.
#[derive(diesel::MultiConnection)]
pub enum AnyConnection {
    #[cfg(feature = "postgres")]
    Postgres(diesel::PgConnection),
    #[cfg(feature = "sqlite")]
    Sqlite(diesel::SqliteConnection),
}

pub use self::multi_connection_impl::MultiBackend as AnyBackend;
pub use self::multi_connection_impl::MultiRawValue as AnyValue;

impl AnyConnection {
    /// Begins a transaction that may write. On SQLite the write lock is taken at once, where waiting for the lock is
    /// possible. On PostgreSQL the transaction is read committed, whatever the server's default, since every change is
    /// one conditional statement after another.
    pub fn begin(&mut self) -> QueryResult<()> {
        match self {
            #[cfg(feature = "postgres")]
            Self::Postgres(conn) => AnsiTransactionManager::begin_transaction_sql(
                conn,
                "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE",
            ),
            #[cfg(feature = "sqlite")]
            Self::Sqlite(conn) => {
                AnsiTransactionManager::begin_transaction_sql(conn, "BEGIN IMMEDIATE")
            }
        }
    }

    /// The time by the server's clock; `None` on SQLite, which has only the machine's clock.
    pub fn time(&mut self) -> QueryResult<Option<Timestamp>> {
        match self {
            #[cfg(feature = "postgres")]
            Self::Postgres(conn) => {
                let millis =
                    sql::<BigInt>("(EXTRACT(EPOCH FROM clock_timestamp()) * 1000)::BIGINT");
                let millis = diesel::select(millis).get_result(conn)?;
                Ok(Some(Timestamp::from_millis(millis)))
            }
            #[cfg(feature = "sqlite")]
            Self::Sqlite(_) => Ok(None),
        }
    }

    pub fn commit(&mut self) -> QueryResult<()> {
        <Self as TransactionManager<Self>>::commit_transaction(self)
    }

    pub fn rollback(&mut self) -> QueryResult<()> {
        <Self as TransactionManager<Self>>::rollback_transaction(self)
    }

    /// Locks out all other changes of keys until the transaction ends. On SQLite the transaction excludes other writers
    /// anyway.
    pub fn lock_keys(&mut self) -> QueryResult<()> {
        match self {
            #[cfg(feature = "postgres")]
            Self::Postgres(conn) => diesel::connection::SimpleConnection::batch_execute(
                conn,
                "LOCK TABLE keys IN SHARE ROW EXCLUSIVE MODE",
            ),
            #[cfg(feature = "sqlite")]
            Self::Sqlite(_) => Ok(()),
        }
    }
}

//! The connection of a worker, from batch to batch.

use diesel::r2d2::R2D2Connection as _;

use super::{ConnectionManager, OpenFile, Pool, verify_file};
use crate::backend::AnyConnection;

/// A worker's connection. Kept from batch to batch, and discarded after any failure, so that the pool makes a new one.
pub(crate) struct ConnectionSlot {
    pool: Pool,
    file: OpenFile,
    pooled: Option<r2d2::PooledConnection<ConnectionManager>>,
}

impl ConnectionSlot {
    pub(crate) fn new(pool: Pool, file: OpenFile) -> Self {
        Self { pool, file, pooled: None }
    }

    /// Checks that the database's file is still the one that is open.
    ///
    /// # Errors
    /// The path leads to another file, or to none. The text is for operators.
    pub(crate) fn verify_file(&self) -> Result<(), String> {
        verify_file(&self.file)
    }

    /// # Errors
    /// There is no connection within the timeout, or the database's file was replaced. The text is for operators.
    pub(crate) fn get(&mut self) -> Result<&mut AnyConnection, String> {
        self.verify_file()?;
        let pooled = match self.pooled.take() {
            Some(pooled) => pooled,
            None => self.pool.get().map_err(|error| error.to_string())?,
        };
        Ok(&mut self.pooled.insert(pooled).conn)
    }

    /// Discards the connection. Returns whether the server was still there.
    pub(crate) fn discard(&mut self) -> bool {
        let Some(mut pooled) = self.pooled.take() else { return false };
        pooled.poisoned = true;
        pooled.conn.ping().is_ok()
    }

    /// Runs an act that may be repeated: once more on a fresh connection if the first connection turns out to be dead.
    ///
    /// # Errors
    /// The act failed, or there is no connection.
    pub(crate) fn with_retry<T, E: ToString>(
        &mut self,
        mut action: impl FnMut(&mut AnyConnection) -> Result<T, E>,
    ) -> Result<T, SlotError> {
        let no_connection = |text| SlotError { text, database_answered: false };
        match action(self.get().map_err(no_connection)?) {
            Ok(done) => Ok(done),
            Err(error) if self.discard() => {
                Err(SlotError { text: error.to_string(), database_answered: true })
            }
            Err(_) => {
                let retried = action(self.get().map_err(no_connection)?);
                retried.map_err(|error| SlotError {
                    database_answered: self.discard(),
                    text: error.to_string(),
                })
            }
        }
    }
}

/// Why an act failed.
#[derive(Debug, thiserror::Error)]
#[error("{text}")]
pub(crate) struct SlotError {
    /// For operators.
    pub(crate) text: String,
    /// Whether the database was there: then the act itself is at fault.
    pub(crate) database_answered: bool,
}

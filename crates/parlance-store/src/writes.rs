//! The write worker: one transaction for a batch of changes, and the answers after its commit.

use std::sync::{Arc, mpsc};

use diesel::result::{DatabaseErrorKind, Error};
use parlance_core::SessionId;
use parlance_core::ports::{Applied, Change, StoreError, Touch};

use crate::batch_order::BatchOrder;
use crate::changes::{ChangeError, Transaction, write_touches};
use crate::connection::ConnectionSlot;
use crate::failure_budget::FailureBudget;
use crate::queue::{Reply, send_reply};
use crate::touches::Touches;
use crate::worker::Worker;

/// Maximum number of changes in one transaction.
const MAX_CHANGES_PER_TRANSACTION: usize = 512;
/// Maximum number of touches in one transaction, so that a large flush holds up no change for long.
const MAX_TOUCHES_PER_TRANSACTION: usize = 4096;
/// How often a transaction is tried that loses to another one.
const MAX_TRANSACTION_ATTEMPTS: usize = 4;

/// A job of the write worker.
pub(crate) enum Write {
    Change(Change, Reply<Applied>),
    Flush(Reply<()>),
    /// Flush, and drop the sender afterwards.
    Tick(mpsc::Sender<()>),
}

/// Makes changes, and writes touches.
pub(crate) struct WriteWorker {
    touches: Arc<Touches>,
    /// The sessions that the current flush has still to write, and the callers that wait for this flush.
    flush_remaining: Vec<SessionId>,
    flush_waiters: Vec<FlushWaiter>,
    /// The callers that wait for the next flush.
    next_flush_waiters: Vec<FlushWaiter>,
}

#[expect(dead_code, reason = "the ticker's end is told by being dropped")]
enum FlushWaiter {
    Flush(Reply<()>),
    Tick(mpsc::Sender<()>),
}

/// Why a transaction was not committed, as far as known.
#[derive(Debug, thiserror::Error)]
enum TransactionError {
    /// A part of the transaction is at fault. Nothing was changed.
    #[error(transparent)]
    RolledBack(ChangeError),
    /// The outcome is unknown, or nothing can be done now.
    #[error("{0}")]
    OutcomeUnknown(String),
}

impl WriteWorker {
    pub(crate) fn new(touches: Arc<Touches>) -> Self {
        Self {
            touches,
            flush_remaining: Vec::new(),
            flush_waiters: Vec::new(),
            next_flush_waiters: Vec::new(),
        }
    }

    /// Makes changes in one transaction, after writing some touches; tries again when another transaction was in the
    /// way.
    fn run_transaction(
        &self,
        slot: &mut ConnectionSlot,
        touches: &[Touch],
        changes: &[Change],
    ) -> Result<Vec<Applied>, TransactionError> {
        let mut attempts = 0;
        loop {
            attempts += 1;
            match self.try_transaction(slot, touches, changes) {
                Err(TransactionError::RolledBack(ChangeError::Database(error)))
                    if attempts < MAX_TRANSACTION_ATTEMPTS && is_transaction_conflict(&error) => {}
                done => return done,
            }
        }
    }

    fn try_transaction(
        &self,
        slot: &mut ConnectionSlot,
        touches: &[Touch],
        changes: &[Change],
    ) -> Result<Vec<Applied>, TransactionError> {
        // Nothing is done before the transaction has begun, so a connection that died while idle is no failure.
        slot.with_retry(|conn| conn.begin())
            .map_err(|error| TransactionError::OutcomeUnknown(error.text))?;
        let conn = match slot.get() {
            Ok(conn) => conn,
            Err(text) => {
                // The connection has an open transaction, so the next one would not begin.
                slot.discard();
                return Err(TransactionError::OutcomeUnknown(text));
            }
        };
        let mut transaction = Transaction::new(conn, &self.touches);
        let result = write_touches(transaction.conn, touches).map_err(ChangeError::from);
        let result = result.and_then(|()| transaction.apply(changes));
        let consumed = transaction.consumed;
        match result {
            Ok(applied) => {
                if let Err(error) = conn.commit() {
                    slot.discard();
                    return Err(TransactionError::OutcomeUnknown(error.to_string()));
                }
                // A commit to a file that no path leads to any more does not count.
                slot.verify_file().map_err(TransactionError::OutcomeUnknown)?;
                consumed.into_iter().for_each(|touch| self.touches.mark_consumed(touch));
                Ok(applied)
            }
            Err(error) => {
                // A server that no longer takes writes is the wrong one.
                if is_read_only(&error) || conn.rollback().is_err() {
                    slot.discard();
                    return Err(TransactionError::OutcomeUnknown(error.to_string()));
                }
                Err(TransactionError::RolledBack(error))
            }
        }
    }

    /// Writes one batch. The error concerns the touches; each change has its answer.
    fn write_batch(
        &self,
        slot: &mut ConnectionSlot,
        touches: &[Touch],
        changes: Vec<Change>,
        replies: Vec<Reply<Applied>>,
    ) -> Result<(), TransactionError> {
        if touches.is_empty() && changes.is_empty() {
            return Ok(());
        }
        match self.run_transaction(slot, touches, &changes) {
            Ok(applied) => {
                replies
                    .into_iter()
                    .zip(applied)
                    .for_each(|(reply, applied)| send_reply(reply, Ok(applied)));
                Ok(())
            }
            Err(TransactionError::RolledBack(error))
                if touches.is_empty() && changes.len() == 1 =>
            {
                let result = single_result(Err(TransactionError::RolledBack(error)));
                replies.into_iter().for_each(|reply| send_reply(reply, result.clone()));
                Ok(())
            }
            Err(TransactionError::RolledBack(_)) => {
                let flushed = if touches.is_empty() {
                    Ok(())
                } else {
                    self.run_transaction(slot, touches, &[]).map(drop)
                };
                self.write_one_by_one(slot, changes, replies);
                flushed
            }
            Err(failed @ TransactionError::OutcomeUnknown(_)) => {
                replies.into_iter().for_each(|reply| {
                    send_reply(reply, Err(StoreError::Unavailable(failed.to_string())))
                });
                if touches.is_empty() { Ok(()) } else { Err(failed) }
            }
        }
    }

    /// Makes each change in a transaction of its own, so that only the bad one fails.
    fn write_one_by_one(
        &self,
        slot: &mut ConnectionSlot,
        changes: Vec<Change>,
        replies: Vec<Reply<Applied>>,
    ) {
        let mut budget = FailureBudget::default();
        let too_slow =
            || Err(StoreError::Unavailable("the database is locked or too slow".to_owned()));
        for (change, reply) in changes.into_iter().zip(replies) {
            let result = budget.run(|| single_result(self.run_transaction(slot, &[], &[change])));
            send_reply(reply, result.unwrap_or_else(too_slow));
        }
    }

    /// The next touches to write. Begins a flush if one is requested and none is under way.
    fn next_touches(&mut self) -> Vec<Touch> {
        if self.flush_remaining.is_empty() && !self.next_flush_waiters.is_empty() {
            self.flush_remaining = self.touches.begin_flush();
            self.flush_waiters = std::mem::take(&mut self.next_flush_waiters);
        }
        let ids = self
            .flush_remaining
            .split_off(self.flush_remaining.len().saturating_sub(MAX_TOUCHES_PER_TRANSACTION));
        self.touches.flushing(&ids)
    }

    fn flush_failed(&mut self, text: &str) {
        self.flush_remaining.clear();
        self.touches.flush_failed();
        self.finish_flush(&Err(StoreError::Unavailable(text.to_owned())));
    }

    fn finish_flush(&mut self, result: &Result<(), StoreError>) {
        for waiter in self.flush_waiters.drain(..) {
            match waiter {
                FlushWaiter::Flush(reply) => send_reply(reply, result.clone()),
                FlushWaiter::Tick(_) => {}
            }
        }
    }
}

impl Worker for WriteWorker {
    type Job = Write;
    const MAX_BATCH: usize = MAX_CHANGES_PER_TRANSACTION;

    fn run_batch(&mut self, jobs: Vec<Write>, slot: &mut ConnectionSlot) {
        // An operator hears of a replaced file within a tick, even without any call.
        let _told = slot.verify_file();
        let mut queued = Vec::new();
        for job in jobs {
            match job {
                Write::Change(change, reply) => queued.push((change, reply)),
                Write::Flush(reply) => self.next_flush_waiters.push(FlushWaiter::Flush(reply)),
                Write::Tick(done) => self.next_flush_waiters.push(FlushWaiter::Tick(done)),
            }
        }
        // The sort is stable: a failure is counted before the next attempt is reserved.
        queued.sort_by_cached_key(|(change, _)| BatchOrder::of(change));
        let (changes, replies) = queued.into_iter().unzip();
        let touches = self.next_touches();
        if let Err(failed) = self.write_batch(slot, &touches, changes, replies) {
            self.flush_failed(&failed.to_string());
        }
        if self.flush_remaining.is_empty() {
            self.finish_flush(&Ok(()));
        }
    }

    fn is_unfinished(&self) -> bool {
        !(self.flush_remaining.is_empty() && self.next_flush_waiters.is_empty())
    }

    fn recover(&mut self) {
        // Includes the callers that wait for the next flush: a panic might repeat for ever.
        self.flush_waiters.append(&mut self.next_flush_waiters);
        self.flush_failed("the store's thread failed");
    }

    fn on_shutdown(&mut self, slot: &mut ConnectionSlot) {
        self.flush_remaining = self.touches.begin_flush();
        while !self.flush_remaining.is_empty() {
            let touches = self.next_touches();
            if self.run_transaction(slot, &touches, &[]).is_err() {
                return;
            }
        }
    }
}

/// The answer of a change with a transaction of its own. The insert finds [`Applied::Conflict`] after the user's row has
/// been changed: that rolls a whole batch back, and is answered here. The case is rare, since digests are random and a
/// public id has nine digits.
fn single_result(result: Result<Vec<Applied>, TransactionError>) -> Result<Applied, StoreError> {
    match result {
        Ok(applied) => applied
            .into_iter()
            .next()
            .ok_or_else(|| StoreError::Unavailable("no answer".to_owned())),
        Err(TransactionError::RolledBack(
            ChangeError::Conflict
            | ChangeError::Database(Error::DatabaseError(DatabaseErrorKind::UniqueViolation, _)),
        )) => Ok(Applied::Conflict),
        Err(failed) => Err(StoreError::Unavailable(failed.to_string())),
    }
}

/// Whether a transaction failed only because of another one. PostgreSQL's deadlock has no kind of its own.
fn is_transaction_conflict(error: &Error) -> bool {
    let Error::DatabaseError(kind, about) = error else { return false };
    matches!(kind, DatabaseErrorKind::SerializationFailure) || about.message().contains("deadlock")
}

fn is_read_only(error: &ChangeError) -> bool {
    matches!(
        error,
        ChangeError::Database(Error::DatabaseError(DatabaseErrorKind::ReadOnlyTransaction, _))
    )
}

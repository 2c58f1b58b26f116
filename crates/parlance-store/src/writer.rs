//! The lane of changes: one transaction for all that has gathered, and the answers after its commit.

use std::sync::{Arc, mpsc};

use diesel::result::{DatabaseErrorKind, Error};
use parlance_core::SessionId;
use parlance_core::ports::{Applied, Change, StoreError, Touch};

use crate::changes::{Fault, Scene, write_touches};
use crate::connection::Held;
use crate::lane::Work;
use crate::patience::Patience;
use crate::queue::{Reply, answer};
use crate::touches::Touches;
use crate::turn::Turn;

/// How many changes share a transaction at most.
const MOST: usize = 512;
/// How many touches one transaction writes at most, so that a flush of very many holds up no change for long.
const MOST_TOUCHES: usize = 4096;
/// How often a transaction is tried that loses to another one.
const TRIES: usize = 4;

/// Something to write.
pub(crate) enum Write {
    Change(Change, Reply<Applied>),
    Flush(Reply<()>),
    /// Flush, and drop this once it is done.
    Tick(mpsc::Sender<()>),
}

/// Makes changes, and writes touches.
pub(crate) struct Writer {
    touches: Arc<Touches>,
    /// What the flush under way has still to write, and who waits for it.
    left: Vec<SessionId>,
    serves: Vec<Waiter>,
    /// Who waits for the flush after it.
    waiting: Vec<Waiter>,
}

#[expect(dead_code, reason = "the ticker's end is told by being dropped")]
enum Waiter {
    Flush(Reply<()>),
    Tick(mpsc::Sender<()>),
}

/// Why a transaction was not committed, as far as is known.
#[derive(Debug, thiserror::Error)]
enum Failed {
    /// One of its parts is at fault. Nothing is done.
    #[error(transparent)]
    Part(Fault),
    /// Whether it is done is unknown, or nothing can be done now.
    #[error("{0}")]
    Unknown(String),
}

impl Writer {
    pub(crate) fn new(touches: Arc<Touches>) -> Self {
        Self { touches, left: Vec::new(), serves: Vec::new(), waiting: Vec::new() }
    }

    /// Makes changes in one transaction, and writes some touches before them; tries again when another transaction was in the way.
    fn transact(
        &self,
        held: &mut Held,
        touches: &[Touch],
        changes: &[Change],
    ) -> Result<Vec<Applied>, Failed> {
        let mut tries = 0;
        loop {
            tries += 1;
            match self.attempt(held, touches, changes) {
                Err(Failed::Part(Fault::Database(error)))
                    if tries < TRIES && lost_to_another(&error) => {}
                done => return done,
            }
        }
    }

    fn attempt(
        &self,
        held: &mut Held,
        touches: &[Touch],
        changes: &[Change],
    ) -> Result<Vec<Applied>, Failed> {
        // Nothing is done before it has begun, so a connection that died in idleness is no failure.
        held.twice(|any| any.begin()).map_err(|setback| Failed::Unknown(setback.text))?;
        let any = match held.get() {
            Ok(any) => any,
            Err(text) => {
                // The transaction is open on it, and the next one would not begin.
                held.discard();
                return Err(Failed::Unknown(text));
            }
        };
        let mut scene = Scene::new(any, &self.touches);
        let work = write_touches(scene.any, touches).map_err(Fault::from);
        let work = work.and_then(|()| scene.apply(changes));
        let consumed = scene.consumed;
        match work {
            Ok(applied) => {
                if let Err(error) = any.commit() {
                    held.discard();
                    return Err(Failed::Unknown(error.to_string()));
                }
                // What is committed to a file that nobody finds any more is not done.
                held.verify().map_err(Failed::Unknown)?;
                consumed.into_iter().for_each(|touch| self.touches.consumed(touch));
                Ok(applied)
            }
            Err(fault) => {
                // A server that no longer writes is not the one we want.
                if is_read_only(&fault) || any.rollback().is_err() {
                    held.discard();
                    return Err(Failed::Unknown(fault.to_string()));
                }
                Err(Failed::Part(fault))
            }
        }
    }

    /// One turn's work. The error is about the touches; each change has its answer.
    fn write(
        &self,
        held: &mut Held,
        touches: &[Touch],
        changes: Vec<Change>,
        replies: Vec<Reply<Applied>>,
    ) -> Result<(), Failed> {
        if touches.is_empty() && changes.is_empty() {
            return Ok(());
        }
        match self.transact(held, touches, &changes) {
            Ok(applied) => {
                replies
                    .into_iter()
                    .zip(applied)
                    .for_each(|(reply, applied)| answer(reply, Ok(applied)));
                Ok(())
            }
            Err(Failed::Part(fault)) if touches.is_empty() && changes.len() == 1 => {
                let result = alone(Err(Failed::Part(fault)));
                replies.into_iter().for_each(|reply| answer(reply, result.clone()));
                Ok(())
            }
            Err(Failed::Part(_)) => {
                let flushed = if touches.is_empty() {
                    Ok(())
                } else {
                    self.transact(held, touches, &[]).map(drop)
                };
                self.one_by_one(held, changes, replies);
                flushed
            }
            Err(failed @ Failed::Unknown(_)) => {
                replies.into_iter().for_each(|reply| {
                    answer(reply, Err(StoreError::Unavailable(failed.to_string())))
                });
                if touches.is_empty() { Ok(()) } else { Err(failed) }
            }
        }
    }

    /// Makes each change in a transaction of its own, so that only the bad one fails.
    fn one_by_one(&self, held: &mut Held, changes: Vec<Change>, replies: Vec<Reply<Applied>>) {
        let mut patience = Patience::default();
        let late = || Err(StoreError::Unavailable("the database is locked or too slow".to_owned()));
        for (change, reply) in changes.into_iter().zip(replies) {
            let result = patience.bear(|| alone(self.transact(held, &[], &[change])));
            answer(reply, result.unwrap_or_else(late));
        }
    }

    /// The next touches to write. Begins a flush if one is wanted and none is under way.
    fn next_touches(&mut self) -> Vec<Touch> {
        if self.left.is_empty() && !self.waiting.is_empty() {
            self.left = self.touches.begin();
            self.serves = std::mem::take(&mut self.waiting);
        }
        let ids = self.left.split_off(self.left.len().saturating_sub(MOST_TOUCHES));
        self.touches.leaving(&ids)
    }

    fn flush_failed(&mut self, text: &str) {
        self.left.clear();
        self.touches.failed();
        self.finish_flush(&Err(StoreError::Unavailable(text.to_owned())));
    }

    fn finish_flush(&mut self, result: &Result<(), StoreError>) {
        for waiter in self.serves.drain(..) {
            match waiter {
                Waiter::Flush(reply) => answer(reply, result.clone()),
                Waiter::Tick(_) => {}
            }
        }
    }
}

impl Work for Writer {
    type Job = Write;
    const MOST: usize = MOST;

    fn turn(&mut self, jobs: Vec<Write>, held: &mut Held) {
        // An operator hears of a file that was replaced within a tick, even if nobody asks for anything.
        let _told = held.verify();
        let mut asked = Vec::new();
        for job in jobs {
            match job {
                Write::Change(change, reply) => asked.push((change, reply)),
                Write::Flush(reply) => self.waiting.push(Waiter::Flush(reply)),
                Write::Tick(done) => self.waiting.push(Waiter::Tick(done)),
            }
        }
        // Stable: a failure is counted before the next try asks for a place.
        asked.sort_by_cached_key(|(change, _)| Turn::of(change));
        let (changes, replies) = asked.into_iter().unzip();
        let touches = self.next_touches();
        if let Err(failed) = self.write(held, &touches, changes, replies) {
            self.flush_failed(&failed.to_string());
        }
        if self.left.is_empty() {
            self.finish_flush(&Ok(()));
        }
    }

    fn is_unfinished(&self) -> bool {
        !(self.left.is_empty() && self.waiting.is_empty())
    }

    fn recover(&mut self) {
        // Those who wait for the next flush too: what panics once might panic for ever.
        self.serves.append(&mut self.waiting);
        self.flush_failed("the store's thread failed");
    }

    fn last(&mut self, held: &mut Held) {
        self.left = self.touches.begin();
        while !self.left.is_empty() {
            let touches = self.next_touches();
            if self.transact(held, &touches, &[]).is_err() {
                return;
            }
        }
    }
}

/// The answer of a change that had a transaction to itself.
fn alone(result: Result<Vec<Applied>, Failed>) -> Result<Applied, StoreError> {
    match result {
        Ok(applied) => applied
            .into_iter()
            .next()
            .ok_or_else(|| StoreError::Unavailable("no answer".to_owned())),
        Err(Failed::Part(
            Fault::Taken
            | Fault::Database(Error::DatabaseError(DatabaseErrorKind::UniqueViolation, _)),
        )) => Ok(Applied::Taken),
        Err(failed) => Err(StoreError::Unavailable(failed.to_string())),
    }
}

/// Whether a transaction failed only because another one was there. PostgreSQL's deadlock has no kind of its own.
fn lost_to_another(error: &Error) -> bool {
    let Error::DatabaseError(kind, about) = error else { return false };
    matches!(kind, DatabaseErrorKind::SerializationFailure) || about.message().contains("deadlock")
}

fn is_read_only(fault: &Fault) -> bool {
    matches!(
        fault,
        Fault::Database(Error::DatabaseError(DatabaseErrorKind::ReadOnlyTransaction, _))
    )
}

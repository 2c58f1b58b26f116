//! Write-behind of uses.
//!
//! A use is merged into `pending` when it happens. A flush moves all of `pending` into `flushing` and writes `flushing`. The
//! next flush moves the written uses into `flushed` at its beginning, and the flush after that drops them. So all uses
//! that a query's snapshot may have missed are in one of the three when the query ends, unless two flushes began
//! meanwhile; [`Touches::overlay`] detects that, and the query is run again.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use parlance_core::ports::Touch;
use parlance_core::{Session, SessionId, Timestamp};

/// The touches of this process that may not be in the database yet.
#[derive(Debug, Default)]
pub(crate) struct Touches {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    pending: HashMap<SessionId, Touch>,
    flushing: HashMap<SessionId, Touch>,
    flushed: HashMap<SessionId, Touch>,
    generation: u64,
}

/// A point in the sequence of flushes, taken before a query.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Generation(u64);

impl Touches {
    /// Merges a use with the others of its session.
    pub(crate) fn record(&self, touch: Touch) {
        merge_into(&mut self.lock().pending, touch);
    }

    /// Must be called before a query with an answer to overlay.
    pub(crate) fn generation(&self) -> Generation {
        Generation(self.lock().generation)
    }

    /// Counts the touches into sessions that a query since `generation` has found. `false`: impossible, run the query again.
    pub(crate) fn overlay<'s>(
        &self,
        generation: Generation,
        sessions: impl Iterator<Item = &'s mut Session>,
    ) -> bool {
        let state = self.lock();
        if state.generation > generation.0 + 1 {
            return false;
        }
        sessions.for_each(|session| state.apply_to(session));
        true
    }

    /// Counts the touches into one session; for the write worker, which nothing can overtake.
    pub(crate) fn apply_to(&self, session: &mut Session) {
        self.lock().apply_to(session);
    }

    /// The merged use of one session.
    pub(crate) fn get(&self, id: SessionId) -> Option<Touch> {
        self.lock().get(id)
    }

    /// Begins a flush, after the previous one has ended. Returns its sessions in the order of their ids: two nodes that
    /// write the same sessions then lock rows in the same order.
    pub(crate) fn begin_flush(&self) -> Vec<SessionId> {
        let state = &mut *self.lock();
        if state.pending.is_empty() && state.flushing.is_empty() && state.flushed.is_empty() {
            return Vec::new();
        }
        state.flushed = std::mem::replace(&mut state.flushing, std::mem::take(&mut state.pending));
        state.generation += 1;
        let mut ids: Vec<_> = state.flushing.keys().copied().collect();
        ids.sort_unstable();
        ids
    }

    /// The touches to write for these sessions.
    pub(crate) fn flushing(&self, ids: &[SessionId]) -> Vec<Touch> {
        let state = self.lock();
        ids.iter().filter_map(|id| state.flushing.get(id)).copied().collect()
    }

    /// The flush failed: all of its touches will be written again, whether or not they were written.
    pub(crate) fn flush_failed(&self) {
        let state = &mut *self.lock();
        for (_, touch) in state.flushing.drain() {
            merge_into(&mut state.pending, touch);
        }
    }

    /// A committed change has counted this touch in, and may have set an earlier expiry: the touch must not be written
    /// any more.
    pub(crate) fn mark_consumed(&self, touch: Touch) {
        let state = &mut *self.lock();
        let pending = state.pending.get(&touch.id).copied();
        // A later use that came in meanwhile still counts.
        if pending.is_some_and(|pending| merge(pending, touch) == touch) {
            state.pending.remove(&touch.id);
        }
        state.flushing.remove(&touch.id);
        state.flushed.remove(&touch.id);
        // A query under way may have read the row before the change.
        state.generation += 2;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn apply_to(&self, session: &mut Session) {
        if session.revoked.is_some() {
            return;
        }
        if let Some(touch) = self.get(session.id) {
            session.last_used = session.last_used.max(Some(touch.used));
            // A session without an expiry keeps none: a use never shortens a lifetime.
            session.expires = session
                .expires
                .map(|expires| touch.expires.map_or(expires, |touch| touch.max(expires)));
        }
    }

    fn get(&self, id: SessionId) -> Option<Touch> {
        [&self.pending, &self.flushing, &self.flushed]
            .into_iter()
            .filter_map(|touches| touches.get(&id))
            .copied()
            .reduce(merge)
    }
}

/// Whether a use that may not be written yet keeps its session from having expired.
pub(crate) fn keeps_alive(touch: Option<Touch>, now: Timestamp) -> bool {
    touch.and_then(|touch| touch.expires).is_some_and(|expires| now < expires)
}

fn merge(one: Touch, other: Touch) -> Touch {
    Touch { id: one.id, used: one.used.max(other.used), expires: one.expires.max(other.expires) }
}

fn merge_into(touches: &mut HashMap<SessionId, Touch>, touch: Touch) {
    touches.entry(touch.id).and_modify(|known| *known = merge(*known, touch)).or_insert(touch);
}

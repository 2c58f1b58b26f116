//! Uses that are written behind.
//!
//! A use is merged into `fresh` when it happens. A flush moves all of `fresh` into `leaving` and writes that; what has been written moves on
//! into `gone` when the next flush begins, and is dropped at the one after. So whatever a query's snapshot may have missed is in one of
//! the three when the query ends, unless two flushes began meanwhile; [`Touches::overlay`] notices that, and the query is made again.

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
    fresh: HashMap<SessionId, Touch>,
    leaving: HashMap<SessionId, Touch>,
    gone: HashMap<SessionId, Touch>,
    moves: u64,
}

/// A moment in the life of [`Touches`], before a query.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mark(u64);

impl Touches {
    /// Merges a use with the others of its session.
    pub(crate) fn note(&self, touch: Touch) {
        merge(&mut self.lock().fresh, touch);
    }

    /// To be taken before a query whose answer will be overlaid.
    pub(crate) fn mark(&self) -> Mark {
        Mark(self.lock().moves)
    }

    /// Counts the touches into sessions that a query since `mark` has found. `false`: it cannot, ask again.
    pub(crate) fn overlay<'s>(
        &self,
        mark: Mark,
        sessions: impl Iterator<Item = &'s mut Session>,
    ) -> bool {
        let state = self.lock();
        if state.moves > mark.0 + 1 {
            return false;
        }
        sessions.for_each(|session| state.count_into(session));
        true
    }

    /// Counts the touches into one session; for the lane that flushes, which nothing can overtake.
    pub(crate) fn count_into(&self, session: &mut Session) {
        self.lock().count_into(session);
    }

    /// What is known of one session's uses.
    pub(crate) fn of(&self, id: SessionId) -> Option<Touch> {
        self.lock().of(id)
    }

    /// Begins a flush; the last one is over. Which sessions it is about, in the order of their ids: two nodes that write the same ones
    /// then meet in the same order.
    pub(crate) fn begin(&self) -> Vec<SessionId> {
        let state = &mut *self.lock();
        if state.fresh.is_empty() && state.leaving.is_empty() && state.gone.is_empty() {
            return Vec::new();
        }
        state.gone = std::mem::replace(&mut state.leaving, std::mem::take(&mut state.fresh));
        state.moves += 1;
        let mut ids: Vec<_> = state.leaving.keys().copied().collect();
        ids.sort_unstable();
        ids
    }

    /// What is to be written of these sessions.
    pub(crate) fn leaving(&self, ids: &[SessionId]) -> Vec<Touch> {
        let state = self.lock();
        ids.iter().filter_map(|id| state.leaving.get(id)).copied().collect()
    }

    /// The flush failed: whatever of it was or was not written, it will be written again.
    pub(crate) fn failed(&self) {
        let state = &mut *self.lock();
        for (_, touch) in state.leaving.drain() {
            merge(&mut state.fresh, touch);
        }
    }

    /// A committed change has counted this touch in, and may have set an earlier expiry: it must not be written any more.
    pub(crate) fn consumed(&self, touch: Touch) {
        let state = &mut *self.lock();
        let fresh = state.fresh.get(&touch.id).copied();
        // A later use has come in meanwhile: that one still counts.
        if fresh.is_some_and(|fresh| later(fresh, touch) == touch) {
            state.fresh.remove(&touch.id);
        }
        state.leaving.remove(&touch.id);
        state.gone.remove(&touch.id);
        // A query that is under way may have read the row as it was before.
        state.moves += 2;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn count_into(&self, session: &mut Session) {
        if session.revoked.is_some() {
            return;
        }
        if let Some(touch) = self.of(session.id) {
            session.last_used = session.last_used.max(Some(touch.used));
            // A session without an expiry keeps none: a use never shortens.
            session.expires = session
                .expires
                .map(|expires| touch.expires.map_or(expires, |touch| touch.max(expires)));
        }
    }

    fn of(&self, id: SessionId) -> Option<Touch> {
        [&self.fresh, &self.leaving, &self.gone]
            .into_iter()
            .filter_map(|touches| touches.get(&id))
            .copied()
            .reduce(later)
    }
}

/// Whether a use that may not be written yet keeps its session from having expired.
pub(crate) fn outlasts(touch: Option<Touch>, now: Timestamp) -> bool {
    touch.and_then(|touch| touch.expires).is_some_and(|expires| now < expires)
}

fn later(one: Touch, other: Touch) -> Touch {
    Touch { id: one.id, used: one.used.max(other.used), expires: one.expires.max(other.expires) }
}

fn merge(touches: &mut HashMap<SessionId, Touch>, touch: Touch) {
    touches.entry(touch.id).and_modify(|known| *known = later(*known, touch)).or_insert(touch);
}

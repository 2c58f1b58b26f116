//! The pages of users and sessions that operators ask for, in memory.

use super::State;
use crate::ports::{SessionQuery, UserQuery};
use crate::{Session, User};

impl State {
    pub(super) fn find_users(&self, query: &UserQuery) -> Vec<User> {
        let UserQuery { id, after, limit } = query;
        let of_id = |user: &&User| id.is_none_or(|id| user.id == id);
        let behind = |user: &&User| after.as_ref().is_none_or(|after| user.canonical > *after);
        let found = self.users.values().filter(of_id).filter(behind);
        found.take(*limit as usize).cloned().collect()
    }

    pub(super) fn find_sessions(&self, query: &SessionQuery) -> Vec<(Session, User)> {
        let SessionQuery { id, user, dialect, since, live_at, after, limit } = query;
        let mut found: Vec<_> = self
            .sessions
            .values()
            .filter(|session| id.is_none_or(|id| session.id == id))
            .filter(|session| dialect.as_ref().is_none_or(|of| session.dialect == *of))
            .filter(|session| since.is_none_or(|since| session.created >= since))
            .filter(|session| after.is_none_or(|after| (session.created, session.id) > after))
            .filter_map(|session| Some((session, self.user(session.user)?)))
            .filter(|(_, owner)| user.as_ref().is_none_or(|of| owner.canonical == *of))
            .filter(|(session, owner)| live_at.is_none_or(|at| session.is_live(owner, at)))
            .map(|(session, owner)| (session.clone(), owner.clone()))
            .collect();
        found.sort_by_key(|(session, _)| (session.created, session.id));
        found.truncate(*limit as usize);
        found
    }
}

//! The reference store: the simplest store that keeps every rule. In memory, one lock, every touch at once. For tests,
//! and as the oracle of the suite.

mod keys;
mod login_attempts;
mod port;
mod reports;

use std::collections::{BTreeMap, HashMap};
use std::future::ready;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::lockout::Reservation;
use crate::ports::{Applied, Change, SealedKey, StoreError, StoreFuture};
use crate::{
    CanonicalName, Client, ConcurrentSessions, Session, SessionId, Timestamp, User, UserId,
    UserName,
};

use self::login_attempts::LoginAttempts;

/// The store in memory.
#[derive(Debug, Default)]
pub struct ReferenceStore {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    users: BTreeMap<CanonicalName, User>,
    sessions: HashMap<SessionId, Session>,
    keys: Vec<SealedKey>,
    issuers: BTreeMap<String, String>,
    clients: BTreeMap<String, Client>,
    login_attempts: LoginAttempts,
    unavailable: bool,
}

impl ReferenceStore {
    /// Makes the store unavailable, or available again. An unavailable store answers every call with
    /// [`StoreError::Unavailable`].
    pub fn set_unavailable(&self, away: bool) {
        self.lock().unavailable = away;
    }

    /// Forgets everything, and is available again.
    pub fn reset(&self) {
        *self.lock() = State::default();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answer<T: Send + 'static>(&self, act: impl FnOnce(&mut State) -> T) -> StoreFuture<T> {
        let mut state = self.lock();
        let answer = if state.unavailable {
            Err(StoreError::Unavailable("set to unavailable".to_owned()))
        } else {
            Ok(act(&mut state))
        };
        Box::pin(ready(answer))
    }
}

impl State {
    fn user(&self, id: UserId) -> Option<&User> {
        self.users.values().find(|user| user.id == id)
    }

    fn is_live(&self, session: &Session, now: Timestamp) -> bool {
        self.user(session.user).is_some_and(|user| session.is_live(user, now))
    }

    fn edit_user(&mut self, name: &CanonicalName, edit: impl FnOnce(&mut User)) -> Applied {
        let Some(user) = self.users.get_mut(name) else { return Applied::Refused };
        edit(user);
        user.version += 1;
        Applied::Done
    }

    fn rename_user(&mut self, old: &CanonicalName, name: &UserName) -> Applied {
        let new = name.canonical();
        if !self.users.contains_key(old) {
            return Applied::Refused;
        }
        if new != *old && self.users.contains_key(&new) {
            return Applied::Conflict;
        }
        self.login_attempts.rename(old, &new);
        let Some(mut user) = self.users.remove(old) else { return Applied::Refused };
        (user.name, user.canonical) = (name.as_str().to_owned(), new.clone());
        user.epoch += 1;
        user.version += 1;
        self.users.insert(new, user);
        Applied::Done
    }

    fn open_session(
        &mut self,
        mut session: Session,
        concurrent_sessions: ConcurrentSessions,
        rehash: Option<crate::PasswordHash>,
        session_limit: Option<u32>,
        reservation: Option<&Reservation>,
    ) -> Applied {
        let now = session.created;
        let may = |user: &&mut User| {
            user.id == session.user
                && user.enabled
                && !user.password_expired
                && user.epoch == session.epoch
        };
        let Some(user) = self.users.values_mut().find(may) else { return Applied::Refused };
        let user_now = user.clone();
        let is_concurrent = |other: &Session| {
            other.user == session.user
                && other.dialect == session.dialect
                && other.is_live(&user_now, now)
        };
        let taken_over = match concurrent_sessions {
            ConcurrentSessions::TakeOver => self
                .sessions
                .values()
                .filter(|other| is_concurrent(other))
                .max_by_key(|other| (other.created, other.id))
                .map(|s| s.id),
            ConcurrentSessions::Allow | ConcurrentSessions::EndOthers => None,
        };
        let conflicts = |other: &&Session| {
            other.digest == session.digest
                || (taken_over.is_none() && other.id == session.id)
                || (taken_over.is_none()
                    && other.public_id.is_some()
                    && other.public_id == session.public_id
                    && other.revoked.is_none())
        };
        if self.sessions.values().any(|other| conflicts(&other)) {
            return Applied::Conflict;
        }
        user.last_login = Some(now);
        if let Some(reservation) = reservation {
            self.login_attempts.reset(reservation);
        }
        if rehash.is_some() {
            user.password = rehash;
        }
        if let Some(old) = taken_over.and_then(|id| self.sessions.get_mut(&id)) {
            old.digest = session.digest;
            old.last_used = Some(now);
            old.expires = session
                .expires
                .map(|expires| old.hard_end.map_or(expires, |end| expires.min(end)))
                .or(old.hard_end);
            old.address = session.address;
            old.version += 1;
            return Applied::Opened(Box::new(old.clone()));
        }
        if concurrent_sessions == ConcurrentSessions::EndOthers {
            for other in self.sessions.values_mut().filter(|other| is_concurrent(other)) {
                other.revoked = Some(now);
                other.version += 1;
            }
        }
        session.version = 0;
        self.sessions.insert(session.id, session.clone());
        if let Some(most) = session_limit {
            self.enforce_session_limit(&session, &user_now, most);
        }
        Applied::Opened(Box::new(session))
    }

    /// Enforces the session limit beside a new session: drops the user's dead sessions first, then the oldest.
    fn enforce_session_limit(&mut self, new: &Session, user: &User, most: u32) {
        let others =
            self.sessions.values().filter(|other| other.user == new.user && other.id != new.id);
        let rank = |other: &Session| (other.is_live(user, new.created), other.created, other.id);
        let mut others: Vec<_> = others.map(rank).collect();
        others.sort_unstable();
        let over = (others.len() + 1).saturating_sub(most as usize);
        others.iter().take(over).for_each(|(.., id)| drop(self.sessions.remove(id)));
    }

    fn end_session(&mut self, id: SessionId, now: Timestamp, live_only: bool) -> Applied {
        let live = self.sessions.get(&id).is_some_and(|session| self.is_live(session, now));
        match self.sessions.get_mut(&id) {
            Some(session) if session.revoked.is_none() && (live || !live_only) => {
                session.revoked = Some(now);
                session.version += 1;
                Applied::Done
            }
            _ => Applied::Refused,
        }
    }

    fn apply(&mut self, change: Change) -> Applied {
        match change {
            Change::OpenSession {
                session,
                concurrent_sessions,
                rehash,
                session_limit,
                reservation,
            } => self.open_session(
                *session,
                concurrent_sessions,
                rehash,
                session_limit,
                reservation.as_deref(),
            ),
            Change::ReserveAttempt(attempt) => self.login_attempts.reserve(&attempt),
            Change::RecordFailure(reservation) => self.login_attempts.record_failure(&reservation),
            Change::ReleaseAttempt(reservation) => self.login_attempts.release(&reservation),
            Change::Unlock(name) => {
                self.login_attempts.unlock(&name, self.users.get(&name).map(|user| user.id))
            }
            Change::TrustAddress(name, address, now) => match self.users.get(&name) {
                Some(user) => self.login_attempts.trust(user.id, address, now),
                None => Applied::Refused,
            },
            Change::PurgeAttempts { before, max_unknown_names, limit } => {
                self.login_attempts.purge(before, max_unknown_names, limit)
            }
            Change::RenewSession { id, now, expires } => {
                let live = self.sessions.get(&id).is_some_and(|session| self.is_live(session, now));
                match self.sessions.get_mut(&id).filter(|_| live) {
                    Some(session) => {
                        session.expires = expires;
                        session.last_used = Some(now);
                        session.version += 1;
                        Applied::Done
                    }
                    None => Applied::Refused,
                }
            }
            Change::EndSession { id, now } => self.end_session(id, now, false),
            Change::RevokeSession(id, now) => self.end_session(id, now, true),
            Change::DeleteDeadSession { id, now } => {
                let dead =
                    self.sessions.get(&id).is_some_and(|session| !self.is_live(session, now));
                if dead && self.sessions.remove(&id).is_some() {
                    Applied::Done
                } else {
                    Applied::Refused
                }
            }
            Change::RecordLogin { user, now } => {
                match self.users.values_mut().find(|other| other.id == user && other.enabled) {
                    Some(user) => {
                        user.last_login = Some(now);
                        Applied::Done
                    }
                    None => Applied::Refused,
                }
            }
            Change::AddUser(user) => {
                if self.users.contains_key(&user.canonical) || self.user(user.id).is_some() {
                    return Applied::Conflict;
                }
                self.users.insert(user.canonical.clone(), *user);
                Applied::Done
            }
            Change::UpsertExternalUser(user) => {
                let old = self.users.values().find(|old| old.id == user.id).cloned();
                if let Some(other) =
                    self.users.get(&user.canonical).filter(|other| other.id != user.id)
                {
                    let id = other.id;
                    self.sessions.retain(|_, session| session.user != id);
                    self.login_attempts.remove_user(id);
                }
                let kept = match old {
                    Some(old) => {
                        self.users.remove(&old.canonical);
                        User { name: user.name, canonical: user.canonical, ..old }
                    }
                    None => *user,
                };
                self.users.insert(kept.canonical.clone(), kept);
                Applied::Done
            }
            Change::SetPassword(name, hash) => self.edit_user(&name, |user| {
                user.password = Some(hash);
                user.password_expired = false;
                user.epoch += 1;
            }),
            Change::SetEnabled(name, enabled) => self.edit_user(&name, |user| {
                user.enabled = enabled;
                user.epoch += i64::from(!enabled);
            }),
            Change::ExpirePassword(name) => {
                self.edit_user(&name, |user| user.password_expired = true)
            }
            Change::SetRoles(name, roles) => self.edit_user(&name, |user| user.roles = roles),
            Change::SetUnrestricted(name, unrestricted) => {
                self.edit_user(&name, |user| user.unrestricted = unrestricted)
            }
            Change::RenameUser(old, name) => self.rename_user(&old, &name),
            Change::RevokeUser(name) => self.edit_user(&name, |user| user.epoch += 1),
            Change::RevokeAll => {
                self.users.values_mut().for_each(|user| user.epoch += 1);
                Applied::Rows(self.users.len() as u64)
            }
            Change::RemoveUser(name) => match self.users.remove(&name) {
                Some(user) => {
                    self.sessions.retain(|_, session| session.user != user.id);
                    self.login_attempts.remove_user(user.id);
                    Applied::Done
                }
                None => Applied::Refused,
            },
            Change::AddKey { key, expected_newest } => {
                let newest = self.keys_for(&key.purpose).next_back();
                if newest.map(|newest| &newest.kid) != expected_newest.as_ref() {
                    return Applied::Refused;
                }
                if self.keys.iter().any(|other| other.kid == key.kid) {
                    return Applied::Conflict;
                }
                self.insert_key(*key);
                Applied::Done
            }
            Change::DropKey { kid, now, fallback } => self.drop_key(&kid, now, fallback),
            Change::AddClient(client) => {
                if self.clients.contains_key(&client.name) {
                    return Applied::Conflict;
                }
                self.clients.insert(client.name.clone(), *client);
                Applied::Done
            }
            Change::SetIssuer { purpose, issuer, replace } => {
                let kept = self.issuers.get(&purpose);
                if kept.is_some_and(|kept| !replace || *kept == issuer) {
                    return Applied::Refused;
                }
                self.issuers.insert(purpose, issuer);
                Applied::Done
            }
            Change::RemoveClient(name) => match self.clients.remove(&name) {
                Some(_) => Applied::Done,
                None => Applied::Refused,
            },
            Change::PurgeSessions { before, limit } => {
                let dead = |session: &&Session| {
                    let gone = |end: Option<Timestamp>| end.is_some_and(|end| end < before);
                    gone(session.revoked) || gone(session.expires) || gone(session.hard_end)
                };
                let ids: Vec<_> = self
                    .sessions
                    .values()
                    .filter(dead)
                    .take(limit as usize)
                    .map(|session| session.id)
                    .collect();
                ids.iter().for_each(|id| drop(self.sessions.remove(id)));
                Applied::Rows(ids.len() as u64)
            }
        }
    }
}

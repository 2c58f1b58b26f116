//! The simplest store that keeps every rule: in memory, one lock, every touch at once. For tests, and as the oracle of the suite.

mod keys;
mod ladders;
mod reports;

use std::collections::{BTreeMap, HashMap};
use std::future::ready;
use std::sync::{Mutex, MutexGuard, PoisonError};

use uuid::Uuid;

use crate::lockout::{Rung, Slot};
use crate::ports::{
    Applied, Change, Pending, SealedKey, SessionQuery, Store, StoreError, Touch, UserPage,
    UserQuery,
};
use crate::{
    CanonicalName, Client, Digest, Rivals, Session, SessionId, Timestamp, User, UserId, UserName,
};

use self::ladders::Ladders;

/// The store in memory.
#[derive(Debug, Default)]
pub struct Reference {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    users: BTreeMap<CanonicalName, User>,
    sessions: HashMap<SessionId, Session>,
    keys: Vec<SealedKey>,
    issuers: BTreeMap<String, String>,
    clients: BTreeMap<String, Client>,
    ladders: Ladders,
    away: bool,
}

impl Reference {
    /// Takes the store away, or brings it back: while it is away every call answers [`StoreError::Unavailable`].
    pub fn set_away(&self, away: bool) {
        self.lock().away = away;
    }

    /// Forgets everything, and is there again.
    pub fn reset(&self) {
        *self.lock() = State::default();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answer<T: Send + 'static>(&self, act: impl FnOnce(&mut State) -> T) -> Pending<T> {
        let mut state = self.lock();
        let answer = if state.away {
            Err(StoreError::Unavailable("taken away".to_owned()))
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

    fn rename(&mut self, old: &CanonicalName, name: &UserName) -> Applied {
        let new = name.canonical();
        if !self.users.contains_key(old) {
            return Applied::Refused;
        }
        if new != *old && self.users.contains_key(&new) {
            return Applied::Taken;
        }
        self.ladders.rename(old, &new);
        let Some(mut user) = self.users.remove(old) else { return Applied::Refused };
        (user.name, user.canonical) = (name.as_str().to_owned(), new.clone());
        user.epoch += 1;
        user.version += 1;
        self.users.insert(new, user);
        Applied::Done
    }

    fn open(
        &mut self,
        mut session: Session,
        rivals: Rivals,
        rehash: Option<crate::PasswordHash>,
        max_sessions: Option<u32>,
        slot: Option<&Slot>,
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
        let rival = |other: &Session| {
            other.user == session.user
                && other.dialect == session.dialect
                && other.is_live(&user_now, now)
        };
        let possessed = match rivals {
            Rivals::Possess => self
                .sessions
                .values()
                .filter(|other| rival(other))
                .max_by_key(|other| (other.created, other.id))
                .map(|s| s.id),
            Rivals::Allow | Rivals::Kill => None,
        };
        let taken = |other: &&Session| {
            other.digest == session.digest
                || (possessed.is_none() && other.id == session.id)
                || (possessed.is_none()
                    && other.sid.is_some()
                    && other.sid == session.sid
                    && other.revoked.is_none())
        };
        if self.sessions.values().any(|other| taken(&other)) {
            return Applied::Taken;
        }
        user.last_login = Some(now);
        if let Some(slot) = slot {
            self.ladders.succeeded(slot);
        }
        if rehash.is_some() {
            user.password = rehash;
        }
        if let Some(old) = possessed.and_then(|id| self.sessions.get_mut(&id)) {
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
        if rivals == Rivals::Kill {
            for other in self.sessions.values_mut().filter(|other| rival(other)) {
                other.revoked = Some(now);
                other.version += 1;
            }
        }
        session.version = 0;
        self.sessions.insert(session.id, session.clone());
        if let Some(most) = max_sessions {
            self.cap(&session, &user_now, most);
        }
        Applied::Opened(Box::new(session))
    }

    /// Drops what a user has beside a new session and beyond this number: the dead, then the oldest.
    fn cap(&mut self, new: &Session, user: &User, most: u32) {
        let others =
            self.sessions.values().filter(|other| other.user == new.user && other.id != new.id);
        let rank = |other: &Session| (other.is_live(user, new.created), other.created, other.id);
        let mut others: Vec<_> = others.map(rank).collect();
        others.sort_unstable();
        let over = (others.len() + 1).saturating_sub(most as usize);
        others.iter().take(over).for_each(|(.., id)| drop(self.sessions.remove(id)));
    }

    fn end(&mut self, id: SessionId, now: Timestamp, live_only: bool) -> Applied {
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
            Change::Open { session, rivals, rehash, max_sessions, slot } => {
                self.open(*session, rivals, rehash, max_sessions, slot.as_deref())
            }
            Change::Attempt(attempt) => self.ladders.attempt(&attempt),
            Change::Failed(slot) => self.ladders.failed(&slot),
            Change::GiveBack(slot) => self.ladders.give_back(&slot),
            Change::Unlock(name) => {
                self.ladders.unlock(&name, self.users.get(&name).map(|user| user.id))
            }
            Change::TrustAddress(name, address, now) => match self.users.get(&name) {
                Some(user) => self.ladders.trust(user.id, address, now),
                None => Applied::Refused,
            },
            Change::PurgeAttempts { before, unknown, limit } => {
                self.ladders.purge(before, unknown, limit)
            }
            Change::Renew { id, now, expires } => {
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
            Change::Close { id, now } => self.end(id, now, false),
            Change::RevokeSession(id, now) => self.end(id, now, true),
            Change::Forget { id, now } => {
                let dead =
                    self.sessions.get(&id).is_some_and(|session| !self.is_live(session, now));
                if dead && self.sessions.remove(&id).is_some() {
                    Applied::Done
                } else {
                    Applied::Refused
                }
            }
            Change::Bump { user, now } => {
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
                    return Applied::Taken;
                }
                self.users.insert(user.canonical.clone(), *user);
                Applied::Done
            }
            Change::KeepUser(user) => {
                let old = self.users.values().find(|old| old.id == user.id).cloned();
                if let Some(other) =
                    self.users.get(&user.canonical).filter(|other| other.id != user.id)
                {
                    let id = other.id;
                    self.sessions.retain(|_, session| session.user != id);
                    self.ladders.forget(id);
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
            Change::Rename(old, name) => self.rename(&old, &name),
            Change::RevokeUser(name) => self.edit_user(&name, |user| user.epoch += 1),
            Change::RevokeAll => {
                self.users.values_mut().for_each(|user| user.epoch += 1);
                Applied::Rows(self.users.len() as u64)
            }
            Change::RemoveUser(name) => match self.users.remove(&name) {
                Some(user) => {
                    self.sessions.retain(|_, session| session.user != user.id);
                    self.ladders.forget(user.id);
                    Applied::Done
                }
                None => Applied::Refused,
            },
            Change::AddKey { key, after } => {
                let newest = self.of_purpose(&key.purpose).next_back();
                if newest.map(|newest| &newest.kid) != after.as_ref() {
                    return Applied::Refused;
                }
                if self.keys.iter().any(|other| other.kid == key.kid) {
                    return Applied::Taken;
                }
                self.keep_key(*key);
                Applied::Done
            }
            Change::DropKey { kid, now, spare } => self.drop_key(&kid, now, spare),
            Change::AddClient(client) => {
                if self.clients.contains_key(&client.name) {
                    return Applied::Taken;
                }
                self.clients.insert(client.name.clone(), *client);
                Applied::Done
            }
            Change::KeepIssuer { purpose, issuer, replace } => {
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
            Change::Purge { before, limit } => {
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

impl Store for Reference {
    fn session(&self, digest: Digest) -> Pending<Option<(Session, User)>> {
        self.answer(|state| {
            let session = state.sessions.values().find(|session| session.digest == digest)?;
            Some((session.clone(), state.user(session.user)?.clone()))
        })
    }

    fn user(&self, name: CanonicalName) -> Pending<Option<User>> {
        self.answer(|state| state.users.get(&name).cloned())
    }

    fn users(&self, offset: u64, limit: u32) -> Pending<UserPage> {
        self.answer(|state| {
            let skip = usize::try_from(offset).unwrap_or(usize::MAX);
            let items = state.users.values().skip(skip).take(limit as usize).cloned().collect();
            UserPage { total: state.users.len() as u64, items }
        })
    }

    fn find_users(&self, query: UserQuery) -> Pending<Vec<User>> {
        self.answer(|state| state.find_users(&query))
    }

    fn sessions(&self, query: SessionQuery) -> Pending<Vec<(Session, User)>> {
        self.answer(|state| state.find_sessions(&query))
    }

    fn live(&self, now: Timestamp) -> Pending<Vec<(String, u64)>> {
        self.answer(|state| {
            let mut count = BTreeMap::new();
            for session in state.sessions.values().filter(|session| state.is_live(session, now)) {
                *count.entry(session.dialect.clone()).or_insert(0) += 1;
            }
            count.into_iter().collect()
        })
    }

    fn keys(&self) -> Pending<Vec<SealedKey>> {
        self.answer(|state| state.keys.clone())
    }

    fn issuer(&self, purpose: String) -> Pending<Option<String>> {
        self.answer(|state| state.issuers.get(&purpose).cloned())
    }

    fn client(&self, id: Uuid) -> Pending<Option<Client>> {
        self.answer(|state| state.clients.values().find(|client| client.id == id).cloned())
    }

    fn clients(&self) -> Pending<Vec<Client>> {
        self.answer(|state| state.clients.values().cloned().collect())
    }

    fn rung(&self, account: Digest) -> Pending<Option<Rung>> {
        self.answer(|state| state.ladders.rung(account))
    }

    fn ping(&self) -> Pending<()> {
        self.answer(|_| ())
    }

    fn apply(&self, change: Change) -> Pending<Applied> {
        self.answer(|state| state.apply(change))
    }

    fn touch(&self, touch: Touch) {
        let mut state = self.lock();
        if let Some(session) =
            state.sessions.get_mut(&touch.id).filter(|session| session.revoked.is_none())
        {
            session.last_used = session.last_used.max(Some(touch.used));
            // A session without an expiry keeps none: a use never shortens.
            session.expires = session
                .expires
                .map(|expires| touch.expires.map_or(expires, |touch| touch.max(expires)));
        }
    }

    fn flush(&self) -> Pending<()> {
        self.answer(|_| ())
    }
}

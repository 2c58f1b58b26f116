//! Each change as conditional statements, within a transaction that somebody else begins and commits.

use diesel::dsl::{insert_into, not};
use diesel::prelude::*;
use parlance_core::lockout::Slot;
use parlance_core::ports::{Applied, Change, Touch};
use parlance_core::{
    CanonicalName, PasswordHash, Rivals, Session, SessionId, Timestamp, User, UserName,
};

use crate::any::AnyConnection;
use crate::fragments::{MOST, OneOf, OrNothing, TouchAll};
use crate::live::is_live;
use crate::lockout;
use crate::many::Act;
use crate::rows::{Id, Moment, SessionRow, pack};
use crate::schema::{sessions, users};
use crate::services::{add_client, add_key, drop_key, keep_issuer, remove_client};
use crate::touches::{Touches, outlasts};

/// The users whose sessions one statement ends.
const REVOKED_AT_ONCE: i64 = 10_000;

/// Why a change cannot share its transaction.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    /// It found something taken after it had already changed something else: that must be undone.
    #[error("taken")]
    Taken,
    #[error(transparent)]
    Database(#[from] diesel::result::Error),
}

/// Where a batch of changes is made.
pub(crate) struct Scene<'s> {
    pub(crate) any: &'s mut AnyConnection,
    touches: &'s Touches,
    /// The touches that changes have counted in: once they are committed these must not be written.
    pub(crate) consumed: Vec<Touch>,
}

/// Writes touches: forward only, and to no session that has been ended.
pub(crate) fn write_touches(any: &mut AnyConnection, touches: &[Touch]) -> QueryResult<()> {
    touches.chunks(MOST).try_for_each(|chunk| TouchAll::new(chunk).execute(any).map(drop))
}

pub(crate) fn done(rows: usize) -> Applied {
    if rows > 0 { Applied::Done } else { Applied::Refused }
}

impl<'s> Scene<'s> {
    pub(crate) fn new(any: &'s mut AnyConnection, touches: &'s Touches) -> Self {
        Self { any, touches, consumed: Vec::new() }
    }

    /// Makes changes, one after the other; those that do the same to many sessions at a time.
    ///
    /// # Errors
    /// One of them cannot be made in this transaction, which is to be rolled back.
    pub(crate) fn apply(&mut self, changes: &[Change]) -> Result<Vec<Applied>, Fault> {
        let mut applied = Vec::with_capacity(changes.len());
        let mut left = changes;
        while let Some(change) = left.first() {
            let made = self.make(change, left)?;
            left = left.get(made.len()..).unwrap_or_default();
            applied.extend(made);
        }
        Ok(applied)
    }

    /// Makes a change, the first of those that are left, and with it as many of the next as are one statement with it.
    fn make(&mut self, change: &Change, left: &[Change]) -> Result<Vec<Applied>, Fault> {
        let made: Result<_, Fault> = match change {
            Change::Close { .. } => return Ok(self.act(Act::Close, left)?),
            Change::RevokeSession(..) => return Ok(self.act(Act::Revoke, left)?),
            Change::Renew { .. } => return Ok(self.act(Act::Renew, left)?),
            Change::Open { session, rivals, rehash, max_sessions, slot } => {
                self.open(session, *rivals, rehash.as_ref(), *max_sessions, slot.as_deref())
            }
            Change::Attempt(attempt) => Ok(lockout::attempt(self.any, attempt)?),
            Change::Failed(slot) => Ok(lockout::failed(self.any, slot)?),
            Change::GiveBack(slot) => Ok(lockout::give_back(self.any, slot)?),
            Change::Unlock(name) => Ok(lockout::unlock(self.any, name)?),
            Change::TrustAddress(name, address, now) => {
                Ok(lockout::trust_address(self.any, name, *address, *now)?)
            }
            Change::PurgeAttempts { before, unknown, limit } => {
                Ok(lockout::purge(self.any, *before, *unknown, *limit)?)
            }
            Change::Forget { id, now } => Ok(self.forget(*id, *now)?),
            Change::Bump { user, now } => {
                let user = users::table
                    .filter(users::id.eq(user.0.as_bytes().as_slice()).and(users::enabled));
                Ok(done(
                    diesel::update(user)
                        .set(users::last_login_at.eq(now.millis()))
                        .execute(self.any)?,
                ))
            }
            Change::AddUser(user) => Ok(self.add_user(user)?),
            Change::KeepUser(user) => Ok(self.keep_user(user)?),
            Change::SetPassword(name, hash) => Ok(self.set_password(name, hash)?),
            Change::SetEnabled(name, enabled) => {
                let epoch = users::epoch.eq(users::epoch + i64::from(!enabled));
                let set =
                    (users::enabled.eq(*enabled), epoch, users::version.eq(users::version + 1));
                Ok(done(diesel::update(named(name)).set(set).execute(self.any)?))
            }
            Change::ExpirePassword(name) => {
                let set = (users::password_expired.eq(true), users::version.eq(users::version + 1));
                Ok(done(diesel::update(named(name)).set(set).execute(self.any)?))
            }
            Change::SetRoles(name, roles) => {
                let set = (users::roles.eq(pack(roles)), users::version.eq(users::version + 1));
                Ok(done(diesel::update(named(name)).set(set).execute(self.any)?))
            }
            Change::SetUnrestricted(name, unrestricted) => {
                let unrestricted = users::unrestricted.eq(*unrestricted);
                let set = (unrestricted, users::version.eq(users::version + 1));
                Ok(done(diesel::update(named(name)).set(set).execute(self.any)?))
            }
            Change::Rename(old, name) => Ok(self.rename(old, name)?),
            Change::RemoveUser(name) => Ok(done(diesel::delete(named(name)).execute(self.any)?)),
            Change::RevokeUser(name) => {
                let set =
                    (users::epoch.eq(users::epoch + 1), users::version.eq(users::version + 1));
                Ok(done(diesel::update(named(name)).set(set).execute(self.any)?))
            }
            Change::RevokeAll => Ok(Applied::Rows(revoke_all(self.any)?)),
            Change::AddKey { key, after } => Ok(add_key(self.any, key, after.as_deref())?),
            Change::DropKey { kid, now, spare } => {
                Ok(drop_key(self.any, kid, *now, spare.as_deref())?)
            }
            Change::KeepIssuer { purpose, issuer, replace } => {
                Ok(keep_issuer(self.any, purpose, issuer, *replace)?)
            }
            Change::AddClient(client) => Ok(add_client(self.any, client)?),
            Change::RemoveClient(name) => Ok(done(remove_client(self.any, name)?)),
            Change::Purge { before, limit } => Ok(self.purge(*before, *limit)?),
        };
        Ok(vec![made?])
    }

    fn open(
        &mut self,
        session: &Session,
        rivals: Rivals,
        rehash: Option<&PasswordHash>,
        max_sessions: Option<u32>,
        slot: Option<&Slot>,
    ) -> Result<Applied, Fault> {
        // First, since it locks the user's row: logins, disabling and a new password of one user then come one after the other.
        let user = users::table.filter(users::id.eq(session.user.0.as_bytes().as_slice()));
        let user = user.filter(
            users::enabled.and(not(users::password_expired)).and(users::epoch.eq(session.epoch)),
        );
        let last_login = users::last_login_at.eq(session.created.millis());
        let may = match rehash {
            Some(hash) => diesel::update(user)
                .set((last_login, users::password.eq(hash.as_str())))
                .execute(self.any)?,
            None => diesel::update(user).set(last_login).execute(self.any)?,
        };
        if may == 0 {
            return Ok(Applied::Refused);
        }
        if let Some(slot) = slot {
            lockout::succeeded(self.any, slot)?;
        }
        if rivals == Rivals::Possess
            && let Some(possessed) = self.possess(session)?
        {
            return Ok(Applied::Opened(Box::new(possessed)));
        }
        if self.insert(session)? == 0 {
            return Err(Fault::Taken);
        }
        if rivals == Rivals::Kill {
            self.kill(session)?;
        }
        if let Some(most) = max_sessions {
            self.cap(session, most)?;
        }
        Ok(Applied::Opened(Box::new(Session { version: 0, ..session.clone() })))
    }

    fn insert(&mut self, session: &Session) -> QueryResult<usize> {
        let insert = insert_into(sessions::table).values((
            sessions::digest.eq(session.digest.as_bytes().as_slice()),
            sessions::id.eq(session.id.0.as_bytes().as_slice()),
            sessions::dialect.eq(&session.dialect),
            sessions::user_id.eq(session.user.0.as_bytes().as_slice()),
            sessions::epoch.eq(session.epoch),
            sessions::sid.eq(session.sid.as_ref()),
            sessions::created_at.eq(session.created.millis()),
            sessions::last_used_at.eq(session.last_used.map(Timestamp::millis)),
            sessions::expires_at.eq(session.expires.map(Timestamp::millis)),
            sessions::hard_end_at.eq(session.hard_end.map(Timestamp::millis)),
            sessions::address.eq(session.address.map(|address| address.to_string())),
            sessions::note.eq(session.note.as_ref()),
            sessions::enabled.eq(session.enabled),
            sessions::version.eq(0),
            sessions::revoked_at.eq(session.revoked.map(Timestamp::millis)),
        ));
        OrNothing(insert).execute(self.any)
    }

    /// The user's other sessions of this dialect that live, uses that are not written yet counted in. His row is locked: he is enabled,
    /// and at the session's epoch.
    fn rivals(&mut self, session: &Session) -> QueryResult<Vec<Session>> {
        let (id, user) = (session.id.0.as_bytes().as_slice(), session.user.0.as_bytes().as_slice());
        let his = sessions::table
            .filter(sessions::user_id.eq(user).and(sessions::dialect.eq(&session.dialect)));
        let standing = sessions::revoked_at
            .is_null()
            .and(sessions::enabled)
            .and(sessions::epoch.eq(session.epoch));
        let rows: Vec<SessionRow> = his
            .filter(standing.and(sessions::id.ne(id)))
            .select(SessionRow::as_select())
            .load(self.any)?;
        let mut rivals: Vec<_> = rows.into_iter().map(Session::from).collect();
        rivals.iter_mut().for_each(|rival| self.touches.count_into(rival));
        let now = session.created;
        rivals.retain(|rival| {
            [rival.expires, rival.hard_end].into_iter().flatten().all(|end| now < end)
        });
        Ok(rivals)
    }

    /// Lets the newest rival go on under the new secret.
    fn possess(&mut self, session: &Session) -> Result<Option<Session>, Fault> {
        let mut rivals = self.rivals(session)?;
        rivals.sort_by_key(|rival| (rival.created, rival.id));
        if rivals.iter().any(|rival| rival.digest == session.digest) {
            return Err(Fault::Taken);
        }
        while let Some(old) = rivals.pop() {
            let ends = [session.expires, old.hard_end].into_iter().flatten().min();
            let new = Session {
                digest: session.digest,
                last_used: Some(session.created),
                expires: ends,
                address: session.address,
                version: old.version + 1,
                ..old
            };
            // Another node may have ended it since we looked.
            let still = sessions::table.filter(
                sessions::id.eq(new.id.0.as_bytes().as_slice()).and(sessions::revoked_at.is_null()),
            );
            let set = (
                sessions::digest.eq(new.digest.as_bytes().as_slice()),
                sessions::last_used_at.eq(new.last_used.map(Timestamp::millis)),
                sessions::expires_at.eq(new.expires.map(Timestamp::millis)),
                sessions::address.eq(new.address.map(|address| address.to_string())),
                sessions::version.eq(sessions::version + 1),
            );
            if diesel::update(still).set(set).execute(self.any)? > 0 {
                self.consumed.extend(self.touches.of(new.id));
                return Ok(Some(new));
            }
        }
        Ok(None)
    }

    fn kill(&mut self, session: &Session) -> QueryResult<()> {
        let rivals = self.rivals(session)?;
        rivals.chunks(MOST).try_for_each(|rivals| {
            let rivals = OneOf::new(
                sessions::id,
                rivals.iter().map(|rival| rival.id.0.as_bytes().as_slice()),
            );
            let standing = sessions::table.filter(rivals).filter(sessions::revoked_at.is_null());
            let set = (
                sessions::revoked_at.eq(session.created.millis()),
                sessions::version.eq(sessions::version + 1),
            );
            diesel::update(standing).set(set).execute(self.any).map(drop)
        })
    }

    /// Makes the first of these changes, and those after it that do the same to another session.
    fn act(&mut self, act: Act, changes: &[Change]) -> QueryResult<Vec<Applied>> {
        let ones = act.first_of(changes, self.touches);
        let acted = act.apply(self.any, &ones)?;
        if act == Act::Renew {
            let touches = ones.iter().filter_map(|one| one.touch);
            self.consumed.extend(touches.filter(|touch| acted.contains(&touch.id)));
        }
        Ok(ones.iter().map(|one| done(usize::from(acted.contains(&one.id)))).collect())
    }

    fn forget(&mut self, id: SessionId, now: Timestamp) -> QueryResult<Applied> {
        let dead = sessions::table
            .filter(sessions::id.eq(id.0.as_bytes().as_slice()))
            .filter(not(is_live(now, outlasts(self.touches.of(id), now))));
        Ok(done(diesel::delete(dead).execute(self.any)?))
    }

    fn add_user(&mut self, user: &User) -> QueryResult<Applied> {
        let insert = insert_into(users::table).values((
            users::id.eq(user.id.0.as_bytes().as_slice()),
            users::name.eq(&user.name),
            users::canonical.eq(user.canonical.as_str()),
            users::password.eq(user.password.as_ref().map(PasswordHash::as_str)),
            users::enabled.eq(user.enabled),
            users::password_expired.eq(user.password_expired),
            users::unrestricted.eq(user.unrestricted),
            users::roles.eq(pack(&user.roles)),
            users::created_at.eq(user.created.millis()),
            users::last_login_at.eq(user.last_login.map(Timestamp::millis)),
            users::epoch.eq(user.epoch),
            users::version.eq(user.version),
        ));
        Ok(if OrNothing(insert).execute(self.any)? > 0 { Applied::Done } else { Applied::Taken })
    }

    fn keep_user(&mut self, user: &User) -> QueryResult<Applied> {
        let id = user.id.0.as_bytes().as_slice();
        diesel::delete(named(&user.canonical).filter(users::id.ne(id))).execute(self.any)?;
        let names = (users::name.eq(&user.name), users::canonical.eq(user.canonical.as_str()));
        let his = users::table.filter(users::id.eq(id));
        if diesel::update(his).set(names).execute(self.any)? == 0 {
            // Another node may make it in the same moment, which is as good.
            self.add_user(user)?;
        }
        Ok(Applied::Done)
    }

    fn set_password(&mut self, name: &CanonicalName, hash: &PasswordHash) -> QueryResult<Applied> {
        let set = (
            users::password.eq(hash.as_str()),
            users::password_expired.eq(false),
            users::epoch.eq(users::epoch + 1),
            users::version.eq(users::version + 1),
        );
        Ok(done(diesel::update(named(name)).set(set).execute(self.any)?))
    }

    fn rename(&mut self, old: &CanonicalName, name: &UserName) -> QueryResult<Applied> {
        let new = name.canonical();
        let has = |any: &mut AnyConnection, name: &CanonicalName| -> QueryResult<bool> {
            let rows: i64 = named(name).count().get_result(any)?;
            Ok(rows > 0)
        };
        if new != *old && has(self.any, &new)? {
            return Ok(if has(self.any, old)? { Applied::Taken } else { Applied::Refused });
        }
        let set = (
            users::name.eq(name.as_str()),
            users::canonical.eq(new.as_str()),
            users::epoch.eq(users::epoch + 1),
            users::version.eq(users::version + 1),
        );
        // If another node gives the name away in this moment, the database refuses the second.
        let renamed = diesel::update(named(old)).set(set).execute(self.any)?;
        if renamed > 0 && new != *old {
            lockout::rename(self.any, old, &new)?;
        }
        Ok(done(renamed))
    }

    fn purge(&mut self, before: Timestamp, limit: u32) -> QueryResult<Applied> {
        let dead = sessions::table.filter(gone(before)).limit(limit.into());
        let columns = (sessions::id, sessions::revoked_at, sessions::hard_end_at);
        let rows: Vec<(Id, Option<Moment>, Option<Moment>)> =
            dead.select(columns).load(self.any)?;
        // A use that is not written yet may keep one alive that only seems to have expired.
        let ended = |end: Option<Moment>| end.is_some_and(|end| end.0 < before);
        let used = |id: Id| {
            self.touches
                .of(SessionId(id.0))
                .and_then(|touch| touch.expires)
                .is_some_and(|expires| expires >= before)
        };
        let ids = rows
            .into_iter()
            .filter(|(id, revoked, end)| ended(*revoked) || ended(*end) || !used(*id))
            .map(|(id, ..)| id);
        let ids: Vec<_> = ids.collect();
        let mut dropped = 0;
        for ids in ids.chunks(MOST) {
            let ids = OneOf::new(sessions::id, ids.iter().map(|id| id.0.as_bytes().as_slice()));
            dropped += diesel::delete(sessions::table.filter(ids).filter(gone(before)))
                .execute(self.any)?;
        }
        Ok(Applied::Rows(dropped as u64))
    }
}

/// Ends the sessions of all users, so many at a time: one statement for a million of them takes longer than a statement may.
pub(crate) fn revoke_all(any: &mut AnyConnection) -> QueryResult<u64> {
    let (mut revoked, mut after) = (0, Vec::new());
    loop {
        let next = users::table.filter(users::id.gt(after.as_slice())).order(users::id);
        let ids: Vec<Id> = next.select(users::id).limit(REVOKED_AT_ONCE).load(any)?;
        let Some(last) = ids.last() else { return Ok(revoked) };
        let last = last.0.as_bytes().to_vec();
        let piece =
            users::table.filter(users::id.gt(after.as_slice()).and(users::id.le(last.as_slice())));
        revoked +=
            diesel::update(piece).set(users::epoch.eq(users::epoch + 1)).execute(any)? as u64;
        after = last;
    }
}

#[diesel::dsl::auto_type(no_type_alias)]
fn named(name: &CanonicalName) -> _ {
    let name: &str = name.as_str();
    users::table.filter(users::canonical.eq(name))
}

/// Whether a session was dead before a moment, as far as its row says when it died.
#[diesel::dsl::auto_type(no_type_alias)]
fn gone(before: Timestamp) -> _ {
    let before: i64 = before.millis();
    let revoked =
        sessions::revoked_at.is_not_null().and(sessions::revoked_at.assume_not_null().lt(before));
    let expired =
        sessions::expires_at.is_not_null().and(sessions::expires_at.assume_not_null().lt(before));
    let ended =
        sessions::hard_end_at.is_not_null().and(sessions::hard_end_at.assume_not_null().lt(before));
    revoked.or(expired).or(ended)
}

//! Each change as conditional statements, within a transaction that the caller begins and commits.

use diesel::dsl::{insert_into, not};
use diesel::prelude::*;
use parlance_core::lockout::Reservation;
use parlance_core::ports::{Applied, Change, Touch};
use parlance_core::{
    CanonicalName, ConcurrentSessions, PasswordHash, Session, SessionId, Timestamp, User, UserName,
};

use crate::backend::AnyConnection;
use crate::bulk_update::SessionUpdateKind;
use crate::fragments::{InList, MAX_KEYS_PER_STATEMENT, OnConflictDoNothing, WriteTouches};
use crate::keys_and_clients::{add_client, add_key, drop_key, remove_client, set_issuer};
use crate::liveness::{ended_before, is_live};
use crate::lockout;
use crate::revocation::revoke_all;
use crate::rows::{IdColumn, SessionRow, TimestampColumn, pack_roles};
use crate::schema::{sessions, users};
use crate::touches::{Touches, keeps_alive};

/// Why a change cannot share its transaction.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ChangeError {
    /// A conflict found after an earlier statement of the same change, which must be undone.
    #[error("taken")]
    Conflict,
    #[error(transparent)]
    Database(#[from] diesel::result::Error),
}

/// The transaction in which a batch of changes is made.
pub(crate) struct Transaction<'s> {
    pub(crate) conn: &'s mut AnyConnection,
    touches: &'s Touches,
    /// The touches that changes have counted in: after the commit these must not be written.
    pub(crate) consumed: Vec<Touch>,
}

/// Writes touches (write-behind): forward only, and never to a session that has been ended.
pub(crate) fn write_touches(conn: &mut AnyConnection, touches: &[Touch]) -> QueryResult<()> {
    touches
        .chunks(MAX_KEYS_PER_STATEMENT)
        .try_for_each(|chunk| WriteTouches::new(chunk).execute(conn).map(drop))
}

pub(crate) fn applied_if_any(rows: usize) -> Applied {
    if rows > 0 { Applied::Done } else { Applied::Refused }
}

impl<'s> Transaction<'s> {
    pub(crate) fn new(conn: &'s mut AnyConnection, touches: &'s Touches) -> Self {
        Self { conn, touches, consumed: Vec::new() }
    }

    /// Makes changes, one after the other; neighbours that do the same to different sessions share one statement.
    ///
    /// # Errors
    /// A change cannot be made in this transaction, which is to be rolled back.
    pub(crate) fn apply(&mut self, changes: &[Change]) -> Result<Vec<Applied>, ChangeError> {
        let mut applied = Vec::with_capacity(changes.len());
        let mut remaining = changes;
        while let Some(change) = remaining.first() {
            let made = self.apply_next(change, remaining)?;
            remaining = remaining.get(made.len()..).unwrap_or_default();
            applied.extend(made);
        }
        Ok(applied)
    }

    /// Makes the first of the remaining changes, together with as many of the following ones as share its statement.
    fn apply_next(
        &mut self,
        change: &Change,
        remaining: &[Change],
    ) -> Result<Vec<Applied>, ChangeError> {
        let made: Result<_, ChangeError> = match change {
            Change::EndSession { .. } => {
                return Ok(self.update_sessions(SessionUpdateKind::End, remaining)?);
            }
            Change::RevokeSession(..) => {
                return Ok(self.update_sessions(SessionUpdateKind::Revoke, remaining)?);
            }
            Change::RenewSession { .. } => {
                return Ok(self.update_sessions(SessionUpdateKind::Renew, remaining)?);
            }
            Change::OpenSession {
                session,
                concurrent_sessions,
                rehash,
                session_limit,
                reservation,
            } => self.open_session(
                session,
                *concurrent_sessions,
                rehash.as_ref(),
                *session_limit,
                reservation.as_deref(),
            ),
            Change::ReserveAttempt(attempt) => Ok(lockout::reserve(self.conn, attempt)?),
            Change::RecordFailure(reservation) => {
                Ok(lockout::record_failure(self.conn, reservation)?)
            }
            Change::ReleaseAttempt(reservation) => Ok(lockout::release(self.conn, reservation)?),
            Change::Unlock(name) => Ok(lockout::unlock(self.conn, name)?),
            Change::TrustAddress(name, address, now) => {
                Ok(lockout::trust_address(self.conn, name, *address, *now)?)
            }
            Change::PurgeAttempts { before, max_unknown_names, limit } => {
                Ok(lockout::purge(self.conn, *before, *max_unknown_names, *limit)?)
            }
            Change::DeleteDeadSession { id, now } => Ok(self.delete_dead_session(*id, *now)?),
            Change::RecordLogin { user, now } => {
                let user = users::table
                    .filter(users::id.eq(user.0.as_bytes().as_slice()).and(users::enabled));
                Ok(applied_if_any(
                    diesel::update(user)
                        .set(users::last_login_at.eq(now.millis()))
                        .execute(self.conn)?,
                ))
            }
            Change::AddUser(user) => Ok(self.add_user(user)?),
            Change::UpsertExternalUser(user) => Ok(self.upsert_external_user(user)?),
            Change::SetPassword(name, hash) => Ok(self.set_password(name, hash)?),
            Change::SetEnabled(name, enabled) => {
                let epoch = users::epoch.eq(users::epoch + i64::from(!enabled));
                let set =
                    (users::enabled.eq(*enabled), epoch, users::version.eq(users::version + 1));
                Ok(applied_if_any(diesel::update(user_named(name)).set(set).execute(self.conn)?))
            }
            Change::ExpirePassword(name) => {
                let set = (users::password_expired.eq(true), users::version.eq(users::version + 1));
                Ok(applied_if_any(diesel::update(user_named(name)).set(set).execute(self.conn)?))
            }
            Change::SetRoles(name, roles) => {
                let set =
                    (users::roles.eq(pack_roles(roles)), users::version.eq(users::version + 1));
                Ok(applied_if_any(diesel::update(user_named(name)).set(set).execute(self.conn)?))
            }
            Change::SetUnrestricted(name, unrestricted) => {
                let unrestricted = users::unrestricted.eq(*unrestricted);
                let set = (unrestricted, users::version.eq(users::version + 1));
                Ok(applied_if_any(diesel::update(user_named(name)).set(set).execute(self.conn)?))
            }
            Change::RenameUser(old, name) => Ok(self.rename_user(old, name)?),
            Change::RemoveUser(name) => {
                Ok(applied_if_any(diesel::delete(user_named(name)).execute(self.conn)?))
            }
            Change::RevokeUser(name) => {
                let set =
                    (users::epoch.eq(users::epoch + 1), users::version.eq(users::version + 1));
                Ok(applied_if_any(diesel::update(user_named(name)).set(set).execute(self.conn)?))
            }
            Change::RevokeAll => Ok(Applied::Rows(revoke_all(self.conn)?)),
            Change::AddKey { key, expected_newest } => {
                Ok(add_key(self.conn, key, expected_newest.as_deref())?)
            }
            Change::DropKey { kid, now, fallback } => {
                Ok(drop_key(self.conn, kid, *now, fallback.as_deref())?)
            }
            Change::SetIssuer { purpose, issuer, replace } => {
                Ok(set_issuer(self.conn, purpose, issuer, *replace)?)
            }
            Change::AddClient(client) => Ok(add_client(self.conn, client)?),
            Change::RemoveClient(name) => Ok(applied_if_any(remove_client(self.conn, name)?)),
            Change::PurgeSessions { before, limit } => Ok(self.purge_sessions(*before, *limit)?),
        };
        Ok(vec![made?])
    }

    fn open_session(
        &mut self,
        session: &Session,
        concurrent_sessions: ConcurrentSessions,
        rehash: Option<&PasswordHash>,
        session_limit: Option<u32>,
        reservation: Option<&Reservation>,
    ) -> Result<Applied, ChangeError> {
        // First, because this statement locks the user's row: logins, disabling and a new password of one user then
        // come one after the other.
        let user = users::table.filter(users::id.eq(session.user.0.as_bytes().as_slice()));
        let user = user.filter(
            users::enabled.and(not(users::password_expired)).and(users::epoch.eq(session.epoch)),
        );
        let last_login = users::last_login_at.eq(session.created.millis());
        let updated = match rehash {
            Some(hash) => diesel::update(user)
                .set((last_login, users::password.eq(hash.as_str())))
                .execute(self.conn)?,
            None => diesel::update(user).set(last_login).execute(self.conn)?,
        };
        if updated == 0 {
            return Ok(Applied::Refused);
        }
        if let Some(reservation) = reservation {
            lockout::reset(self.conn, reservation)?;
        }
        if concurrent_sessions == ConcurrentSessions::TakeOver
            && let Some(taken_over) = self.take_over(session)?
        {
            return Ok(Applied::Opened(Box::new(taken_over)));
        }
        if self.insert_session(session)? == 0 {
            return Err(ChangeError::Conflict);
        }
        if concurrent_sessions == ConcurrentSessions::EndOthers {
            self.end_others(session)?;
        }
        if let Some(max) = session_limit {
            self.enforce_session_limit(session, max)?;
        }
        Ok(Applied::Opened(Box::new(Session { version: 0, ..session.clone() })))
    }

    fn insert_session(&mut self, session: &Session) -> QueryResult<usize> {
        let insert = insert_into(sessions::table).values((
            sessions::digest.eq(session.digest.as_bytes().as_slice()),
            sessions::id.eq(session.id.0.as_bytes().as_slice()),
            sessions::dialect.eq(&session.dialect),
            sessions::user_id.eq(session.user.0.as_bytes().as_slice()),
            sessions::epoch.eq(session.epoch),
            sessions::sid.eq(session.public_id.as_ref()),
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
        OnConflictDoNothing(insert).execute(self.conn)
    }

    /// The user's other live sessions of this dialect, with unwritten uses counted in. The user's row is locked: the
    /// user is enabled, and at the session's epoch.
    fn concurrent_sessions(&mut self, session: &Session) -> QueryResult<Vec<Session>> {
        let (id, user) = (session.id.0.as_bytes().as_slice(), session.user.0.as_bytes().as_slice());
        let of_user = sessions::table
            .filter(sessions::user_id.eq(user).and(sessions::dialect.eq(&session.dialect)));
        let not_ended = sessions::revoked_at
            .is_null()
            .and(sessions::enabled)
            .and(sessions::epoch.eq(session.epoch));
        let rows: Vec<SessionRow> = of_user
            .filter(not_ended.and(sessions::id.ne(id)))
            .select(SessionRow::as_select())
            .load(self.conn)?;
        let mut others: Vec<_> = rows.into_iter().map(Session::from).collect();
        others.iter_mut().for_each(|other| self.touches.apply_to(other));
        let now = session.created;
        others.retain(|other| {
            [other.expires, other.hard_end].into_iter().flatten().all(|end| now < end)
        });
        Ok(others)
    }

    /// Continues the newest of the user's other sessions under the new secret.
    fn take_over(&mut self, session: &Session) -> Result<Option<Session>, ChangeError> {
        let mut others = self.concurrent_sessions(session)?;
        others.sort_by_key(|other| (other.created, other.id));
        if others.iter().any(|other| other.digest == session.digest) {
            return Err(ChangeError::Conflict);
        }
        while let Some(old) = others.pop() {
            let ends = [session.expires, old.hard_end].into_iter().flatten().min();
            let new = Session {
                digest: session.digest,
                last_used: Some(session.created),
                expires: ends,
                address: session.address,
                version: old.version + 1,
                ..old
            };
            // Another node may have ended the session since the query.
            let not_ended = sessions::table.filter(
                sessions::id.eq(new.id.0.as_bytes().as_slice()).and(sessions::revoked_at.is_null()),
            );
            let set = (
                sessions::digest.eq(new.digest.as_bytes().as_slice()),
                sessions::last_used_at.eq(new.last_used.map(Timestamp::millis)),
                sessions::expires_at.eq(new.expires.map(Timestamp::millis)),
                sessions::address.eq(new.address.map(|address| address.to_string())),
                sessions::version.eq(sessions::version + 1),
            );
            if diesel::update(not_ended).set(set).execute(self.conn)? > 0 {
                self.consumed.extend(self.touches.get(new.id));
                return Ok(Some(new));
            }
        }
        Ok(None)
    }

    fn end_others(&mut self, session: &Session) -> QueryResult<()> {
        let others = self.concurrent_sessions(session)?;
        others.chunks(MAX_KEYS_PER_STATEMENT).try_for_each(|chunk| {
            let ids = InList::new(
                sessions::id,
                chunk.iter().map(|other| other.id.0.as_bytes().as_slice()),
            );
            let not_ended = sessions::table.filter(ids).filter(sessions::revoked_at.is_null());
            let set = (
                sessions::revoked_at.eq(session.created.millis()),
                sessions::version.eq(sessions::version + 1),
            );
            diesel::update(not_ended).set(set).execute(self.conn).map(drop)
        })
    }

    /// Makes the first of these changes, and the following ones that do the same to another session.
    fn update_sessions(
        &mut self,
        kind: SessionUpdateKind,
        changes: &[Change],
    ) -> QueryResult<Vec<Applied>> {
        let updates = kind.leading_updates(changes, self.touches);
        let updated = kind.apply(self.conn, &updates)?;
        if kind == SessionUpdateKind::Renew {
            let touches = updates.iter().filter_map(|update| update.touch);
            self.consumed.extend(touches.filter(|touch| updated.contains(&touch.id)));
        }
        Ok(updates
            .iter()
            .map(|update| applied_if_any(usize::from(updated.contains(&update.id))))
            .collect())
    }

    fn delete_dead_session(&mut self, id: SessionId, now: Timestamp) -> QueryResult<Applied> {
        let dead = sessions::table
            .filter(sessions::id.eq(id.0.as_bytes().as_slice()))
            .filter(not(is_live(now, keeps_alive(self.touches.get(id), now))));
        Ok(applied_if_any(diesel::delete(dead).execute(self.conn)?))
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
            users::roles.eq(pack_roles(&user.roles)),
            users::created_at.eq(user.created.millis()),
            users::last_login_at.eq(user.last_login.map(Timestamp::millis)),
            users::epoch.eq(user.epoch),
            users::version.eq(user.version),
        ));
        Ok(if OnConflictDoNothing(insert).execute(self.conn)? > 0 {
            Applied::Done
        } else {
            Applied::Conflict
        })
    }

    fn upsert_external_user(&mut self, user: &User) -> QueryResult<Applied> {
        let id = user.id.0.as_bytes().as_slice();
        diesel::delete(user_named(&user.canonical).filter(users::id.ne(id))).execute(self.conn)?;
        let names = (users::name.eq(&user.name), users::canonical.eq(user.canonical.as_str()));
        let row = users::table.filter(users::id.eq(id));
        if diesel::update(row).set(names).execute(self.conn)? == 0 {
            // Another node may add the user at the same moment, with the same result.
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
        Ok(applied_if_any(diesel::update(user_named(name)).set(set).execute(self.conn)?))
    }

    fn rename_user(&mut self, old: &CanonicalName, name: &UserName) -> QueryResult<Applied> {
        let new = name.canonical();
        let has = |conn: &mut AnyConnection, name: &CanonicalName| -> QueryResult<bool> {
            let rows: i64 = user_named(name).count().get_result(conn)?;
            Ok(rows > 0)
        };
        if new != *old && has(self.conn, &new)? {
            return Ok(if has(self.conn, old)? { Applied::Conflict } else { Applied::Refused });
        }
        let set = (
            users::name.eq(name.as_str()),
            users::canonical.eq(new.as_str()),
            users::epoch.eq(users::epoch + 1),
            users::version.eq(users::version + 1),
        );
        // If another node gives the name away at this moment, the database refuses the second change.
        let renamed = diesel::update(user_named(old)).set(set).execute(self.conn)?;
        if renamed > 0 && new != *old {
            lockout::rename(self.conn, old, &new)?;
        }
        Ok(applied_if_any(renamed))
    }

    fn purge_sessions(&mut self, before: Timestamp, limit: u32) -> QueryResult<Applied> {
        let dead = sessions::table.filter(ended_before(before)).limit(limit.into());
        let columns = (sessions::id, sessions::revoked_at, sessions::hard_end_at);
        let rows: Vec<(IdColumn, Option<TimestampColumn>, Option<TimestampColumn>)> =
            dead.select(columns).load(self.conn)?;
        // A use that is not written yet may keep a session alive that only seems to have expired.
        let ended = |end: Option<TimestampColumn>| end.is_some_and(|end| end.0 < before);
        let used = |id: IdColumn| {
            self.touches
                .get(SessionId(id.0))
                .and_then(|touch| touch.expires)
                .is_some_and(|expires| expires >= before)
        };
        let ids = rows
            .into_iter()
            .filter(|(id, revoked, end)| ended(*revoked) || ended(*end) || !used(*id))
            .map(|(id, ..)| id);
        let ids: Vec<_> = ids.collect();
        let mut dropped = 0;
        for ids in ids.chunks(MAX_KEYS_PER_STATEMENT) {
            let ids = InList::new(sessions::id, ids.iter().map(|id| id.0.as_bytes().as_slice()));
            dropped += diesel::delete(sessions::table.filter(ids).filter(ended_before(before)))
                .execute(self.conn)?;
        }
        Ok(Applied::Rows(dropped as u64))
    }
}

#[diesel::dsl::auto_type(no_type_alias)]
fn user_named(name: &CanonicalName) -> _ {
    let name: &str = name.as_str();
    users::table.filter(users::canonical.eq(name))
}

//! Operator commands: users, and the sessions of all users.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use uuid::Uuid;

use crate::lockout::{AttemptState, account_digest, client_prefix, utc_day};
use crate::ports::{Applied, Change, SessionQuery, StoreError, UserQuery};
use crate::{
    Authority, CanonicalName, Failure, InternalError, NameError, PasswordHash, Secret, Session,
    SessionId, Timestamp, User, UserId, UserName, canonical_name, password, uuid_v4,
};

/// How many roles a user may have: an axxon-jsonrpc token names each role, in 52 bytes, and is read up to 16 KiB.
const MAX_ROLES: usize = 256;

/// A user to create.
#[derive(Debug, Clone)]
pub struct NewUser {
    /// The name.
    pub name: String,
    /// The password, byte for byte: 1 to 4096 bytes without NUL.
    pub password: Secret,
    /// The ids of the roles, 256 at most; a duplicate counts once.
    pub roles: Vec<Uuid>,
    /// Whether the user may do everything.
    pub unrestricted: bool,
}

/// A user from another system, with the password hash that the other system kept.
#[derive(Debug, Clone)]
pub struct ImportedUser {
    /// A given id; `None` draws a new one.
    pub id: Option<UserId>,
    /// The name.
    pub name: String,
    /// The password hash: see [`PasswordHash::imported`]. Without a hash no password opens anything until the user gets
    /// one.
    pub hash: Option<PasswordHash>,
    /// Whether the user may log in.
    pub enabled: bool,
    /// Whether the password opens no session.
    pub password_expired: bool,
    /// Whether the user may do everything.
    pub unrestricted: bool,
    /// The ids of the roles, 256 at most; a duplicate counts once.
    pub roles: Vec<Uuid>,
    /// Time of creation; now, if unknown.
    pub created: Option<Timestamp>,
}

/// The result of an import.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImportOutcome {
    /// The user did not exist, and does now (or would, after a dry run).
    Added,
    /// The user existed already, exactly so.
    Unchanged,
}

/// Why an operator's command was refused.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
pub enum OperatorError {
    /// The name is not a valid user name.
    #[error(transparent)]
    Name(#[from] NameError),
    /// A user has the name, or another spelling of the name.
    #[error("a user of that name, or of another spelling of that name, exists already")]
    NameTaken,
    /// No user has the name.
    #[error("there is no user of that name")]
    NoUser,
    /// No session has the id, or the session has ended already.
    #[error("there is no live session of that id")]
    NoSession,
    /// The password is invalid.
    #[error("a password has 1 to {} bytes, none of them NUL", password::MAX_PASSWORD_BYTES)]
    InvalidPassword,
    /// A user has the name, but differs from the import.
    #[error("a user of that name exists already and is not the same: {0} differs")]
    Differs(&'static str),
    /// Another user has the id.
    #[error("another user has the id {0} already")]
    IdTaken(UserId),
    /// More roles than a credential that names them can carry.
    #[error("a user has at most {MAX_ROLES} roles")]
    TooManyRoles,
    /// The store did not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The hashing queue took no password.
    #[error("could not hash the password: {0}")]
    Hashing(Failure),
    /// A password could not be hashed, or an id could not be drawn.
    #[error(transparent)]
    Internal(#[from] InternalError),
}

/// The text of `Display`: `main` prints an error by its `Debug`.
impl fmt::Debug for OperatorError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Authority {
    /// Creates a user.
    ///
    /// # Errors
    /// The name or password is invalid, there are too many roles, or the name is taken; no user was created then.
    pub async fn add_user(&self, new: NewUser, now: Timestamp) -> Result<User, OperatorError> {
        let name = UserName::new(&new.name)?;
        let roles = distinct(new.roles)?;
        let password = self.hash_password(new.password).await?;
        let id = uuid_v4(&*self.entropy).map_err(InternalError::from)?;
        let user = User {
            password: Some(password),
            unrestricted: new.unrestricted,
            roles,
            ..User::new(UserId(id), &name, now)
        };
        let added = self.store.apply(Change::AddUser(Box::new(user.clone()))).await?;
        if added.is_done() { Ok(user) } else { Err(OperatorError::NameTaken) }
    }

    /// Gives a user a new password and ends all the user's sessions.
    ///
    /// # Errors
    /// There is no such user, or the password is invalid.
    pub async fn set_password(&self, name: &str, password: Secret) -> Result<(), OperatorError> {
        let name = require_canonical_name(name)?;
        let hash = self.hash_password(password).await?;
        self.apply_or_refuse(Change::SetPassword(name, hash), OperatorError::NoUser).await
    }

    /// Enables a user, or disables the user and ends all the user's sessions.
    ///
    /// # Errors
    /// There is no such user.
    pub async fn set_enabled(&self, name: &str, enabled: bool) -> Result<(), OperatorError> {
        self.apply_or_refuse(
            Change::SetEnabled(require_canonical_name(name)?, enabled),
            OperatorError::NoUser,
        )
        .await
    }

    /// Expires a user's password: the password opens no more sessions. Open sessions go on.
    ///
    /// # Errors
    /// There is no such user.
    pub async fn expire_password(&self, name: &str) -> Result<(), OperatorError> {
        self.apply_or_refuse(
            Change::ExpirePassword(require_canonical_name(name)?),
            OperatorError::NoUser,
        )
        .await
    }

    /// Replaces a user's roles, 256 at most. Sessions go on, and every use of them from now on carries the new roles. A
    /// credential signed before and held by a service, such as a token of axxon-jsonrpc, names the old roles until the
    /// credential expires.
    ///
    /// # Errors
    /// There is no such user, or there are too many roles.
    pub async fn set_roles(&self, name: &str, roles: Vec<Uuid>) -> Result<(), OperatorError> {
        let change = Change::SetRoles(require_canonical_name(name)?, distinct(roles)?);
        self.apply_or_refuse(change, OperatorError::NoUser).await
    }

    /// Lets a user do everything, or no longer. Sessions go on, as with [`Self::set_roles`].
    ///
    /// # Errors
    /// There is no such user.
    pub async fn set_unrestricted(
        &self,
        name: &str,
        unrestricted: bool,
    ) -> Result<(), OperatorError> {
        let change = Change::SetUnrestricted(require_canonical_name(name)?, unrestricted);
        self.apply_or_refuse(change, OperatorError::NoUser).await
    }

    /// Gives a user another name and ends all the user's sessions, since some credentials carry the name. The id, the
    /// password and the count of failed logins stay. Another spelling of the same name is another name.
    ///
    /// # Errors
    /// There is no such user, or the new name is invalid or taken; nothing changed then.
    pub async fn rename_user(&self, name: &str, new: &str) -> Result<(), OperatorError> {
        let (name, new) = (require_canonical_name(name)?, UserName::new(new)?);
        let applied = self.store.apply(Change::RenameUser(name, new)).await?;
        if applied == Applied::Conflict {
            return Err(OperatorError::NameTaken);
        }
        if applied.is_done() { Ok(()) } else { Err(OperatorError::NoUser) }
    }

    /// Imports a user of another system, with the hash that the other system kept. A dry run only reports the result.
    /// An existing user with the same data stays unchanged, so an interrupted import may run again. After a login of
    /// that user the hash is not compared, since the first login replaces the hash.
    ///
    /// # Errors
    /// The name is invalid, there are too many roles, or another user has the name or the id; no user was created then.
    pub async fn import_user(
        &self,
        new: ImportedUser,
        now: Timestamp,
        dry_run: bool,
    ) -> Result<ImportOutcome, OperatorError> {
        let name = UserName::new(&new.name)?;
        let id = match new.id {
            Some(id) => id,
            None => UserId(uuid_v4(&*self.entropy).map_err(InternalError::from)?),
        };
        let user = User {
            password: new.hash,
            enabled: new.enabled,
            password_expired: new.password_expired,
            unrestricted: new.unrestricted,
            roles: distinct(new.roles)?,
            ..User::new(id, &name, new.created.unwrap_or(now))
        };
        if !dry_run && self.store.apply(Change::AddUser(Box::new(user.clone()))).await?.is_done() {
            return Ok(ImportOutcome::Added);
        }
        if let Some(old) = self.store.user(user.canonical.clone()).await? {
            let differs = [
                ("the spelling of the name", old.name != user.name),
                ("the id", new.id.is_some_and(|id| id != old.id)),
                // The first login replaces the hash by one with this server's own parameters.
                ("the hash", old.last_login.is_none() && old.password != user.password),
                ("enabled", old.enabled != user.enabled),
                ("password_expired", old.password_expired != user.password_expired),
                ("unrestricted", old.unrestricted != user.unrestricted),
                ("roles", old.roles != user.roles),
                ("created", new.created.is_some_and(|created| created != old.created)),
            ];
            return match differs.iter().find(|(_, differs)| *differs) {
                Some((what, _)) => Err(OperatorError::Differs(what)),
                None => Ok(ImportOutcome::Unchanged),
            };
        }
        if self.find_user(id).await?.is_some() {
            return Err(OperatorError::IdTaken(id));
        }
        // The name and the id are free: a dry run, or the user that had one of them is gone in this moment.
        if dry_run { Ok(ImportOutcome::Added) } else { Err(OperatorError::NameTaken) }
    }

    /// The user of an id.
    ///
    /// # Errors
    /// The store did not answer.
    pub async fn find_user(&self, id: UserId) -> Result<Option<User>, OperatorError> {
        let query = UserQuery { id: Some(id), after: None, limit: 1 };
        Ok(self.store.find_users(query).await?.pop())
    }

    /// An existing session, dead or alive, and its user.
    ///
    /// # Errors
    /// The store did not answer.
    pub async fn find_session(
        &self,
        id: SessionId,
    ) -> Result<Option<(Session, User)>, OperatorError> {
        let query = SessionQuery { id: Some(id), limit: 1, ..SessionQuery::default() };
        Ok(self.store.sessions(query).await?.pop())
    }

    /// Removes a user and ends all the user's sessions.
    ///
    /// # Errors
    /// There is no such user.
    pub async fn remove_user(&self, name: &str) -> Result<(), OperatorError> {
        self.apply_or_refuse(
            Change::RemoveUser(require_canonical_name(name)?),
            OperatorError::NoUser,
        )
        .await
    }

    /// Unlocks the account of a user: lifts the lock-out after failed logins.
    ///
    /// # Errors
    /// There is no such user.
    pub async fn unlock_user(&self, name: &str) -> Result<(), OperatorError> {
        let name = require_canonical_name(name)?;
        self.store.user(name.clone()).await?.ok_or(OperatorError::NoUser)?;
        self.apply_or_refuse(Change::Unlock(name), OperatorError::NoUser).await
    }

    /// Trusts an address of a user as if the user had just logged in from there: during a lock-out of the account, a
    /// trusted address has attempts of its own. Four addresses are trusted, those of the latest logins.
    ///
    /// # Errors
    /// There is no such user.
    pub async fn trust_address(
        &self,
        name: &str,
        address: IpAddr,
        now: Timestamp,
    ) -> Result<(), OperatorError> {
        let change = Change::TrustAddress(
            require_canonical_name(name)?,
            client_prefix(address.to_canonical()),
            now,
        );
        self.apply_or_refuse(change, OperatorError::NoUser).await
    }

    /// The lock-out state of a user's account, if any attempt was made today (UTC), and the end of the lock-out.
    ///
    /// # Errors
    /// No user can have the name, or the store did not answer.
    pub async fn attempt_state(
        &self,
        name: &str,
        now: Timestamp,
    ) -> Result<Option<(AttemptState, Option<Timestamp>)>, OperatorError> {
        let state =
            self.store.attempt_state(account_digest(&require_canonical_name(name)?)).await?;
        Ok(state.filter(|state| state.day >= utc_day(now)).map(|state| {
            (state, self.lockout().and_then(|policy| state.locked_until(policy, now)))
        }))
    }

    /// Ends one session.
    ///
    /// # Errors
    /// No living session has that id.
    pub async fn revoke_session(&self, id: SessionId, now: Timestamp) -> Result<(), OperatorError> {
        self.apply_or_refuse(Change::RevokeSession(id, now), OperatorError::NoSession).await
    }

    /// Ends all sessions of a user.
    ///
    /// # Errors
    /// There is no such user.
    pub async fn revoke_user(&self, name: &str) -> Result<(), OperatorError> {
        self.apply_or_refuse(
            Change::RevokeUser(require_canonical_name(name)?),
            OperatorError::NoUser,
        )
        .await
    }

    /// Ends all sessions of all users.
    ///
    /// # Errors
    /// The store did not answer.
    pub async fn revoke_all(&self) -> Result<(), OperatorError> {
        self.apply_or_refuse(Change::RevokeAll, OperatorError::NoUser).await
    }

    async fn apply_or_refuse(
        &self,
        change: Change,
        refusal: OperatorError,
    ) -> Result<(), OperatorError> {
        if self.store.apply(change).await?.is_done() { Ok(()) } else { Err(refusal) }
    }

    async fn hash_password(&self, password: Secret) -> Result<PasswordHash, OperatorError> {
        let length = password.expose().len();
        if length == 0 || length > password::MAX_PASSWORD_BYTES || password.expose().contains('\0')
        {
            return Err(OperatorError::InvalidPassword);
        }
        let (policy, entropy) = (self.password_policy.clone(), Arc::clone(&self.entropy));
        let hashed = self
            .hash_queue
            .run(move |worker| policy.hash(password.expose(), &*entropy, &mut worker.scratch))
            .await;
        Ok(hashed.map_err(OperatorError::Hashing)?.map_err(InternalError::from)?)
    }
}

/// The roles without duplicates.
fn distinct(roles: Vec<Uuid>) -> Result<Vec<Uuid>, OperatorError> {
    let mut distinct: Vec<Uuid> = Vec::new();
    for role in roles {
        if !distinct.contains(&role) {
            distinct.push(role);
        }
        if distinct.len() > MAX_ROLES {
            return Err(OperatorError::TooManyRoles);
        }
    }
    Ok(distinct)
}

fn require_canonical_name(name: &str) -> Result<CanonicalName, OperatorError> {
    canonical_name(name).ok_or(OperatorError::NoUser)
}

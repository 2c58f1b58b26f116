//! What an operator does: users and everybody's sessions.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use uuid::Uuid;

use crate::lockout::{Rung, account, day, home};
use crate::ports::{Applied, Change, SessionQuery, StoreError, UserQuery};
use crate::{
    Authority, CanonicalName, Failure, NameError, PasswordHash, Secret, Session, SessionId,
    Timestamp, User, UserId, UserName, canonical_name, password, uuid_v4,
};

/// How many roles a user may have: an axxon-jsonrpc token names each of them, in 52 bytes, and is read up to 16 KiB.
const MOST_ROLES: usize = 256;

/// A user to be made.
#[derive(Debug, Clone)]
pub struct NewUser {
    /// His name.
    pub name: String,
    /// His password, byte for byte: 1 to 4096 bytes without NUL.
    pub password: Secret,
    /// The ids of his roles, 256 at most; one that stands twice counts once.
    pub roles: Vec<Uuid>,
    /// Whether he may do everything.
    pub unrestricted: bool,
}

/// A user from another system, with the hash that it kept of his password.
#[derive(Debug, Clone)]
pub struct ImportedUser {
    /// His id, if it is to be a certain one; a new one otherwise.
    pub id: Option<UserId>,
    /// His name.
    pub name: String,
    /// His password's hash: see [`PasswordHash::imported`]. Without one no password opens anything until he is given one.
    pub hash: Option<PasswordHash>,
    /// Whether he may log in.
    pub enabled: bool,
    /// Whether his password opens no session.
    pub password_expired: bool,
    /// Whether he may do everything.
    pub unrestricted: bool,
    /// The ids of his roles, 256 at most; one that stands twice counts once.
    pub roles: Vec<Uuid>,
    /// When he was made; now, if it is not known.
    pub created: Option<Timestamp>,
}

/// What an import made of a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Imported {
    /// He was not there, and is (or would be).
    Added,
    /// He was there already, just so.
    Unchanged,
}

/// Why an operator's command was refused.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
pub enum OperatorError {
    /// The name cannot be a user's.
    #[error(transparent)]
    Name(#[from] NameError),
    /// Somebody has the name, or another spelling of it.
    #[error("there is a user of that name, or of another spelling of it, already")]
    Taken,
    /// Nobody has the name.
    #[error("there is no user of that name")]
    NoUser,
    /// No session has the id, or it has ended already.
    #[error("there is no living session of that id")]
    NoSession,
    /// The password cannot be one.
    #[error("a password has 1 to {} bytes, none of them NUL", password::LONGEST)]
    Password,
    /// Somebody has the name, and is not as the import would make him.
    #[error("there is a user of that name already, who is not the same: {0} differs")]
    Differs(&'static str),
    /// Another user has the id.
    #[error("another user has the id {0} already")]
    IdTaken(UserId),
    /// More roles than a credential that names them can carry.
    #[error("a user has at most {MOST_ROLES} roles")]
    Roles,
    /// The store did not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Hashing was refused, or there was no randomness.
    #[error("could not hash the password: {0}")]
    Hashing(Failure),
}

/// The text: `main` prints an error by its `Debug`.
impl fmt::Debug for OperatorError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Authority {
    /// Makes a user.
    ///
    /// # Errors
    /// The name or password cannot be one, there are too many roles, or the name is taken; nothing was made then.
    pub async fn add_user(&self, new: NewUser, now: Timestamp) -> Result<User, OperatorError> {
        let name = UserName::new(&new.name)?;
        let roles = distinct(new.roles)?;
        let password = self.hash(new.password).await?;
        let id = uuid_v4(&*self.entropy).map_err(|error| OperatorError::Hashing(error.into()))?;
        let user = User {
            password: Some(password),
            unrestricted: new.unrestricted,
            roles,
            ..User::new(UserId(id), &name, now)
        };
        let added = self.store.apply(Change::AddUser(Box::new(user.clone()))).await?;
        if added.is_done() { Ok(user) } else { Err(OperatorError::Taken) }
    }

    /// Gives a user a new password and ends all his sessions.
    ///
    /// # Errors
    /// There is no such user, or the password cannot be one.
    pub async fn set_password(&self, name: &str, password: Secret) -> Result<(), OperatorError> {
        let name = known(name)?;
        let hash = self.hash(password).await?;
        self.operate(Change::SetPassword(name, hash), OperatorError::NoUser).await
    }

    /// Enables a user, or disables him and ends all his sessions.
    ///
    /// # Errors
    /// There is no such user.
    pub async fn set_enabled(&self, name: &str, enabled: bool) -> Result<(), OperatorError> {
        self.operate(Change::SetEnabled(known(name)?, enabled), OperatorError::NoUser).await
    }

    /// Lets a user's password open nothing more; his sessions go on.
    ///
    /// # Errors
    /// There is no such user.
    pub async fn expire_password(&self, name: &str) -> Result<(), OperatorError> {
        self.operate(Change::ExpirePassword(known(name)?), OperatorError::NoUser).await
    }

    /// Replaces a user's roles, 256 at most. His sessions go on, and every use of them from now on carries the new ones; what a service holds that
    /// was signed before, such as a token of axxon-jsonrpc, names the old ones until it expires.
    ///
    /// # Errors
    /// There is no such user, or there are too many roles.
    pub async fn set_roles(&self, name: &str, roles: Vec<Uuid>) -> Result<(), OperatorError> {
        let change = Change::SetRoles(known(name)?, distinct(roles)?);
        self.operate(change, OperatorError::NoUser).await
    }

    /// Lets a user do everything, or no longer. His sessions go on, as with [`Self::set_roles`].
    ///
    /// # Errors
    /// There is no such user.
    pub async fn set_unrestricted(
        &self,
        name: &str,
        unrestricted: bool,
    ) -> Result<(), OperatorError> {
        let change = Change::SetUnrestricted(known(name)?, unrestricted);
        self.operate(change, OperatorError::NoUser).await
    }

    /// Gives a user another name and ends all his sessions, since some credentials carry the name. His id, his password and what counts his failed
    /// logins stay. Another spelling of the same name is another name.
    ///
    /// # Errors
    /// There is no such user, or the new name cannot be one, or is taken; nothing changed then.
    pub async fn rename_user(&self, name: &str, new: &str) -> Result<(), OperatorError> {
        let (name, new) = (known(name)?, UserName::new(new)?);
        let applied = self.store.apply(Change::Rename(name, new)).await?;
        if applied == Applied::Taken {
            return Err(OperatorError::Taken);
        }
        if applied.is_done() { Ok(()) } else { Err(OperatorError::NoUser) }
    }

    /// Makes a user of another system, with the hash that it kept. If `dry`, only says what would come of it. Whoever is there already, and is
    /// just so, is left as he is: an import that was interrupted may be given again. The hash of a user who has logged in is not compared, since
    /// the first login replaces it.
    ///
    /// # Errors
    /// The name cannot be one, there are too many roles, or another user has the name or the id; nothing was made then.
    pub async fn import_user(
        &self,
        new: ImportedUser,
        now: Timestamp,
        dry: bool,
    ) -> Result<Imported, OperatorError> {
        let name = UserName::new(&new.name)?;
        let id = match new.id {
            Some(id) => id,
            None => UserId(
                uuid_v4(&*self.entropy).map_err(|error| OperatorError::Hashing(error.into()))?,
            ),
        };
        let user = User {
            password: new.hash,
            enabled: new.enabled,
            password_expired: new.password_expired,
            unrestricted: new.unrestricted,
            roles: distinct(new.roles)?,
            ..User::new(id, &name, new.created.unwrap_or(now))
        };
        if !dry && self.store.apply(Change::AddUser(Box::new(user.clone()))).await?.is_done() {
            return Ok(Imported::Added);
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
                None => Ok(Imported::Unchanged),
            };
        }
        if self.find_user(id).await?.is_some() {
            return Err(OperatorError::IdTaken(id));
        }
        // Nobody has either: it is a trial, or who had one of them is gone in this moment.
        if dry { Ok(Imported::Added) } else { Err(OperatorError::Taken) }
    }

    /// The user of an id.
    ///
    /// # Errors
    /// The store did not answer.
    pub async fn find_user(&self, id: UserId) -> Result<Option<User>, OperatorError> {
        let query = UserQuery { id: Some(id), after: None, limit: 1 };
        Ok(self.store.find_users(query).await?.pop())
    }

    /// A session that is there, dead or alive, and its user.
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

    /// Removes a user and ends all his sessions.
    ///
    /// # Errors
    /// There is no such user.
    pub async fn remove_user(&self, name: &str) -> Result<(), OperatorError> {
        self.operate(Change::RemoveUser(known(name)?), OperatorError::NoUser).await
    }

    /// Lets a user log in who would have to wait after failed logins.
    ///
    /// # Errors
    /// There is no such user.
    pub async fn unlock_user(&self, name: &str) -> Result<(), OperatorError> {
        let name = known(name)?;
        self.store.user(name.clone()).await?.ok_or(OperatorError::NoUser)?;
        self.operate(Change::Unlock(name), OperatorError::NoUser).await
    }

    /// Trusts an address of a user as if he had just logged in from there: while his account waits he has tries of his own from it. Four
    /// addresses are trusted, those of his latest logins.
    ///
    /// # Errors
    /// There is no such user.
    pub async fn trust_address(
        &self,
        name: &str,
        address: IpAddr,
        now: Timestamp,
    ) -> Result<(), OperatorError> {
        let trust = Change::TrustAddress(known(name)?, home(address.to_canonical()), now);
        self.operate(trust, OperatorError::NoUser).await
    }

    /// How far up its ladder a user's account stands, if anything was tried on it lately, and until when it is locked.
    ///
    /// # Errors
    /// Nobody can have the name, or the store did not answer.
    pub async fn rung(
        &self,
        name: &str,
        now: Timestamp,
    ) -> Result<Option<(Rung, Option<Timestamp>)>, OperatorError> {
        let rung = self.store.rung(account(&known(name)?)).await?;
        Ok(rung
            .filter(|rung| rung.day >= day(now))
            .map(|rung| (rung, self.lockout().and_then(|policy| rung.locked_until(policy, now)))))
    }

    /// Ends one session.
    ///
    /// # Errors
    /// No living session has that id.
    pub async fn revoke_session(&self, id: SessionId, now: Timestamp) -> Result<(), OperatorError> {
        self.operate(Change::RevokeSession(id, now), OperatorError::NoSession).await
    }

    /// Ends all sessions of a user.
    ///
    /// # Errors
    /// There is no such user.
    pub async fn revoke_user(&self, name: &str) -> Result<(), OperatorError> {
        self.operate(Change::RevokeUser(known(name)?), OperatorError::NoUser).await
    }

    /// Ends all sessions of everybody.
    ///
    /// # Errors
    /// The store did not answer.
    pub async fn revoke_all(&self) -> Result<(), OperatorError> {
        self.operate(Change::RevokeAll, OperatorError::NoUser).await
    }

    async fn operate(&self, change: Change, refusal: OperatorError) -> Result<(), OperatorError> {
        if self.store.apply(change).await?.is_done() { Ok(()) } else { Err(refusal) }
    }

    async fn hash(&self, password: Secret) -> Result<PasswordHash, OperatorError> {
        let length = password.expose().len();
        if length == 0 || length > password::LONGEST || password.expose().contains('\0') {
            return Err(OperatorError::Password);
        }
        let (policy, entropy) = (self.policy.clone(), Arc::clone(&self.entropy));
        let hashed = self
            .threads
            .run(move |bench| policy.hash(password.expose(), &*entropy, &mut bench.scratch))
            .await;
        hashed
            .map_err(OperatorError::Hashing)?
            .map_err(|error| OperatorError::Hashing(error.into()))
    }
}

/// The roles, each of them once.
fn distinct(roles: Vec<Uuid>) -> Result<Vec<Uuid>, OperatorError> {
    let mut distinct: Vec<Uuid> = Vec::new();
    for role in roles {
        if !distinct.contains(&role) {
            distinct.push(role);
        }
        if distinct.len() > MOST_ROLES {
            return Err(OperatorError::Roles);
        }
    }
    Ok(distinct)
}

fn known(name: &str) -> Result<CanonicalName, OperatorError> {
    canonical_name(name).ok_or(OperatorError::NoUser)
}

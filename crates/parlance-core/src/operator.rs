//! What an operator does: users and everybody's sessions.

use std::net::IpAddr;
use std::sync::Arc;

use uuid::Uuid;

use crate::lockout::{Rung, account, day, home};
use crate::ports::{Change, StoreError};
use crate::{
    Authority, CanonicalName, Failure, NameError, PasswordHash, Secret, SessionId, Timestamp, User,
    UserId, UserName, canonical_name, password, uuid_v4,
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

/// Why an operator's command was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
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

impl Authority {
    /// Makes a user.
    ///
    /// # Errors
    /// The name or password cannot be one, there are too many roles, or the name is taken; nothing was made then.
    pub async fn add_user(&self, new: NewUser, now: Timestamp) -> Result<User, OperatorError> {
        let name = UserName::new(&new.name)?;
        let mut roles: Vec<Uuid> = Vec::new();
        for role in new.roles {
            if !roles.contains(&role) {
                roles.push(role);
            }
            if roles.len() > MOST_ROLES {
                return Err(OperatorError::Roles);
            }
        }
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

fn known(name: &str) -> Result<CanonicalName, OperatorError> {
    canonical_name(name).ok_or(OperatorError::NoUser)
}

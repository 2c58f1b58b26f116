//! Users who live in a directory, and the rows that the store keeps of them.
//!
//! A row has the id and the name, so that sessions hang on something and an operator finds them; its epoch ends them, and an operator may
//! disable it. Whatever else counts of a user is the directory's word, asked anew each time.

use crate::ports::{Change, UserPage};
use crate::{Authority, CanonicalName, Credential, Failure, Session, Timestamp, User};

/// What counts of a user: what his directory says, and what only the store knows. Where one of them refuses him, he is refused.
fn overlay(user: User, row: &User) -> User {
    User {
        enabled: user.enabled && row.enabled,
        password_expired: user.password_expired || row.password_expired,
        last_login: row.last_login,
        epoch: row.epoch,
        version: row.version,
        ..user
    }
}

impl Authority {
    /// The session of a credential, and its user as he is now.
    pub(crate) async fn find(
        &self,
        shown: &Credential,
        now: Timestamp,
    ) -> Result<Option<(Session, User)>, Failure> {
        let Some((session, row)) = self.told(self.store.session(shown.digest).await)? else {
            return Ok(None);
        };
        // What is dead already needs nobody's word.
        let Some(users) = self.users.as_ref().filter(|_| session.is_live(&row, now)) else {
            return Ok(Some((session, row)));
        };
        let user = match self.told(users.user_by_id(row.id).await)? {
            Some(user) if user.enabled => overlay(user, &row),
            // As when an operator disables him: whoever enables him again revives none of them.
            Some(_) | None => {
                self.told(self.store.apply(Change::RevokeUser(row.canonical.clone())).await)?;
                User { enabled: false, ..row }
            }
        };
        Ok(Some((session, user)))
    }

    /// Sees that there is a row of a user whose password was right, and says what counts of him.
    pub(crate) async fn keep(&self, user: User) -> Result<User, Failure> {
        if self.users.is_none() {
            return Ok(user);
        }
        if let Some(row) = self.row(&user).await? {
            return Ok(overlay(user, &row));
        }
        let row = User {
            password: None,
            enabled: true,
            password_expired: false,
            unrestricted: false,
            roles: Vec::new(),
            last_login: None,
            epoch: 0,
            version: 0,
            ..user.clone()
        };
        self.told(self.store.apply(Change::KeepUser(Box::new(row))).await)?;
        let row = self.row(&user).await?.ok_or(Failure::Unavailable)?;
        Ok(overlay(user, &row))
    }

    /// The row of a directory's user, if it has his names.
    async fn row(&self, user: &User) -> Result<Option<User>, Failure> {
        let row = self.told(self.store.user(user.canonical.clone()).await)?;
        Ok(row.filter(|row| row.id == user.id && row.name == user.name))
    }

    /// The user of this name.
    pub(crate) async fn named(&self, name: CanonicalName) -> Result<Option<User>, Failure> {
        let Some(users) = &self.users else { return self.told(self.store.user(name).await) };
        match self.told(users.user(name).await)? {
            Some(user) => {
                let row = self.told(self.store.user(user.canonical.clone()).await)?;
                Ok(Some(described(user, row)))
            }
            None => Ok(None),
        }
    }

    /// A page of users.
    pub(crate) async fn list(&self, offset: u64, limit: u32) -> Result<UserPage, Failure> {
        let Some(users) = &self.users else {
            return self.told(self.store.users(offset, limit).await);
        };
        let mut page = self.told(users.users(offset, limit).await)?;
        // All are queued before the first is waited for.
        let rows: Vec<_> =
            page.items.iter().map(|user| self.store.user(user.canonical.clone())).collect();
        for (user, row) in page.items.iter_mut().zip(rows) {
            *user = described(user.clone(), self.told(row.await)?);
        }
        Ok(page)
    }
}

/// What counts of a directory's user, who need not have logged in yet: the row of his name may be nobody's, or another's.
fn described(user: User, row: Option<User>) -> User {
    match row.filter(|row| row.id == user.id) {
        Some(row) => overlay(user, &row),
        None => User { last_login: None, epoch: 0, version: 0, ..user },
    }
}

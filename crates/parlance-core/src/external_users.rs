//! External users, from a directory, and the rows that the store keeps of them.
//!
//! A row holds the id and the name, so that sessions belong to a user and operators find that user. The epoch of the
//! row ends sessions, and an operator may disable the row. All other facts about a user come from the directory, which
//! is asked anew each time.

use crate::ports::{Change, UserPage};
use crate::{Authority, CanonicalName, Credential, Failure, Session, Timestamp, User};

/// Merges the facts of the directory with those that only the store knows. A refusal by either refuses the user.
fn merge_row(user: User, row: &User) -> User {
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
    /// The session of a credential, and its user as of now.
    pub(crate) async fn look_up_session(
        &self,
        shown: &Credential,
        now: Timestamp,
    ) -> Result<Option<(Session, User)>, Failure> {
        let Some((session, row)) = self.report_error(self.store.session(shown.digest).await)?
        else {
            return Ok(None);
        };
        // A dead session needs no look-up in the directory.
        let Some(directory) = self.user_directory.as_ref().filter(|_| session.is_live(&row, now))
        else {
            return Ok(Some((session, row)));
        };
        let user = match self.report_error(directory.user_by_id(row.id).await)? {
            Some(user) if user.enabled => merge_row(user, &row),
            // As when an operator disables the user: enabling the user again revives none of the sessions.
            Some(_) | None => {
                self.report_error(
                    self.store.apply(Change::RevokeUser(row.canonical.clone())).await,
                )?;
                User { enabled: false, ..row }
            }
        };
        Ok(Some((session, user)))
    }

    /// Ensures that a user with a verified password has a row, and returns the merged user.
    pub(crate) async fn ensure_user_row(&self, user: User) -> Result<User, Failure> {
        if self.user_directory.is_none() {
            return Ok(user);
        }
        if let Some(row) = self.user_row(&user).await? {
            return Ok(merge_row(user, &row));
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
        self.report_error(self.store.apply(Change::UpsertExternalUser(Box::new(row))).await)?;
        let row = self.user_row(&user).await?.ok_or(Failure::Unavailable)?;
        Ok(merge_row(user, &row))
    }

    /// The row of a directory's user, if id and names match.
    async fn user_row(&self, user: &User) -> Result<Option<User>, Failure> {
        let row = self.report_error(self.store.user(user.canonical.clone()).await)?;
        Ok(row.filter(|row| row.id == user.id && row.name == user.name))
    }

    /// The user of this name.
    pub(crate) async fn find_user_by_name(
        &self,
        name: CanonicalName,
    ) -> Result<Option<User>, Failure> {
        let Some(directory) = &self.user_directory else {
            return self.report_error(self.store.user(name).await);
        };
        match self.report_error(directory.user(name).await)? {
            Some(user) => {
                let row = self.report_error(self.store.user(user.canonical.clone()).await)?;
                Ok(Some(merge_own_row(user, row)))
            }
            None => Ok(None),
        }
    }

    /// A page of users.
    pub(crate) async fn list_users(&self, offset: u64, limit: u32) -> Result<UserPage, Failure> {
        let Some(directory) = &self.user_directory else {
            return self.report_error(self.store.users(offset, limit).await);
        };
        let mut page = self.report_error(directory.users(offset, limit).await)?;
        // All look-ups are queued before the first is awaited.
        let rows: Vec<_> =
            page.items.iter().map(|user| self.store.user(user.canonical.clone())).collect();
        for (user, row) in page.items.iter_mut().zip(rows) {
            *user = merge_own_row(user.clone(), self.report_error(row.await)?);
        }
        Ok(page)
    }
}

/// Merges a directory's user, perhaps before the first login: the row of that name may be missing, or belong to another
/// user.
fn merge_own_row(user: User, row: Option<User>) -> User {
    match row.filter(|row| row.id == user.id) {
        Some(row) => merge_row(user, &row),
        None => User { last_login: None, epoch: 0, version: 0, ..user },
    }
}

//! The user directory: users kept outside the store.

use super::{StoreError, StoreFuture, UserPage};
use crate::{CanonicalName, User, UserId};

/// Users kept elsewhere: in the integrator's own table, or in an LDAP server. See [`crate::Authority::with_user_directory`].
///
/// The directory decides which users exist, and holds their passwords and rights. The store keeps the sessions of a
/// user, and a row that these sessions refer to, made at the user's first login. Every login and every check asks the
/// directory. A user that the directory disables or no longer knows is refused from the next request on; all sessions
/// of that user are ended for good when one of them is next used. The directory does not announce a new password: the
/// integrator calls [`crate::Authority::revoke_user`]. A directory that does not answer is
/// [`crate::Failure::Unavailable`], never a refusal.
///
/// ```
/// use std::collections::HashMap;
/// use std::future::ready;
///
/// use parlance_core::ports::{PasswordVerifier, StoreFuture, UserDirectory, UserPage};
/// use parlance_core::{Authority, CanonicalName, User, UserId};
///
/// /// A company's own table of people. Each has a UUID there and an argon2id hash.
/// struct Staff(HashMap<CanonicalName, User>);
///
/// impl UserDirectory for Staff {
///     fn user(&self, name: CanonicalName) -> StoreFuture<Option<User>> {
///         Box::pin(ready(Ok(self.0.get(&name).cloned())))
///     }
///
///     fn user_by_id(&self, id: UserId) -> StoreFuture<Option<User>> {
///         Box::pin(ready(Ok(self.0.values().find(|user| user.id == id).cloned())))
///     }
///
///     fn users(&self, offset: u64, limit: u32) -> StoreFuture<UserPage> {
///         let mut items: Vec<_> = self.0.values().cloned().collect();
///         items.sort_by(|one, other| one.canonical.cmp(&other.canonical));
///         let (total, skip) = (items.len() as u64, usize::try_from(offset).unwrap_or(usize::MAX));
///         let items = items.into_iter().skip(skip).take(limit as usize).collect();
///         Box::pin(ready(Ok(UserPage { total, items })))
///     }
///
///     fn password_verifier(&self) -> Option<&dyn PasswordVerifier> {
///         None
///     }
/// }
///
/// fn with_staff(authority: Authority, staff: Vec<User>) -> Authority {
///     let staff = staff.into_iter().map(|user| (user.canonical.clone(), user)).collect();
///     authority.with_user_directory(std::sync::Arc::new(Staff(staff)))
/// }
/// ```
pub trait UserDirectory: Send + Sync + 'static {
    /// The user of this name, for a login. The empty name, which no user has, stands for every name that no user can
    /// have: its look-up should cost as much as the look-up of another unknown name, so that a timing attack learns
    /// nothing.
    ///
    /// The [`User::id`] of a user never changes and never becomes the id of another user, even when the name changes:
    /// an LDAP server's `entryUUID`, for example. `epoch`, `version` and `last_login` belong to the store; their values
    /// here are ignored.
    fn user(&self, name: CanonicalName) -> StoreFuture<Option<User>>;

    /// The user with this id, for a check.
    fn user_by_id(&self, id: UserId) -> StoreFuture<Option<User>>;

    /// Users in the order of their canonical names, for wires that list them.
    fn users(&self, offset: u64, limit: u32) -> StoreFuture<UserPage>;

    /// The verification of passwords by the directory itself: a hash format that the authority does not know, or a bind to
    /// an LDAP server. `None`: the authority verifies the hash in [`User::password`].
    fn password_verifier(&self) -> Option<&dyn PasswordVerifier>;
}

/// A directory that verifies passwords by itself.
pub trait PasswordVerifier: Send + Sync {
    /// Whether this is the user's password. Runs on a hashing thread and may block that thread. The password has 1 to
    /// 4096 bytes without NUL.
    ///
    /// `None` stands for a name or a password that cannot be right. Verifying `None` must cost as much as a wrong
    /// password: otherwise the time of a refusal reveals which users have an account (user enumeration by a timing
    /// attack).
    ///
    /// # Errors
    /// The directory could not tell whether the password is right.
    fn verify_password(&self, user: Option<&User>, password: &str) -> Result<bool, StoreError>;
}

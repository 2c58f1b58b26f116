//! Users who live elsewhere.

use super::{Pending, StoreError, UserPage};
use crate::{CanonicalName, User, UserId};

/// Users who live elsewhere: the integrator's own table, an LDAP server. See [`crate::Authority::with_users`].
///
/// The directory says who there is, what his password is and what he may do; the store keeps his sessions, and of him a row that they
/// hang on, made at his first login. Every login and every check asks the directory: whom it disables or no longer knows is refused from
/// the next request on, and all his sessions are ended for good when one of them is seen. Of a new password the authority is told by
/// [`crate::Authority::revoke_user`]. A directory that does not answer is [`crate::Failure::Unavailable`], never a refusal.
///
/// ```
/// use std::collections::HashMap;
/// use std::future::ready;
///
/// use parlance_core::ports::{Pending, UserPage, Users};
/// use parlance_core::{Authority, CanonicalName, User, UserId};
///
/// /// A company's own table of people. Each has a UUID there and an argon2id hash.
/// struct Staff(HashMap<CanonicalName, User>);
///
/// impl Users for Staff {
///     fn user(&self, name: CanonicalName) -> Pending<Option<User>> {
///         Box::pin(ready(Ok(self.0.get(&name).cloned())))
///     }
///
///     fn user_by_id(&self, id: UserId) -> Pending<Option<User>> {
///         Box::pin(ready(Ok(self.0.values().find(|user| user.id == id).cloned())))
///     }
///
///     fn users(&self, offset: u64, limit: u32) -> Pending<UserPage> {
///         let mut items: Vec<_> = self.0.values().cloned().collect();
///         items.sort_by(|one, other| one.canonical.cmp(&other.canonical));
///         let (total, skip) = (items.len() as u64, usize::try_from(offset).unwrap_or(usize::MAX));
///         let items = items.into_iter().skip(skip).take(limit as usize).collect();
///         Box::pin(ready(Ok(UserPage { total, items })))
///     }
/// }
///
/// fn with_staff(authority: Authority, staff: Vec<User>) -> Authority {
///     let staff = staff.into_iter().map(|user| (user.canonical.clone(), user)).collect();
///     authority.with_users(std::sync::Arc::new(Staff(staff)))
/// }
/// ```
pub trait Users: Send + Sync + 'static {
    /// The user of this name, for a login. The empty name, which nobody has, stands for every name that nobody can have: it should cost
    /// what another unknown name costs.
    ///
    /// His [`User::id`] never changes and is never another's, whatever becomes of his name: an LDAP server's `entryUUID`, say. `epoch`,
    /// `version` and `last_login` are the store's business, and what stands there counts for nothing.
    fn user(&self, name: CanonicalName) -> Pending<Option<User>>;

    /// The user with this id, for a check.
    fn user_by_id(&self, id: UserId) -> Pending<Option<User>>;

    /// Users in the order of their canonical names, for wires that list them.
    fn users(&self, offset: u64, limit: u32) -> Pending<UserPage>;

    /// Whether [`Self::verify`] verifies passwords, rather than the hash in [`User::password`].
    fn verifies(&self) -> bool {
        false
    }

    /// Whether this is the user's password, if [`Self::verifies`]: by a hash that the authority does not know, or a bind to an LDAP server.
    /// Runs on a hashing thread and may block it. The password has 1 to 4096 bytes without NUL.
    ///
    /// `None` is a name or a password that cannot be right. It must cost what a wrong password costs, or the time of a refusal
    /// tells who has an account.
    ///
    /// # Errors
    /// Nothing was found out.
    fn verify(&self, _user: Option<&User>, _password: &str) -> Result<bool, StoreError> {
        Ok(false)
    }
}

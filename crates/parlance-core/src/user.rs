//! Users: the accounts that may log in.

use std::fmt;

use uuid::Uuid;

use crate::{CanonicalName, PasswordHash, Timestamp, UserName};

/// A user's identity, which outlives a change of the name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UserId(pub Uuid);

impl fmt::Display for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A user, as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// Identity.
    pub id: UserId,
    /// The name in the operator's spelling.
    pub name: String,
    /// The name for look-up; unique.
    pub canonical: CanonicalName,
    /// The hash that verifies the password; `None` never verifies.
    pub password: Option<PasswordHash>,
    /// A disabled user logs in nowhere.
    pub enabled: bool,
    /// An expired password opens no session; open sessions go on.
    pub password_expired: bool,
    /// May do everything, in the words of the axxon-jsonrpc document.
    pub unrestricted: bool,
    /// The ids of the roles.
    pub roles: Vec<Uuid>,
    /// Time of creation.
    pub created: Timestamp,
    /// The latest login, or the latest recorded one (`Command::RecordLogin`).
    pub last_login: Option<Timestamp>,
    /// A session is active only while its epoch is this number; another number ends all sessions of the user.
    pub epoch: i64,
    /// Counts the operator's changes to this user, from 0.
    pub version: i64,
}

impl User {
    /// An enabled user with nothing but a name: no password, no roles, no history.
    #[must_use]
    pub fn new(id: UserId, name: &UserName, created: Timestamp) -> Self {
        Self {
            id,
            name: name.as_str().to_owned(),
            canonical: name.canonical(),
            password: None,
            enabled: true,
            password_expired: false,
            unrestricted: false,
            roles: Vec::new(),
            created,
            last_login: None,
            epoch: 0,
            version: 0,
        }
    }
}

//! What may be asked of the authority, and what it answers.

use crate::ports::UserPage;
use crate::{Digest, Lifetime, Rivals, Secret, Session, Timestamp, User};

/// A name and a password, as a client showed them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login {
    /// The name, in whatever spelling.
    pub user: String,
    /// The password, byte for byte.
    pub password: Secret,
}

/// What a client shows to be taken for a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credential {
    /// The secret part: what was digested when the session was opened.
    pub secret: Secret,
    /// Its digest, by which the session is looked up.
    pub digest: Digest,
    /// The credential's own end, where it carries one (a JWT's `exp`).
    pub not_after: Option<Timestamp>,
    /// The user it claims to be of, where the wire says so. Must be the session's.
    pub user: Option<String>,
    /// The session's `sid`, where the wire says so. Must be the session's.
    pub sid: Option<String>,
}

impl Credential {
    /// A credential that is nothing but its secret.
    #[must_use]
    pub fn new(dialect: &str, secret: Secret) -> Self {
        let digest = Digest::of(dialect, secret.expose());
        Self { secret, digest, not_after: None, user: None, sid: None }
    }
}

/// A login.
#[derive(Debug, Clone)]
pub struct Open {
    /// A credential shown with the login: if it counts, it is the answer, and nothing is opened.
    pub shown: Option<Credential>,
    /// A login that must verify first, and name the same user.
    pub outer: Option<Login>,
    /// The login itself; `None` is an unknown user, of whom is heard once the outer login was right.
    pub login: Option<Login>,
    /// The lifetime asked for.
    pub lifetime: Lifetime,
    /// What becomes of the user's other sessions in this dialect.
    pub rivals: Rivals,
}

/// What may be asked.
#[derive(Debug, Clone)]
pub enum Command {
    /// Log in.
    Open(Open),
    /// Is this credential good? A use: it slides a sliding session.
    Check(Credential),
    /// As [`Self::Check`], but leaves the session as it is.
    Look(Credential),
    /// Make it last from now on.
    Renew(Credential, Lifetime),
    /// End it.
    Close(Credential),
    /// Set the user's last login to now.
    Bump(Credential),
    /// One page of all users, in the order of their canonical names.
    ListUsers(Credential, u64, u32),
    /// One user by name.
    ShowUser(Credential, String),
}

/// What was done.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// A session, opened or possessed, and its fresh secret.
    Opened(Session, User, Secret),
    /// The credential counts.
    Standing(Session, User),
    /// It lives longer; the secret is new if the dialect remints.
    Renewed(Session, User, Secret),
    /// It has ended.
    Closed,
    /// The user's last login is now this.
    Bumped(Timestamp),
    /// The users of the page.
    Users(UserPage),
    /// The user, if there is one of that name.
    Named(Option<User>),
}

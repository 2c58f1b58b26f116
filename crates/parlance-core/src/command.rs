//! Commands to the authority, and their outcomes.

use crate::ports::UserPage;
use crate::{ConcurrentSessions, Digest, Lifetime, Secret, Session, Timestamp, User};

/// A user name and a password, as a client sent them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PasswordCredentials {
    /// The name, in any spelling.
    pub user: String,
    /// The password, byte for byte.
    pub password: Secret,
}

/// A credential that a client presents for a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credential {
    /// The secret part: the input of the digest when the session was opened.
    pub secret: Secret,
    /// The digest of the secret, by which the session is looked up.
    pub digest: Digest,
    /// The credential's own end, where the credential carries one (a JWT's `exp`). From that moment on the credential
    /// is invalid, without leeway; the session's own end counts as well. A credential past its own end leaves a living
    /// session alone.
    pub not_after: Option<Timestamp>,
    /// The user that the credential names, where the wire carries one. Must be the session's.
    pub user: Option<String>,
    /// The session's `public_id`, where the wire carries one. Must be the session's.
    pub public_id: Option<String>,
}

impl Credential {
    /// A credential that consists of its secret alone.
    #[must_use]
    pub fn new(dialect: &str, secret: Secret) -> Self {
        let digest = Digest::of(dialect, secret.expose());
        Self { secret, digest, not_after: None, user: None, public_id: None }
    }
}

/// A login.
#[derive(Debug, Clone)]
pub struct Login {
    /// A credential sent with the login. A valid one is the answer, and no session is opened.
    pub existing_credential: Option<Credential>,
    /// Outer credentials, which must verify first and name the same user.
    pub outer_credentials: Option<PasswordCredentials>,
    /// The login itself. `None` after right outer credentials is refused as an unserved call; without any credentials,
    /// as an unknown user or an unknown credential.
    pub credentials: Option<PasswordCredentials>,
    /// The requested lifetime.
    pub lifetime: Lifetime,
    /// Effect on the user's other sessions in this dialect.
    pub concurrent_sessions: ConcurrentSessions,
}

/// A command to the authority.
#[derive(Debug, Clone)]
pub enum Command {
    /// Log in.
    Login(Login),
    /// Check a credential. A use: slides a sliding session.
    Check(Credential),
    /// As [`Self::Check`], but leaves the session unchanged.
    Peek(Credential),
    /// Renew a session: its lifetime starts anew now.
    Renew(Credential, Lifetime),
    /// End a session.
    Logout(Credential),
    /// Set the user's last login to now.
    RecordLogin(Credential),
    /// One page of all users, in the order of their canonical names.
    ListUsers(Credential, u64, u32),
    /// One user by name.
    ShowUser(Credential, String),
}

/// The result of a command.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// A session, new or taken over, and its new secret.
    LoggedIn(Session, User, Secret),
    /// The credential is valid.
    Active(Session, User),
    /// The session has a new expiry; the secret is new if the dialect reissues credentials on renewal.
    Renewed(Session, User, Secret),
    /// The session has ended.
    LoggedOut,
    /// The new last login of the user.
    LoginRecorded(Timestamp),
    /// The users of the page.
    Users(UserPage),
    /// The user, if there is one of that name.
    User(Option<User>),
}

//! Every reason for a refusal.

/// Why a command was refused.
///
/// Closed on purpose, and not `non_exhaustive`: each dialect maps every variant in a table without a wildcard, so a new
/// failure does not compile until every wire has a wording for the new failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Failure {
    /// No user of that name, or no name at all.
    #[error("unknown user")]
    UnknownUser,
    /// The user exists, but the password is wrong.
    #[error("wrong password")]
    WrongPassword,
    /// The password was right, but the user is disabled.
    #[error("user disabled")]
    UserDisabled,
    /// The password was right, but has expired.
    #[error("password expired")]
    PasswordExpired,
    /// The outer of two credentials does not verify, or names another user than the inner (axxon-jsonrpc's Basic before
    /// its `data`).
    #[error("outer credential refused")]
    OuterCredential,
    /// The password was right, but the requested call is not served (axxon-jsonrpc's Basic before a call that is none):
    /// no session is opened.
    #[error("right password, but the call is not served")]
    UnservedCall,
    /// Account lock-out: the account must wait after too many failures, and no password of the account was verified.
    /// Unknown names wait alike, and get the same answer as an unknown name without a lock-out.
    #[error("account locked")]
    Locked {
        /// Whether a user has the name.
        user_exists: bool,
    },
    /// Rate limit: too many logins failed from the address or its network. Nothing was verified or looked up.
    #[error("too many failed logins from the address")]
    RateLimited,
    /// The request carries no credential to look up.
    #[error("no credential")]
    NoCredential,
    /// No session has that credential.
    #[error("unknown credential")]
    UnknownCredential,
    /// The session was ended or has expired.
    #[error("session revoked or expired")]
    RevokedOrExpired,
    /// The session is bound to another address.
    #[error("unexpected address")]
    UnexpectedAddress,
    /// The session belongs to another user than the one that the credential names.
    #[error("credential of another user")]
    UnexpectedUser,
    /// Load shedding: too much work waits already. Nothing was done.
    #[error("busy")]
    Busy,
    /// The store or the source of randomness is unavailable. The effect of the command is unknown.
    #[error("unavailable")]
    Unavailable,
}

impl Failure {
    /// Every variant, for tables that must cover all of them.
    pub const ALL: [Self; 16] = [
        Self::UnknownUser,
        Self::WrongPassword,
        Self::UserDisabled,
        Self::PasswordExpired,
        Self::OuterCredential,
        Self::UnservedCall,
        Self::Locked { user_exists: true },
        Self::Locked { user_exists: false },
        Self::RateLimited,
        Self::NoCredential,
        Self::UnknownCredential,
        Self::RevokedOrExpired,
        Self::UnexpectedAddress,
        Self::UnexpectedUser,
        Self::Busy,
        Self::Unavailable,
    ];

    /// The reason in one word, for metrics and logs; never for a wire.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::UnknownUser => "unknown_user",
            Self::WrongPassword => "wrong_password",
            Self::UserDisabled => "user_disabled",
            Self::PasswordExpired => "password_expired",
            Self::OuterCredential => "outer_credential",
            Self::UnservedCall => "unserved_call",
            Self::Locked { .. } => "locked",
            Self::RateLimited => "throttled",
            Self::NoCredential => "no_credential",
            Self::UnknownCredential => "unknown_credential",
            Self::RevokedOrExpired => "revoked_or_expired",
            Self::UnexpectedAddress => "unexpected_address",
            Self::UnexpectedUser => "unexpected_user",
            Self::Busy => "busy",
            Self::Unavailable => "unavailable",
        }
    }
}

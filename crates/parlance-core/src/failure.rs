//! Every refusal there is.

/// Why a command was refused.
///
/// Closed on purpose, and not `non_exhaustive`: each dialect spells every variant in a table without a wildcard, so a new failure does
/// not compile until every wire says how it words it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Failure {
    /// No user of that name, or no name at all.
    #[error("unknown user")]
    UnknownUser,
    /// The user is there, the password is not his.
    #[error("wrong password")]
    WrongPassword,
    /// The password was right, but the user is disabled.
    #[error("user disabled")]
    UserDisabled,
    /// The password was right, but has expired.
    #[error("password expired")]
    PasswordExpired,
    /// The outer of two credentials does not verify, or names another user than the inner (axxon-jsonrpc's Basic before its `data`).
    #[error("outer credential refused")]
    OuterCredential,
    /// The password was right, but what was asked with it is not served (axxon-jsonrpc's Basic before a call that is none): it opens nothing.
    #[error("right password, unserved call")]
    UnservedCall,
    /// The account must wait after too many failures; no password of it was verified. Names that nobody has wait alike, and hear what they
    /// hear otherwise.
    #[error("account locked")]
    Locked {
        /// Whether somebody has the name.
        known: bool,
    },
    /// Too many logins failed from the address or its network; nothing was verified or looked up.
    #[error("too many failed logins from the address")]
    Throttled,
    /// The request shows no credential that could be looked up.
    #[error("no credential")]
    NoCredential,
    /// No session has that credential.
    #[error("unknown credential")]
    UnknownCredential,
    /// The session was ended or has expired.
    #[error("session ended")]
    EndedSession,
    /// The session is bound to another address.
    #[error("foreign address")]
    ForeignAddress,
    /// The session is not that of the user whom the credential names.
    #[error("credential of another user")]
    ForeignUser,
    /// Too much is waiting already; nothing was done.
    #[error("busy")]
    Busy,
    /// The store or the source of randomness is away; what the command did is unknown.
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
        Self::Locked { known: true },
        Self::Locked { known: false },
        Self::Throttled,
        Self::NoCredential,
        Self::UnknownCredential,
        Self::EndedSession,
        Self::ForeignAddress,
        Self::ForeignUser,
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
            Self::Throttled => "throttled",
            Self::NoCredential => "no_credential",
            Self::UnknownCredential => "unknown_credential",
            Self::EndedSession => "ended_session",
            Self::ForeignAddress => "foreign_address",
            Self::ForeignUser => "foreign_user",
            Self::Busy => "busy",
            Self::Unavailable => "unavailable",
        }
    }
}

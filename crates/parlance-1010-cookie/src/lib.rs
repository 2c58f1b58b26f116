#![doc = include_str!("docs.md")]

mod call;
mod cookie;
mod reply;
#[cfg(test)]
mod tests;

use std::time::Duration;

pub use call::Call;
use parlance_core::ports::Entropy;
use parlance_core::{
    AddressBinding, Command, Credential, Digest, Failure, IssueContext, IssueError, IssuedToken,
    Lifetime, Login, Outcome, Secret, Session, SessionPolicy, Timestamp, TokenIssuer, User,
    random_hex, random_string,
};
use parlance_dialect::{
    Configure, Dialect, Rejection, Request, RequestCredential, Response, Setting, SettingKind,
    SettingValues, Unread,
};

/// The dialect's name.
const NAME: &str = "1010-cookie";

/// Length of a `sid` in decimal digits, as in the document's sample.
const SID_DIGITS: usize = 9;

/// Random bytes in an `epw`.
const EPW_BYTES: usize = 32;

/// The settings of an operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// Idle timeout: the lifetime of a session from its last use. 1 hour (decisions.md#a-session-ends-after-an-hour-idle-or-a-day-in-all).
    pub idle_lifetime: Duration,
    /// Lifetime of a session from its login, in use or not. 24 hours (decisions.md#a-session-ends-after-an-hour-idle-or-a-day-in-all).
    pub max_lifetime: Duration,
    /// The addresses from which a session counts.
    pub bind_sessions_to: AddressBinding,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            idle_lifetime: Duration::from_secs(60 * 60),
            max_lifetime: Duration::from_secs(24 * 60 * 60),
            bind_sessions_to: AddressBinding::Off,
        }
    }
}

/// The wire of 1010data.
#[derive(Debug, Clone, Default)]
pub struct Cookie1010 {
    settings: Settings,
}

impl Cookie1010 {
    /// The dialect under these settings.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self { settings }
    }
}

impl TokenIssuer for Cookie1010 {
    fn dialect(&self) -> &'static str {
        NAME
    }

    fn session_policy(&self) -> SessionPolicy {
        SessionPolicy {
            lifetime: Lifetime::Sliding(self.settings.idle_lifetime),
            max_lifetime: Some(self.settings.max_lifetime),
            address_binding: self.settings.bind_sessions_to,
            report_end_once: false,
        }
    }

    fn issue(
        &self,
        _: &IssueContext<'_>,
        entropy: &dyn Entropy,
    ) -> Result<IssuedToken, IssueError> {
        // No leading zero: the document's client parses the sid as an integer and prints the integer again.
        let (first, rest) = (
            random_string(b"123456789", 1, entropy)?,
            random_string(b"0123456789", SID_DIGITS - 1, entropy)?,
        );
        let secret = Secret::new(format!("_______{}", random_hex(EPW_BYTES, entropy)?.expose()));
        let digest = Digest::of(NAME, secret.expose());
        Ok(IssuedToken {
            secret,
            digest,
            public_id: Some(format!("{}{}", first.expose(), rest.expose())),
        })
    }
}

impl Dialect for Cookie1010 {
    type Call = Call;

    const NAME: &'static str = NAME;
    const PATHS: &'static [&'static str] =
        &["/{version}/api/!login[:json]", "/{version}/api/!logout[:json]", "/{version}/api/!*"];

    fn claims(path: &str) -> bool {
        call::claims(path)
    }

    fn decode(&self, request: &Request<'_>) -> Result<Call, Rejection> {
        call::read(request)
    }

    fn command(&self, call: &Call) -> Command {
        match call {
            Call::Login { login, concurrent_sessions: rivals, .. } => Command::Login(Login {
                existing_credential: None,
                outer_credentials: None,
                credentials: Some(login.clone()),
                lifetime: Lifetime::Sliding(self.settings.idle_lifetime),
                concurrent_sessions: *rivals,
            }),
            Call::Logout(shown) => Command::Logout(shown.clone()),
            Call::Other(shown) => Command::Check(shown.clone()),
        }
    }

    fn encode(&self, call: &Call, result: Result<&Outcome, &Failure>, _: Timestamp) -> Response {
        match result {
            Ok(outcome) => reply::encode_outcome(call, outcome),
            Err(why) => reply::encode_failure(*why),
        }
    }

    fn extract_credential(&self, request: &Request<'_>) -> Option<Credential> {
        cookie::from_request(request)
    }

    fn parse_credential(&self, shown: &str) -> Option<Credential> {
        cookie::from_text(shown)
    }

    fn attach_credential(
        &self,
        session: &Session,
        user: &User,
        secret: &Secret,
    ) -> RequestCredential {
        RequestCredential::header(
            "cookie",
            cookie::name_and_value(
                &user.name,
                session.public_id.as_deref().unwrap_or_default(),
                secret.expose(),
            ),
        )
    }

    fn challenge(&self, why: &Failure) -> Response {
        reply::encode_failure(*why)
    }

    fn body_error(&self, why: Unread) -> Response {
        reply::error(why.status(), &why.to_string())
    }
}

impl Configure for Cookie1010 {
    const SETTINGS: &'static [Setting] = &[
        Setting {
            key: "idle_lifetime",
            kind: SettingKind::Duration,
            default: "1h",
            about: "How long a session lives from its last use.",
        },
        Setting {
            key: "max_lifetime",
            kind: SettingKind::Duration,
            default: "24h",
            about: "How long a session lives from its login, however much it is used.",
        },
        Setting::bind_sessions_to(AddressBinding::Off),
    ];

    const TOUR: &'static str = include_str!("tour.sh");

    fn configure(values: &SettingValues) -> Self {
        let default = Settings::default();
        Self::new(Settings {
            idle_lifetime: values.duration("idle_lifetime").unwrap_or(default.idle_lifetime),
            max_lifetime: values.duration("max_lifetime").unwrap_or(default.max_lifetime),
            bind_sessions_to: values.binding().unwrap_or(default.bind_sessions_to),
        })
    }
}

#![doc = include_str!("docs.md")]

mod call;
mod reply;
#[cfg(test)]
mod tests;

use std::time::Duration;

pub use call::Call;
use chrono_tz::Tz;
use parlance_core::ports::Entropy;
use parlance_core::{
    AddressBinding, Command, ConcurrentSessions, Credential, Digest, Failure, IssueContext,
    IssueError, IssuedToken, LOWER_AND_DIGITS, Lifetime, Login, Outcome, PasswordCredentials,
    Secret, Session, SessionPolicy, Timestamp, TokenIssuer, User, random_string,
};
use parlance_dialect::{
    Configure, Dialect, Rejection, Request, RequestCredential, Response, Setting, SettingKind,
    SettingValues, Unread,
};

/// Length of a token, in letters of 5.17 random bits each: 330 bits.
const TOKEN_LENGTH: usize = 64;
/// The only resource.
const LOGIN_PATH: &str = "/login";

/// The settings of an operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// Lifetime of a token without `longtoken`. The document says 24 hours.
    pub lifetime: Duration,
    /// Lifetime of a token with `longtoken`. The document says 30 days.
    pub long_lifetime: Duration,
    /// Time zone of `validTo`.
    pub zone: Tz,
    /// The addresses from which a session counts.
    pub bind_sessions_to: AddressBinding,
}

impl Default for Settings {
    fn default() -> Self {
        let day = Duration::from_secs(24 * 60 * 60);
        Self {
            lifetime: day,
            long_lifetime: 30 * day,
            bind_sessions_to: AddressBinding::Off,
            zone: Tz::UTC,
        }
    }
}

/// The wire of `/login` and `X-Auth-Bearer`.
#[derive(Debug, Clone, Default)]
pub struct PolishLongtoken {
    settings: Settings,
}

impl PolishLongtoken {
    /// The wire under these settings.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self { settings }
    }

    fn lifetime(&self, long: bool) -> Lifetime {
        Lifetime::Fixed(if long { self.settings.long_lifetime } else { self.settings.lifetime })
    }
}

impl TokenIssuer for PolishLongtoken {
    fn dialect(&self) -> &'static str {
        Self::NAME
    }

    fn session_policy(&self) -> SessionPolicy {
        SessionPolicy {
            lifetime: self.lifetime(false),
            max_lifetime: None,
            address_binding: self.settings.bind_sessions_to,
            report_end_once: false,
        }
    }

    fn issue(
        &self,
        _: &IssueContext<'_>,
        entropy: &dyn Entropy,
    ) -> Result<IssuedToken, IssueError> {
        let secret = random_string(LOWER_AND_DIGITS, TOKEN_LENGTH, entropy)?;
        let digest = Digest::of(Self::NAME, secret.expose());
        Ok(IssuedToken { secret, digest, public_id: None })
    }
}

impl Dialect for PolishLongtoken {
    type Call = Call;

    const NAME: &'static str = "polish-longtoken";
    const PATHS: &'static [&'static str] = &["/login"];

    fn claims(path: &str) -> bool {
        call::inline_query(path).is_some()
    }

    fn decode(&self, request: &Request<'_>) -> Result<Call, Rejection> {
        Call::read(request)
    }

    fn command(&self, call: &Call) -> Command {
        match call {
            Call::Login(login, long) => {
                Command::Login(login_command(login.clone(), self.lifetime(*long)))
            }
            Call::Peek(shown) => Command::Peek(shown.clone()),
            Call::Renew(shown, long) => Command::Renew(shown.clone(), self.lifetime(*long)),
            Call::Logout(shown) => Command::Logout(shown.clone()),
        }
    }

    fn encode(&self, call: &Call, result: Result<&Outcome, &Failure>, _: Timestamp) -> Response {
        match result {
            Ok(outcome) => reply::encode_outcome(call, outcome, self.settings.zone),
            Err(why) => reply::encode_failure(*why),
        }
    }

    fn extract_credential(&self, request: &Request<'_>) -> Option<Credential> {
        call::bearer(request).ok().flatten().and_then(call::credential)
    }

    fn parse_credential(&self, shown: &str) -> Option<Credential> {
        call::credential(shown.as_bytes())
    }

    fn attach_credential(&self, _: &Session, _: &User, secret: &Secret) -> RequestCredential {
        RequestCredential::header("x-auth-bearer", secret.expose())
    }

    fn challenge(&self, why: &Failure) -> Response {
        reply::encode_challenge(*why)
    }

    fn body_error(&self, why: Unread) -> Response {
        reply::error(why.status(), &why.to_string())
    }
}

impl Configure for PolishLongtoken {
    const SETTINGS: &'static [Setting] = &[
        Setting {
            key: "lifetime",
            kind: SettingKind::Duration,
            default: "24h",
            about: "How long a token lives from its login or renewal without longtoken.",
        },
        Setting {
            key: "long_lifetime",
            kind: SettingKind::Duration,
            default: "30d",
            about: "How long a token lives from its login or renewal with longtoken.",
        },
        Setting::bind_sessions_to(AddressBinding::Off),
    ];

    const TOUR: &'static str = include_str!("tour.sh");

    fn configure(values: &SettingValues) -> Self {
        let default = Settings::default();
        Self::new(Settings {
            lifetime: values.duration("lifetime").unwrap_or(default.lifetime),
            long_lifetime: values.duration("long_lifetime").unwrap_or(default.long_lifetime),
            bind_sessions_to: values.binding().unwrap_or(default.bind_sessions_to),
            zone: values.zone,
        })
    }
}

fn login_command(login: PasswordCredentials, lifetime: Lifetime) -> Login {
    Login {
        existing_credential: None,
        outer_credentials: None,
        credentials: Some(login),
        lifetime,
        concurrent_sessions: ConcurrentSessions::Allow,
    }
}

#![doc = include_str!("docs.md")]

mod call;
mod reply;
#[cfg(test)]
mod tests;

use std::time::Duration;

pub use call::Call;
use parlance_core::ports::Entropy;
use parlance_core::{
    AddressBinding, Command, ConcurrentSessions, Credential, Digest, Failure, IssueContext,
    IssueError, IssuedToken, Lifetime, Login, Outcome, Secret, Session, SessionPolicy, Timestamp,
    TokenIssuer, UPPER, User, random_string,
};
use parlance_dialect::{
    Configure, Dialect, Rejection, Request, RequestCredential, Response, Setting, SettingKind,
    SettingValues, Unread,
};

/// The dialect's name.
const NAME: &str = "cluster-api";

/// Length of a token, as in the document: 60 letters, about 282 random bits.
const TOKEN_LENGTH: usize = 60;

/// The settings of an operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// Idle timeout: the lifetime of a token from its last use. The document says 10 minutes.
    pub lifetime: Duration,
    /// Lifetime of a token from its login, in use or not. 30 days; the document has no such limit
    /// (decisions.md#a-token-ends-thirty-days-after-its-login).
    pub max_lifetime: Duration,
    /// The addresses from which a session counts.
    pub bind_sessions_to: AddressBinding,
    /// Whether a guarded request may show its token in the header `X-Access-Token`. The document allows the form alone
    /// (decisions.md#a-guarded-request-may-show-its-token-in-a-header).
    pub access_token_header: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            lifetime: Duration::from_secs(10 * 60),
            max_lifetime: Duration::from_secs(30 * 24 * 60 * 60),
            bind_sessions_to: AddressBinding::Exact,
            access_token_header: false,
        }
    }
}

/// The wire of PUQ DoCluster.
#[derive(Debug, Clone, Default)]
pub struct ClusterApi {
    settings: Settings,
}

impl ClusterApi {
    /// The dialect under these settings.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self { settings }
    }
}

impl TokenIssuer for ClusterApi {
    fn dialect(&self) -> &'static str {
        NAME
    }

    fn session_policy(&self) -> SessionPolicy {
        SessionPolicy {
            lifetime: Lifetime::Sliding(self.settings.lifetime),
            max_lifetime: Some(self.settings.max_lifetime),
            address_binding: self.settings.bind_sessions_to,
            report_end_once: true,
        }
    }

    fn issue(
        &self,
        _: &IssueContext<'_>,
        entropy: &dyn Entropy,
    ) -> Result<IssuedToken, IssueError> {
        let secret = random_string(UPPER, TOKEN_LENGTH, entropy)?;
        Ok(IssuedToken { digest: Digest::of(NAME, secret.expose()), secret, public_id: None })
    }
}

impl Dialect for ClusterApi {
    type Call = Call;

    const NAME: &'static str = NAME;
    const PATHS: &'static [&'static str] = &["/api/login", "/api/logout", "/api/*"];

    fn claims(path: &str) -> bool {
        call::claims(path)
    }

    fn decode(&self, request: &Request<'_>) -> Result<Call, Rejection> {
        call::read(request)
    }

    fn command(&self, call: &Call) -> Command {
        match call {
            Call::Login { shown, login } => Command::Login(Login {
                existing_credential: shown.clone(),
                outer_credentials: None,
                credentials: login.clone(),
                lifetime: Lifetime::Sliding(self.settings.lifetime),
                concurrent_sessions: ConcurrentSessions::Allow,
            }),
            Call::Logout(shown) => Command::Logout(shown.clone()),
            Call::Other(shown) => Command::Check(shown.clone()),
        }
    }

    fn encode(&self, call: &Call, result: Result<&Outcome, &Failure>, _: Timestamp) -> Response {
        match result {
            Ok(outcome) => reply::encode_outcome(call, outcome),
            Err(why) => reply::encode_call_failure(call, *why),
        }
    }

    fn extract_credential(&self, request: &Request<'_>) -> Option<Credential> {
        call::guarded_token(request, self.settings.access_token_header)
    }

    fn parse_credential(&self, shown: &str) -> Option<Credential> {
        call::credential(Secret::new(shown.to_owned()))
    }

    fn attach_credential(&self, _: &Session, _: &User, secret: &Secret) -> RequestCredential {
        RequestCredential::field(call::ACCESS_TOKEN, secret.expose())
    }

    fn needs_body(&self, head: &Request<'_>) -> bool {
        call::may_hold_token(head)
            && !(self.settings.access_token_header && head.has_header(call::ACCESS_TOKEN_HEADER))
    }

    fn challenge(&self, why: &Failure) -> Response {
        reply::encode_failure(*why)
    }

    fn body_error(&self, why: Unread) -> Response {
        reply::error(&why.to_string())
    }
}

impl Configure for ClusterApi {
    const SETTINGS: &'static [Setting] = &[
        Setting {
            key: "lifetime",
            kind: SettingKind::Duration,
            default: "10m",
            about: "How long a token lives from its last use.",
        },
        Setting {
            key: "max_lifetime",
            kind: SettingKind::Duration,
            default: "30d",
            about: "How long a token lives from its login, however much it is used.",
        },
        Setting::bind_sessions_to(AddressBinding::Exact),
        Setting {
            key: "access_token_header",
            kind: SettingKind::Boolean,
            default: "false",
            about: "Whether a guarded request may show its token in the header X-Access-Token, for proxies that pass no body.",
        },
    ];

    const TOUR: &'static str = include_str!("tour.sh");

    fn configure(values: &SettingValues) -> Self {
        let default = Settings::default();
        Self::new(Settings {
            lifetime: values.duration("lifetime").unwrap_or(default.lifetime),
            max_lifetime: values.duration("max_lifetime").unwrap_or(default.max_lifetime),
            bind_sessions_to: values.binding().unwrap_or(default.bind_sessions_to),
            access_token_header: values.boolean("access_token_header"),
        })
    }
}

#![doc = include_str!("docs.md")]

mod accept;
mod call;
mod reply;
#[cfg(test)]
mod tests;

use std::time::Duration;

pub use call::{Call, Page};
use chrono_tz::Tz;
use parlance_core::ports::Entropy;
use parlance_core::{
    AddressBinding, Command, ConcurrentSessions, Credential, Digest, Failure, IssueContext,
    IssueError, IssuedToken, Lifetime, Login, Outcome, Secret, Session, SessionPolicy, Timestamp,
    TokenIssuer, User, uuid_v4,
};
use parlance_dialect::{
    Configure, Dialect, Rejection, Request, RequestCredential, Response, Setting, SettingKind,
    SettingValues, Unread, encode_user_and_secret,
};

/// The settings of an operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// Lifetime of a token from its login; `None` is for ever, and leaves `expirationTime` out. The document names no lifetime.
    pub lifetime: Option<Duration>,
    /// Time zone of the dates in the answers.
    pub zone: Tz,
    /// The addresses from which a session counts.
    pub bind_sessions_to: AddressBinding,
    /// Whether a 401 of `/auth/login` asks for Basic. A browser then asks its user for a name and a password, over the page's own form.
    pub basic_challenge: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            lifetime: Some(Duration::from_secs(30 * 24 * 60 * 60)),
            bind_sessions_to: AddressBinding::Off,
            basic_challenge: true,
            zone: Tz::UTC,
        }
    }
}

/// The wire of `/auth/login` and `X-Auth-Token`.
#[derive(Debug, Clone, Default)]
pub struct FlaskUsertoken {
    settings: Settings,
}

impl FlaskUsertoken {
    /// The wire under these settings.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self { settings }
    }

    /// The challenge of a 401 of `/auth/login`.
    fn login_challenge(&self) -> &'static str {
        if self.settings.basic_challenge { reply::BASIC_CHALLENGE } else { reply::TOKEN_CHALLENGE }
    }

    fn lifetime(&self) -> Lifetime {
        self.settings.lifetime.map_or(Lifetime::Unlimited, Lifetime::Fixed)
    }
}

impl TokenIssuer for FlaskUsertoken {
    fn dialect(&self) -> &'static str {
        Self::NAME
    }

    fn session_policy(&self) -> SessionPolicy {
        SessionPolicy {
            lifetime: self.lifetime(),
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
        let secret = Secret::new(uuid_v4(entropy)?.to_string());
        let digest = Digest::of(Self::NAME, secret.expose());
        Ok(IssuedToken { secret, digest, public_id: None })
    }
}

impl Dialect for FlaskUsertoken {
    type Call = Call;

    const NAME: &'static str = "flask-usertoken";
    const PATHS: &'static [&'static str] =
        &["/auth/login", "/auth/bump", "/auth/logout", "/user", "/user/{name}"];

    fn claims(path: &str) -> bool {
        call::Resource::from_path(path).is_some()
    }

    fn decode(&self, request: &Request<'_>) -> Result<Call, Rejection> {
        Call::read(request, self.login_challenge())
    }

    fn command(&self, call: &Call) -> Command {
        match call {
            Call::Login(login) => Command::Login(Login {
                existing_credential: None,
                outer_credentials: None,
                credentials: Some(login.clone()),
                lifetime: self.lifetime(),
                concurrent_sessions: ConcurrentSessions::Allow,
            }),
            Call::Bump(shown) => Command::RecordLogin(shown.clone()),
            Call::Logout(shown) => Command::Logout(shown.clone()),
            Call::Users(shown, page) => Command::ListUsers(shown.clone(), page.offset(), page.size),
            Call::InvalidPage(shown) => Command::Peek(shown.clone()),
            Call::User(shown, name) => Command::ShowUser(shown.clone(), name.clone()),
        }
    }

    fn encode(&self, call: &Call, result: Result<&Outcome, &Failure>, _: Timestamp) -> Response {
        match result {
            Ok(outcome) => reply::encode_outcome(call, outcome, self.settings.zone),
            Err(why) => reply::encode_failure(
                *why,
                match call {
                    Call::Login(_) => self.login_challenge(),
                    Call::Bump(_)
                    | Call::Logout(_)
                    | Call::Users(..)
                    | Call::InvalidPage(_)
                    | Call::User(..) => reply::TOKEN_CHALLENGE,
                },
            ),
        }
    }

    fn extract_credential(&self, request: &Request<'_>) -> Option<Credential> {
        call::credential_from_header(request)
    }

    fn parse_credential(&self, shown: &str) -> Option<Credential> {
        call::credential_from_pair(shown)
            .or_else(|| call::credential_from_token(Secret::new(shown.to_owned())))
    }

    fn attach_credential(&self, _: &Session, user: &User, secret: &Secret) -> RequestCredential {
        RequestCredential::header("x-auth-token", encode_user_and_secret(&user.name, secret))
    }

    fn challenge(&self, why: &Failure) -> Response {
        reply::encode_failure(*why, reply::TOKEN_CHALLENGE)
    }

    fn body_error(&self, why: Unread) -> Response {
        reply::message(why.status(), &why.to_string())
    }
}

impl Configure for FlaskUsertoken {
    const SETTINGS: &'static [Setting] = &[
        Setting {
            key: "lifetime",
            kind: SettingKind::DurationOrNever,
            default: "30d",
            about: "How long a token lives from its login; never leaves expirationTime out.",
        },
        Setting::bind_sessions_to(AddressBinding::Off),
        Setting {
            key: "basic_challenge",
            kind: SettingKind::Boolean,
            default: "true",
            about: "Whether a 401 of /auth/login asks for Basic, upon which a browser shows a dialog of its own.",
        },
    ];

    const TOUR: &'static str = include_str!("tour.sh");

    fn configure(values: &SettingValues) -> Self {
        Self::new(Settings {
            lifetime: values.duration("lifetime"),
            bind_sessions_to: values.binding().unwrap_or(Settings::default().bind_sessions_to),
            basic_challenge: values.boolean("basic_challenge"),
            zone: values.zone,
        })
    }
}

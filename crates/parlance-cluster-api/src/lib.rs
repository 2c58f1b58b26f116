#![doc = include_str!("docs.md")]

mod call;
mod reply;
#[cfg(test)]
mod tests;

use std::time::Duration;

pub use call::Call;
use parlance_core::ports::{Entropy, EntropyError};
use parlance_core::{
    Binding, Command, Credential, Digest, Failure, Grant, Lifetime, Mint, Minted, Open, Outcome,
    Rivals, Secret, Session, Terms, Timestamp, UPPER, User, draw,
};
use parlance_dialect::{
    Configure, Dialect, Kind, Rejection, Request, Response, Setting, Shown, Unread, Values,
};

/// The dialect's name.
const NAME: &str = "cluster-api";

/// The length of the token that the document shows: 60 letters, about 282 random bits.
const LETTERS: usize = 60;

/// What an operator may set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// How long a token lives from its last use. The document says 10 minutes.
    pub lifetime: Duration,
    /// How long a token lives from its login, however much it is used. 30 days; the document has no such limit (decision 0104).
    pub max_lifetime: Duration,
    /// From where a session counts.
    pub bind_address: Binding,
    /// Whether a guarded request may show its token in the header `X-Access-Token`. The document has it in the form alone (decision 0206).
    pub access_token_header: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            lifetime: Duration::from_secs(10 * 60),
            max_lifetime: Duration::from_secs(30 * 24 * 60 * 60),
            bind_address: Binding::Exact,
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

impl Mint for ClusterApi {
    fn dialect(&self) -> &'static str {
        NAME
    }

    fn terms(&self) -> Terms {
        Terms {
            lifetime: Lifetime::Sliding(self.settings.lifetime),
            max_lifetime: Some(self.settings.max_lifetime),
            bind_address: self.settings.bind_address,
            tell_end_once: true,
        }
    }

    fn mint(&self, _: &Grant<'_>, entropy: &dyn Entropy) -> Result<Minted, EntropyError> {
        let secret = draw(UPPER, LETTERS, entropy)?;
        Ok(Minted { digest: Digest::of(NAME, secret.expose()), secret, sid: None })
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
            Call::Login { shown, login } => Command::Open(Open {
                shown: shown.clone(),
                outer: None,
                login: login.clone(),
                lifetime: Lifetime::Sliding(self.settings.lifetime),
                rivals: Rivals::Allow,
            }),
            Call::Logout(shown) => Command::Close(shown.clone()),
            Call::Other(shown) => Command::Check(shown.clone()),
        }
    }

    fn encode(&self, call: &Call, result: Result<&Outcome, &Failure>, _: Timestamp) -> Response {
        match result {
            Ok(outcome) => reply::done(call, outcome),
            Err(why) => reply::call_refused(call, *why),
        }
    }

    fn present(&self, request: &Request<'_>) -> Option<Credential> {
        call::token(request, self.settings.access_token_header)
    }

    fn credential(&self, shown: &str) -> Option<Credential> {
        call::credential(Secret::new(shown.to_owned()))
    }

    fn show(&self, _: &Session, _: &User, secret: &Secret) -> Shown {
        Shown::field(call::TOKEN, secret.expose())
    }

    fn needs_body(&self, head: &Request<'_>) -> bool {
        call::may_hold_token(head) && !(self.settings.access_token_header && head.has(call::HEADER))
    }

    fn deny(&self, why: &Failure) -> Response {
        reply::refused(*why)
    }

    fn unread(&self, why: Unread) -> Response {
        reply::error(&why.to_string())
    }
}

impl Configure for ClusterApi {
    const SETTINGS: &'static [Setting] = &[
        Setting {
            key: "lifetime",
            kind: Kind::Duration,
            default: "10m",
            about: "How long a token lives from its last use.",
        },
        Setting {
            key: "max_lifetime",
            kind: Kind::Duration,
            default: "30d",
            about: "How long a token lives from its login, however much it is used.",
        },
        Setting::bind_address(Binding::Exact),
        Setting {
            key: "access_token_header",
            kind: Kind::Switch,
            default: "false",
            about: "Whether a guarded request may show its token in the header X-Access-Token, for proxies that pass no body.",
        },
    ];

    const TOUR: &'static str = include_str!("tour.sh");

    fn configure(values: &Values) -> Self {
        let default = Settings::default();
        Self::new(Settings {
            lifetime: values.duration("lifetime").unwrap_or(default.lifetime),
            max_lifetime: values.duration("max_lifetime").unwrap_or(default.max_lifetime),
            bind_address: values.binding().unwrap_or(default.bind_address),
            access_token_header: values.switch("access_token_header"),
        })
    }
}

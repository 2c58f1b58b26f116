#![doc = include_str!("docs.md")]

mod call;
mod keys;
mod reply;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
#[cfg(test)]
mod tests;
mod token;

use std::time::Duration;

pub use call::{Asked, Call, Endpoint, Method, SERVICE};
pub use keys::{ForeignTokens, KeyRejected, KeyRing, SigningKey, VerifyingKey};
use parlance_core::ports::{Entropy, EntropyError};
use parlance_core::{
    Binding, Command, Credential, Digest, Failure, Grant, Lifetime, Mint, Minted, Open, Outcome,
    Rivals, Secret, Session, Terms, Timestamp, User, uuid_v4,
};
use parlance_dialect::{
    Dialect, Kind, Rejection, Request, Response, Setting, Shown, Unread, Values,
};
pub use reply::{TOKEN_NAME, Token};

/// What an operator may set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// How long a token lives, from the login or the renewal. The document's sample lives four hours.
    pub lifetime: Duration,
    /// The `iss` of the tokens. In the document's sample it is the host's name. Nodes that share sessions must share it: a token
    /// counts only where its issuer is expected.
    pub issuer: String,
    /// From where a session counts.
    pub bind_address: Binding,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            lifetime: Duration::from_secs(4 * 60 * 60),
            issuer: "parlance".to_owned(),
            bind_address: Binding::Off,
        }
    }
}

/// The wire of `/grpc` and `/v1/authentication/`.
#[derive(Debug, Clone)]
pub struct AxxonJsonrpc {
    settings: Settings,
    keys: KeyRing,
}

impl AxxonJsonrpc {
    /// Its configuration keys, besides those that every dialect has.
    pub const SETTINGS: &'static [Setting] = &[
        Setting {
            key: "lifetime",
            kind: Kind::Duration,
            default: "4h",
            about: "How long a token lives, from the login or the renewal.",
        },
        Setting {
            key: "issuer",
            kind: Kind::Text,
            default: "",
            about: "The issuer (`iss`) of the tokens. Empty: the one that the database keeps, which is at first the host's name.",
        },
        Setting::bind_address(Binding::Off),
    ];

    /// Shell commands that show it at work: see [`parlance_dialect::Configure::TOUR`].
    pub const TOUR: &'static str = include_str!("tour.sh");

    /// The wire under these settings, with these keys.
    #[must_use]
    pub fn new(settings: Settings, keys: KeyRing) -> Self {
        Self { settings, keys }
    }

    /// The wire under an operator's settings, with these keys. An issuer that is not set is `parlance`: a dialect does not know
    /// the host.
    #[must_use]
    pub fn configure(values: &Values, keys: KeyRing) -> Self {
        let default = Settings::default();
        let issuer = Some(values.text("issuer")).filter(|issuer| !issuer.is_empty());
        let settings = Settings {
            lifetime: values.duration("lifetime").unwrap_or(default.lifetime),
            issuer: issuer.map_or(default.issuer, str::to_owned),
            bind_address: values.binding().unwrap_or(default.bind_address),
        };
        Self::new(settings, keys)
    }

    fn lifetime(&self) -> Lifetime {
        Lifetime::Fixed(self.settings.lifetime)
    }

    fn token(&self, grant: &Grant<'_>, sid: &str) -> Option<Secret> {
        token::sign(&self.keys, &self.settings.issuer, grant, sid)
    }

    /// The credential that a token of ours is; `None` for anything else.
    #[must_use]
    pub fn read(&self, token: &str) -> Option<Credential> {
        token::read(&self.keys, &self.settings.issuer, token)
    }
}

impl Mint for AxxonJsonrpc {
    fn dialect(&self) -> &'static str {
        Self::NAME
    }

    fn terms(&self) -> Terms {
        Terms {
            lifetime: self.lifetime(),
            max_lifetime: None,
            bind_address: self.settings.bind_address,
            tell_end_once: false,
        }
    }

    fn mint(&self, grant: &Grant<'_>, entropy: &dyn Entropy) -> Result<Minted, EntropyError> {
        let sid = uuid_v4(entropy)?.to_string();
        let secret = self.token(grant, &sid).ok_or(EntropyError)?;
        Ok(Minted { secret, digest: Digest::of(Self::NAME, &sid), sid: None })
    }

    fn remints(&self) -> bool {
        true
    }

    fn remint(&self, grant: &Grant<'_>, shown: &Credential) -> Result<Secret, Failure> {
        self.token(grant, shown.secret.expose()).ok_or(Failure::Unavailable)
    }
}

impl Dialect for AxxonJsonrpc {
    type Call = Call;

    const NAME: &'static str = "axxon-jsonrpc";
    const PATHS: &'static [&'static str] =
        &["/grpc", "/v1/authentication/*", "/.well-known/jwks.json"];

    fn claims(path: &str) -> bool {
        path == call::GRPC || path == call::JWKS || path.starts_with(call::REST)
    }

    fn decode(&self, request: &Request<'_>) -> Result<Call, Rejection> {
        Call::read(self, request)
    }

    fn command(&self, call: &Call) -> Command {
        match call {
            Call::Login { outer, login, .. } => Command::Open(Open {
                shown: None,
                outer: outer.clone(),
                login: login.clone(),
                lifetime: self.lifetime(),
                rivals: Rivals::Allow,
            }),
            Call::Refused { outer, .. } => Command::Open(Open {
                shown: None,
                outer: Some(outer.clone()),
                login: None,
                lifetime: self.lifetime(),
                rivals: Rivals::Allow,
            }),
            Call::Renew(shown, _) => Command::Renew(shown.clone(), self.lifetime()),
            Call::Close(shown) => Command::Close(shown.clone()),
        }
    }

    fn encode(&self, call: &Call, result: Result<&Outcome, &Failure>, now: Timestamp) -> Response {
        match result {
            Ok(outcome) => reply::done(call, outcome, now),
            Err(why) => reply::refused(call, *why),
        }
    }

    fn present(&self, request: &Request<'_>) -> Option<Credential> {
        call::bearer(self, request).ok()
    }

    fn credential(&self, shown: &str) -> Option<Credential> {
        self.read(shown)
    }

    fn show(&self, _: &Session, _: &User, secret: &Secret) -> Shown {
        Shown::header("authorization", format!("Bearer {}", secret.expose()))
    }

    fn deny(&self, why: &Failure) -> Response {
        reply::denied(*why)
    }

    fn unread(&self, why: Unread) -> Response {
        reply::unreadable(why.status())
    }
}

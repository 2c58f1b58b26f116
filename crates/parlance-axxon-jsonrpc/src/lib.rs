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

pub use call::{Call, Endpoint, LoginVariant, Method, SERVICE_NAME};
pub use keys::{RsaKeySet, SigningKey, SigningKeyError, VerifyingKey, WrongIssuerTokens};
use parlance_core::ports::Entropy;
use parlance_core::{
    AddressBinding, Command, ConcurrentSessions, Credential, Digest, Failure, IssueContext,
    IssueError, IssuedToken, Lifetime, Login, Outcome, Secret, Session, SessionPolicy, Timestamp,
    TokenIssuer, User, uuid_v4,
};
use parlance_dialect::{
    Dialect, Rejection, Request, RequestCredential, Response, Setting, SettingKind, SettingValues,
    Unread,
};
pub use reply::{TOKEN_NAME, Token};

/// The settings of an operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Lifetime of a token, from the login or the renewal. The document's sample lives four hours.
    pub lifetime: Duration,
    /// The `iss` of the tokens, which is the host's name in the document's sample. Nodes that share sessions must share the issuer: a token
    /// counts only where its issuer is expected.
    pub issuer: String,
    /// The addresses from which a session counts.
    pub bind_sessions_to: AddressBinding,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            lifetime: Duration::from_secs(4 * 60 * 60),
            issuer: "parlance".to_owned(),
            bind_sessions_to: AddressBinding::Off,
        }
    }
}

/// The wire of `/grpc` and `/v1/authentication/`.
#[derive(Debug, Clone)]
pub struct AxxonJsonrpc {
    settings: Settings,
    keys: RsaKeySet,
}

impl AxxonJsonrpc {
    /// The configuration keys, besides those of every dialect.
    pub const SETTINGS: &'static [Setting] = &[
        Setting {
            key: "lifetime",
            kind: SettingKind::Duration,
            default: "4h",
            about: "How long a token lives, from the login or the renewal.",
        },
        Setting {
            key: "issuer",
            kind: SettingKind::Text,
            default: "",
            about: "The issuer (`iss`) of the tokens. Empty: the issuer kept in the database, at first the host's name.",
        },
        Setting::bind_sessions_to(AddressBinding::Off),
    ];

    /// Shell commands that show the wire at work: see [`parlance_dialect::Configure::TOUR`].
    pub const TOUR: &'static str = include_str!("tour.sh");

    /// The wire under these settings, with these keys.
    #[must_use]
    pub fn new(settings: Settings, keys: RsaKeySet) -> Self {
        Self { settings, keys }
    }

    /// The wire under an operator's settings, with these keys. An issuer that is not set is `parlance`: a dialect does not know the
    /// host.
    #[must_use]
    pub fn configure(values: &SettingValues, keys: RsaKeySet) -> Self {
        let default = Settings::default();
        let issuer = Some(values.text("issuer")).filter(|issuer| !issuer.is_empty());
        let settings = Settings {
            lifetime: values.duration("lifetime").unwrap_or(default.lifetime),
            issuer: issuer.map_or(default.issuer, str::to_owned),
            bind_sessions_to: values.binding().unwrap_or(default.bind_sessions_to),
        };
        Self::new(settings, keys)
    }

    fn lifetime(&self) -> Lifetime {
        Lifetime::Fixed(self.settings.lifetime)
    }

    fn sign_token(&self, grant: &IssueContext<'_>, sid: &str) -> Result<Secret, IssueError> {
        token::sign(&self.keys, &self.settings.issuer, grant, sid)
    }

    /// The credential in a token of this wire; `None` for any other text.
    #[must_use]
    pub fn verify_token(&self, token: &str) -> Option<Credential> {
        token::verify(&self.keys, &self.settings.issuer, token)
    }
}

impl TokenIssuer for AxxonJsonrpc {
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
        grant: &IssueContext<'_>,
        entropy: &dyn Entropy,
    ) -> Result<IssuedToken, IssueError> {
        let sid = uuid_v4(entropy)?.to_string();
        let secret = self.sign_token(grant, &sid)?;
        Ok(IssuedToken { secret, digest: Digest::of(Self::NAME, &sid), public_id: None })
    }

    fn reissues_on_renewal(&self) -> bool {
        true
    }

    fn reissue(&self, grant: &IssueContext<'_>, shown: &Credential) -> Result<Secret, IssueError> {
        self.sign_token(grant, shown.secret.expose())
    }
}

impl Dialect for AxxonJsonrpc {
    type Call = Call;

    const NAME: &'static str = "axxon-jsonrpc";
    const PATHS: &'static [&'static str] =
        &["/grpc", "/v1/authentication/*", "/.well-known/jwks.json"];

    fn claims(path: &str) -> bool {
        path == call::GRPC_PATH || path == call::JWKS_PATH || path.starts_with(call::REST_PREFIX)
    }

    fn decode(&self, request: &Request<'_>) -> Result<Call, Rejection> {
        Call::read(self, request)
    }

    fn command(&self, call: &Call) -> Command {
        match call {
            Call::Login { outer, login, .. } => Command::Login(Login {
                existing_credential: None,
                outer_credentials: outer.clone(),
                credentials: login.clone(),
                lifetime: self.lifetime(),
                concurrent_sessions: ConcurrentSessions::Allow,
            }),
            Call::Rejected { outer, .. } => Command::Login(Login {
                existing_credential: None,
                outer_credentials: Some(outer.clone()),
                credentials: None,
                lifetime: self.lifetime(),
                concurrent_sessions: ConcurrentSessions::Allow,
            }),
            Call::Renew(shown, _) => Command::Renew(shown.clone(), self.lifetime()),
            Call::Close(shown) => Command::Logout(shown.clone()),
        }
    }

    fn encode(&self, call: &Call, result: Result<&Outcome, &Failure>, now: Timestamp) -> Response {
        match result {
            Ok(outcome) => reply::encode_outcome(call, outcome, now),
            Err(why) => reply::encode_failure(call, *why),
        }
    }

    fn extract_credential(&self, request: &Request<'_>) -> Option<Credential> {
        call::bearer(self, request).ok()
    }

    fn parse_credential(&self, shown: &str) -> Option<Credential> {
        self.verify_token(shown)
    }

    fn attach_credential(&self, _: &Session, _: &User, secret: &Secret) -> RequestCredential {
        RequestCredential::header("authorization", format!("Bearer {}", secret.expose()))
    }

    fn challenge(&self, why: &Failure) -> Response {
        reply::encode_challenge(*why)
    }

    fn body_error(&self, why: Unread) -> Response {
        reply::general_error(why.status())
    }
}

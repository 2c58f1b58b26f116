#![doc = include_str!("docs.md")]

mod call;
mod cookie;
mod reply;
#[cfg(test)]
mod tests;

use std::time::Duration;

pub use call::Call;
use parlance_core::ports::{Entropy, EntropyError};
use parlance_core::{
    Binding, Command, Credential, Digest, Failure, Grant, Lifetime, Mint, Minted, Open, Outcome,
    Secret, Session, Terms, Timestamp, User, draw, hex,
};
use parlance_dialect::{
    Configure, Dialect, Kind, Rejection, Request, Response, Setting, Shown, Unread, Values,
};

/// The dialect's name.
const NAME: &str = "1010-cookie";

/// How long a `sid` is: that of the document's sample.
const SID_DIGITS: usize = 9;

/// How much randomness an `epw` holds, in bytes.
const EPW_BYTES: usize = 32;

/// What an operator may set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// How long a session lives from its last use. 1 hour (decision 0116).
    pub idle_lifetime: Duration,
    /// How long a session lives from its login, however much it is used. 24 hours (decision 0116).
    pub max_lifetime: Duration,
    /// From where a session counts.
    pub bind_address: Binding,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            idle_lifetime: Duration::from_secs(60 * 60),
            max_lifetime: Duration::from_secs(24 * 60 * 60),
            bind_address: Binding::Off,
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

impl Mint for Cookie1010 {
    fn dialect(&self) -> &'static str {
        NAME
    }

    fn terms(&self) -> Terms {
        Terms {
            lifetime: Lifetime::Sliding(self.settings.idle_lifetime),
            max_lifetime: Some(self.settings.max_lifetime),
            bind_address: self.settings.bind_address,
            tell_end_once: false,
        }
    }

    fn mint(&self, _: &Grant<'_>, entropy: &dyn Entropy) -> Result<Minted, EntropyError> {
        // The document's client makes an integer of the sid and prints it again: no leading zero.
        let (first, rest) =
            (draw(b"123456789", 1, entropy)?, draw(b"0123456789", SID_DIGITS - 1, entropy)?);
        let secret = Secret::new(format!("_______{}", hex(EPW_BYTES, entropy)?.expose()));
        let digest = Digest::of(NAME, secret.expose());
        Ok(Minted { secret, digest, sid: Some(format!("{}{}", first.expose(), rest.expose())) })
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
            Call::Login { login, rivals, .. } => Command::Open(Open {
                shown: None,
                outer: None,
                login: Some(login.clone()),
                lifetime: Lifetime::Sliding(self.settings.idle_lifetime),
                rivals: *rivals,
            }),
            Call::Logout(shown) => Command::Close(shown.clone()),
            Call::Other(shown) => Command::Check(shown.clone()),
        }
    }

    fn encode(&self, call: &Call, result: Result<&Outcome, &Failure>, _: Timestamp) -> Response {
        match result {
            Ok(outcome) => reply::done(call, outcome),
            Err(why) => reply::refused(*why),
        }
    }

    fn present(&self, request: &Request<'_>) -> Option<Credential> {
        cookie::session(request)
    }

    fn credential(&self, shown: &str) -> Option<Credential> {
        cookie::repeated(shown)
    }

    fn show(&self, session: &Session, user: &User, secret: &Secret) -> Shown {
        Shown::header(
            "cookie",
            cookie::pair(&user.name, session.sid.as_deref().unwrap_or_default(), secret.expose()),
        )
    }

    fn deny(&self, why: &Failure) -> Response {
        reply::refused(*why)
    }

    fn unread(&self, why: Unread) -> Response {
        reply::error(why.status(), &why.to_string())
    }
}

impl Configure for Cookie1010 {
    const SETTINGS: &'static [Setting] = &[
        Setting {
            key: "idle_lifetime",
            kind: Kind::Duration,
            default: "1h",
            about: "How long a session lives from its last use.",
        },
        Setting {
            key: "max_lifetime",
            kind: Kind::Duration,
            default: "24h",
            about: "How long a session lives from its login, however much it is used.",
        },
        Setting::bind_address(Binding::Off),
    ];

    const TOUR: &'static str = include_str!("tour.sh");

    fn configure(values: &Values) -> Self {
        let default = Settings::default();
        Self::new(Settings {
            idle_lifetime: values.duration("idle_lifetime").unwrap_or(default.idle_lifetime),
            max_lifetime: values.duration("max_lifetime").unwrap_or(default.max_lifetime),
            bind_address: values.binding().unwrap_or(default.bind_address),
        })
    }
}

#![doc = include_str!("docs.md")]

mod call;
mod reply;
#[cfg(test)]
mod tests;

use std::time::Duration;

pub use call::Call;
use chrono_tz::Tz;
use parlance_core::ports::{Entropy, EntropyError};
use parlance_core::{
    Binding, Command, Credential, Digest, Failure, Grant, LOWER_AND_DIGITS, Lifetime, Login, Mint,
    Minted, Open, Outcome, Rivals, Secret, Session, Terms, Timestamp, User, draw,
};
use parlance_dialect::{
    Configure, Dialect, Kind, Rejection, Request, Response, Setting, Shown, Unread, Values,
};

/// The length of a token, in letters of 5.17 random bits each: 330 bits.
const TOKEN_LENGTH: usize = 64;
/// The one resource.
const RESOURCE: &str = "/login";

/// What an operator may set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// How long a token lives without `longtoken`. The document says 24 hours.
    pub lifetime: Duration,
    /// How long a token lives with `longtoken`. The document says 30 days.
    pub long_lifetime: Duration,
    /// The zone in which `validTo` is written.
    pub zone: Tz,
    /// From where a session counts.
    pub bind_address: Binding,
}

impl Default for Settings {
    fn default() -> Self {
        let day = Duration::from_secs(24 * 60 * 60);
        Self { lifetime: day, long_lifetime: 30 * day, bind_address: Binding::Off, zone: Tz::UTC }
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

impl Mint for PolishLongtoken {
    fn dialect(&self) -> &'static str {
        Self::NAME
    }

    fn terms(&self) -> Terms {
        Terms {
            lifetime: self.lifetime(false),
            max_lifetime: None,
            bind_address: self.settings.bind_address,
            tell_end_once: false,
        }
    }

    fn mint(&self, _: &Grant<'_>, entropy: &dyn Entropy) -> Result<Minted, EntropyError> {
        let secret = draw(LOWER_AND_DIGITS, TOKEN_LENGTH, entropy)?;
        let digest = Digest::of(Self::NAME, secret.expose());
        Ok(Minted { secret, digest, sid: None })
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
            Call::Login(login, long) => Command::Open(open(login.clone(), self.lifetime(*long))),
            Call::Look(shown) => Command::Look(shown.clone()),
            Call::Renew(shown, long) => Command::Renew(shown.clone(), self.lifetime(*long)),
            Call::End(shown) => Command::Close(shown.clone()),
        }
    }

    fn encode(&self, call: &Call, result: Result<&Outcome, &Failure>, _: Timestamp) -> Response {
        match result {
            Ok(outcome) => reply::done(call, outcome, self.settings.zone),
            Err(why) => reply::refused(*why),
        }
    }

    fn present(&self, request: &Request<'_>) -> Option<Credential> {
        call::bearer(request).ok().flatten().and_then(call::credential)
    }

    fn credential(&self, shown: &str) -> Option<Credential> {
        call::credential(shown.as_bytes())
    }

    fn show(&self, _: &Session, _: &User, secret: &Secret) -> Shown {
        Shown::header("x-auth-bearer", secret.expose())
    }

    fn deny(&self, why: &Failure) -> Response {
        reply::denied(*why)
    }

    fn unread(&self, why: Unread) -> Response {
        reply::error(why.status(), &why.to_string())
    }
}

impl Configure for PolishLongtoken {
    const SETTINGS: &'static [Setting] = &[
        Setting {
            key: "lifetime",
            kind: Kind::Duration,
            default: "24h",
            about: "How long a token lives from its login or renewal without longtoken.",
        },
        Setting {
            key: "long_lifetime",
            kind: Kind::Duration,
            default: "30d",
            about: "How long a token lives from its login or renewal with longtoken.",
        },
        Setting::bind_address(Binding::Off),
    ];

    const TOUR: &'static str = include_str!("tour.sh");

    fn configure(values: &Values) -> Self {
        let default = Settings::default();
        Self::new(Settings {
            lifetime: values.duration("lifetime").unwrap_or(default.lifetime),
            long_lifetime: values.duration("long_lifetime").unwrap_or(default.long_lifetime),
            bind_address: values.binding().unwrap_or(default.bind_address),
            zone: values.zone,
        })
    }
}

fn open(login: Login, lifetime: Lifetime) -> Open {
    Open { shown: None, outer: None, login: Some(login), lifetime, rivals: Rivals::Allow }
}

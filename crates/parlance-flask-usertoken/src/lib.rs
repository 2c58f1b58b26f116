#![doc = include_str!("docs.md")]

mod accept;
mod call;
mod reply;
#[cfg(test)]
mod tests;

use std::time::Duration;

pub use call::{Call, Page};
use chrono_tz::Tz;
use parlance_core::ports::{Entropy, EntropyError};
use parlance_core::{
    Binding, Command, Credential, Digest, Failure, Grant, Lifetime, Mint, Minted, Open, Outcome,
    Rivals, Secret, Session, Terms, Timestamp, User, uuid_v4,
};
use parlance_dialect::{
    Configure, Dialect, Kind, Rejection, Request, Response, Setting, Shown, Unread, Values,
    encode_user_and_secret,
};

/// What an operator may set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// How long a token lives from its login; `None` is for ever, and leaves `expirationTime` out. The document names no lifetime.
    pub lifetime: Option<Duration>,
    /// The zone in which dates are written.
    pub zone: Tz,
    /// From where a session counts.
    pub bind_address: Binding,
    /// Whether a 401 of `/auth/login` asks for Basic. A browser then asks its user for a name and a password, over the page's own form.
    pub basic_challenge: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            lifetime: Some(Duration::from_secs(30 * 24 * 60 * 60)),
            bind_address: Binding::Off,
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

    /// What a 401 of `/auth/login` asks for.
    fn login_challenge(&self) -> &'static str {
        if self.settings.basic_challenge { reply::BASIC_CHALLENGE } else { reply::TOKEN_CHALLENGE }
    }

    fn lifetime(&self) -> Lifetime {
        self.settings.lifetime.map_or(Lifetime::Unlimited, Lifetime::Fixed)
    }
}

impl Mint for FlaskUsertoken {
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

    fn mint(&self, _: &Grant<'_>, entropy: &dyn Entropy) -> Result<Minted, EntropyError> {
        let secret = Secret::new(uuid_v4(entropy)?.to_string());
        let digest = Digest::of(Self::NAME, secret.expose());
        Ok(Minted { secret, digest, sid: None })
    }
}

impl Dialect for FlaskUsertoken {
    type Call = Call;

    const NAME: &'static str = "flask-usertoken";
    const PATHS: &'static [&'static str] =
        &["/auth/login", "/auth/bump", "/auth/logout", "/user", "/user/{name}"];

    fn claims(path: &str) -> bool {
        call::Resource::of(path).is_some()
    }

    fn decode(&self, request: &Request<'_>) -> Result<Call, Rejection> {
        Call::read(request, self.login_challenge())
    }

    fn command(&self, call: &Call) -> Command {
        match call {
            Call::Login(login) => Command::Open(Open {
                shown: None,
                outer: None,
                login: Some(login.clone()),
                lifetime: self.lifetime(),
                rivals: Rivals::Allow,
            }),
            Call::Bump(shown) => Command::Bump(shown.clone()),
            Call::Logout(shown) => Command::Close(shown.clone()),
            Call::Users(shown, page) => Command::ListUsers(shown.clone(), page.offset(), page.size),
            Call::BadPage(shown) => Command::Look(shown.clone()),
            Call::User(shown, name) => Command::ShowUser(shown.clone(), name.clone()),
        }
    }

    fn encode(&self, call: &Call, result: Result<&Outcome, &Failure>, _: Timestamp) -> Response {
        match result {
            Ok(outcome) => reply::done(call, outcome, self.settings.zone),
            Err(why) => reply::refused(
                *why,
                match call {
                    Call::Login(_) => self.login_challenge(),
                    Call::Bump(_)
                    | Call::Logout(_)
                    | Call::Users(..)
                    | Call::BadPage(_)
                    | Call::User(..) => reply::TOKEN_CHALLENGE,
                },
            ),
        }
    }

    fn present(&self, request: &Request<'_>) -> Option<Credential> {
        call::shown(request)
    }

    fn credential(&self, shown: &str) -> Option<Credential> {
        call::pair(shown).or_else(|| call::token(Secret::new(shown.to_owned())))
    }

    fn show(&self, _: &Session, user: &User, secret: &Secret) -> Shown {
        Shown::header("x-auth-token", encode_user_and_secret(&user.name, secret))
    }

    fn deny(&self, why: &Failure) -> Response {
        reply::refused(*why, reply::TOKEN_CHALLENGE)
    }

    fn unread(&self, why: Unread) -> Response {
        reply::message(why.status(), &why.to_string())
    }
}

impl Configure for FlaskUsertoken {
    const SETTINGS: &'static [Setting] = &[
        Setting {
            key: "lifetime",
            kind: Kind::DurationOrNever,
            default: "30d",
            about: "How long a token lives from its login; never leaves expirationTime out.",
        },
        Setting::bind_address(Binding::Off),
        Setting {
            key: "basic_challenge",
            kind: Kind::Switch,
            default: "true",
            about: "Whether a 401 of /auth/login asks for Basic, upon which a browser shows a dialog of its own.",
        },
    ];

    const TOUR: &'static str = include_str!("tour.sh");

    fn configure(values: &Values) -> Self {
        Self::new(Settings {
            lifetime: values.duration("lifetime"),
            bind_address: values.binding().unwrap_or(Settings::default().bind_address),
            basic_challenge: values.switch("basic_challenge"),
            zone: values.zone,
        })
    }
}

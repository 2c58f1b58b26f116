//! What an operator may set of a dialect, and its values.

use std::collections::BTreeMap;
use std::time::Duration;

use parlance_core::Binding;

use crate::Dialect;

/// The key of [`Setting::bind_address`].
const BIND_ADDRESS: &str = "bind_address";

/// A key of a dialect's configuration.
#[derive(Debug, Clone, Copy)]
pub struct Setting {
    /// The key.
    pub key: &'static str,
    /// What it takes.
    pub kind: Kind,
    /// Its value where the configuration says nothing.
    pub default: &'static str,
    /// What it means, in one sentence.
    pub about: &'static str,
}

/// What a key takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A span such as `90s`, `10m`, `24h` or `30d`; at least one second.
    Duration,
    /// A span, or `never`.
    DurationOrNever,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// `true` or `false`.
    Switch,
    /// Any text.
    Text,
}

/// The value of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// A span.
    Duration(Duration),
    /// No end.
    Never,
    /// On or off.
    Switch(bool),
    /// A text, or one of the words of a choice.
    Text(String),
}

/// The values of a dialect's keys, all of them, and what all dialects share.
#[derive(Debug, Clone)]
pub struct Values {
    values: BTreeMap<&'static str, Value>,
    /// The zone in which dates are written.
    pub zone: chrono_tz::Tz,
}

/// A dialect that can be made from an operator's settings alone.
pub trait Configure: Dialect + Sized {
    /// Its keys, besides `enabled` and `prefix`, which each has.
    const SETTINGS: &'static [Setting];

    /// Shell commands that log in at `$BASE` as `$NAME` with `$PASSWORD`, use the session, log out, and are refused.
    const TOUR: &'static str;

    /// Makes the dialect.
    fn configure(values: &Values) -> Self;
}

/// The binding policies, by name.
const BINDINGS: &[&str] =
    &[Binding::Exact.name(), Binding::Prefix.name(), Binding::Log.name(), Binding::Off.name()];

const DURATIONS: &str = "\"90s\", \"10m\", \"24h\" or \"30d\", at least \"1s\"";

impl Setting {
    /// From where a session counts: a key that every dialect has, with its own default. See [`Values::binding`].
    #[must_use]
    pub const fn bind_address(default: Binding) -> Self {
        Self {
            key: BIND_ADDRESS,
            kind: Kind::Choice(BINDINGS),
            default: default.name(),
            about: "From where a session counts: exact, the address of its login; prefix, its /24 (IPv4) or /64 (IPv6); log, anywhere, and a \
                    foreign use is logged; off, anywhere.",
        }
    }
}

impl Value {
    /// Reads the text of a value.
    ///
    /// # Errors
    /// Says what the key takes.
    pub fn parse(kind: Kind, text: &str) -> Result<Self, String> {
        match kind {
            Kind::Text => Ok(Self::Text(text.to_owned())),
            Kind::DurationOrNever if text == "never" => Ok(Self::Never),
            Kind::Duration => duration(text)
                .map(Self::Duration)
                .ok_or_else(|| format!("a duration such as {DURATIONS}")),
            Kind::DurationOrNever => duration(text)
                .map(Self::Duration)
                .ok_or_else(|| format!("\"never\", or a duration such as {DURATIONS}")),
            Kind::Choice(words) if words.contains(&text) => Ok(Self::Text(text.to_owned())),
            Kind::Choice(words) => {
                let words: Vec<_> = words.iter().map(|word| format!("{word:?}")).collect();
                Err(format!("one of {}", words.join(", ")))
            }
            Kind::Switch => text.parse().map(Self::Switch).map_err(|_| "true or false".to_owned()),
        }
    }
}

/// Reads `90s`, `10m`, `24h` or `30d`.
fn duration(text: &str) -> Option<Duration> {
    let unit = match text.chars().last()? {
        's' => 1,
        'm' => 60,
        'h' => 60 * 60,
        'd' => 24 * 60 * 60,
        _ => return None,
    };
    let digits = text
        .get(..text.len() - 1)
        .filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))?;
    let seconds = digits.parse::<u64>().ok()?.checked_mul(unit)?;
    // A thousand years: no date format of the wires could write more.
    (1..=1000 * 366 * 24 * 60 * 60).contains(&seconds).then(|| Duration::from_secs(seconds))
}

impl Values {
    /// The defaults of these settings in this zone.
    #[must_use]
    pub fn defaults(settings: &[Setting], zone: chrono_tz::Tz) -> Self {
        let value = |setting: &Setting| {
            Some((setting.key, Value::parse(setting.kind, setting.default).ok()?))
        };
        Self { values: settings.iter().filter_map(value).collect(), zone }
    }

    /// Sets a key.
    pub fn set(&mut self, key: &'static str, value: Value) {
        self.values.insert(key, value);
    }

    /// A span; `None` where it is `never` or not set.
    #[must_use]
    pub fn duration(&self, key: &str) -> Option<Duration> {
        match self.values.get(key)? {
            Value::Duration(span) => Some(*span),
            Value::Never | Value::Switch(_) | Value::Text(_) => None,
        }
    }

    /// A text; empty where it is not set.
    #[must_use]
    pub fn text(&self, key: &str) -> &str {
        match self.values.get(key) {
            Some(Value::Text(text)) => text,
            Some(Value::Duration(_) | Value::Never | Value::Switch(_)) | None => "",
        }
    }

    /// Whether a switch is on.
    #[must_use]
    pub fn switch(&self, key: &str) -> bool {
        self.values.get(key) == Some(&Value::Switch(true))
    }

    /// From where a session counts, where it is set: see [`Setting::bind_address`].
    #[must_use]
    pub fn binding(&self) -> Option<Binding> {
        let name = self.text(BIND_ADDRESS);
        Binding::ALL.into_iter().find(|binding| binding.name() == name)
    }
}

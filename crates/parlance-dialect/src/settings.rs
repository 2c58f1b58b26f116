//! The configuration of a dialect: settings and their values.

use std::collections::BTreeMap;
use std::time::Duration;

use parlance_core::AddressBinding;

use crate::Dialect;

/// The key of [`Setting::bind_sessions_to`].
const BIND_SESSIONS_TO: &str = "bind_sessions_to";

/// A key of a dialect's configuration.
#[derive(Debug, Clone, Copy)]
pub struct Setting {
    /// The key.
    pub key: &'static str,
    /// The kind of value that the key accepts.
    pub kind: SettingKind,
    /// The value where the configuration does not set the key.
    pub default: &'static str,
    /// The meaning of the key, in one sentence.
    pub about: &'static str,
}

/// The kind of value that a key accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SettingKind {
    /// A duration such as `90s`, `10m`, `24h` or `30d`; at least one second, at most a thousand years of 366 days.
    Duration,
    /// A duration, or `never`.
    DurationOrNever,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// `true` or `false`.
    Boolean,
    /// Any text.
    Text,
}

/// The value of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SettingValue {
    /// A duration.
    Duration(Duration),
    /// `never`: no limit.
    Never,
    /// `true` or `false`.
    Boolean(bool),
    /// A text, or one of the words of a choice.
    Text(String),
}

/// The values of all keys of a dialect, and the settings that all dialects share.
#[derive(Debug, Clone)]
pub struct SettingValues {
    values: BTreeMap<&'static str, SettingValue>,
    /// The time zone in which dates are written.
    pub zone: chrono_tz::Tz,
}

/// A dialect that can be built from the settings of an operator alone.
pub trait Configure: Dialect + Sized {
    /// The keys of the dialect, besides `enabled` and `prefix`, which every dialect has.
    const SETTINGS: &'static [Setting];

    /// Shell commands that log in at `$BASE` as `$NAME` with `$PASSWORD`, use the session, log out, and are refused afterwards.
    const TOUR: &'static str;

    /// Builds the dialect from these values.
    fn configure(values: &SettingValues) -> Self;
}

/// The names of the address binding policies.
const BINDINGS: &[&str] = &[
    AddressBinding::Exact.name(),
    AddressBinding::Prefix.name(),
    AddressBinding::Log.name(),
    AddressBinding::Off.name(),
];

const DURATION_EXAMPLES: &str = "\"90s\", \"10m\", \"24h\" or \"30d\", at least \"1s\"";

impl Setting {
    /// The address binding of sessions: a key that every dialect has, with its own default. See [`SettingValues::binding`].
    #[must_use]
    pub const fn bind_sessions_to(default: AddressBinding) -> Self {
        Self {
            key: BIND_SESSIONS_TO,
            kind: SettingKind::Choice(BINDINGS),
            default: default.name(),
            about: "The addresses from which a session is valid: exact, the address of its login; prefix, its /24 (IPv4) or /64 (IPv6); log, any address, and \
                    use from an unexpected address is logged; off, any address.",
        }
    }
}

impl SettingValue {
    /// Parses the text of a value.
    ///
    /// # Errors
    /// A description of the values that the key accepts.
    pub fn parse(kind: SettingKind, text: &str) -> Result<Self, String> {
        match kind {
            SettingKind::Text => Ok(Self::Text(text.to_owned())),
            SettingKind::DurationOrNever if text == "never" => Ok(Self::Never),
            SettingKind::Duration => duration(text)
                .map(Self::Duration)
                .ok_or_else(|| format!("a duration such as {DURATION_EXAMPLES}")),
            SettingKind::DurationOrNever => duration(text)
                .map(Self::Duration)
                .ok_or_else(|| format!("\"never\", or a duration such as {DURATION_EXAMPLES}")),
            SettingKind::Choice(words) if words.contains(&text) => Ok(Self::Text(text.to_owned())),
            SettingKind::Choice(words) => {
                let words: Vec<_> = words.iter().map(|word| format!("{word:?}")).collect();
                Err(format!("one of {}", words.join(", ")))
            }
            SettingKind::Boolean => {
                text.parse().map(Self::Boolean).map_err(|_| "true or false".to_owned())
            }
        }
    }
}

/// Parses `90s`, `10m`, `24h` or `30d`.
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
    // At most a thousand years: no date format of the dialects could write more.
    (1..=1000 * 366 * 24 * 60 * 60).contains(&seconds).then(|| Duration::from_secs(seconds))
}

impl SettingValues {
    /// The defaults of these settings, with this time zone.
    #[must_use]
    pub fn defaults(settings: &[Setting], zone: chrono_tz::Tz) -> Self {
        let value = |setting: &Setting| {
            Some((setting.key, SettingValue::parse(setting.kind, setting.default).ok()?))
        };
        Self { values: settings.iter().filter_map(value).collect(), zone }
    }

    /// Sets a key.
    pub fn set(&mut self, key: &'static str, value: SettingValue) {
        self.values.insert(key, value);
    }

    /// The duration of a key; `None` where the value is `never` or not set.
    #[must_use]
    pub fn duration(&self, key: &str) -> Option<Duration> {
        match self.values.get(key)? {
            SettingValue::Duration(span) => Some(*span),
            SettingValue::Never | SettingValue::Boolean(_) | SettingValue::Text(_) => None,
        }
    }

    /// The text of a key; empty where the key is not set.
    #[must_use]
    pub fn text(&self, key: &str) -> &str {
        match self.values.get(key) {
            Some(SettingValue::Text(text)) => text,
            Some(SettingValue::Duration(_) | SettingValue::Never | SettingValue::Boolean(_))
            | None => "",
        }
    }

    /// Whether a switch is on.
    #[must_use]
    pub fn boolean(&self, key: &str) -> bool {
        self.values.get(key) == Some(&SettingValue::Boolean(true))
    }

    /// The address binding of sessions, where the key is set: see [`Setting::bind_sessions_to`].
    #[must_use]
    pub fn binding(&self) -> Option<AddressBinding> {
        let name = self.text(BIND_SESSIONS_TO);
        AddressBinding::ALL.into_iter().find(|binding| binding.name() == name)
    }
}

//! A vector file, as it stands in TOML. Unknown keys are errors.

use std::fmt;
use std::marker::PhantomData;
use std::net::IpAddr;

use chrono::{DateTime, Utc};
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::matcher::{Matcher, Pattern, TimeSpan};

/// Exchanges about one subject, run in order in one world.
#[derive(Debug, Clone)]
pub struct Vector {
    /// The dialect.
    pub dialect: String,
    /// The file: `cluster-api/login.toml`.
    pub file: String,
    /// The claim that the file shows.
    pub title: String,
    /// The start of the clock, for a target in this process.
    pub clock: Option<DateTime<Utc>>,
    /// The exchanges.
    pub steps: Vec<Step>,
}

/// One exchange: the request, and the expectations for its answer.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// The line where the step begins, from 1; set by the loader.
    #[serde(skip)]
    pub line: usize,
    /// The statements that the step shows.
    #[serde(default)]
    pub source: Vec<String>,
    /// The decisions that the step shows: numbers of `docs/decisions`, or anchors of the dialect's `decisions.md`.
    #[serde(default)]
    pub decision: Vec<String>,
    /// The address that the request comes from.
    pub peer: Option<IpAddr>,
    /// How far the clock moves before the request.
    pub advance: Option<TimeSpan>,
    /// The action of an operator before the request.
    pub operator: Option<Operation>,
    /// Variables made before the request as the Base64 of a text.
    #[serde(default)]
    pub encode: Pairs<String>,
    /// The request.
    pub request: RequestTemplate,
    /// The status that the answer must have.
    pub status: u16,
    /// Matchers for the headers of the answer.
    #[serde(default)]
    pub headers: Pairs<Matcher>,
    /// The exact body.
    pub body: Option<String>,
    /// Whether the body is empty.
    pub empty: Option<bool>,
    /// The keys of the body's object, in this order.
    pub keys: Option<Vec<String>>,
    /// Matchers for the JSON of the body, by JSON Pointer.
    #[serde(default)]
    pub json: Pairs<Matcher>,
    /// Variables taken from the body, by JSON Pointer.
    #[serde(default)]
    pub keep: Pairs<String>,
    /// Variables taken from headers: the header, and a pattern with the value as first group.
    #[serde(default)]
    pub(crate) keep_header: Pairs<(String, Pattern)>,
}

/// The request as sent.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RequestTemplate {
    /// The method.
    pub method: String,
    /// The request target as sent, with its query.
    pub path: String,
    /// Header lines, in order; a name may stand twice.
    #[serde(default)]
    pub headers: Vec<(String, String)>,
    /// An urlencoded body.
    pub form: Option<Pairs<String>>,
    /// A JSON body, written without blanks and in this order.
    pub json: Option<toml::Value>,
    /// A body, sent unchanged.
    pub body: Option<String>,
    /// Name and password of an `Authorization: Basic`.
    pub basic: Option<(String, String)>,
    /// Whether the request comes over TLS.
    #[serde(default)]
    pub secure: bool,
}

/// An action of an operator on `{user}`, the sessions of `{user}`, or the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Operation {
    /// Disable the user.
    Disable,
    /// Enable the user again.
    Enable,
    /// Let the user's password expire.
    ExpirePassword,
    /// Set the user's password to `{new_password}`.
    SetPassword,
    /// End all sessions of the user.
    Revoke,
    /// Make the store unavailable.
    #[serde(rename = "store-away")]
    StoreUnavailable,
    /// Make the store available again.
    #[serde(rename = "store-back")]
    StoreAvailable,
}

impl Operation {
    /// The operation in words, for a report.
    #[must_use]
    pub fn description(self) -> &'static str {
        match self {
            Self::Disable => "disable the user",
            Self::Enable => "enable the user",
            Self::ExpirePassword => "let the password expire",
            Self::SetPassword => "set the password",
            Self::Revoke => "end the user's sessions",
            Self::StoreUnavailable => "take the store away",
            Self::StoreAvailable => "bring the store back",
        }
    }
}

/// A table that keeps its order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pairs<V>(pub Vec<(String, V)>);

impl<V> Default for Pairs<V> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'p, V> IntoIterator for &'p Pairs<V> {
    type Item = &'p (String, V);
    type IntoIter = std::slice::Iter<'p, (String, V)>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

impl<'de, V: Deserialize<'de>> Deserialize<'de> for Pairs<V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(PairsVisitor(PhantomData))
    }
}

struct PairsVisitor<V>(PhantomData<V>);

impl<'de, V: Deserialize<'de>> Visitor<'de> for PairsVisitor<V> {
    type Value = Pairs<V>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a table")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Pairs<V>, A::Error> {
        let mut pairs = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            pairs.push(entry);
        }
        Ok(Pairs(pairs))
    }
}

//! A vector file, as it stands in TOML. Unknown keys are errors.

use std::fmt;
use std::marker::PhantomData;
use std::net::IpAddr;

use chrono::{DateTime, Utc};
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::matcher::{Matcher, Pattern, Span};

/// Exchanges about one subject, run in order in one world.
#[derive(Debug, Clone)]
pub struct Vector {
    /// The dialect.
    pub dialect: String,
    /// The file: `cluster-api/login.toml`.
    pub file: String,
    /// What the file shows, as a claim.
    pub title: String,
    /// Where the clock stands at first, in a process.
    pub clock: Option<DateTime<Utc>>,
    /// The exchanges.
    pub steps: Vec<Step>,
}

/// One exchange, and what is to be seen in its answer.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// The line where it begins, from 1; set by the loader.
    #[serde(skip)]
    pub line: usize,
    /// The statements that it shows.
    #[serde(default)]
    pub source: Vec<String>,
    /// The decisions that it shows, by number.
    #[serde(default)]
    pub decision: Vec<String>,
    /// The address that the request comes from.
    pub peer: Option<IpAddr>,
    /// How far the clock moves before.
    pub advance: Option<Span>,
    /// What an operator does before.
    pub operator: Option<Operation>,
    /// Variables made before the request as the Base64 of a text.
    #[serde(default)]
    pub encode: Pairs<String>,
    /// The request.
    pub request: WireRequest,
    /// The status that the answer must have.
    pub status: u16,
    /// What its headers must be like.
    #[serde(default)]
    pub headers: Pairs<Matcher>,
    /// The exact body.
    pub body: Option<String>,
    /// Whether the body is empty.
    pub empty: Option<bool>,
    /// The keys of the body's object, in this order.
    pub keys: Option<Vec<String>>,
    /// What the body's JSON must be like, by JSON Pointer.
    #[serde(default)]
    pub json: Pairs<Matcher>,
    /// Variables taken from the body, by JSON Pointer.
    #[serde(default)]
    pub keep: Pairs<String>,
    /// Variables taken from headers: the header, and a pattern whose first group is the value.
    #[serde(default)]
    pub(crate) keep_header: Pairs<(String, Pattern)>,
}

/// What is sent.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WireRequest {
    /// The method.
    pub method: String,
    /// The request target as it is sent, with its query.
    pub path: String,
    /// Header lines, in order; a name may stand twice.
    #[serde(default)]
    pub headers: Vec<(String, String)>,
    /// An urlencoded body.
    pub form: Option<Pairs<String>>,
    /// A JSON body, written without blanks in this order.
    pub json: Option<toml::Value>,
    /// A body as it is.
    pub body: Option<String>,
    /// Name and password of an `Authorization: Basic`.
    pub basic: Option<(String, String)>,
    /// Whether it comes over TLS.
    #[serde(default)]
    pub secure: bool,
}

/// What an operator can do to `{user}`, his sessions and the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Operation {
    /// Disable him.
    Disable,
    /// Enable him again.
    Enable,
    /// Let his password expire.
    ExpirePassword,
    /// Give him `{new_password}`.
    SetPassword,
    /// End all his sessions.
    Revoke,
    /// Take the store away.
    StoreAway,
    /// Bring it back.
    StoreBack,
}

impl Operation {
    /// What it does, for a report.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Disable => "disable the user",
            Self::Enable => "enable the user",
            Self::ExpirePassword => "let the password expire",
            Self::SetPassword => "set the password",
            Self::Revoke => "end the user's sessions",
            Self::StoreAway => "take the store away",
            Self::StoreBack => "bring the store back",
        }
    }
}

/// A table whose order counts.
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

//! Matchers for header values and JSON values.

use chrono::{DateTime, NaiveDateTime, TimeDelta, Utc};
use regex::bytes::{Regex, RegexBuilder};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::variables::{Escaping, TemplateError, Variables};

/// Conditions on a value; all given ones must hold.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "Conditions")]
pub struct Matcher(Conditions);

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Conditions {
    /// The value itself.
    is: Option<toml::Value>,
    /// A value that is refused.
    not: Option<toml::Value>,
    /// A pattern.
    matches: Option<Pattern>,
    /// `true`: the value must be absent; `false`: present.
    absent: Option<bool>,
    /// A date at this distance from now.
    from_now: Option<TimeSpan>,
    /// `true`: the value must be a number; `false`: anything else.
    number: Option<bool>,
}

impl TryFrom<Conditions> for Matcher {
    type Error = &'static str;

    fn try_from(conditions: Conditions) -> Result<Self, Self::Error> {
        let Conditions { is, not, matches, absent, from_now, number } = &conditions;
        let any = is.is_some() || not.is_some() || matches.is_some() || absent.is_some();
        if any || from_now.is_some() || number.is_some() {
            Ok(Self(conditions))
        } else {
            Err("a matcher needs one of is, not, matches, absent, from_now, number")
        }
    }
}

/// A regular expression over bytes, with ASCII classes.
#[derive(Debug, Clone)]
pub(crate) struct Pattern(Regex);

impl<'de> Deserialize<'de> for Pattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let pattern = String::deserialize(deserializer)?;
        let built = RegexBuilder::new(&pattern).unicode(false).build();
        built.map(Self).map_err(serde::de::Error::custom)
    }
}

impl Pattern {
    /// The first group of the first match.
    pub(crate) fn group(&self, text: &str) -> Option<String> {
        let group = self.0.captures(text.as_bytes())?.get(1)?;
        Some(String::from_utf8_lossy(group.as_bytes()).into_owned())
    }

    pub(crate) fn groups(&self) -> usize {
        self.0.captures_len() - 1
    }

    pub(crate) fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

/// A span of time such as `90s`, `10m`, `24h`, `30d`, `1h30m` or `-1s`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeSpan(pub TimeDelta);

impl TimeSpan {
    /// Reads a span.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (sign, mut rest) = text.strip_prefix('-').map_or((1, text), |rest| (-1, rest));
        let mut total = 0_i64;
        if rest.is_empty() {
            return None;
        }
        while !rest.is_empty() {
            let at = rest.find(|c: char| !c.is_ascii_digit())?;
            let (digits, from) = rest.split_at(at);
            let unit = from.find(|c: char| c.is_ascii_digit()).unwrap_or(from.len());
            let (unit, after) = from.split_at(unit);
            let millis = match unit {
                "ms" => 1,
                "s" => 1000,
                "m" => 60_000,
                "h" => 3_600_000,
                "d" => 86_400_000,
                _ => return None,
            };
            total = total.checked_add(digits.parse::<i64>().ok()?.checked_mul(millis)?)?;
            rest = after;
        }
        TimeDelta::try_milliseconds(sign * total).map(Self)
    }
}

impl<'de> Deserialize<'de> for TimeSpan {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let wrong = || serde::de::Error::custom("a span is written 90s, 10m, 24h, 30d or 1h30m");
        Self::parse(&text).ok_or_else(wrong)
    }
}

/// The surroundings of a comparison: variables, time, tolerance.
pub(crate) struct MatchContext<'a> {
    pub(crate) variables: &'a Variables,
    pub(crate) now: DateTime<Utc>,
    pub(crate) tolerance: TimeDelta,
}

/// The expected and the found value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mismatch {
    pub(crate) expected: String,
    pub(crate) found: String,
}

impl Matcher {
    /// The texts that may hold variables.
    pub(crate) fn texts(&self) -> Vec<&str> {
        let mut texts = Vec::new();
        self.0.is.iter().chain(&self.0.not).for_each(|value| collect_texts(value, &mut texts));
        texts
    }

    /// Compares a value with the conditions; `None` stands for an absent value.
    pub(crate) fn mismatch(
        &self,
        found: Option<&Value>,
        context: &MatchContext<'_>,
    ) -> Result<Option<Mismatch>, TemplateError> {
        let shown = || found.map_or_else(|| "nothing".to_owned(), Value::to_string);
        let wrong = |expected: String| Ok(Some(Mismatch { expected, found: shown() }));
        let Some(value) = found else {
            return if self.0.absent == Some(true) {
                Ok(None)
            } else {
                wrong(self.expectation(context)?)
            };
        };
        if self.0.absent == Some(true) {
            return wrong("nothing".to_owned());
        }
        if let Some(is) = &self.0.is {
            let is = to_json(is, context.variables)?;
            if !is_same_json(&is, value) {
                return wrong(is.to_string());
            }
        }
        if let Some(not) = &self.0.not {
            let not = to_json(not, context.variables)?;
            if is_same_json(&not, value) {
                return wrong(format!("anything but {not}"));
            }
        }
        if let Some(pattern) = &self.0.matches
            && !scalar_text(value).is_some_and(|text| pattern.0.is_match(text.as_bytes()))
        {
            return wrong(format!("a match of {}", pattern.as_str()));
        }
        if let Some(span) = self.0.from_now {
            let due = context.now + span.0;
            let gap = scalar_text(value)
                .and_then(|text| parse_date(&text))
                .map(|at| at - due.timestamp());
            if gap.is_none_or(|gap| gap.abs() > context.tolerance.num_seconds()) {
                return wrong(format!("a date at {}", due.format("%Y-%m-%dT%H:%M:%SZ")));
            }
        }
        if let Some(number) = self.0.number
            && value.is_number() != number
        {
            return wrong(if number { "a number" } else { "no number" }.to_owned());
        }
        Ok(None)
    }

    /// The expected value in words, for an absent value.
    fn expectation(&self, context: &MatchContext<'_>) -> Result<String, TemplateError> {
        Ok(match (&self.0.is, &self.0.matches) {
            (Some(is), _) => to_json(is, context.variables)?.to_string(),
            (None, Some(pattern)) => format!("a match of {}", pattern.as_str()),
            (None, None) => "a value".to_owned(),
        })
    }
}

fn collect_texts<'v>(value: &'v toml::Value, texts: &mut Vec<&'v str>) {
    match value {
        toml::Value::String(text) => texts.push(text),
        toml::Value::Array(items) => items.iter().for_each(|item| collect_texts(item, texts)),
        toml::Value::Table(table) => table.iter().for_each(|(_, item)| collect_texts(item, texts)),
        toml::Value::Integer(_)
        | toml::Value::Float(_)
        | toml::Value::Boolean(_)
        | toml::Value::Datetime(_) => {}
    }
}

/// The texts of a TOML value that may hold variables.
pub(crate) fn texts(value: &toml::Value) -> Vec<&str> {
    let mut texts = Vec::new();
    collect_texts(value, &mut texts);
    texts
}

/// A TOML value as JSON, with its variables filled in.
pub(crate) fn to_json(value: &toml::Value, variables: &Variables) -> Result<Value, TemplateError> {
    Ok(match value {
        toml::Value::String(text) => Value::from(variables.expand(text, Escaping::Plain)?),
        toml::Value::Integer(number) => Value::from(*number),
        toml::Value::Float(number) => Value::from(*number),
        toml::Value::Boolean(flag) => Value::from(*flag),
        toml::Value::Datetime(date) => Value::from(date.to_string()),
        toml::Value::Array(items) => {
            let items = items.iter().map(|item| to_json(item, variables));
            Value::Array(items.collect::<Result<_, _>>()?)
        }
        toml::Value::Table(table) => {
            let entries =
                table.iter().map(|(key, item)| Ok((key.clone(), to_json(item, variables)?)));
            Value::Object(entries.collect::<Result<_, TemplateError>>()?)
        }
    })
}

/// Equal, and with the same keys in the same order.
fn is_same_json(expected: &Value, found: &Value) -> bool {
    let [expected, found] = [expected, found].map(Value::to_string);
    expected == found
}

/// A string, number or flag as text.
pub(crate) fn scalar_text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// A date as seconds since 1970, from RFC 3339, from `YYYYMMDDTHHMMSS` in UTC, or from seconds since 1970.
fn parse_date(text: &str) -> Option<i64> {
    if let Ok(date) = DateTime::parse_from_rfc3339(text) {
        return Some(date.timestamp());
    }
    if let Ok(date) = NaiveDateTime::parse_from_str(text, "%Y%m%dT%H%M%S") {
        return Some(date.and_utc().timestamp());
    }
    text.parse().ok()
}

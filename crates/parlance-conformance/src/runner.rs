//! Runs vectors, step by step.

use std::fmt;

use serde_json::Value;

use crate::matcher::{Around, Mismatch, plain, to_json};
use crate::redact::redact;
use crate::report::{FileReport, Outcome, Report, StepReport};
use crate::target::{Received, Sent, Target};
use crate::variables::{Place, TextError, Variables, base64, percent};
use crate::{Folder, Step, Vector};

/// The length of `{long}`, in bytes: more than the 16 KiB that a server reads of a body.
const LONG: usize = 17 * 1024;

/// Who logs in. Its `Debug` shows no password.
#[derive(Clone)]
pub struct Users {
    /// `{user}`: a user who is there and enabled.
    pub user: String,
    /// `{password}`: his password.
    pub password: String,
    /// `{other}` and `{other_password}`: a second one, where there is one.
    pub other: Option<(String, String)>,
    /// `{new_password}`: what an operator may set.
    pub new_password: String,
}

impl Users {
    /// One user.
    #[must_use]
    pub fn one(user: impl Into<String>, password: impl Into<String>) -> Self {
        let new_password = "A new one: correct horse".to_owned();
        Self { user: user.into(), password: password.into(), other: None, new_password }
    }

    /// With a second one.
    #[must_use]
    pub fn and(self, other: impl Into<String>, password: impl Into<String>) -> Self {
        Self { other: Some((other.into(), password.into())), ..self }
    }

    fn variables(&self) -> Variables {
        let mut variables = Variables::default();
        variables.set("user", self.user.clone());
        variables.set("password", self.password.clone());
        variables.set("new_password", self.new_password.clone());
        variables.set("long", "x".repeat(LONG));
        if let Some((other, password)) = &self.other {
            variables.set("other", other.clone());
            variables.set("other_password", password.clone());
        }
        variables
    }
}

impl fmt::Debug for Users {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let other = self.other.as_ref().map(|(other, _)| other);
        f.debug_struct("Users")
            .field("user", &self.user)
            .field("other", &other)
            .finish_non_exhaustive()
    }
}

/// A dialect that has no vectors.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there are no vectors for {name:?}; there are some for {}", .known.join(", "))]
pub struct UnknownDialect {
    /// What was asked for.
    pub name: String,
    /// What there is.
    pub known: Vec<String>,
}

/// The folders of the named dialects; all of them where none is named.
///
/// # Errors
/// A name has no folder.
pub fn select(folders: Vec<Folder>, names: &[String]) -> Result<Vec<Folder>, UnknownDialect> {
    let known: Vec<_> = folders.iter().map(|folder| folder.dialect.clone()).collect();
    if let Some(name) = names.iter().find(|name| !known.contains(name)) {
        return Err(UnknownDialect { name: name.clone(), known });
    }
    let wanted = |folder: &Folder| names.is_empty() || names.contains(&folder.dialect);
    Ok(folders.into_iter().filter(wanted).collect())
}

/// Runs every vector, each against the target that is made for it.
pub fn run<T: Target>(
    folders: &[Folder],
    users: &Users,
    mut target: impl FnMut(&Vector) -> T,
) -> Report {
    let mut report = Report::new(folders.iter().map(|folder| folder.dialect.clone()).collect());
    for vector in folders.iter().flat_map(|folder| &folder.vectors) {
        report.add(run_file(vector, users, &mut target(vector)));
    }
    report
}

/// Runs one vector. What fails or cannot be done ends it; the rest of its steps are skipped.
pub fn run_file(vector: &Vector, users: &Users, target: &mut dyn Target) -> FileReport {
    let mut variables = users.variables();
    let mut rest: Option<String> = None;
    let mut steps = Vec::new();
    for step in &vector.steps {
        let outcome = match &rest {
            Some(reason) => Outcome::Skipped(reason.clone()),
            None => match run_step(step, &mut variables, target) {
                Ok(()) => Outcome::Passed,
                Err(Stop::Cannot(reason)) => {
                    rest = Some(reason.clone());
                    Outcome::Skipped(reason)
                }
                Err(Stop::Wrong(what)) => {
                    rest = Some("an earlier step failed".to_owned());
                    let lines = what.iter().map(|finding| finding.shown(&variables));
                    Outcome::Failed(lines.collect::<Vec<_>>().join("\n"))
                }
            },
        };
        let (source, decision) = (step.source.clone(), step.decision.clone());
        steps.push(StepReport { line: step.line, source, decision, outcome });
    }
    let (dialect, file) = (vector.dialect.clone(), vector.file.clone());
    FileReport { dialect, file, title: vector.title.clone(), steps }
}

/// Why a file goes no further.
enum Stop {
    /// The target cannot do what the step needs.
    Cannot(String),
    /// The answer is not what it should be.
    Wrong(Vec<Finding>),
}

/// What is wrong, not yet fit to be shown.
enum Finding {
    /// There is nothing to compare.
    Plain(String),
    /// This place of the answer should hold one thing, and holds another.
    Differs { what: String, expected: String, found: String },
}

impl Finding {
    /// In words, without secrets. The runner's own words are left as they are, whatever the password is.
    fn shown(&self, variables: &Variables) -> String {
        match self {
            Self::Plain(text) => redact(text, variables),
            Self::Differs { what, expected, found } => {
                let (expected, found) = (redact(expected, variables), redact(found, variables));
                format!("{what}: expected {expected}, found {found}")
            }
        }
    }
}

impl From<TextError> for Stop {
    fn from(error: TextError) -> Self {
        match &error {
            // The loader has seen that every other variable is set by then.
            TextError::Unset(name) if name.starts_with("other") => {
                Self::Cannot("no second user was given".to_owned())
            }
            TextError::Unset(_) | TextError::Brace => {
                Self::Wrong(vec![Finding::Plain(error.to_string())])
            }
        }
    }
}

fn run_step(step: &Step, variables: &mut Variables, target: &mut dyn Target) -> Result<(), Stop> {
    let cannot = |reason: String| Err(Stop::Cannot(reason));
    if let Some(peer) = step.peer.filter(|peer| !target.reaches_from(*peer)) {
        return cannot(format!("requests cannot be sent from {peer}"));
    }
    if step.request.secure && !target.is_secure() {
        return cannot("requests cannot be sent over TLS".to_owned());
    }
    // Before anything is done: a request that cannot be made must not leave its operator's work behind.
    for (name, text) in &step.encode {
        let encoded = base64(&variables.fill(text, Place::Plain)?);
        variables.set(name, encoded);
    }
    let request = request(step, variables)?;
    if let Some(span) = step.advance
        && !target.advance(span.0.to_std().unwrap_or_default())
    {
        return cannot("the clock cannot be moved".to_owned());
    }
    if let Some(operation) = step.operator.filter(|operation| !target.operate(*operation)) {
        return cannot(format!("nobody can {}", operation.words()));
    }
    let received = target
        .send(&request)
        .map_err(|error| Stop::Wrong(vec![Finding::Plain(error.to_string())]))?;
    let answer = Answer::new(received);
    // What the step keeps counts in its own matchers too, unless the name had a value before.
    let (kept, missing) = keep(step, &answer);
    let mut seen = kept.clone();
    variables.iter().for_each(|(name, value)| seen.set(name, value.to_owned()));
    let around = Around { variables: &seen, now: target.now(), tolerance: target.tolerance() };
    let mut wrong = Vec::new();
    let compared = compare(step, &answer, &around, &mut wrong);
    // A matcher may have wanted what the answer should have given: then that is what is wrong.
    if let (Err(error), true) = (compared, missing.is_empty()) {
        return Err(error.into());
    }
    wrong.extend(missing);
    // Even of a wrong answer: a report must know the secrets that it is not to show.
    kept.iter().for_each(|(name, value)| variables.set(name, value.to_owned()));
    if wrong.is_empty() { Ok(()) } else { Err(Stop::Wrong(wrong)) }
}

/// The request of a step, its variables filled in.
fn request(step: &Step, variables: &Variables) -> Result<Sent, TextError> {
    let wire = &step.request;
    let mut headers = Vec::new();
    for (name, value) in &wire.headers {
        headers.push((name.clone(), variables.fill(value, Place::Plain)?));
    }
    if let Some((user, password)) = &wire.basic {
        let login = format!("{user}:{password}");
        let encoded = base64(&variables.fill(&login, Place::Plain)?);
        headers.push(("Authorization".to_owned(), format!("Basic {encoded}")));
    }
    let typed = |headers: &[(String, String)]| {
        let line = headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("content-type"));
        line.map(|(_, value)| value.clone())
    };
    let (body, content_type) = if let Some(form) = &wire.form {
        let mut fields = Vec::new();
        for (name, value) in form {
            let value = variables.fill(value, Place::Plain)?;
            fields.push(format!("{}={}", percent(name), percent(&value)));
        }
        (fields.join("&"), Some("application/x-www-form-urlencoded"))
    } else if let Some(json) = &wire.json {
        (to_json(json, variables)?.to_string(), Some("application/json"))
    } else if let Some(body) = &wire.body {
        (variables.fill(body, Place::in_body(typed(&headers).as_deref(), body))?, None)
    } else {
        (String::new(), None)
    };
    if let Some(content_type) = content_type.filter(|_| typed(&headers).is_none()) {
        headers.push(("Content-Type".to_owned(), content_type.to_owned()));
    }
    let target = variables.fill(&wire.path, Place::Url)?;
    let (peer, secure) = (step.peer, wire.secure);
    Ok(Sent { method: wire.method.clone(), target, headers, body: body.into_bytes(), peer, secure })
}

/// An answer, its body read as text and as JSON.
struct Answer {
    received: Received,
    text: String,
    json: Option<Value>,
}

impl Answer {
    fn new(received: Received) -> Self {
        let text = String::from_utf8_lossy(&received.body).into_owned();
        let json = serde_json::from_slice(&received.body).ok();
        Self { received, text, json }
    }

    fn at(&self, pointer: &str) -> Option<&Value> {
        self.json.as_ref()?.pointer(pointer)
    }

    fn body(&self) -> String {
        if self.text.is_empty() { "an empty body".to_owned() } else { self.text.clone() }
    }
}

/// The variables that an answer sets, and those that it should and does not.
fn keep(step: &Step, answer: &Answer) -> (Variables, Vec<Finding>) {
    let (mut kept, mut missing) = (Variables::default(), Vec::new());
    for (name, pointer) in &step.keep {
        match answer.at(pointer).and_then(plain) {
            Some(value) => kept.set(name, value),
            None => {
                missing.push(wrong(format!("body {pointer}").trim_end(), "a value", &answer.body()))
            }
        }
    }
    for (name, (header, pattern)) in &step.keep_header {
        let found = answer.received.header(header);
        match found.as_deref().and_then(|value| pattern.group(value)) {
            Some(value) => kept.set(name, value),
            None => {
                let expected = format!("a match of {}", pattern.as_str());
                let found = found.unwrap_or_else(|| "nothing".to_owned());
                missing.push(wrong(&format!("header {header}"), &expected, &found));
            }
        }
    }
    (kept, missing)
}

fn wrong(what: &str, expected: &str, found: &str) -> Finding {
    Finding::Differs {
        what: what.to_owned(),
        expected: expected.to_owned(),
        found: found.to_owned(),
    }
}

fn compare(
    step: &Step,
    answer: &Answer,
    around: &Around<'_>,
    found: &mut Vec<Finding>,
) -> Result<(), TextError> {
    let received = &answer.received;
    if received.status != step.status {
        let shown = format!("{} with {}", received.status, answer.body());
        found.push(wrong("status", &step.status.to_string(), &shown));
    }
    let mut note = |what: String, mismatch: Option<Mismatch>| {
        found.extend(mismatch.map(|m| wrong(&what, &m.expected, &m.found)));
    };
    for (name, matcher) in &step.headers {
        let value = received.header(name).map(Value::from);
        note(format!("header {name}"), matcher.mismatch(value.as_ref(), around)?);
    }
    for (pointer, matcher) in &step.json {
        note(
            format!("body {pointer}").trim_end().to_owned(),
            matcher.mismatch(answer.at(pointer), around)?,
        );
    }
    if let Some(body) = &step.body {
        let place = Place::in_body(received.header("content-type").as_deref(), body);
        let body = around.variables.fill(body, place)?;
        if body.as_bytes() != received.body {
            found.push(wrong("body", &body, &answer.body()));
        }
    }
    match step.empty {
        Some(true) if !received.body.is_empty() => {
            found.push(wrong("body", "an empty body", &answer.body()));
        }
        Some(false) if received.body.is_empty() => {
            found.push(wrong("body", "a body", "an empty one"));
        }
        Some(_) | None => {}
    }
    if let Some(keys) = &step.keys {
        let object = answer.json.as_ref().and_then(Value::as_object);
        let there = object.map(|object| object.keys().cloned().collect::<Vec<_>>());
        if there.as_ref() != Some(keys) {
            let shown = there.map_or_else(|| answer.body(), |there| there.join(", "));
            found.push(wrong("keys", &keys.join(", "), &shown));
        }
    }
    Ok(())
}

//! Runs vectors, step by step.

use std::fmt;

use serde_json::Value;

use crate::matcher::{MatchContext, Mismatch, scalar_text, to_json};
use crate::redact::redact;
use crate::report::{FileReport, Report, StepOutcome, StepReport};
use crate::target::{ReceivedResponse, SentRequest, Target};
use crate::variables::{Escaping, TemplateError, Variables, base64_encode, percent_encode};
use crate::{Step, Vector, VectorFolder};

/// The length of `{long}`, in bytes: more than the 16 KiB of a body that a server reads.
const LONG_VALUE_BYTES: usize = 17 * 1024;

/// The users of a run. The `Debug` form hides passwords.
#[derive(Clone)]
pub struct TestUsers {
    /// `{user}`: an existing, enabled user.
    pub user: String,
    /// `{password}`: the password of `{user}`.
    pub password: String,
    /// `{other}` and `{other_password}`: a second user, where there is one.
    pub other: Option<(String, String)>,
    /// `{new_password}`: a password that an operator may set.
    pub new_password: String,
}

impl TestUsers {
    /// One user.
    #[must_use]
    pub fn single(user: impl Into<String>, password: impl Into<String>) -> Self {
        let new_password = "A new one: correct horse".to_owned();
        Self { user: user.into(), password: password.into(), other: None, new_password }
    }

    /// Adds a second user.
    #[must_use]
    pub fn with_other(self, other: impl Into<String>, password: impl Into<String>) -> Self {
        Self { other: Some((other.into(), password.into())), ..self }
    }

    fn variables(&self) -> Variables {
        let mut variables = Variables::default();
        variables.set("user", self.user.clone());
        variables.set("password", self.password.clone());
        variables.set("new_password", self.new_password.clone());
        variables.set("long", "x".repeat(LONG_VALUE_BYTES));
        if let Some((other, password)) = &self.other {
            variables.set("other", other.clone());
            variables.set("other_password", password.clone());
        }
        variables
    }
}

impl fmt::Debug for TestUsers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let other = self.other.as_ref().map(|(other, _)| other);
        f.debug_struct("TestUsers")
            .field("user", &self.user)
            .field("other", &other)
            .finish_non_exhaustive()
    }
}

/// A dialect that has no vectors.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there are no vectors for {name:?}; there are some for {}", .known.join(", "))]
pub struct UnknownDialect {
    /// The requested name.
    pub name: String,
    /// The names of the dialects that have vectors.
    pub known: Vec<String>,
}

/// The folders of the named dialects; without a name, all folders.
///
/// # Errors
/// A name has no folder.
pub fn select_dialects(
    folders: Vec<VectorFolder>,
    names: &[String],
) -> Result<Vec<VectorFolder>, UnknownDialect> {
    let known: Vec<_> = folders.iter().map(|folder| folder.dialect.clone()).collect();
    if let Some(name) = names.iter().find(|name| !known.contains(name)) {
        return Err(UnknownDialect { name: name.clone(), known });
    }
    let wanted = |folder: &VectorFolder| names.is_empty() || names.contains(&folder.dialect);
    Ok(folders.into_iter().filter(wanted).collect())
}

/// Runs every vector, each against a target of its own.
pub fn run<T: Target>(
    folders: &[VectorFolder],
    users: &TestUsers,
    mut target: impl FnMut(&Vector) -> T,
) -> Report {
    let mut report = Report::new(folders.iter().map(|folder| folder.dialect.clone()).collect());
    for vector in folders.iter().flat_map(|folder| &folder.vectors) {
        report.add(run_file(vector, users, &mut target(vector)));
    }
    report
}

/// Runs one vector. A failed or impossible step ends the run; the remaining steps are skipped.
pub fn run_file(vector: &Vector, users: &TestUsers, target: &mut dyn Target) -> FileReport {
    let mut variables = users.variables();
    let mut skip_reason: Option<String> = None;
    let mut steps = Vec::new();
    for step in &vector.steps {
        let outcome = match &skip_reason {
            Some(reason) => StepOutcome::Skipped(reason.clone()),
            None => match run_step(step, &mut variables, target) {
                Ok(()) => StepOutcome::Passed,
                Err(StepError::Unsupported(reason)) => {
                    skip_reason = Some(reason.clone());
                    StepOutcome::Skipped(reason)
                }
                Err(StepError::Failed(what)) => {
                    skip_reason = Some("an earlier step failed".to_owned());
                    let lines = what.iter().map(|finding| finding.redacted(&variables));
                    StepOutcome::Failed(lines.collect::<Vec<_>>().join("\n"))
                }
            },
        };
        let (source, decision) = (step.source.clone(), step.decision.clone());
        steps.push(StepReport { line: step.line, source, decision, outcome });
    }
    let (dialect, file) = (vector.dialect.clone(), vector.file.clone());
    FileReport { dialect, file, title: vector.title.clone(), steps }
}

/// The reason why a file ends early.
enum StepError {
    /// The target lacks an ability that the step needs.
    Unsupported(String),
    /// The answer misses an expectation.
    Failed(Vec<Finding>),
}

/// A finding before redaction: may hold secrets.
enum Finding {
    /// A finding without values to compare.
    Message(String),
    /// A part of the answer with its expected and its found value.
    Differs { what: String, expected: String, found: String },
}

impl Finding {
    /// The finding in words, without secrets. The runner's own words stay unchanged, even where they contain the
    /// password.
    fn redacted(&self, variables: &Variables) -> String {
        match self {
            Self::Message(text) => redact(text, variables),
            Self::Differs { what, expected, found } => {
                let (expected, found) = (redact(expected, variables), redact(found, variables));
                format!("{what}: expected {expected}, found {found}")
            }
        }
    }
}

impl From<TemplateError> for StepError {
    fn from(error: TemplateError) -> Self {
        match &error {
            // The loader has checked that every other variable is set by now.
            TemplateError::UnknownVariable(name) if name.starts_with("other") => {
                Self::Unsupported("no second user was given".to_owned())
            }
            TemplateError::UnknownVariable(_) | TemplateError::UnmatchedBrace => {
                Self::Failed(vec![Finding::Message(error.to_string())])
            }
        }
    }
}

fn run_step(
    step: &Step,
    variables: &mut Variables,
    target: &mut dyn Target,
) -> Result<(), StepError> {
    let cannot = |reason: String| Err(StepError::Unsupported(reason));
    if let Some(peer) = step.peer.filter(|peer| !target.can_send_from(*peer)) {
        return cannot(format!("requests cannot be sent from {peer}"));
    }
    if step.request.secure && !target.can_send_over_tls() {
        return cannot("requests cannot be sent over TLS".to_owned());
    }
    // Comes before any action: a request that cannot be built must not leave the effect of an operator's action behind.
    for (name, text) in &step.encode {
        let encoded = base64_encode(&variables.expand(text, Escaping::Plain)?);
        variables.set(name, encoded);
    }
    let request = request(step, variables)?;
    if let Some(span) = step.advance
        && !target.advance(span.0.to_std().unwrap_or_default())
    {
        return cannot("the clock cannot be moved".to_owned());
    }
    if let Some(operation) = step.operator.filter(|operation| !target.perform(*operation)) {
        return cannot(format!("the target cannot {}", operation.description()));
    }
    let received = target
        .send(&request)
        .map_err(|error| StepError::Failed(vec![Finding::Message(error.to_string())]))?;
    let answer = ParsedResponse::new(received);
    // The variables that the answer sets are visible to the step's own matchers, unless the name had a value before.
    let (captured, missing) = capture(step, &answer);
    let mut visible = captured.clone();
    variables.iter().for_each(|(name, value)| visible.set(name, value.to_owned()));
    let context =
        MatchContext { variables: &visible, now: target.now(), tolerance: target.date_tolerance() };
    let mut findings = Vec::new();
    let compared = compare(step, &answer, &context, &mut findings);
    // A matcher may use a variable that the answer failed to set: then the missing value is the finding.
    if let (Err(error), true) = (compared, missing.is_empty()) {
        return Err(error.into());
    }
    findings.extend(missing);
    // Set even after a wrong answer: redaction must know these secrets.
    captured.iter().for_each(|(name, value)| variables.set(name, value.to_owned()));
    if findings.is_empty() { Ok(()) } else { Err(StepError::Failed(findings)) }
}

/// The request of a step, with its variables filled in.
fn request(step: &Step, variables: &Variables) -> Result<SentRequest, TemplateError> {
    let wire = &step.request;
    let mut headers = Vec::new();
    for (name, value) in &wire.headers {
        headers.push((name.clone(), variables.expand(value, Escaping::Plain)?));
    }
    if let Some((user, password)) = &wire.basic {
        let login = format!("{user}:{password}");
        let encoded = base64_encode(&variables.expand(&login, Escaping::Plain)?);
        headers.push(("Authorization".to_owned(), format!("Basic {encoded}")));
    }
    let typed = |headers: &[(String, String)]| {
        let line = headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("content-type"));
        line.map(|(_, value)| value.clone())
    };
    let (body, content_type) = if let Some(form) = &wire.form {
        let mut fields = Vec::new();
        for (name, value) in form {
            let value = variables.expand(value, Escaping::Plain)?;
            fields.push(format!("{}={}", percent_encode(name), percent_encode(&value)));
        }
        (fields.join("&"), Some("application/x-www-form-urlencoded"))
    } else if let Some(json) = &wire.json {
        (to_json(json, variables)?.to_string(), Some("application/json"))
    } else if let Some(body) = &wire.body {
        (variables.expand(body, Escaping::for_body(typed(&headers).as_deref(), body))?, None)
    } else {
        (String::new(), None)
    };
    if let Some(content_type) = content_type.filter(|_| typed(&headers).is_none()) {
        headers.push(("Content-Type".to_owned(), content_type.to_owned()));
    }
    let target = variables.expand(&wire.path, Escaping::Url)?;
    let (peer, secure) = (step.peer, wire.secure);
    Ok(SentRequest {
        method: wire.method.clone(),
        target,
        headers,
        body: body.into_bytes(),
        peer,
        secure,
    })
}

/// An answer, with its body read as text and as JSON.
struct ParsedResponse {
    received: ReceivedResponse,
    text: String,
    json: Option<Value>,
}

impl ParsedResponse {
    fn new(received: ReceivedResponse) -> Self {
        let text = String::from_utf8_lossy(&received.body).into_owned();
        let json = serde_json::from_slice(&received.body).ok();
        Self { received, text, json }
    }

    fn json_at(&self, pointer: &str) -> Option<&Value> {
        self.json.as_ref()?.pointer(pointer)
    }

    fn body(&self) -> String {
        if self.text.is_empty() { "an empty body".to_owned() } else { self.text.clone() }
    }
}

/// The variables that an answer sets, and a finding for each variable that the answer fails to set.
fn capture(step: &Step, answer: &ParsedResponse) -> (Variables, Vec<Finding>) {
    let (mut captured, mut missing) = (Variables::default(), Vec::new());
    for (name, pointer) in &step.keep {
        match answer.json_at(pointer).and_then(scalar_text) {
            Some(value) => captured.set(name, value),
            None => missing.push(difference(
                format!("body {pointer}").trim_end(),
                "a value",
                &answer.body(),
            )),
        }
    }
    for (name, (header, pattern)) in &step.keep_header {
        let found = answer.received.header(header);
        match found.as_deref().and_then(|value| pattern.group(value)) {
            Some(value) => captured.set(name, value),
            None => {
                let expected = format!("a match of {}", pattern.as_str());
                let found = found.unwrap_or_else(|| "nothing".to_owned());
                missing.push(difference(&format!("header {header}"), &expected, &found));
            }
        }
    }
    (captured, missing)
}

fn difference(what: &str, expected: &str, found: &str) -> Finding {
    Finding::Differs {
        what: what.to_owned(),
        expected: expected.to_owned(),
        found: found.to_owned(),
    }
}

fn compare(
    step: &Step,
    answer: &ParsedResponse,
    context: &MatchContext<'_>,
    findings: &mut Vec<Finding>,
) -> Result<(), TemplateError> {
    let received = &answer.received;
    if received.status != step.status {
        let shown = format!("{} with {}", received.status, answer.body());
        findings.push(difference("status", &step.status.to_string(), &shown));
    }
    let mut note = |what: String, mismatch: Option<Mismatch>| {
        findings.extend(mismatch.map(|m| difference(&what, &m.expected, &m.found)));
    };
    for (name, matcher) in &step.headers {
        let value = received.header(name).map(Value::from);
        note(format!("header {name}"), matcher.mismatch(value.as_ref(), context)?);
    }
    for (pointer, matcher) in &step.json {
        note(
            format!("body {pointer}").trim_end().to_owned(),
            matcher.mismatch(answer.json_at(pointer), context)?,
        );
    }
    if let Some(body) = &step.body {
        let escaping = Escaping::for_body(received.header("content-type").as_deref(), body);
        let body = context.variables.expand(body, escaping)?;
        if body.as_bytes() != received.body {
            findings.push(difference("body", &body, &answer.body()));
        }
    }
    match step.empty {
        Some(true) if !received.body.is_empty() => {
            findings.push(difference("body", "an empty body", &answer.body()));
        }
        Some(false) if received.body.is_empty() => {
            findings.push(difference("body", "a body", "an empty one"));
        }
        Some(_) | None => {}
    }
    if let Some(keys) = &step.keys {
        let object = answer.json.as_ref().and_then(Value::as_object);
        let there = object.map(|object| object.keys().cloned().collect::<Vec<_>>());
        if there.as_ref() != Some(keys) {
            let shown = there.map_or_else(|| answer.body(), |there| there.join(", "));
            findings.push(difference("keys", &keys.join(", "), &shown));
        }
    }
    Ok(())
}

//! Vectors from the library itself or from a folder, checked before anything runs.

use std::fs;
use std::path::Path;

use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use toml::Spanned;

use crate::variables::{BUILT_IN_VARIABLES, TemplateError, expand_template, is_variable_name};
use crate::{Statements, Step, Vector, VectorFolder, matcher};

/// The vectors of this workspace: `<dialect>/<file>` and its text.
static EMBEDDED: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/vectors.rs"));

/// The reason why vectors could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}{}: {message}", .line.map(|line| format!(":{line}")).unwrap_or_default())]
pub struct FormatError {
    /// The file.
    pub file: String,
    /// The line, from 1, where the error has one.
    pub line: Option<usize>,
    /// The message.
    pub message: String,
}

/// The vectors that this library carries.
///
/// # Errors
/// A file cannot be read, or is not a vector.
pub fn embedded() -> Result<Vec<VectorFolder>, FormatError> {
    let files = EMBEDDED.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned()));
    folders(files.collect())
}

/// The vectors of a folder such as `tests/conformance`, which holds a folder for each dialect.
///
/// # Errors
/// A file cannot be read, or is not a vector.
pub fn load(root: &Path) -> Result<Vec<VectorFolder>, FormatError> {
    let unreadable = |path: &Path, error: &std::io::Error| FormatError {
        file: path.display().to_string(),
        line: None,
        message: error.to_string(),
    };
    let list = |path: &Path| -> Result<Vec<std::path::PathBuf>, FormatError> {
        let entries = fs::read_dir(path).map_err(|error| unreadable(path, &error))?;
        // An unreadable entry is an error: silently skipped, the folder would seem to hold fewer vectors.
        let paths = entries.map(|entry| entry.map(|entry| entry.path()));
        let mut paths =
            paths.collect::<Result<Vec<_>, _>>().map_err(|error| unreadable(path, &error))?;
        paths.sort();
        Ok(paths)
    };
    let mut files = Vec::new();
    for folder in list(root)?.iter().filter(|path| path.is_dir()) {
        for path in list(folder)?.iter().filter(|path| path.extension() == Some("toml".as_ref())) {
            let text = fs::read_to_string(path).map_err(|error| unreadable(path, &error))?;
            let name = path.strip_prefix(root).unwrap_or(path);
            files.push((name.display().to_string().replace('\\', "/"), text));
        }
    }
    folders(files)
}

fn folders(files: Vec<(String, String)>) -> Result<Vec<VectorFolder>, FormatError> {
    let mut folders: Vec<(String, Option<Statements>, Vec<Vector>)> = Vec::new();
    for (file, text) in files {
        let dialect = file.split('/').next().unwrap_or_default().to_owned();
        if folders.last().is_none_or(|(last, ..)| *last != dialect) {
            folders.push((dialect, None, Vec::new()));
        }
        let Some((_, statements, vectors)) = folders.last_mut() else { continue };
        if file.ends_with("/statements.toml") {
            *statements = Some(parse_statements(&file, &text)?);
        } else {
            vectors.push(parse_vector(&file, &text)?);
        }
    }
    let folder = |(dialect, statements, vectors): (String, Option<Statements>, _)| {
        let file = format!("{dialect}/statements.toml");
        let missing = || FormatError { file, line: None, message: "is missing".to_owned() };
        Ok(VectorFolder { dialect, statements: statements.ok_or_else(missing)?, vectors })
    };
    folders.into_iter().map(folder).collect()
}

fn parse_toml<T: DeserializeOwned>(file: &str, text: &str) -> Result<T, FormatError> {
    toml::from_str(text).map_err(|error| FormatError {
        file: file.to_owned(),
        line: error.span().map(|span| line_of(text, span.start)),
        message: error.message().to_owned(),
    })
}

fn line_of(text: &str, at: usize) -> usize {
    1 + text.bytes().take(at).filter(|byte| *byte == b'\n').count()
}

/// Reads a `statements.toml`.
///
/// # Errors
/// The text is no such file, or gives an id twice.
pub fn parse_statements(file: &str, text: &str) -> Result<Statements, FormatError> {
    let read: Statements = parse_toml(file, text)?;
    let wrong = |message| FormatError { file: file.to_owned(), line: None, message };
    if file.split('/').next() != Some(&read.document) {
        return Err(wrong(format!("document is {:?}, not the folder's name", read.document)));
    }
    let mut ids: Vec<_> = read.statements.iter().map(|statement| &statement.id).collect();
    ids.sort_unstable();
    match ids.windows(2).find(|pair| pair.first() == pair.last()) {
        Some(pair) => Err(wrong(format!("statement {:?} is a duplicate", pair.first()))),
        None => Ok(read),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct VectorFile {
    title: String,
    clock: Option<String>,
    #[serde(rename = "step")]
    steps: Vec<Spanned<Step>>,
}

/// Reads the vector of a file `<dialect>/<name>.toml`.
///
/// # Errors
/// The text is not a vector: an unknown key, a variable that nothing sets, a step without source or decision, ...
pub fn parse_vector(file: &str, text: &str) -> Result<Vector, FormatError> {
    let read: VectorFile = parse_toml(file, text)?;
    let at = |line, message| FormatError { file: file.to_owned(), line, message };
    let clock = match read.clock.as_deref().map(DateTime::parse_from_rfc3339) {
        Some(Ok(clock)) => Some(clock.with_timezone(&Utc)),
        Some(Err(error)) => return Err(at(None, format!("clock: {error}"))),
        None => None,
    };
    let mut known: Vec<String> = BUILT_IN_VARIABLES.iter().map(|name| (*name).to_owned()).collect();
    let mut steps = Vec::new();
    for spanned in read.steps {
        let line = line_of(text, spanned.span().start);
        let step = Step { line, ..spanned.into_inner() };
        check_step(&step, &mut known).map_err(|message| at(Some(line), message))?;
        steps.push(step);
    }
    if steps.is_empty() {
        return Err(at(None, "there is no step".to_owned()));
    }
    let dialect = file.split('/').next().unwrap_or_default().to_owned();
    Ok(Vector { dialect, file: file.to_owned(), title: read.title, clock, steps })
}

fn check_step(step: &Step, known: &mut Vec<String>) -> Result<(), String> {
    if step.source.is_empty() && step.decision.is_empty() {
        return Err("a step needs a source or a decision".to_owned());
    }
    if let Some(wrong) = step.decision.iter().find(|name| !is_decision(name)) {
        return Err(format!(
            "decision {wrong:?} is neither the four digits nor the anchor of a decision"
        ));
    }
    if step.advance.is_some_and(|span| span.0 < chrono::TimeDelta::zero()) {
        return Err("advance: the clock moves forward only".to_owned());
    }
    let request = &step.request;
    let bodies = [request.form.is_some(), request.json.is_some(), request.body.is_some()];
    if bodies.into_iter().filter(|given| *given).count() > 1 {
        return Err("request: only one of form, json, body".to_owned());
    }
    if !request.path.starts_with('/') {
        return Err("request: the path must begin with a slash".to_owned());
    }
    if step.body.is_some() && step.empty == Some(true) {
        return Err("body and empty exclude each other".to_owned());
    }
    let pointers = step.json.into_iter().map(|(pointer, _)| pointer);
    let pointers = pointers.chain(step.keep.into_iter().map(|(_, pointer)| pointer));
    for pointer in pointers {
        if !pointer.is_empty() && !pointer.starts_with('/') {
            return Err(format!(
                "{pointer:?} is not a JSON Pointer: a pointer begins with a slash"
            ));
        }
    }
    if let Some((name, _)) = step.keep_header.into_iter().find(|(_, (_, p))| p.groups() == 0) {
        return Err(format!("keep_header: the pattern of {name:?} has no group"));
    }
    check_variables(step, known)
}

/// Whether a text can name a decision: `0020`, or an anchor such as `a-token-ends-thirty-days-after-its-login`.
fn is_decision(text: &str) -> bool {
    let is_number = text.len() == 4 && text.bytes().all(|byte| byte.is_ascii_digit());
    let in_anchor =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_".contains(&byte);
    is_number || text.contains('-') && text.bytes().all(in_anchor)
}

/// Checks that each variable is brought by the runner or made by an earlier step.
fn check_variables(step: &Step, known: &mut Vec<String>) -> Result<(), String> {
    fn all_known(texts: Vec<&str>, known: &[String]) -> Result<(), String> {
        for text in texts {
            let found = |name: &str| {
                let is_known = known.iter().any(|other| other == name);
                is_known
                    .then(String::new)
                    .ok_or_else(|| TemplateError::UnknownVariable(name.to_owned()))
            };
            expand_template(text, found).map_err(|error| format!("{text:?}: {error}"))?;
        }
        Ok(())
    }
    let make = |name: &String, known: &mut Vec<String>| {
        known.push(name.clone());
        if is_variable_name(name) {
            Ok(())
        } else {
            Err(format!("{name:?} cannot name a variable"))
        }
    };
    for (name, text) in &step.encode {
        all_known(vec![text], known)?;
        make(name, known)?;
    }
    let request = &step.request;
    let mut texts = vec![request.path.as_str()];
    texts.extend(request.headers.iter().map(|(_, value)| value.as_str()));
    texts.extend(request.form.iter().flatten().map(|(_, value)| value.as_str()));
    texts.extend(request.json.iter().flat_map(matcher::texts));
    texts.extend(request.body.as_deref());
    texts.extend(request.basic.iter().flat_map(|(user, password)| [user.as_str(), password]));
    all_known(texts, known)?;
    // A step can compare with the variables that its own answer sets: the runner takes the values first.
    for (name, _) in &step.keep {
        make(name, known)?;
    }
    for (name, _) in &step.keep_header {
        make(name, known)?;
    }
    let mut texts: Vec<_> = step.body.as_deref().into_iter().collect();
    for (_, matcher) in step.headers.into_iter().chain(&step.json) {
        texts.extend(matcher.texts());
    }
    all_known(texts, known)
}

//! Every file by itself: its first line, its length; migrations in twins, decisions numbered.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;
use cargo_metadata::Metadata;

use crate::coverage::decisions;

/// The longest that a file of Rust may be; one beyond 400 lines asks for a second look.
const LINES: usize = 450;
/// The longest that a decision may be.
const DECISION_LINES: usize = 60;

pub(crate) fn check(root: &Path, metadata: &Metadata) -> Result<Vec<String>> {
    let mut wrong = Vec::new();
    for package in &metadata.packages {
        let Some(home) = package.manifest_path.parent() else { continue };
        for path in rust(home.as_std_path())? {
            let text = fs::read_to_string(&path)?;
            wrong.extend(module(&text).into_iter().map(|what| {
                format!("{}: {what}", path.strip_prefix(root).unwrap_or(&path).display())
            }));
        }
    }
    wrong.extend(migrations(&root.join("migrations"))?);
    let folder = root.join("docs/decisions");
    let known = decisions(&folder)?;
    for (at, (number, name)) in known.iter().enumerate() {
        let text = fs::read_to_string(folder.join(name))?;
        wrong.extend(decision(number, &text).into_iter().map(|what| format!("{name}: {what}")));
        if known.iter().skip(at + 1).any(|(other, _)| other == number) {
            wrong.push(format!("{name}: another decision is {number} too"));
        }
    }
    Ok(wrong)
}

/// All files of Rust below a package's folder.
fn rust(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in folder.read_dir()? {
            let path = entry?.path();
            if path.is_dir() && path.file_name() != Some("target".as_ref()) {
                folders.push(path);
            } else if path.extension() == Some("rs".as_ref()) {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

/// What is wrong with a module's text.
pub(crate) fn module(text: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    if !text.starts_with("//!") && !text.starts_with("#![doc = include_str!(") {
        wrong.push("begins without `//!`: say what it is for".to_owned());
    }
    let lines = text.lines().count();
    if lines > LINES {
        wrong.push(format!("{lines} lines, more than {LINES}: does it still have one subject?"));
    }
    wrong
}

/// What is wrong with a decision's text.
pub(crate) fn decision(number: &str, text: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    if number.len() != 4 || !number.bytes().all(|byte| byte.is_ascii_digit()) {
        wrong.push("its name does not begin with four digits".to_owned());
    }
    if !text.starts_with(&format!("# {number}. ")) {
        wrong.push(format!("does not begin with `# {number}. `"));
    }
    let parts = ["Status: ", "## Context", "## Decision", "## Consequences"];
    let missing = parts.iter().filter(|part| !text.lines().any(|line| line.starts_with(**part)));
    wrong.extend(missing.map(|part| format!("lacks `{part}`")));
    let lines = text.lines().count();
    if lines > DECISION_LINES {
        wrong.push(format!("{lines} lines, more than {DECISION_LINES}"));
    }
    wrong
}

/// What is wrong with the migrations: those of the two databases are twins, by number and name.
pub(crate) fn migrations(folder: &Path) -> Result<Vec<String>> {
    let mut wrong = Vec::new();
    let mut names: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for database in ["postgres", "sqlite"] {
        let mut numbers = Vec::new();
        for entry in folder.join(database).read_dir()? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if !path.is_dir() {
                continue;
            }
            for file in ["up.sql", "down.sql"] {
                if !path.join(file).exists() {
                    wrong.push(format!("migrations/{database}/{name}: {file} is missing"));
                }
            }
            let number = name.split('_').next().unwrap_or_default().to_owned();
            if numbers.contains(&number) {
                wrong.push(format!("migrations/{database}: {number} stands twice"));
            }
            numbers.push(number);
            names.entry(name).or_default().push(database);
        }
    }
    for (name, databases) in names {
        if databases.len() == 1 {
            wrong.push(format!("migrations: {name} is for {} alone", databases.join("")));
        }
    }
    Ok(wrong)
}

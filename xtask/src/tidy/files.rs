//! Every file by itself: its first line, its length; migrations in pairs.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;
use cargo_metadata::Metadata;

/// The longest file of Rust, in lines; a file beyond 400 lines asks for a second look.
const MAX_FILE_LINES: usize = 450;

pub(crate) fn check(root: &Path, metadata: &Metadata) -> Result<Vec<String>> {
    let mut wrong = Vec::new();
    for package in &metadata.packages {
        let Some(home) = package.manifest_path.parent() else { continue };
        for path in rust_files(home.as_std_path())? {
            let text = fs::read_to_string(&path)?;
            wrong.extend(check_module(&text).into_iter().map(|what| {
                format!("{}: {what}", path.strip_prefix(root).unwrap_or(&path).display())
            }));
        }
    }
    wrong.extend(check_migrations(&root.join("migrations"))?);
    Ok(wrong)
}

/// All files of Rust below a package's folder.
pub(super) fn rust_files(folder: &Path) -> Result<Vec<PathBuf>> {
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

/// The faults in the text of a module.
pub(crate) fn check_module(text: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    if !text.starts_with("//!") && !text.starts_with("#![doc = include_str!(") {
        wrong.push("begins without `//!`: say what it is for".to_owned());
    }
    let lines = text.lines().count();
    if lines > MAX_FILE_LINES {
        wrong.push(format!(
            "{lines} lines, more than {MAX_FILE_LINES}: does it still have one subject?"
        ));
    }
    wrong
}

/// The faults of the migrations: the two databases must have the same numbers and names.
pub(crate) fn check_migrations(folder: &Path) -> Result<Vec<String>> {
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
                wrong.push(format!("migrations/{database}: {number} is a duplicate"));
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

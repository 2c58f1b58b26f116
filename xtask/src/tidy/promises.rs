//! Every test that SECURITY.md names is there.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};

/// The tests that a text names: words in backquotes with three underscores and more, and nothing but what a function's name holds.
pub(crate) fn named(text: &str) -> BTreeSet<&str> {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    let is_test = |word: &&str| word.matches('_').count() >= 3 && word.bytes().all(plain);
    text.split('`').skip(1).step_by(2).filter(is_test).collect()
}

/// Every name without a function.
pub(crate) fn check(root: &Path) -> Result<Vec<String>> {
    let text = fs::read_to_string(root.join("SECURITY.md")).context("there is no SECURITY.md")?;
    let mut missing = named(&text);
    for folder in ["crates", "tests"] {
        strike(&root.join(folder), &mut missing)?;
    }
    let wrong = |name: &str| format!("SECURITY.md names the test {name}, which is not there");
    Ok(missing.into_iter().map(wrong).collect())
}

/// Strikes out what a folder has.
fn strike(folder: &Path, missing: &mut BTreeSet<&str>) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() && path.file_name() != Some("target".as_ref()) {
            strike(&path, missing)?;
        } else if path.extension() == Some("rs".as_ref()) {
            let text = fs::read_to_string(&path)?;
            missing.retain(|name| !text.contains(&format!("fn {name}(")));
        }
    }
    Ok(())
}

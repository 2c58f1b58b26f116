//! Every test that SECURITY.md names exists.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};

/// The tests that a text names: words in backquotes with at least three underscores, and only characters of a
/// function's name.
pub(crate) fn named_tests(text: &str) -> BTreeSet<&str> {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    let is_test = |word: &&str| word.matches('_').count() >= 3 && word.bytes().all(plain);
    text.split('`').skip(1).step_by(2).filter(is_test).collect()
}

/// Every name without a function.
pub(crate) fn check(root: &Path) -> Result<Vec<String>> {
    let text = fs::read_to_string(root.join("SECURITY.md")).context("there is no SECURITY.md")?;
    let mut missing = named_tests(&text);
    for folder in ["crates", "tests"] {
        remove_found(&root.join(folder), &mut missing)?;
    }
    let wrong = |name: &str| format!("SECURITY.md names the test {name}, which does not exist");
    Ok(missing.into_iter().map(wrong).collect())
}

/// Removes the names of the functions in a folder.
fn remove_found(folder: &Path, missing: &mut BTreeSet<&str>) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() && path.file_name() != Some("target".as_ref()) {
            remove_found(&path, missing)?;
        } else if path.extension() == Some("rs".as_ref()) {
            let text = fs::read_to_string(&path)?;
            missing.retain(|name| !text.contains(&format!("fn {name}(")));
        }
    }
    Ok(())
}

//! Every dialect stands everywhere required: features, table, vectors, documentation.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use cargo_metadata::Metadata;

/// A dialect's package.
pub(crate) fn package(dialect: &str) -> String {
    format!("parlance-{dialect}")
}

/// The features that are no dialect: `axxon-grpc` is a second transport of one.
pub(crate) const NON_DIALECT_FEATURES: [&str; 6] =
    ["assertions", "axxon-grpc", "default", "postgres", "sqlite", "testing"];

/// The features of a package that stand for dialects.
pub(crate) fn features(metadata: &Metadata, of: &str) -> Vec<String> {
    let package = metadata.packages.iter().find(|package| package.name.as_str() == of);
    let names = package.into_iter().flat_map(|package| package.features.keys().cloned());
    let mut names: Vec<_> =
        names.filter(|name| !NON_DIALECT_FEATURES.contains(&name.as_str())).collect();
    names.sort();
    names
}

/// The names in the registration table, in its order: lines such as `    "cluster-api" => ...;`.
pub(crate) fn registered(table: &str) -> Vec<String> {
    let lines = table.lines().skip_while(|line| *line != "table! {").skip(1);
    let lines = lines.take_while(|line| *line != "}");
    let names = lines.filter_map(|line| line.trim_start().strip_prefix('"')?.split_once("\" => "));
    names.map(|(name, _)| name.to_owned()).collect()
}

pub(crate) fn check(root: &Path, metadata: &Metadata) -> Result<Vec<String>> {
    let read = |path: &str| fs::read_to_string(root.join(path)).with_context(|| path.to_owned());
    let dialects = features(metadata, "parlance");
    let mut wrong = Vec::new();
    let mut compare = |what: &str, found: Vec<String>| {
        if found != dialects {
            let (there, features) = (found.join(", "), dialects.join(", "));
            wrong.push(format!("{what}: {there}; but the features of parlance: {features}"));
        }
    };
    compare("features of parlance-server", features(metadata, "parlance-server"));
    compare("crates/parlance/src/table.rs", registered(&read("crates/parlance/src/table.rs")?));
    let mut folders = Vec::new();
    for entry in root.join("tests/conformance").read_dir()? {
        let entry = entry?;
        let vectors = entry.path().join("statements.toml").exists();
        folders.extend(vectors.then(|| entry.file_name().to_string_lossy().into_owned()));
    }
    folders.sort();
    compare("tests/conformance", folders);
    let readme = read("README.md")?;
    for dialect in &dialects {
        let docs = format!("crates/{}/src/docs.md", package(dialect));
        if !readme.lines().any(|line| line.starts_with(&format!("| [`{dialect}`]({docs})"))) {
            wrong.push(format!(
                "README.md: the table of dialects has no row for {dialect} with a link to {docs}"
            ));
        }
        for file in ["src/lib.rs", "src/call.rs", "src/reply.rs", "src/docs.md", "decisions.md"] {
            let path = format!("crates/{}/{file}", package(dialect));
            if !root.join(&path).exists() {
                wrong.push(format!("{path} is missing: all dialects have the same files"));
            }
        }
    }
    Ok(wrong)
}

//! The rules of the architecture and of the prose, held by a test: imports, sizes, the places where each dialect must
//! stand, decisions that name existing code, and plain sentences.

pub(crate) mod decisions;
pub(crate) mod dialects;
mod files;
pub(crate) mod imports;
pub(crate) mod named_tests;
pub(crate) mod prose;

use std::path::Path;

use anyhow::{Context as _, Result, bail};
use cargo_metadata::{Metadata, MetadataCommand};
#[cfg(test)]
pub(crate) use files::{check_migrations, check_module};

/// Prints the figures of the prose, and fails with all faults.
pub(crate) fn run() -> Result<()> {
    let root = crate::root();
    for (name, figures) in prose::measure(&root, &metadata(&root)?)? {
        println!("{name}: {figures}");
    }
    let wrong = check(&root)?;
    if wrong.is_empty() {
        return Ok(());
    }
    bail!("{}", wrong.join("\n       "));
}

/// All faults of a workspace.
pub(crate) fn check(root: &Path) -> Result<Vec<String>> {
    let metadata = metadata(root)?;
    let mut wrong = imports::check(&metadata);
    wrong.extend(dialects::check(root, &metadata)?);
    wrong.extend(files::check(root, &metadata)?);
    wrong.extend(named_tests::check(root)?);
    wrong.extend(decisions::check(root)?);
    wrong.extend(prose::check(root, &metadata)?);
    Ok(wrong)
}

/// The manifests of the workspace, without dependencies.
pub(crate) fn metadata(root: &Path) -> Result<Metadata> {
    let manifest = root.join("Cargo.toml");
    let mut command = MetadataCommand::new();
    command.manifest_path(&manifest).no_deps();
    command.exec().with_context(|| format!("cannot read {}", manifest.display()))
}

//! The architecture's rules, held by a test: imports, sizes, and that every dialect stands everywhere it must.

pub(crate) mod dialects;
mod files;
pub(crate) mod imports;
pub(crate) mod promises;

use std::path::Path;

use anyhow::{Context as _, Result, bail};
use cargo_metadata::{Metadata, MetadataCommand};
#[cfg(test)]
pub(crate) use files::{decision, migrations, module};

/// Fails with everything that is wrong.
pub(crate) fn run() -> Result<()> {
    let wrong = check(&crate::root())?;
    if wrong.is_empty() {
        return Ok(());
    }
    bail!("{}", wrong.join("\n       "));
}

/// Everything that is wrong with a workspace.
pub(crate) fn check(root: &Path) -> Result<Vec<String>> {
    let metadata = metadata(root)?;
    let mut wrong = imports::check(&metadata);
    wrong.extend(dialects::check(root, &metadata)?);
    wrong.extend(files::check(root, &metadata)?);
    wrong.extend(promises::check(root)?);
    Ok(wrong)
}

/// The manifests, without anybody else's.
pub(crate) fn metadata(root: &Path) -> Result<Metadata> {
    let manifest = root.join("Cargo.toml");
    let mut command = MetadataCommand::new();
    command.manifest_path(&manifest).no_deps();
    command.exec().with_context(|| format!("cannot read {}", manifest.display()))
}

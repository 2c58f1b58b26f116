//! `cargo xtask new-dialect NAME`: a new dialect of the usual shape, and every line that the dialect needs elsewhere.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};

use crate::shell::{cargo, run_ok};
use crate::tidy;

/// The files of a new dialect: path and text. `@name@` is the dialect, `@Type@` its type.
const FILES: &[(&str, &str)] = &[
    ("crates/parlance-@name@/Cargo.toml", include_str!("../templates/Cargo.toml.txt")),
    ("crates/parlance-@name@/decisions.md", include_str!("../templates/decisions.md.txt")),
    ("crates/parlance-@name@/src/lib.rs", include_str!("../templates/lib.rs.txt")),
    ("crates/parlance-@name@/src/call.rs", include_str!("../templates/call.rs.txt")),
    ("crates/parlance-@name@/src/reply.rs", include_str!("../templates/reply.rs.txt")),
    ("crates/parlance-@name@/src/docs.md", include_str!("../templates/docs.md.txt")),
    ("crates/parlance-@name@/src/tour.sh", include_str!("../templates/tour.sh.txt")),
    ("crates/parlance-@name@/src/tests.rs", include_str!("../templates/tests.rs.txt")),
    ("tests/conformance/@name@/statements.toml", include_str!("../templates/statements.toml.txt")),
    ("tests/conformance/@name@/hello.toml", include_str!("../templates/hello.toml.txt")),
];

/// Writes the dialect, then the snapshot of its vector.
pub(crate) fn run(root: &Path, name: &str) -> Result<()> {
    write(root, name)?;
    println!("writing the snapshot of its first vector");
    let test = ["test", "--quiet", "-p", "parlance", "--test", "conformance"];
    run_ok(cargo(test).env("UPDATE_EXPECT", "1"))?;
    println!(
        "Now: put the document's statements into tests/conformance/{name}/statements.toml, write vectors until\n\
         `cargo xtask coverage` passes, and follow the compiler's errors through crates/parlance-{name}."
    );
    Ok(())
}

/// Writes every file and line.
pub(crate) fn write(root: &Path, name: &str) -> Result<()> {
    let metadata = tidy::metadata(root)?;
    ensure!(
        is_name(name),
        "{name:?} is not a valid name: use lower-case letters and digits, with dashes between them"
    );
    let package = format!("parlance-{name}");
    let taken = metadata.packages.iter().any(|known| known.name.as_str() == package);
    ensure!(!taken && !tidy::dialects::NON_DIALECT_FEATURES.contains(&name), "{name} is taken");

    let kind = type_name(name);
    let fill = |text: &str| text.replace("@name@", name).replace("@Type@", &kind);
    for (path, text) in FILES {
        let path = root.join(fill(path));
        fs::create_dir_all(path.parent().context("a file has a folder")?)?;
        fs::write(&path, fill(text)).with_context(|| path.display().to_string())?;
    }

    edit_file(root, "Cargo.toml", |text| {
        let line = format!("{package} = {{ path = \"crates/{package}\" }}");
        insert_sorted(text, "[workspace.dependencies]", is_parlance, &line)
    })?;
    edit_file(root, "crates/parlance/Cargo.toml", |text| {
        let line = format!("{name} = [\"dep:{package}\"]");
        let text = insert_sorted(
            text,
            "[features]",
            |line| line.contains("= [\"dep:parlance-") && !is_store(line),
            &line,
        )?;
        let line = format!("{package} = {{ workspace = true, optional = true }}");
        let text = insert_sorted(&text, "[dependencies]", is_parlance, &line)?;
        default_feature(&text, name)
    })?;
    edit_file(root, "crates/parlance-server/Cargo.toml", |text| {
        let line = format!("{name} = [\"parlance/{name}\"]");
        let text = insert_sorted(
            text,
            "[features]",
            |line| line.contains("= [\"parlance/") && !is_store(line),
            &line,
        )?;
        default_feature(&text, name)
    })?;
    edit_file(root, "crates/parlance/src/table.rs", |text| {
        let path = format!("{}::{kind}", package.replace('-', "_"));
        let line = format!("    \"{name}\" => {path}, install_unsigned::<{path}>;");
        insert_sorted(text, "table! {", |line| line.starts_with("    \""), &line)
    })?;
    edit_file(root, "README.md", |text| {
        let row = format!(
            "| [`{name}`](crates/{package}/src/docs.md) | {kind} | a header `Authorization: Bearer` | one hour |"
        );
        append_after_siblings(
            text,
            |line| line.starts_with("| [`") && line.contains("/src/docs.md)"),
            &row,
        )
    })?;
    edit_file(root, "CHANGELOG.md", |text| {
        append_to_first_list(text, &format!("- **added:** the dialect `{name}`."))
    })?;
    tidy::decisions::write(root)
}

/// Letters, digits and dashes; no dash at either end.
fn is_name(name: &str) -> bool {
    let part = |part: &str| {
        !part.is_empty()
            && part.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
    };
    name.split('-').all(part)
}

/// `acme-login` becomes `AcmeLogin`; a name that begins with a digit gets the prefix `Wire`.
fn type_name(name: &str) -> String {
    let capital = |part: &str| {
        let (first, rest) = part.split_at(1);
        first.to_ascii_uppercase() + rest
    };
    let kind: String = name.split('-').map(capital).collect();
    if kind.starts_with(|first: char| first.is_ascii_digit()) {
        format!("Wire{kind}")
    } else {
        kind
    }
}

fn is_parlance(line: &str) -> bool {
    line.starts_with("parlance-")
}

fn is_store(line: &str) -> bool {
    line.starts_with("sqlite ") || line.starts_with("postgres ")
}

fn edit_file(root: &Path, path: &str, edit: impl FnOnce(&str) -> Result<String>) -> Result<()> {
    let file = root.join(path);
    let text = fs::read_to_string(&file).with_context(|| path.to_owned())?;
    let text = edit(&text).with_context(|| path.to_owned())?;
    fs::write(&file, text).with_context(|| path.to_owned())
}

/// Inserts a line into the sorted lines of its kind below a heading.
pub(crate) fn insert_sorted(
    text: &str,
    heading: &str,
    is_sibling: impl Fn(&str) -> bool,
    line: &str,
) -> Result<String> {
    let mut lines: Vec<_> = text.lines().collect();
    let start = lines.iter().position(|line| *line == heading);
    let start = start.with_context(|| format!("no {heading}"))? + 1;
    let section = lines.iter().enumerate().skip(start);
    let section = section.take_while(|(_, other)| !other.starts_with('[') && **other != "}");
    let siblings: Vec<_> = section.filter(|(_, other)| is_sibling(other)).collect();
    let (last, _) = siblings.last().with_context(|| format!("no similar line below {heading}"))?;
    let place = siblings.iter().find(|(_, other)| **other > line).map_or(last + 1, |(at, _)| *at);
    lines.insert(place, line);
    Ok(lines.join("\n") + "\n")
}

/// Appends a line after the last line of its kind.
fn append_after_siblings(
    text: &str,
    is_sibling: impl Fn(&str) -> bool,
    line: &str,
) -> Result<String> {
    let mut lines: Vec<_> = text.lines().collect();
    let last = lines.iter().rposition(|line| is_sibling(line)).context("no similar line")?;
    lines.insert(last + 1, line);
    Ok(lines.join("\n") + "\n")
}

/// Appends a line to the first list of the text.
fn append_to_first_list(text: &str, line: &str) -> Result<String> {
    let mut lines: Vec<_> = text.lines().collect();
    let is_item = |line: &&&str| line.starts_with("- ") || line.starts_with("  ");
    let start = lines.iter().position(|line| line.starts_with("- ")).context("no list")?;
    let length = lines.iter().skip(start).take_while(is_item).count();
    lines.insert(start + length, line);
    Ok(lines.join("\n") + "\n")
}

/// Adds a feature to the default features, in sorted order.
pub(crate) fn default_feature(text: &str, name: &str) -> Result<String> {
    let Some((before, rest)) = text.split_once("\ndefault = [") else {
        bail!("no default features")
    };
    let (list, after) = rest.split_once(']').context("the default features do not end")?;
    let mut features: Vec<_> =
        list.split(',').map(|feature| feature.trim().trim_matches('"')).collect();
    features.retain(|feature| !feature.is_empty());
    let at = features.iter().position(|feature| *feature > name || *feature == "sqlite");
    features.insert(at.unwrap_or(features.len()), name);
    let list: Vec<_> = features.iter().map(|feature| format!("\"{feature}\"")).collect();
    Ok(format!("{before}\ndefault = [{}]{after}", list.join(", ")))
}

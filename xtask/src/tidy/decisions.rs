//! Decisions: each record has its shape, the index agrees with the records, and the code and the records that a text
//! names exist.
//!
//! Records about the whole are files of `docs/decisions`; those about one wire are sections of its crate's
//! `decisions.md`.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

/// The longest record, in lines.
const MAX_LINES: usize = 60;
/// The command that writes the index.
const COMMAND: &str = "cargo xtask decisions";
/// Documents that lead a reader to the code: the identifiers in them exist as well.
const MAPS: [&str; 4] =
    ["CONTRIBUTING.md", "docs/architecture.md", "docs/glossary.md", "docs/integrating.md"];
/// Folders without files of the repository's own.
const FOREIGN_FOLDERS: [&str; 3] = ["target", ".git", "node_modules"];

/// A record of `docs/decisions`.
pub(crate) struct Record {
    /// The number; four digits in a valid record.
    pub(crate) number: String,
    /// The name of the file.
    pub(crate) name: String,
    text: String,
}

impl Record {
    pub(crate) fn new(name: &str, text: &str) -> Self {
        let number = name.split_once('-').map_or(name, |(number, _)| number).to_owned();
        Self { number, name: name.to_owned(), text: text.to_owned() }
    }

    /// The heading, without the number.
    fn title(&self) -> &str {
        let heading = self.text.lines().next().unwrap_or_default();
        heading.split_once(". ").map_or(heading, |(_, title)| title)
    }

    fn status(&self) -> &str {
        self.text.lines().find_map(|line| line.strip_prefix("Status: ")).unwrap_or_default()
    }

    /// The faults in the shape of the record.
    fn faults(&self, records: &[Self]) -> Vec<String> {
        let mut wrong = Vec::new();
        let number = &self.number;
        if number.len() != 4 || !number.bytes().all(|byte| byte.is_ascii_digit()) {
            wrong.push("its name does not begin with four digits".to_owned());
        }
        if !self.text.starts_with(&format!("# {number}. ")) {
            wrong.push(format!("does not begin with `# {number}. `"));
        }
        let name = format!("{number}-{}.md", anchor(self.title()));
        if self.name != name {
            wrong.push(format!("does not have the file name that its title gives: {name}"));
        }
        let parts = ["Status: ", "## Context", "## Decision", "## Consequences"];
        let is_there = |part: &str| self.text.lines().any(|line| line.starts_with(part));
        wrong.extend(
            parts.into_iter().filter(|part| !is_there(part)).map(|part| format!("lacks `{part}`")),
        );
        let successor = self.status().strip_prefix("superseded by ");
        let is_superseded = successor.is_some_and(|successor| {
            records.iter().any(|other| other.number == successor && other.number != *number)
        });
        if self.status() != "accepted" && !is_superseded {
            let status = self.status();
            wrong.push(format!(
                "its status {status:?} is neither `accepted` nor `superseded by` another record's number"
            ));
        }
        if records.iter().filter(|other| other.number == *number).count() > 1 {
            wrong.push(format!("another record has the number {number} too"));
        }
        let lines = self.text.lines().count();
        if lines > MAX_LINES {
            wrong.push(format!("{lines} lines, more than {MAX_LINES}"));
        }
        wrong.into_iter().map(|what| format!("docs/decisions/{}: {what}", self.name)).collect()
    }
}

/// The records of a wire, in its crate.
pub(crate) struct Sections {
    /// `axxon-jsonrpc`.
    pub(crate) dialect: String,
    /// The headings, in their order.
    pub(crate) titles: Vec<String>,
}

impl Sections {
    pub(crate) fn new(dialect: &str, text: &str) -> Self {
        let titles = text.lines().filter_map(|line| line.strip_prefix("## ")).map(str::to_owned);
        Self { dialect: dialect.to_owned(), titles: titles.collect() }
    }

    /// The path of the file.
    fn path(&self) -> String {
        format!("crates/parlance-{}/decisions.md", self.dialect)
    }
}

/// The anchor of a heading on a page: lower case, blanks as hyphens, no other punctuation.
pub(crate) fn anchor(heading: &str) -> String {
    let kept = |c: &char| c.is_alphanumeric() || [' ', '-', '_'].contains(c);
    let lower = heading.trim().to_lowercase();
    lower.chars().filter(kept).map(|c| if c == ' ' { '-' } else { c }).collect()
}

/// The records of `docs/decisions`, in the order of their numbers.
pub(crate) fn records(root: &Path) -> Result<Vec<Record>> {
    let folder = root.join("docs/decisions");
    let mut found = Vec::new();
    for entry in folder.read_dir().with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name != "README.md" && name.ends_with(".md") {
            found.push(Record::new(&name, &fs::read_to_string(&path)?));
        }
    }
    found.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(found)
}

/// The records of all wires, in the order of their names.
pub(crate) fn sections(root: &Path) -> Result<Vec<Sections>> {
    let mut found = Vec::new();
    for entry in root.join("crates").read_dir()? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let file = path.join("decisions.md");
        if let Some(dialect) = name.strip_prefix("parlance-").filter(|_| file.exists()) {
            found.push(Sections::new(dialect, &fs::read_to_string(file)?));
        }
    }
    found.sort_by(|one, other| one.dialect.cmp(&other.dialect));
    Ok(found)
}

/// The names that a conformance vector of a dialect may cite: numbers of `docs/decisions`, and anchors of the dialect's
/// own `decisions.md`.
pub(crate) fn citable(root: &Path, dialect: &str) -> Result<Vec<String>> {
    let mut found: Vec<_> = records(root)?.into_iter().map(|record| record.number).collect();
    let own = sections(root)?.into_iter().filter(|sections| sections.dialect == dialect);
    found.extend(own.flat_map(|sections| sections.titles).map(|title| anchor(&title)));
    Ok(found)
}

/// The text of `docs/decisions/README.md`.
pub(crate) fn index(records: &[Record], sections: &[Sections]) -> String {
    let mut text = format!(
        "<!-- Made by `{COMMAND}` from the records. -->\n\
         # Decisions\n\n\
         The title of a record states the decision; the text gives the reasons and the consequences. A record is valid as long as its status is\n\
         `accepted`; a changed decision is written into its record, or into a new one that supersedes it.\n\n\
         | number | decision | status |\n\
         |---|---|---|\n"
    );
    for record in records {
        let Record { number, name, .. } = record;
        let _ = writeln!(text, "| [{number}]({name}) | {} | {} |", record.title(), record.status());
    }
    text.push_str("\n## Of one wire\n\nThey stand beside the code of their wire, and a conformance vector cites them by their anchors.\n");
    for sections in sections {
        let (dialect, path) = (&sections.dialect, sections.path());
        let _ = writeln!(text, "\n[{dialect}](../../{path}):\n");
        for title in &sections.titles {
            let _ = writeln!(text, "- [{title}](../../{path}#{})", anchor(title));
        }
    }
    text
}

/// Writes the index.
pub(crate) fn write(root: &Path) -> Result<()> {
    let text = index(&records(root)?, &sections(root)?);
    fs::write(root.join("docs/decisions/README.md"), text)?;
    Ok(())
}

pub(crate) fn check(root: &Path) -> Result<Vec<String>> {
    let (records, sections) = (records(root)?, sections(root)?);
    let mut wrong: Vec<_> = records.iter().flat_map(|record| record.faults(&records)).collect();
    let found = fs::read_to_string(root.join("docs/decisions/README.md")).unwrap_or_default();
    wrong.extend(stale(&found, &records, &sections));
    let mut code = Code::default();
    let mut texts = Vec::new();
    for path in files(root)? {
        let name = path.strip_prefix(root).unwrap_or(&path).to_string_lossy().into_owned();
        let kind = path.extension().unwrap_or_default().to_string_lossy().into_owned();
        if !["rs", "toml", "sql", "md"].contains(&kind.as_str()) {
            continue;
        }
        let text = String::from_utf8_lossy(&fs::read(&path)?).into_owned();
        if kind != "md" {
            code.add(&name, &text);
        }
        texts.push((name, text));
    }
    for (name, text) in &texts {
        if is_record(name) || MAPS.contains(&name.as_str()) {
            wrong.extend(code.missing(name, text));
        }
        // The tests of the rules hold references that lead nowhere.
        if !name.starts_with("xtask/") {
            wrong.extend(broken(name, text, &records, &sections));
        }
    }
    Ok(wrong)
}

/// The fault of the index, if any.
pub(crate) fn stale(found: &str, records: &[Record], sections: &[Sections]) -> Option<String> {
    (found != index(records, sections)).then(|| {
        format!(
            "docs/decisions/README.md does not match the records: `{COMMAND}` writes the file again"
        )
    })
}

/// The faults in the shape of these records.
#[cfg(test)]
pub(crate) fn faults(records: &[Record]) -> Vec<String> {
    records.iter().flat_map(|record| record.faults(records)).collect()
}

/// Whether a file holds decisions.
fn is_record(name: &str) -> bool {
    let is_wire = name.starts_with("crates/") && name.ends_with("/decisions.md");
    let is_index = name == "docs/decisions/README.md";
    is_wire || name.starts_with("docs/decisions/") && !is_index
}

/// All files of the repository, except for built and fetched files.
fn files(root: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in folder.read_dir()? {
            let entry = entry?;
            let (path, kind) = (entry.path(), entry.file_type()?);
            let name = entry.file_name().to_string_lossy().into_owned();
            if kind.is_file() {
                found.push(path);
            } else if kind.is_dir() && !FOREIGN_FOLDERS.contains(&name.as_str()) {
                folders.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

/// The code of the repository: the words of its files, and the files.
#[derive(Default)]
pub(crate) struct Code {
    words: HashSet<String>,
    files: Vec<String>,
}

impl Code {
    /// Adds the words of a file.
    pub(crate) fn add(&mut self, name: &str, text: &str) {
        let in_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        for word in text.split(|c: char| !in_word(c)).filter(|word| !word.is_empty()) {
            if !self.words.contains(word) {
                self.words.insert(word.to_owned());
            }
        }
        self.files.push(format!("/{name}"));
    }

    /// The identifiers that a record names and that stand nowhere in the code, each with its line.
    pub(crate) fn missing(&self, name: &str, text: &str) -> Vec<String> {
        let absent = identifiers(text).into_iter().filter(|(_, identifier)| !self.has(identifier));
        let wrong = |(line, identifier): (usize, &str)| {
            format!("{name}:{line} names `{identifier}`, which does not exist in the code")
        };
        absent.map(wrong).collect()
    }

    fn has(&self, identifier: &str) -> bool {
        if identifier.ends_with(".rs") {
            return self.files.iter().any(|file| file.ends_with(&format!("/{identifier}")));
        }
        parts(identifier).all(|part| self.words.contains(part))
    }
}

/// The parts of a path (`Session::is_live`) or of a key (`schema_floor.lowest`).
fn parts(identifier: &str) -> impl Iterator<Item = &str> {
    identifier.split("::").flat_map(|part| part.split('.'))
}

/// The identifiers of code that a text names in backquotes, each with its line, from 1. Code blocks are left out.
pub(crate) fn identifiers(text: &str) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    let mut is_block = false;
    for (at, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            is_block = !is_block;
        } else if !is_block {
            let spans = line.split('`').skip(1).step_by(2);
            found.extend(spans.filter_map(identifier).map(|name| (at + 1, name)));
        }
    }
    found
}

/// The identifier in a span between backquotes, if the span looks like code: `CamelCase`, `snake_case`, `UPPER_CASE`,
/// `path::like`, `file.rs`, or a call of any name.
fn identifier(span: &str) -> Option<&str> {
    let call = span.strip_suffix(')').and_then(|call| call.split_once('('));
    let name = call.map_or(span, |(name, _)| name);
    if name.ends_with(".rs") {
        let in_path = |byte: u8| byte.is_ascii_alphanumeric() || b"_-./".contains(&byte);
        return name.bytes().all(in_path).then_some(name);
    }
    let is_word = |part: &str| {
        !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    };
    let is_of_code = |part: &str| {
        let has_letter = part.bytes().any(|byte| byte.is_ascii_alphabetic());
        let is_capital = part.len() > 1 && part.starts_with(|c: char| c.is_ascii_uppercase());
        has_letter && (part.contains('_') || is_capital)
    };
    let looks_so = call.is_some() || name.contains("::") || parts(name).any(is_of_code);
    (looks_so && parts(name).all(is_word)).then_some(name)
}

/// The references to records that lead nowhere, each with its line: `decisions/NNNN-title.md` and `decisions.md#anchor`.
pub(crate) fn broken(
    name: &str,
    text: &str,
    records: &[Record],
    sections: &[Sections],
) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut tell = |line: usize, reference: &str| {
        wrong.push(format!("{name}:{line} refers to {reference}, which does not exist"));
    };
    for (at, line) in text.lines().enumerate() {
        for rest in line.split("decisions/").skip(1) {
            let is_numbered = rest.starts_with(|c: char| c.is_ascii_digit());
            let file = rest.split_once(".md").map_or(rest, |(stem, _)| stem).to_owned() + ".md";
            if is_numbered && !records.iter().any(|record| record.name == file) {
                tell(at + 1, &format!("decisions/{file}"));
            }
        }
        let pieces = || line.split("decisions.md#");
        for (before, rest) in pieces().zip(pieces().skip(1)) {
            let in_anchor = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_');
            let anchored = rest.split(|c: char| !in_anchor(c)).next().unwrap_or_default();
            // A path names the crate; without a path, the crate is that of the file.
            let of = |path: &str| {
                let (_, rest) = path.rsplit_once("parlance-")?;
                Some(rest.split_once('/').map_or(rest, |(dialect, _)| dialect).to_owned())
            };
            let path = before.rsplit([' ', '(', '"']).next().unwrap_or_default();
            let dialect = of(path).or_else(|| of(name)).unwrap_or_default();
            let own = sections.iter().filter(|sections| sections.dialect == dialect);
            let mut titles = own.flat_map(|sections| &sections.titles);
            if !titles.any(|title| anchor(title) == anchored) {
                tell(at + 1, &format!("decisions.md#{anchored}"));
            }
        }
    }
    wrong
}

//! Which vector shows which statement of the documents.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Result, bail};
use parlance_conformance::{Folder, load};

/// Prints the table, and fails on a statement that no step shows.
pub(crate) fn run() -> Result<()> {
    let root = crate::root();
    let folders = load(&root.join("tests/conformance"))?;
    let decisions = decisions(&root.join("docs/decisions"))?;
    let mut wrong = Vec::new();
    if folders.is_empty() {
        wrong.push("there are no vectors".to_owned());
    }
    for folder in &folders {
        let (text, more) = table(folder, &decisions);
        println!("{text}");
        wrong.extend(more);
    }
    if wrong.is_empty() {
        return Ok(());
    }
    bail!("{}", wrong.join("\n       "));
}

/// The numbers of the decisions in a folder, each with its file's name.
pub(crate) fn decisions(folder: &Path) -> Result<Vec<(String, String)>> {
    let mut found = Vec::new();
    for entry in folder.read_dir()? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if let Some((number, _)) = name.split_once('-').filter(|_| name.ends_with(".md")) {
            found.push((number.to_owned(), name.clone()));
        }
    }
    found.sort();
    Ok(found)
}

/// A dialect's table of statements and the steps that show them, and what is wrong with it.
pub(crate) fn table(folder: &Folder, decisions: &[(String, String)]) -> (String, Vec<String>) {
    let dialect = &folder.dialect;
    let mut wrong = Vec::new();
    let mut shown: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    let mut unknown: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    let mut steps = 0;
    for vector in &folder.vectors {
        let file = vector.file.rsplit('/').next().unwrap_or_default();
        for step in &vector.steps {
            steps += 1;
            let place = format!("{file}:{}", step.line);
            for id in &step.source {
                if !folder.statements.statements.iter().any(|statement| statement.id == *id) {
                    wrong.push(format!("{dialect}/{place} cites {id}, which no statement is"));
                }
                shown.entry(id).or_default().push(place.clone());
            }
            for number in &step.decision {
                if !decisions.iter().any(|(known, _)| known == number) {
                    unknown.entry(number).or_default().push(place.clone());
                }
            }
        }
    }
    wrong.extend(unknown.iter().map(|(number, places)| {
        let places = places.join(", ");
        format!("{dialect}: decision {number} is nowhere, but cited by {places}")
    }));
    let statements = &folder.statements.statements;
    let width = statements.iter().map(|statement| statement.id.len()).max().unwrap_or(0);
    let mut text = format!("{dialect}: {} statements, {steps} steps\n", statements.len());
    if statements.is_empty() || steps == 0 {
        wrong.push(format!("{dialect} has no statements or no steps"));
    }
    for statement in statements {
        let id = &statement.id;
        let cell = match (shown.get(id.as_str()), &statement.without) {
            (Some(places), None) => places.join(", "),
            (None, Some(reason)) => format!("(without: {reason})"),
            (Some(_), Some(_)) => {
                wrong.push(format!("{dialect}: {id} is shown, and says that it cannot be"));
                continue;
            }
            (None, None) => {
                wrong.push(format!("{dialect}: no step shows {id}: {}", statement.says));
                "NOTHING".to_owned()
            }
        };
        text.push_str(&format!("  {id:width$}  {cell}\n"));
    }
    (text, wrong)
}

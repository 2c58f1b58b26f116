//! Coverage: the vectors that show each statement of the documents.

use std::collections::BTreeMap;

use anyhow::{Result, bail};
use parlance_conformance::{VectorFolder, load};

use crate::tidy::decisions::citable;

/// Prints the table, and fails on a statement that no step shows.
pub(crate) fn run() -> Result<()> {
    let root = crate::root();
    let folders = load(&root.join("tests/conformance"))?;
    let mut wrong = Vec::new();
    if folders.is_empty() {
        wrong.push("there are no vectors".to_owned());
    }
    for folder in &folders {
        let (text, more) = table(folder, &citable(&root, &folder.dialect)?);
        println!("{text}");
        wrong.extend(more);
    }
    if wrong.is_empty() {
        return Ok(());
    }
    bail!("{}", wrong.join("\n       "));
}

/// A dialect's table of statements with the steps that show them, and the faults. `decisions` are those that the steps
/// may cite.
pub(crate) fn table(folder: &VectorFolder, decisions: &[String]) -> (String, Vec<String>) {
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
                    wrong.push(format!(
                        "{dialect}/{place} cites {id}, but there is no such statement"
                    ));
                }
                shown.entry(id).or_default().push(place.clone());
            }
            for name in &step.decision {
                if !decisions.contains(name) {
                    unknown.entry(name).or_default().push(place.clone());
                }
            }
        }
    }
    wrong.extend(unknown.iter().map(|(name, places)| {
        let places = places.join(", ");
        format!("{dialect}: decision {name} does not exist, but is cited by {places}")
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
                wrong.push(format!("{dialect}: {id} is shown by a step, but `without` says that no step can show it"));
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

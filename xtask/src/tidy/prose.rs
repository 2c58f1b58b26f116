//! How plain the prose is: comments of Rust, and the documents. Counted per 1000 words, by package and by document.
//!
//! A sentence whose subject is `what`, `whoever` or `nobody` hides the thing that it is about, and a reader who searches for the thing does
//! not find the sentence. The limits are those of codebases that read well.

use std::fmt;
use std::fs;
use std::path::Path;

use anyhow::Result;
use cargo_metadata::Metadata;

use super::files::rust_files;

/// Words that stand for a thing or a person instead of naming them, at most so many in 1000 words.
const STAND_INS: [&str; 14] = [
    "what",
    "whatever",
    "who",
    "whoever",
    "whom",
    "whose",
    "nobody",
    "somebody",
    "anybody",
    "everybody",
    "someone",
    "anyone",
    "everyone",
    "noone",
];
const STAND_INS_LIMIT: usize = 3;
/// The word `it`, at most so many times in 1000 words.
const IT_LIMIT: usize = 10;
/// Pronouns with a gender: none. A user or operator is `they`.
const GENDERED: [&str; 9] = ["he", "his", "him", "himself", "she", "her", "hers", "herself", "man"];
/// A shorter text may hold as many of these words as a text of this length: one hit in 50 words says little.
const SAMPLE_WORDS: usize = 1000;

/// How often the words stand in a text.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Figures {
    pub(crate) words: usize,
    pub(crate) stand_ins: usize,
    pub(crate) it: usize,
    pub(crate) gendered: usize,
}

impl Figures {
    /// Adds the words of a line, without what stands in backquotes and without the addresses of links.
    fn add(&mut self, line: &str) {
        let prose: String = line.split('`').step_by(2).collect::<Vec<_>>().join(" ");
        let prose = prose.split("](").enumerate().map(|(at, part)| match part.split_once(')') {
            Some((_, rest)) if at > 0 => rest,
            _ => part,
        });
        for part in prose {
            let words = part.split(|c: char| !c.is_alphabetic()).filter(|word| !word.is_empty());
            for word in words.map(str::to_lowercase) {
                self.words += 1;
                self.stand_ins += usize::from(STAND_INS.contains(&word.as_str()));
                self.it += usize::from(word == "it");
                self.gendered += usize::from(GENDERED.contains(&word.as_str()));
            }
        }
    }

    /// Of the lines of a document, or of a file's comments, without blocks of code.
    fn of<'l>(lines: impl Iterator<Item = &'l str>) -> Self {
        let (mut figures, mut is_code) = (Self::default(), false);
        for line in lines {
            if line.trim_start().starts_with("```") {
                is_code = !is_code;
            } else if !is_code {
                figures.add(line);
            }
        }
        figures
    }

    /// Of a document.
    pub(crate) fn of_document(text: &str) -> Self {
        Self::of(text.lines())
    }

    /// Of a file's comments that stand on lines of their own.
    pub(crate) fn of_comments(text: &str) -> Self {
        let comments = text.lines().filter_map(|line| line.trim_start().strip_prefix("//"));
        Self::of(comments.map(|comment| comment.trim_start_matches(['/', '!']).trim_start()))
    }

    fn plus(self, other: Self) -> Self {
        Self {
            words: self.words + other.words,
            stand_ins: self.stand_ins + other.stand_ins,
            it: self.it + other.it,
            gendered: self.gendered + other.gendered,
        }
    }

    /// Whether the limits hold. A text of few words may have as many as one of `SAMPLE_WORDS`.
    pub(crate) fn are_within(self) -> bool {
        let words = self.words.max(SAMPLE_WORDS);
        self.gendered == 0
            && self.stand_ins * 1000 <= STAND_INS_LIMIT * words
            && self.it * 1000 <= IT_LIMIT * words
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tenths = |count: usize| (count * 10_000).div_ceil(self.words.max(1));
        let [stand_ins, it] = [self.stand_ins, self.it].map(tenths);
        write!(
            f,
            "{} words, per 1000: {}.{} of what/who/nobody (at most {STAND_INS_LIMIT}), {}.{} of it (at most {IT_LIMIT}); {} of he/she (none)",
            self.words,
            stand_ins / 10,
            stand_ins % 10,
            it / 10,
            it % 10,
            self.gendered
        )
    }
}

/// The figures of each package's comments and of each document.
pub(crate) fn measure(root: &Path, metadata: &Metadata) -> Result<Vec<(String, Figures)>> {
    let mut found = Vec::new();
    for package in &metadata.packages {
        let Some(home) = package.manifest_path.parent() else { continue };
        let mut sum = Figures::default();
        for path in rust_files(home.as_std_path())? {
            sum = sum.plus(Figures::of_comments(&fs::read_to_string(&path)?));
        }
        found.push((package.name.to_string(), sum));
    }
    for path in documents(root)? {
        let name = path.strip_prefix(root).unwrap_or(&path).display().to_string();
        found.push((name, Figures::of_document(&fs::read_to_string(&path)?)));
    }
    Ok(found)
}

/// Every document of the project's own.
fn documents(root: &Path) -> Result<Vec<std::path::PathBuf>> {
    let (mut found, mut folders) = (Vec::new(), vec![root.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in folder.read_dir()? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if path.is_dir() {
                if name != "target" && name != "node_modules" && !name.starts_with('.') {
                    folders.push(path);
                }
            } else if name.ends_with(".md") {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

/// Everything beyond the limits.
pub(crate) fn check(root: &Path, metadata: &Metadata) -> Result<Vec<String>> {
    let measured = measure(root, metadata)?;
    let beyond = measured.into_iter().filter(|(_, figures)| !figures.are_within());
    Ok(beyond.map(|(name, figures)| format!("{name}: {figures}")).collect())
}

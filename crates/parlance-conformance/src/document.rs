//! What a dialect's document says, statement by statement.

use serde::Deserialize;

use crate::Vector;

/// A dialect's folder of vectors.
#[derive(Debug, Clone)]
pub struct Folder {
    /// The dialect.
    pub dialect: String,
    /// What its document says.
    pub statements: Statements,
    /// The vectors, by file name.
    pub vectors: Vec<Vector>,
}

/// `statements.toml`: everything that a document says.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Statements {
    /// The dialect's name.
    pub document: String,
    /// Which document, in which revision.
    pub source: String,
    /// Its statements, in its order.
    #[serde(default, rename = "statement")]
    pub statements: Vec<Statement>,
}

/// One statement of a document.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Statement {
    /// `section.slug`; what a step's `source` names.
    pub id: String,
    /// The statement in our own words.
    pub says: String,
    /// Why no exchange over HTTP can show it, where that is so.
    pub without: Option<String>,
}

//! The content of a dialect's document, statement by statement.

use serde::Deserialize;

use crate::Vector;

/// A dialect's folder of vectors.
#[derive(Debug, Clone)]
pub struct VectorFolder {
    /// The dialect.
    pub dialect: String,
    /// The statements of its document.
    pub statements: Statements,
    /// The vectors, by file name.
    pub vectors: Vec<Vector>,
}

/// `statements.toml`: all statements of a document.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Statements {
    /// The dialect's name.
    pub document: String,
    /// The document and its revision.
    pub source: String,
    /// The statements, in the order of the document.
    #[serde(default, rename = "statement")]
    pub statements: Vec<Statement>,
}

/// One statement of a document.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Statement {
    /// `section.slug`; the `source` of a step names statements by this id.
    pub id: String,
    /// The statement in our own words.
    pub says: String,
    /// The reason why no exchange over HTTP can show the statement, where that is so.
    pub without: Option<String>,
}

//! `parlance dialect ...`.

use clap::Subcommand;
use serde_json::{Value, json};

use super::{print_json, print_table};
use crate::cli::{CommandError, CommonArgs};
use crate::config::DialectConfig;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List the compiled-in dialects, whether they are enabled, and where they are mounted
    List,
}

impl Command {
    pub(crate) fn run(self, common: &CommonArgs) -> Result<(), CommandError> {
        let config = common.load(None)?;
        let Self::List = self;
        let paths = |dialect: &DialectConfig| {
            dialect
                .entry
                .paths
                .iter()
                .map(|path| format!("{}{path}", dialect.prefix))
                .collect::<Vec<_>>()
        };
        if common.json {
            let json = |dialect: &DialectConfig| {
                json!({
                    "name": dialect.entry.name,
                    "enabled": dialect.enabled,
                    "prefix": dialect.prefix,
                    "paths": paths(dialect),
                })
            };
            return print_json(&config.dialects.iter().map(json).collect::<Value>());
        }
        let row = |dialect: &DialectConfig| {
            let enabled = if dialect.enabled { "enabled" } else { "disabled" };
            vec![dialect.entry.name.to_owned(), enabled.to_owned(), paths(dialect).join(" ")]
        };
        print_table(
            &["NAME", "STATE", "PATHS"],
            &config.dialects.iter().map(row).collect::<Vec<_>>(),
        )
    }
}

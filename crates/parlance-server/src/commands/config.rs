//! `parlance config ...`.

use clap::Subcommand;
use serde_json::json;

use super::{print_done, print_json};
use crate::cli::{CommandError, CommonArgs};
use crate::config::{CONFIG_VARIABLE, DEFAULT_FILE};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Read the configuration as `serve` would, and say whether the configuration is valid
    Check,
    /// Print the JSON Schema of the configuration file
    Schema,
}

impl Command {
    pub(crate) fn run(self, common: &CommonArgs) -> Result<(), CommandError> {
        match self {
            Self::Check => {
                let config = common.load(None)?;
                let sentence = match &config.file {
                    Some(file) => format!("{}: the configuration is good", file.display()),
                    None => format!(
                        "the configuration is good (no file: give one with --config or {CONFIG_VARIABLE}, or put it at {DEFAULT_FILE})"
                    ),
                };
                let file = config.file.map(|file| file.display().to_string());
                print_done(common.json, "config.check", &sentence, json!({ "file": file }))
            }
            Self::Schema => print_json(&crate::config::schema()),
        }
    }
}

//! `parlance config ...`.

use clap::Subcommand;

use super::{print, print_json};
use crate::cli::{Common, Failed};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Read the configuration as `serve` would, and say whether it is good
    Check,
    /// Print the JSON Schema of the configuration file
    Schema,
}

impl Command {
    pub(crate) fn run(self, common: &Common) -> Result<(), Failed> {
        match self {
            Self::Check => {
                common.load(None)?;
                match &common.config {
                    Some(file) => {
                        print(&format!("{}: the configuration is good\n", file.display()))
                    }
                    None => print("the configuration is good (no file: give one with --config)\n"),
                }
            }
            Self::Schema => print_json(&crate::config::schema()),
        }
    }
}

//! `parlance conformance`.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use parlance::core::ports::Clock as _;
use parlance::dialect::to_date_time;
use parlance::system::SystemClock;
use parlance_conformance::http::HttpTarget;
use parlance_conformance::{Report, TestUsers, embedded, run_file, select_dialects};

use super::{print, print_json, read_password};
use crate::cli::{CommandError, CommonArgs};

#[derive(Debug, Args)]
pub(crate) struct Command {
    /// The URL before the documented paths: scheme, host, port, and a prefix if there is one
    #[arg(long, value_name = "URL")]
    base: String,
    /// Only this dialect; may be repeated
    #[arg(long, value_name = "NAME")]
    dialect: Vec<String>,
    /// An existing, enabled user; all sessions of this user will be ended
    #[arg(long, value_name = "NAME")]
    user: String,
    /// Read the password from standard input, up to one final newline
    #[arg(long)]
    password_stdin: bool,
    /// Write the report as `JUnit` XML, too
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
}

impl Command {
    pub(crate) fn run(self, common: &CommonArgs) -> Result<(), CommandError> {
        let folders = select_dialects(embedded().map_err(CommandError::refused)?, &self.dialect)
            .map_err(CommandError::refused)?;
        let now = || to_date_time(SystemClock.now());
        let target = || {
            HttpTarget::new(&self.base, Arc::new(now))
                .map_err(|error| CommandError::Usage(error.to_string()))
        };
        // Checked before the password prompt, and before a report file exists that could be lost.
        target()?;
        let cannot = |file: &Path, error: std::io::Error| {
            CommandError::refused(format!("{}: cannot be written: {error}", file.display()))
        };
        let junit = match &self.junit {
            Some(file) => Some((file, File::create(file).map_err(|error| cannot(file, error))?)),
            None => None,
        };
        let password = read_password(self.password_stdin, false)?;
        let users = TestUsers::single(self.user.as_str(), password.expose());
        let mut report = Report::new(folders.iter().map(|folder| folder.dialect.clone()).collect());
        for vector in folders.iter().flat_map(|folder| &folder.vectors) {
            report.add(run_file(vector, &users, &mut target()?));
        }
        if let Some((path, mut file)) = junit {
            file.write_all(report.to_junit().as_bytes()).map_err(|error| cannot(path, error))?;
        }
        if common.json {
            print_json(&report.to_json())?;
        } else {
            print(&report.to_string())?;
        }
        if report.is_success() {
            Ok(())
        } else {
            Err(CommandError::refused(format!("{} does not conform", self.base)))
        }
    }
}

//! `parlance conformance`.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use parlance::core::ports::Clock as _;
use parlance::dialect::moment;
use parlance::system::SystemClock;
use parlance_conformance::http::Http;
use parlance_conformance::{Report, Users, embedded, run_file, select};

use super::{password, print, print_json};
use crate::cli::{Common, Failed};

#[derive(Debug, Args)]
pub(crate) struct Command {
    /// What stands before the documented paths: scheme, host, port, and a prefix if there is one
    #[arg(long, value_name = "URL")]
    base: String,
    /// Only this dialect; may be repeated
    #[arg(long, value_name = "NAME")]
    dialect: Vec<String>,
    /// A user who is there and enabled; his sessions will be ended
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
    pub(crate) fn run(self, common: &Common) -> Result<(), Failed> {
        let folders =
            select(embedded().map_err(Failed::refused)?, &self.dialect).map_err(Failed::refused)?;
        let now = || moment(SystemClock.now());
        let target = || {
            Http::new(&self.base, Arc::new(now)).map_err(|error| Failed::Usage(error.to_string()))
        };
        // Before a password is asked for, and before a report is there to be lost.
        target()?;
        let cannot = |file: &Path, error: std::io::Error| {
            Failed::refused(format!("{}: cannot be written: {error}", file.display()))
        };
        let junit = match &self.junit {
            Some(file) => Some((file, File::create(file).map_err(|error| cannot(file, error))?)),
            None => None,
        };
        let password = password(self.password_stdin, false)?;
        let users = Users::one(self.user.as_str(), password.expose());
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
            Err(Failed::refused(format!("{} does not conform", self.base)))
        }
    }
}

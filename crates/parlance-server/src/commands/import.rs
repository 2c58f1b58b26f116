//! `parlance user import FILE`.
//!
//! A file is read row by row, and the rows are added in batches. A row is added whole, or refused with a line that
//! names its place and the reason. Rows added before stay, so an import may be run again after an interruption, or with
//! corrected rows.

mod rows;

use std::collections::HashMap;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use futures_util::future::join_all;
use parlance::core::ports::StoreError;
use parlance::core::{
    Authority, CanonicalName, ImportOutcome, ImportedUser, OperatorError, Timestamp, UserName,
};
use serde_json::json;

use self::rows::{Row, Rows};
use super::user::{name_warning, print_warning};
use super::{block_on, escape_for_terminal, print_done, write_stderr};
use crate::app;
use crate::cli::{CommandError, CommonArgs};
use crate::config::Config;

/// Rows of a batch: at most one transaction of the store.
const BATCH_ROWS: usize = 500;

#[derive(Debug, Args)]
pub(crate) struct Import {
    /// The file
    file: PathBuf,
    /// The format of the file [default: jsonl if the name ends so, otherwise csv]
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// The encoding of the file, and of the passwords behind its hashes
    #[arg(long, value_enum, default_value_t = Encoding::Utf8)]
    encoding: Encoding,
    /// Report the outcome, and change nothing
    #[arg(long)]
    dry_run: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Comma-separated values under a line of headings
    Csv,
    /// A JSON object a line
    Jsonl,
    /// Not in this release
    Htpasswd,
    /// Not in this release
    Django,
    /// Not in this release
    Keycloak,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Encoding {
    #[value(name = "utf-8")]
    Utf8,
    /// Not in this release
    #[value(name = "latin-1")]
    Latin1,
    /// Not in this release
    Cp1252,
    /// Not in this release
    #[value(name = "utf-16le")]
    Utf16le,
}

/// The outcome of the rows.
#[derive(Debug, Default)]
struct ImportCounts {
    added: u64,
    unchanged: u64,
    refused: u64,
    without_password: u64,
}

impl Import {
    pub(crate) fn run(self, common: &CommonArgs, config: &Config) -> Result<(), CommandError> {
        let named_jsonl =
            self.file.extension().is_some_and(|end| end == "jsonl" || end == "ndjson");
        let format = self.format.unwrap_or(if named_jsonl { Format::Jsonl } else { Format::Csv });
        if matches!(format, Format::Htpasswd | Format::Django | Format::Keycloak) {
            return Err(CommandError::refused(
                "this release imports the formats csv and jsonl, with hashes of argon2id, argon2i and argon2d; a later release adds the others",
            ));
        }
        if self.encoding != Encoding::Utf8 {
            return Err(CommandError::refused(
                "this release imports utf-8; a later release adds the other encodings",
            ));
        }
        let mut rows = Rows::open(&self.file, format)?;
        if !self.dry_run {
            app::create_database(config)?;
        }
        let authority = app::command_authority(config)?;
        let now = app::shared_clock(&authority)?.now();
        let (mut counts, mut names) = (ImportCounts::default(), HashMap::new());
        loop {
            let mut batch = Vec::new();
            let mut end = None;
            while batch.len() < BATCH_ROWS && end.is_none() {
                match rows.next() {
                    Ok(Some((line, row))) => {
                        match row.and_then(|row| into_unique_user(row, line, &mut names)) {
                            Ok(user) => batch.push((line, user)),
                            Err(why) => self.report_refused_row(&mut counts, line, &why),
                        }
                    }
                    Ok(None) => end = Some(Ok(())),
                    Err(why) => end = Some(Err(why)),
                }
            }
            self.import_batch(&authority, batch, now, &mut counts)?;
            match end {
                None => {}
                Some(Ok(())) => return self.report(common, &counts),
                Some(Err(why)) => {
                    return Err(CommandError::refused(format!(
                        "{}: {why}; the rows before it are done ({} added, {} there already, {} refused)",
                        self.file.display(),
                        counts.added,
                        counts.unchanged,
                        counts.refused
                    )));
                }
            }
        }
    }

    /// Adds the users of a batch.
    fn import_batch(
        &self,
        authority: &Authority,
        batch: Vec<(u64, ImportedUser)>,
        now: Timestamp,
        counts: &mut ImportCounts,
    ) -> Result<(), CommandError> {
        let Some((first, _)) = batch.first() else { return Ok(()) };
        let first = *first;
        let made = batch.into_iter().map(|(line, user)| async move {
            let (has_password, odd) = (user.hash.is_some(), name_warning(&user.name));
            (line, has_password, odd, authority.import_user(user, now, self.dry_run).await)
        });
        let mut failed: Option<StoreError> = None;
        for (line, has_password, odd, made) in block_on(join_all(made)) {
            match made {
                Ok(imported) => {
                    match imported {
                        ImportOutcome::Added => {
                            counts.added += 1;
                            if let Some(why) = odd {
                                print_warning(&format!("{}:{line}: {why}", self.file.display()));
                            }
                        }
                        ImportOutcome::Unchanged => counts.unchanged += 1,
                    }
                    counts.without_password += u64::from(!has_password);
                }
                Err(OperatorError::Store(error)) => failed = Some(error),
                Err(error) => self.report_refused_row(counts, line, &error.to_string()),
            }
        }
        match failed {
            None => Ok(()),
            Some(error) => Err(CommandError::refused(format!(
                "{}:{first}: {error}; run the import again: rows that are imported already stay unchanged",
                self.file.display()
            ))),
        }
    }

    fn report_refused_row(&self, counts: &mut ImportCounts, line: u64, why: &str) {
        counts.refused += 1;
        write_stderr(&format!("{}:{line}: {}", self.file.display(), escape_for_terminal(why)));
    }

    fn report(&self, common: &CommonArgs, counts: &ImportCounts) -> Result<(), CommandError> {
        let ImportCounts { added, unchanged, refused, without_password } = *counts;
        let would = if self.dry_run { " would be" } else { "" };
        let mut sentence = format!(
            "{}: {added}{would} added, {unchanged} there already, {refused} refused",
            escape_for_terminal(&self.file.display().to_string())
        );
        if without_password > 0 {
            sentence.push_str(&format!("; {without_password} have no password"));
        }
        let what = json!({
            "file": self.file.display().to_string(),
            "dry_run": self.dry_run,
            "added": added,
            "unchanged": unchanged,
            "refused": refused,
            "without_password": without_password,
        });
        print_done(common.json, "user.import", &sentence, what)?;
        match refused {
            0 => Ok(()),
            1 => Err(CommandError::refused("1 row was refused")),
            _ => Err(CommandError::refused(format!("{refused} rows were refused"))),
        }
    }
}

/// The user of a row. Refuses a name that an earlier row of the file has.
fn into_unique_user(
    row: Row,
    line: u64,
    names: &mut HashMap<CanonicalName, u64>,
) -> Result<ImportedUser, String> {
    let user = row.into_user()?;
    let name = UserName::new(&user.name).map_err(|error| error.to_string())?;
    match names.get(&name.canonical()) {
        Some(before) => {
            Err(format!("line {before} names the same user, or another spelling of the name"))
        }
        None => {
            names.insert(name.canonical(), line);
            Ok(user)
        }
    }
}

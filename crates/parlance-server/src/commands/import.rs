//! `parlance user import FILE`.
//!
//! A file is read row by row, and the rows are made in batches. A row is made whole or refused with a line that says where it stands and why; what
//! was made before is left as it is, so that an import that was interrupted, or whose refused rows were mended, may be given again.

mod rows;

use std::collections::HashMap;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use futures_util::future::join_all;
use parlance::core::ports::StoreError;
use parlance::core::{
    Authority, CanonicalName, Imported, ImportedUser, OperatorError, Timestamp, UserName,
};
use serde_json::json;

use self::rows::{Row, Rows};
use super::user::{named_oddly, warning};
use super::{plain, print_done, tell, wait};
use crate::app;
use crate::cli::{Common, Failed};
use crate::config::Config;

/// How many rows are made together, which is at most one transaction of the store's.
const BATCH_ROWS: usize = 500;

#[derive(Debug, Args)]
pub(crate) struct Import {
    /// The file
    file: PathBuf,
    /// What the file is [default: jsonl if its name ends so, otherwise csv]
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// In which encoding the file, and the passwords of its hashes, are
    #[arg(long, value_enum, default_value_t = Encoding::Utf8)]
    encoding: Encoding,
    /// Say what would be done, and do nothing
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

/// What became of the rows.
#[derive(Debug, Default)]
struct Counts {
    added: u64,
    unchanged: u64,
    refused: u64,
    without_password: u64,
}

impl Import {
    pub(crate) fn run(self, common: &Common, config: &Config) -> Result<(), Failed> {
        let named_jsonl =
            self.file.extension().is_some_and(|end| end == "jsonl" || end == "ndjson");
        let format = self.format.unwrap_or(if named_jsonl { Format::Jsonl } else { Format::Csv });
        if matches!(format, Format::Htpasswd | Format::Django | Format::Keycloak) {
            return Err(Failed::refused(
                "this release imports the formats csv and jsonl, with hashes of argon2id, argon2i and argon2d; the others come with a later one",
            ));
        }
        if self.encoding != Encoding::Utf8 {
            return Err(Failed::refused(
                "this release imports utf-8; the other encodings come with a later one",
            ));
        }
        let mut rows = Rows::open(&self.file, format)?;
        if !self.dry_run {
            app::make_database(config)?;
        }
        let authority = app::operator(config)?;
        let now = app::clock(&authority)?.now();
        let (mut counts, mut names) = (Counts::default(), HashMap::new());
        loop {
            let mut batch = Vec::new();
            let mut end = None;
            while batch.len() < BATCH_ROWS && end.is_none() {
                match rows.next() {
                    Ok(Some((line, row))) => match row.and_then(|row| admit(row, line, &mut names))
                    {
                        Ok(user) => batch.push((line, user)),
                        Err(why) => self.refuse(&mut counts, line, &why),
                    },
                    Ok(None) => end = Some(Ok(())),
                    Err(why) => end = Some(Err(why)),
                }
            }
            self.make(&authority, batch, now, &mut counts)?;
            match end {
                None => {}
                Some(Ok(())) => return self.report(common, &counts),
                Some(Err(why)) => {
                    return Err(Failed::refused(format!(
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

    /// Makes the users of a batch.
    fn make(
        &self,
        authority: &Authority,
        batch: Vec<(u64, ImportedUser)>,
        now: Timestamp,
        counts: &mut Counts,
    ) -> Result<(), Failed> {
        let Some((first, _)) = batch.first() else { return Ok(()) };
        let first = *first;
        let made = batch.into_iter().map(|(line, user)| async move {
            let (has_password, odd) = (user.hash.is_some(), named_oddly(&user.name));
            (line, has_password, odd, authority.import_user(user, now, self.dry_run).await)
        });
        let mut failed: Option<StoreError> = None;
        for (line, has_password, odd, made) in wait(join_all(made)) {
            match made {
                Ok(imported) => {
                    match imported {
                        Imported::Added => {
                            counts.added += 1;
                            if let Some(why) = odd {
                                warning(&format!("{}:{line}: {why}", self.file.display()));
                            }
                        }
                        Imported::Unchanged => counts.unchanged += 1,
                    }
                    counts.without_password += u64::from(!has_password);
                }
                Err(OperatorError::Store(error)) => failed = Some(error),
                Err(error) => self.refuse(counts, line, &error.to_string()),
            }
        }
        match failed {
            None => Ok(()),
            Some(error) => Err(Failed::refused(format!(
                "{}:{first}: {error}; give the import again: what is there already is left as it is",
                self.file.display()
            ))),
        }
    }

    fn refuse(&self, counts: &mut Counts, line: u64, why: &str) {
        counts.refused += 1;
        tell(&format!("{}:{line}: {}", self.file.display(), plain(why)));
    }

    fn report(&self, common: &Common, counts: &Counts) -> Result<(), Failed> {
        let Counts { added, unchanged, refused, without_password } = *counts;
        let would = if self.dry_run { " would be" } else { "" };
        let mut sentence = format!(
            "{}: {added}{would} added, {unchanged} there already, {refused} refused",
            plain(&self.file.display().to_string())
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
            1 => Err(Failed::refused("1 row was refused")),
            _ => Err(Failed::refused(format!("{refused} rows were refused"))),
        }
    }
}

/// The user of a row, if the file has not named him before.
fn admit(
    row: Row,
    line: u64,
    names: &mut HashMap<CanonicalName, u64>,
) -> Result<ImportedUser, String> {
    let user = row.user()?;
    let name = UserName::new(&user.name).map_err(|error| error.to_string())?;
    match names.get(&name.canonical()) {
        Some(before) => {
            Err(format!("line {before} names the same user, or another spelling of his name"))
        }
        None => {
            names.insert(name.canonical(), line);
            Ok(user)
        }
    }
}

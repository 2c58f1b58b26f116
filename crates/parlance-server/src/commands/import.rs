//! `parlance user import FILE`.
//!
//! A file is read row by row, and the rows are made in batches. A row is made whole or refused with a line that says where it stands and why; what
//! was made before is left as it is, so that an import that was interrupted, or whose refused rows were mended, may be given again.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use futures_util::future::join_all;
use parlance::core::ports::StoreError;
use parlance::core::{
    Authority, CanonicalName, Digest, Imported, ImportedUser, OperatorError, PasswordHash,
    Timestamp, UserId, UserName,
};
use serde::Deserialize;
use serde_json::json;
use uuid::{Builder, Uuid};

use super::{moment_of, plain, print_done, tell, wait};
use crate::app;
use crate::cli::{Common, Failed};
use crate::config::Config;

/// How many rows are made together, which is at most one transaction of the store's.
const BATCH_ROWS: usize = 500;
/// The longest line of JSON that is read, in bytes: a user with all the roles that he may have takes a hundredth of it.
const MAX_LINE_BYTES: u64 = 1 << 20;
/// The columns, and the keys.
const COLUMNS: [&str; 8] = [
    "name",
    "hash",
    "enabled",
    "password_expired",
    "unrestricted",
    "roles",
    "external_id",
    "created",
];

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

/// A row as it stands in a file of either format, its texts not looked at yet.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    name: String,
    // With a function of its own a key that is missing is an error, and null is not.
    #[serde(deserialize_with = "Option::deserialize")]
    hash: Option<String>,
    enabled: Option<bool>,
    password_expired: Option<bool>,
    unrestricted: Option<bool>,
    #[serde(default)]
    roles: Vec<String>,
    external_id: Option<String>,
    created: Option<String>,
}

impl Row {
    /// The user that the row asks for.
    fn user(self) -> Result<ImportedUser, String> {
        let given = |text: Option<String>| text.filter(|text| !text.is_empty());
        let hash = given(self.hash).map(|hash| PasswordHash::imported(&hash));
        let role = |role: &String| {
            Uuid::try_parse(role).map_err(|_| format!("the role {role:?} is no UUID"))
        };
        let created = given(self.created).map(|created| {
            moment_of(&created).ok_or_else(|| {
                format!("created {created:?} is no RFC 3339 date such as 2026-11-30T12:00:00Z")
            })
        });
        Ok(ImportedUser {
            id: given(self.external_id).map(|id| stable_id(&id)),
            name: self.name,
            hash: hash.transpose().map_err(|error| error.to_string())?,
            enabled: self.enabled.unwrap_or(true),
            password_expired: self.password_expired.unwrap_or(false),
            unrestricted: self.unrestricted.unwrap_or(false),
            roles: self.roles.iter().map(role).collect::<Result<_, _>>()?,
            created: created.transpose()?,
        })
    }
}

/// The id of a user whom another system calls by this id: that id, if it is a UUID; otherwise one made of its text (version 8), the same in every
/// database.
fn stable_id(external: &str) -> UserId {
    if let Ok(id) = Uuid::try_parse(external) {
        return UserId(id);
    }
    let digest = Digest::of("external-id", external);
    let mut bytes = [0; 16];
    bytes.iter_mut().zip(digest.as_bytes()).for_each(|(byte, of)| *byte = *of);
    UserId(Builder::from_custom_bytes(bytes).into_uuid())
}

/// Where rows come from: each with the line that it begins in.
enum Rows {
    Csv { reader: Box<csv::Reader<File>>, columns: Vec<&'static str> },
    Jsonl { reader: BufReader<File>, line: u64 },
}

/// A row, or why it is none; and where it begins.
type Next = (u64, Result<Row, String>);

impl Rows {
    fn open(path: &Path, format: Format) -> Result<Self, Failed> {
        let refuse = |why: String| Failed::refused(format!("{}: {why}", path.display()));
        let file = File::open(path).map_err(|error| refuse(format!("cannot be read: {error}")))?;
        if format == Format::Jsonl {
            return Ok(Self::Jsonl { reader: BufReader::new(file), line: 0 });
        }
        let mut reader = csv::Reader::from_reader(file);
        let heading = reader
            .headers()
            .map_err(|error| refuse(format!("has no line of headings: {error}")))?;
        let mut columns = Vec::new();
        for name in heading {
            let Some(&column) = COLUMNS.iter().find(|column| **column == name) else {
                return Err(refuse(format!(
                    "the column {name:?} is not known; the columns are {}",
                    COLUMNS.join(", ")
                )));
            };
            if columns.contains(&column) {
                return Err(refuse(format!("the column {column} stands twice")));
            }
            columns.push(column);
        }
        match ["name", "hash"].iter().find(|wanted| !columns.contains(wanted)) {
            Some(missing) => Err(refuse(format!(
                "there is no column {missing}: the first line names the columns, with commas between them"
            ))),
            None => Ok(Self::Csv { reader: Box::new(reader), columns }),
        }
    }

    /// The next row.
    ///
    /// # Errors
    /// The file cannot be read any further.
    fn next(&mut self) -> Result<Option<Next>, String> {
        match self {
            Self::Csv { reader, columns } => {
                let mut record = csv::ByteRecord::new();
                match reader.read_byte_record(&mut record) {
                    Ok(false) => Ok(None),
                    Ok(true) => Ok(Some((line_of(record.position()), fields(&record, columns)))),
                    Err(error) => {
                        let csv::ErrorKind::UnequalLengths { pos, expected_len, len } =
                            error.kind()
                        else {
                            return Err(error.to_string());
                        };
                        let why =
                            format!("it has {len} fields, and the line of headings {expected_len}");
                        Ok(Some((line_of(pos.as_ref()), Err(why))))
                    }
                }
            }
            Self::Jsonl { reader, line } => loop {
                let mut bytes = Vec::new();
                let mut limited = reader.by_ref().take(MAX_LINE_BYTES);
                limited.read_until(b'\n', &mut bytes).map_err(|error| error.to_string())?;
                if bytes.is_empty() {
                    return Ok(None);
                }
                *line += 1;
                if bytes.len() as u64 == MAX_LINE_BYTES && !bytes.ends_with(b"\n") {
                    return Err(format!("line {line} is longer than {MAX_LINE_BYTES} bytes"));
                }
                let text = bytes.strip_prefix(b"\xef\xbb\xbf").filter(|_| *line == 1);
                let text = text.unwrap_or(&bytes).trim_ascii();
                if !text.is_empty() {
                    return Ok(Some((*line, object(text))));
                }
            },
        }
    }
}

fn line_of(position: Option<&csv::Position>) -> u64 {
    position.map_or(0, csv::Position::line)
}

fn fields(record: &csv::ByteRecord, columns: &[&str]) -> Result<Row, String> {
    let mut row = Row::default();
    for (column, bytes) in columns.iter().zip(record) {
        let text = std::str::from_utf8(bytes).map_err(|_| format!("{column} is not UTF-8"))?;
        let flag = || match text {
            "" => Ok(None),
            "true" => Ok(Some(true)),
            "false" => Ok(Some(false)),
            other => Err(format!("{column} {other:?} is neither true nor false")),
        };
        match *column {
            "name" => row.name = text.to_owned(),
            "hash" => row.hash = Some(text.to_owned()),
            "enabled" => row.enabled = flag()?,
            "password_expired" => row.password_expired = flag()?,
            "unrestricted" => row.unrestricted = flag()?,
            "roles" => row.roles = text.split_ascii_whitespace().map(str::to_owned).collect(),
            "external_id" => row.external_id = Some(text.to_owned()),
            _ => row.created = Some(text.to_owned()),
        }
    }
    Ok(row)
}

fn object(text: &[u8]) -> Result<Row, String> {
    serde_json::from_slice(text).map_err(|error| {
        // The text of a syntax error names the line within this line.
        let text = error.to_string();
        let end = text.rfind(" at line ").unwrap_or(text.len());
        format!("no JSON object of a user: {}", text.get(..end).unwrap_or_default())
    })
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
            let has_password = user.hash.is_some();
            (line, has_password, authority.import_user(user, now, self.dry_run).await)
        });
        let mut failed: Option<StoreError> = None;
        for (line, has_password, made) in wait(join_all(made)) {
            match made {
                Ok(imported) => {
                    match imported {
                        Imported::Added => counts.added += 1,
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

//! The rows of an import file: read one by one, each with the line in which the row begins.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read};
use std::path::Path;

use parlance::core::{Digest, ImportedUser, PasswordHash, UserId};
use serde::Deserialize;
use uuid::{Builder, Uuid};

use super::super::parse_timestamp;
use super::Format;
use crate::cli::CommandError;

/// Longest line of JSON, in bytes: a user with the maximum number of roles takes a hundredth of this.
const MAX_LINE_BYTES: u64 = 1 << 20;
/// The refusal of a file in another encoding.
const NOT_UTF_8: &str = "is not UTF-8, the one encoding that this release reads: save it as UTF-8, or convert it (`iconv -f UTF-16 -t UTF-8`, say)";
/// The columns of CSV, and the keys of JSON.
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

/// A row of either format, its texts not validated yet.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Row {
    pub(super) name: String,
    // With an explicit function serde refuses a missing key, and still accepts null.
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
    /// Validates the row and makes the user.
    pub(super) fn into_user(self) -> Result<ImportedUser, String> {
        let given = |text: Option<String>| text.filter(|text| !text.is_empty());
        let hash = given(self.hash).map(|hash| PasswordHash::imported(&hash));
        let role = |role: &String| {
            Uuid::try_parse(role).map_err(|_| format!("the role {role:?} is no UUID"))
        };
        let created = given(self.created).map(|created| {
            parse_timestamp(&created).ok_or_else(|| {
                format!("created {created:?} is no RFC 3339 date such as 2026-11-30T12:00:00Z")
            })
        });
        Ok(ImportedUser {
            id: given(self.external_id).map(|id| stable_id(&id)).transpose()?,
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

/// The id of a user from the `external_id` of another system: the same id, if that is a UUID; otherwise a UUID (version
/// 8) derived from the text, the same in every database. The nil UUID belongs to no user: the lock-out uses the nil
/// UUID for unknown names.
fn stable_id(external: &str) -> Result<UserId, String> {
    if let Ok(id) = Uuid::try_parse(external) {
        return if id.is_nil() {
            Err(format!("the external_id {external:?} is the nil UUID, which can be no user's id"))
        } else {
            Ok(UserId(id))
        };
    }
    let digest = Digest::of("external-id", external);
    let mut bytes = [0; 16];
    bytes.iter_mut().zip(digest.as_bytes()).for_each(|(byte, of)| *byte = *of);
    Ok(UserId(Builder::from_custom_bytes(bytes).into_uuid()))
}

/// A source of rows, each with the line in which the row begins.
pub(super) enum Rows {
    Csv { reader: Box<csv::Reader<RecentBytesReader>>, columns: Vec<&'static str> },
    Jsonl { reader: BufReader<File>, line: u64 },
}

/// A reader that keeps the bytes read last. The position of a record in the CSV reader is the end of the record before,
/// possibly before the `\n` of a CRLF and before blank lines. Only the bytes show which of those follow.
pub(super) struct RecentBytesReader {
    file: BufReader<File>,
    bytes: Vec<u8>,
    /// The offset in the file at which `bytes` begins.
    start: u64,
    /// Bytes before this offset are no longer needed.
    needed_from: u64,
}

impl RecentBytesReader {
    fn new(file: BufReader<File>) -> Self {
        Self { file, bytes: Vec::new(), start: 0, needed_from: 0 }
    }

    /// The line in which a record begins.
    fn line_of(&mut self, place: Option<&csv::Position>) -> u64 {
        let Some(place) = place else { return 0 };
        self.needed_from = place.byte();
        let skipped =
            usize::try_from(self.needed_from.saturating_sub(self.start)).unwrap_or(usize::MAX);
        let ends = self.bytes.iter().skip(skipped).take_while(|byte| matches!(byte, b'\r' | b'\n'));
        place.line() + ends.filter(|byte| **byte == b'\n').count() as u64
    }
}

impl Read for RecentBytesReader {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(into)?;
        let old =
            usize::try_from(self.needed_from.saturating_sub(self.start)).unwrap_or(usize::MAX);
        let old = old.min(self.bytes.len());
        self.bytes.drain(..old);
        self.start += old as u64;
        self.bytes.extend(into.iter().take(count));
        Ok(count)
    }
}

/// The line in which a row begins, and the row or the reason for its refusal.
pub(super) type NumberedRow = (u64, Result<Row, String>);

impl Rows {
    pub(super) fn open(path: &Path, format: Format) -> Result<Self, CommandError> {
        let refuse = |why: String| CommandError::refused(format!("{}: {why}", path.display()));
        let unread = |error: io::Error| refuse(format!("cannot be read: {error}"));
        let file = File::open(path).map_err(unread)?;
        if file.metadata().map_err(unread)?.is_dir() {
            return Err(refuse("is a folder: name the file in it that lists the users".to_owned()));
        }
        let mut file = BufReader::new(file);
        // UTF-16 has a byte order mark, or else a zero byte beside the first character.
        if let [first, second, ..] = file.fill_buf().map_err(unread)?
            && matches!((first, second), (0xff, 0xfe) | (0xfe, 0xff) | (0, _) | (_, 0))
        {
            return Err(refuse(NOT_UTF_8.to_owned()));
        }
        if format == Format::Jsonl {
            return Ok(Self::Jsonl { reader: file, line: 0 });
        }
        let mut reader = csv::Reader::from_reader(RecentBytesReader::new(file));
        let heading = reader.headers().map_err(|error| {
            refuse(if matches!(error.kind(), csv::ErrorKind::Utf8 { .. }) {
                NOT_UTF_8.to_owned()
            } else {
                format!("has no header line: {error}")
            })
        })?;
        let mut columns = Vec::new();
        for name in heading {
            let Some(&column) = COLUMNS.iter().find(|column| **column == name) else {
                return Err(refuse(format!(
                    "the column {name:?} is not known; the columns are {}",
                    COLUMNS.join(", ")
                )));
            };
            if columns.contains(&column) {
                return Err(refuse(format!("the column {column} is a duplicate")));
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
    pub(super) fn next(&mut self) -> Result<Option<NumberedRow>, String> {
        match self {
            Self::Csv { reader, columns } => {
                let mut record = csv::ByteRecord::new();
                match reader.read_byte_record(&mut record) {
                    Ok(false) => Ok(None),
                    Ok(true) => {
                        let line = reader.get_mut().line_of(record.position());
                        Ok(Some((line, row_from_record(&record, columns))))
                    }
                    Err(error) => {
                        let csv::ErrorKind::UnequalLengths { pos, expected_len, len } =
                            error.kind()
                        else {
                            return Err(error.to_string());
                        };
                        let why =
                            format!("the row has {len} fields, and the header line {expected_len}");
                        Ok(Some((reader.get_mut().line_of(pos.as_ref()), Err(why))))
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
                    return Ok(Some((*line, row_from_json(text))));
                }
            },
        }
    }
}

fn row_from_record(record: &csv::ByteRecord, columns: &[&str]) -> Result<Row, String> {
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

fn row_from_json(text: &[u8]) -> Result<Row, String> {
    serde_json::from_slice(text).map_err(|error| {
        // The text of a syntax error names the line within this line, which would mislead.
        let text = error.to_string();
        let end = text.rfind(" at line ").unwrap_or(text.len());
        format!("no JSON object of a user: {}", text.get(..end).unwrap_or_default())
    })
}

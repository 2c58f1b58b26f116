//! Forms as `multipart/form-data` (RFC 7578, RFC 2046), strictly: what two readers could take in two ways is not read at all.

use std::fmt;

use percent_encoding::{NON_ALPHANUMERIC, percent_encode};

/// How many parts a form may have.
const MAX_PARTS: usize = 100;
/// How long the header lines of a part may be together, in bytes.
const MAX_HEAD_BYTES: usize = 1024;
/// How long a boundary may be, in bytes (RFC 2046, 5.1.1).
const MAX_BOUNDARY_BYTES: usize = 70;

/// The parts of a form, in their order. Its `Debug` shows how many.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Multipart<'b>(Vec<Part<'b>>);

/// A part of a form. Its `Debug` shows whether it is a file.
#[derive(Clone, PartialEq, Eq)]
pub struct Part<'b> {
    /// The field's name, as it stands: a percent sign in it is one. Bytes that are not UTF-8 are replaced.
    pub name: String,
    /// Whether it has a file's name.
    pub is_file: bool,
    /// Its content, as it stands.
    pub value: &'b [u8],
}

impl<'b> Multipart<'b> {
    /// Reads a body under this `Content-Type`. `None` if the type is another one or names no boundary, the framing is not by the letter,
    /// anything stands before the first or behind the last boundary, a part names its field or encodes its content in a way that readers
    /// disagree about, or there are too many parts. A body without a byte has no parts.
    #[must_use]
    pub fn parse(content_type: &str, body: &'b [u8]) -> Option<Self> {
        let delimiter = format!("\r\n--{}", boundary(content_type)?);
        let delimiter = delimiter.as_bytes();
        if body.is_empty() {
            return Some(Self::default());
        }
        // The line end before the first boundary belongs to it, and may be missing.
        let first = body.strip_prefix(delimiter);
        let mut rest = first.or_else(|| body.strip_prefix(delimiter.get(2..)?))?;
        let mut parts = Vec::new();
        loop {
            if let Some(end) = rest.strip_prefix(b"--") {
                return matches!(end, b"" | b"\r\n").then_some(Self(parts));
            }
            if parts.len() == MAX_PARTS {
                return None;
            }
            let part = rest.strip_prefix(b"\r\n")?;
            let end = find(part, delimiter)?;
            parts.push(Part::parse(part.get(..end)?)?);
            rest = part.get(end + delimiter.len()..)?;
        }
    }

    /// Its parts.
    pub fn parts(&self) -> impl Iterator<Item = &Part<'b>> {
        self.0.iter()
    }

    /// The same form urlencoded, without its files: to be read as any other form is, with the same strictness about bytes and doubled names.
    #[must_use]
    pub fn urlencoded(&self) -> Vec<u8> {
        let fields = self.0.iter().filter(|part| !part.is_file).map(|part| {
            let name = percent_encode(part.name.as_bytes(), NON_ALPHANUMERIC);
            format!("{name}={}", percent_encode(part.value, NON_ALPHANUMERIC))
        });
        fields.collect::<Vec<_>>().join("&").into_bytes()
    }
}

impl<'b> Part<'b> {
    fn parse(part: &'b [u8]) -> Option<Self> {
        let head_end = find(part, b"\r\n\r\n").filter(|end| *end <= MAX_HEAD_BYTES)?;
        let (head, value) = (part.get(..head_end)?, part.get(head_end + 4..)?);
        let head = String::from_utf8_lossy(head);
        let mut disposition = None;
        for line in head.split("\r\n") {
            let (name, value) = line.split_once(':')?;
            let is_token = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic());
            if !is_token || value.contains(char::is_control) {
                return None;
            }
            match name.to_ascii_lowercase().as_str() {
                "content-disposition" if disposition.is_some() => return None,
                "content-disposition" => disposition = Some(Parameters::parse(value)?),
                "content-transfer-encoding" if !is_plain(value) => return None,
                _ => {}
            }
        }
        let disposition = disposition.filter(|found| found.of == "form-data")?;
        let name = disposition.get("name")?;
        // `name*` is not for forms (RFC 7578, 4.2), and a reader that knows it, or escapes, would see another name.
        if disposition.get("name*").is_some() || name.contains('\\') {
            return None;
        }
        Some(Self {
            name: name.to_owned(),
            is_file: ["filename", "filename*"].iter().any(|name| disposition.get(name).is_some()),
            value,
        })
    }
}

/// The boundary that a `Content-Type` names.
fn boundary(content_type: &str) -> Option<String> {
    let found =
        Parameters::parse(content_type).filter(|found| found.of == "multipart/form-data")?;
    let boundary = found.get("boundary")?;
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"'()+_,-./:=? ".contains(&byte);
    let is_good = (1..=MAX_BOUNDARY_BYTES).contains(&boundary.len())
        && boundary.bytes().all(is_allowed)
        && !boundary.ends_with(' ');
    is_good.then(|| boundary.to_owned())
}

/// Whether a `Content-Transfer-Encoding` changes nothing about the content.
fn is_plain(encoding: &str) -> bool {
    ["7bit", "8bit", "binary"].iter().any(|plain| encoding.trim().eq_ignore_ascii_case(plain))
}

/// A header's value with parameters: `form-data; name="a"`.
struct Parameters {
    /// What they are parameters of, in lower case.
    of: String,
    /// Their names, in lower case and once each, and their values.
    all: Vec<(String, String)>,
}

impl Parameters {
    fn parse(value: &str) -> Option<Self> {
        let (of, mut rest) = value.split_once(';').unwrap_or((value, ""));
        let mut all: Vec<(String, String)> = Vec::new();
        while !rest.trim().is_empty() {
            let (name, after) = rest.split_once('=')?;
            let name = name.trim().to_ascii_lowercase();
            let (value, after) = match after.strip_prefix('"') {
                Some(quoted) => {
                    let (value, after) = quoted.split_once('"')?;
                    // To some readers an escaped quote, to others a backslash and the end.
                    if value.ends_with('\\') {
                        return None;
                    }
                    (value, after)
                }
                None => {
                    let end = after.find(';').unwrap_or(after.len());
                    let (value, after) = after.split_at(end);
                    (Some(value.trim()).filter(|value| is_token(value))?, after)
                }
            };
            if !is_token(&name) || all.iter().any(|(other, _)| *other == name) {
                return None;
            }
            all.push((name, value.to_owned()));
            let after = after.trim_start();
            rest = if after.is_empty() { after } else { after.strip_prefix(';')? };
        }
        Some(Self { of: of.trim().to_ascii_lowercase(), all })
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.all.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }
}

fn is_token(text: &str) -> bool {
    !text.is_empty() && !text.contains(|c: char| c.is_whitespace() || ";\"=".contains(c))
}

/// Where a text first stands in another.
fn find(text: &[u8], sought: &[u8]) -> Option<usize> {
    text.windows(sought.len()).position(|window| window == sought)
}

impl fmt::Debug for Multipart<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Multipart").field(&self.0.len()).finish()
    }
}

impl fmt::Debug for Part<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Part").field("is_file", &self.is_file).finish_non_exhaustive()
    }
}

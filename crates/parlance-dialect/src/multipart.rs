//! A strict parser of `multipart/form-data` (RFC 7578, RFC 2046): a body that two parsers could read in two ways is refused.

use std::fmt;

use percent_encoding::{NON_ALPHANUMERIC, percent_encode};

/// The maximum number of parts of a form.
const MAX_PARTS: usize = 100;
/// The maximum length of all header lines of a part together, in bytes.
const MAX_HEAD_BYTES: usize = 1024;
/// The maximum length of a boundary, in bytes (RFC 2046, 5.1.1).
const MAX_BOUNDARY_BYTES: usize = 70;

/// The parts of a form, in order. `Debug` shows only their number.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Multipart<'b>(Vec<Part<'b>>);

/// A part of a form. `Debug` shows only whether the part is a file.
#[derive(Clone, PartialEq, Eq)]
pub struct Part<'b> {
    /// The name of the field, taken literally: percent signs are not decoded. Bytes that are not UTF-8 are replaced.
    pub name: String,
    /// Whether the part has a file name.
    pub is_file: bool,
    /// The content, unchanged.
    pub value: &'b [u8],
}

impl<'b> Multipart<'b> {
    /// Parses a body under this `Content-Type`. `None` if the type is another one or names no boundary, the framing is not exact, data
    /// stands before the first or after the last boundary, a part names its field or encodes its content in a way on which parsers
    /// disagree, or there are too many parts. An empty body has no parts.
    #[must_use]
    pub fn parse(content_type: &str, body: &'b [u8]) -> Option<Self> {
        let delimiter = format!("\r\n--{}", boundary(content_type)?);
        let delimiter = delimiter.as_bytes();
        if body.is_empty() {
            return Some(Self::default());
        }
        // The line end before the first boundary is part of the boundary, and may be missing.
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

    /// The parts, in order.
    pub fn parts(&self) -> impl Iterator<Item = &Part<'b>> {
        self.0.iter()
    }

    /// The same form urlencoded, without the files, so that the parser of urlencoded forms applies the same strictness about bytes and
    /// duplicate names.
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
                "content-disposition" => disposition = Some(ParameterizedValue::parse(value)?),
                "content-transfer-encoding" if !is_identity_encoding(value) => return None,
                _ => {}
            }
        }
        let disposition = disposition.filter(|found| found.value == "form-data")?;
        let name = disposition.get("name")?;
        // `name*` does not belong in forms (RFC 7578, 4.2). A parser that supports `name*`, or escapes, would read another name.
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
    let found = ParameterizedValue::parse(content_type)
        .filter(|found| found.value == "multipart/form-data")?;
    let boundary = found.get("boundary")?;
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"'()+_,-./:=? ".contains(&byte);
    let is_good = (1..=MAX_BOUNDARY_BYTES).contains(&boundary.len())
        && boundary.bytes().all(is_allowed)
        && !boundary.ends_with(' ');
    is_good.then(|| boundary.to_owned())
}

/// Whether a `Content-Transfer-Encoding` leaves the content unchanged.
fn is_identity_encoding(encoding: &str) -> bool {
    ["7bit", "8bit", "binary"].iter().any(|plain| encoding.trim().eq_ignore_ascii_case(plain))
}

/// A header value with parameters: `form-data; name="a"`.
struct ParameterizedValue {
    /// The value before the parameters, in lower case.
    value: String,
    /// The parameters: names in lower case and without duplicates, and values.
    parameters: Vec<(String, String)>,
}

impl ParameterizedValue {
    fn parse(value: &str) -> Option<Self> {
        let (main_value, mut rest) = value.split_once(';').unwrap_or((value, ""));
        let mut parameters: Vec<(String, String)> = Vec::new();
        while !rest.trim().is_empty() {
            let (name, after) = rest.split_once('=')?;
            let name = name.trim().to_ascii_lowercase();
            let (value, after) = match after.strip_prefix('"') {
                Some(quoted) => {
                    let (value, after) = quoted.split_once('"')?;
                    // Some parsers read an escaped quote here, others a backslash and the end of the value.
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
            if !is_token(&name) || parameters.iter().any(|(other, _)| *other == name) {
                return None;
            }
            parameters.push((name, value.to_owned()));
            let after = after.trim_start();
            rest = if after.is_empty() { after } else { after.strip_prefix(';')? };
        }
        Some(Self { value: main_value.trim().to_ascii_lowercase(), parameters })
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }
}

fn is_token(text: &str) -> bool {
    !text.is_empty() && !text.contains(|c: char| c.is_whitespace() || ";\"=".contains(c))
}

/// The first position of one text in another.
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

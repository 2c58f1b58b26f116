//! Paths and hosts in an unambiguous form, for route matching.

use percent_encoding::percent_decode_str;
use unicode_normalization::is_nfkc;

/// Decodes a path; `None` where two programs may read the path differently. The proxy, this program and the upstream
/// must all see the same resource, or another spelling evades a route's requirement.
pub(crate) fn decode_unambiguous(path: &[u8]) -> Option<String> {
    // Bytes beyond ASCII are UTF-8 to some and Latin-1 to others.
    let visible = path.iter().all(|byte| (0x21..0x7f).contains(byte));
    let path = std::str::from_utf8(path).ok().filter(|_| visible)?;
    if !path.starts_with('/') || !has_valid_escapes(path) {
        return None;
    }
    let decoded = percent_decode_str(path).decode_utf8().ok()?;
    // Programs decode an encoded slash or percent sign once, twice or never. Some take a backslash for a slash, or drop
    // `;` and the text after. Control characters, `?` and `#` end a path.
    let odd = |c: char| c.is_control() || "%\\;?#".contains(c);
    if decoded.contains(odd) || decoded.matches('/').count() != path.matches('/').count() {
        return None;
    }
    // `.` and `..` lead elsewhere, and Windows drops dots and spaces from the end of any name.
    let cut = |segment: &str| segment.ends_with(['.', ' ']);
    if decoded.contains("//") || decoded.split('/').any(cut) {
        return None;
    }
    // Some programs fold compatibility forms (a fullwidth `admin`), and some file systems skip invisible characters.
    if decoded.contains(is_invisible) || !is_nfkc(&decoded) {
        return None;
    }
    Some(decoded.into_owned())
}

/// Whether a character is invisible (Unicode's `Default_Ignorable_Code_Point`, and its two line separators): some file
/// systems compare names without such characters, and some programs drop them.
fn is_invisible(c: char) -> bool {
    matches!(
        c,
        '\u{ad}'
            | '\u{34f}'
            | '\u{61c}'
            | '\u{115f}'..='\u{1160}'
            | '\u{17b4}'..='\u{17b5}'
            | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}'
            | '\u{feff}'
            | '\u{ffa0}'
            | '\u{fff0}'..='\u{fff8}'
            | '\u{1bca0}'..='\u{1bca3}'
            | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e0fff}'
    )
}

/// Whether every `%` begins an escape.
fn has_valid_escapes(path: &str) -> bool {
    path.split('%').skip(1).all(|after| {
        after.get(..2).is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()))
    })
}

/// Whether a decoded path equals `parent` or lies below `parent`.
pub(crate) fn is_within(path: &str, parent: &str) -> bool {
    let parent = parent.trim_end_matches('/');
    path.strip_prefix(parent).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The path as a case-insensitive program sees the path.
pub(crate) fn fold_case(path: &str) -> String {
    path.to_uppercase().to_lowercase()
}

/// A host in the form for comparison: without the port, in lower case, without the root's dot.
pub(crate) fn normalize_host(shown: &str) -> String {
    let end = match shown.rfind(':') {
        Some(colon) if !shown.get(colon..).unwrap_or_default().contains(']') => colon,
        _ => shown.len(),
    };
    let name = shown.get(..end).unwrap_or_default();
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}

//! Paths that mean one thing only.

use percent_encoding::percent_decode_str;
use unicode_normalization::is_nfkc;

/// A path decoded, or nothing where two programs may read it differently: a proxy, this program and the upstream must all see the same
/// resource, or a requirement on one spelling is evaded by another.
pub(crate) fn plain(path: &[u8]) -> Option<String> {
    // Bytes beyond ASCII are UTF-8 to some and Latin-1 to others.
    let visible = path.iter().all(|byte| (0x21..0x7f).contains(byte));
    let path = std::str::from_utf8(path).ok().filter(|_| visible)?;
    if !path.starts_with('/') || !escapes_are_whole(path) {
        return None;
    }
    let decoded = percent_decode_str(path).decode_utf8().ok()?;
    // An encoded slash or percent sign is decoded once by some and never or twice by others; a backslash is a slash to some; `;` and what
    // follows is dropped by some; the others end a path.
    let odd = |c: char| c.is_control() || "%\\;?#".contains(c);
    if decoded.contains(odd) || decoded.matches('/').count() != path.matches('/').count() {
        return None;
    }
    // `.` and `..` lead elsewhere, and Windows drops dots and spaces from the end of any name.
    let cut = |segment: &str| segment.ends_with(['.', ' ']);
    if decoded.contains("//") || decoded.split('/').any(cut) {
        return None;
    }
    // Some fold compatibility forms (a fullwidth `admin`), and some file systems pass over invisible characters.
    if decoded.contains(is_invisible) || !is_nfkc(&decoded) {
        return None;
    }
    Some(decoded.into_owned())
}

/// Whether the character is one that shows nothing (Unicode's `Default_Ignorable_Code_Point`, and its two separators of lines): some file
/// systems compare names as if it were not there, and some programs drop it.
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
fn escapes_are_whole(path: &str) -> bool {
    path.split('%').skip(1).all(|after| {
        after.get(..2).is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()))
    })
}

/// Whether a path, decoded, is this one or lies below it.
pub(crate) fn lies_in(path: &str, parent: &str) -> bool {
    let parent = parent.trim_end_matches('/');
    path.strip_prefix(parent).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The path as a program sees it to which case is nothing.
pub(crate) fn folded(path: &str) -> String {
    path.to_uppercase().to_lowercase()
}

/// A host as it is compared: without the port, in lower case, without the root's dot.
pub(crate) fn host(shown: &str) -> String {
    let end = match shown.rfind(':') {
        Some(colon) if !shown.get(colon..).unwrap_or_default().contains(']') => colon,
        _ => shown.len(),
    };
    let name = shown.get(..end).unwrap_or_default();
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}

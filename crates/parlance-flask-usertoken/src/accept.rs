//! Content negotiation by `Accept` (RFC 9110, 12.5.1), as far as a server with one representation needs the header.

use parlance_dialect::Request;

/// Whether a client accepts `application/json`: the header has no range that can be understood, or the most specific of the ranges that
/// cover JSON has a weight above 0.
pub(crate) fn accepts_json(request: &Request<'_>) -> bool {
    let lines: Vec<_> = request.header_values("accept").map(String::from_utf8_lossy).collect();
    let ranges = lines.iter().flat_map(|line| line.split(',')).filter_map(parse_range);
    // Sorts by specificity, then by weight: of two equally specific ranges, the one with more weight counts.
    ranges.max().is_none_or(|(_, weight)| weight > 0)
}

/// Specificity of a range for JSON, and its weight in thousandths. A range of other types is the least specific, and weighs nothing.
/// `None` if the text is no range.
fn parse_range(range: &str) -> Option<(u8, u16)> {
    let mut parts = range.split(';').map(str::trim);
    let media_type = parts.next()?.to_ascii_lowercase();
    let exactness = match media_type.as_str() {
        "application/json" => 3,
        "application/*" => 2,
        // Java 8 and older send the second for the first.
        "*/*" | "*" => 1,
        other => {
            let (main, sub) = other.split_once('/')?;
            return (!main.is_empty() && !sub.is_empty()).then_some((0, 0));
        }
    };
    let weight = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
    // An invalid weight excludes nothing: Java's `q=.2` is invalid by the letter.
    Some((exactness, weight.and_then(parse_weight).unwrap_or(1000)))
}

/// A `qvalue`: 0 to 1 with at most three decimals.
fn parse_weight(weight: &str) -> Option<u16> {
    let (whole, decimals) = weight.split_once('.').unwrap_or((weight, ""));
    if decimals.len() > 3 || !decimals.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let decimals: u16 = format!("{decimals:0<3}").parse().ok()?;
    match (whole, decimals) {
        ("0", _) => Some(decimals),
        ("1", 0) => Some(1000),
        _ => None,
    }
}

//! `Accept` (RFC 9110, 12.5.1), as far as a server needs it that has one representation.

use parlance_dialect::Request;

/// Whether a client takes `application/json`: it says nothing, or the most exact of its ranges that cover it has a weight above 0.
pub(crate) fn takes_json(request: &Request<'_>) -> bool {
    let lines: Vec<_> = request.values("accept").map(String::from_utf8_lossy).collect();
    let ranges: Vec<&str> = lines
        .iter()
        .flat_map(|line| line.split(','))
        .map(str::trim)
        .filter(|range| !range.is_empty())
        .collect();
    if ranges.is_empty() {
        return true;
    }
    // Sorts by exactness, then by weight: of two that are as exact, the kinder one counts.
    ranges.into_iter().filter_map(weigh).max().is_some_and(|(_, weight)| weight > 0)
}

/// How exactly a range covers JSON, and its weight in thousandths; `None` if it does not, or has a weight that is none.
fn weigh(range: &str) -> Option<(u8, u16)> {
    let mut parts = range.split(';').map(str::trim);
    let media_type = parts.next()?.to_ascii_lowercase();
    let exactness = match media_type.as_str() {
        "application/json" => 2,
        "application/*" => 1,
        "*/*" => 0,
        _ => return None,
    };
    let weight = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
    Some((exactness, weight.map_or(Some(1000), thousandths)?))
}

/// A `qvalue`: 0 to 1 with at most three decimals.
fn thousandths(weight: &str) -> Option<u16> {
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

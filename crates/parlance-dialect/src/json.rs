//! A strict JSON parser, and timestamps as text.

use chrono::{DateTime, Datelike as _, SecondsFormat, Utc};
use chrono_tz::Tz;
use parlance_core::Timestamp;
use serde::de::DeserializeOwned;

/// The byte order mark that some Windows clients put before a UTF-8 text. A parser may ignore the mark (RFC 8259, 8.1).
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Parses one JSON value, with or without a leading byte order mark. The derived deserializer refuses a duplicate key of a struct; this
/// function refuses any other duplicate key.
///
/// # Errors
/// The body is not JSON, is not of the right shape, or has a duplicate key.
pub fn from_json<T: DeserializeOwned>(body: &[u8]) -> Result<T, serde_json::Error> {
    let body = body.strip_prefix(BYTE_ORDER_MARK).unwrap_or(body);
    serde_json::from_slice::<crate::strict_json::NoDuplicateKeys>(body)?;
    serde_json::from_slice(body)
}

/// A timestamp as a date and time in UTC, for conversion to any time zone or format.
#[must_use]
pub fn to_date_time(at: Timestamp) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(at.millis()).unwrap_or_default()
}

/// A timestamp in a time zone: RFC 3339 in seconds, with a numeric offset. The date is in UTC where the local year is not within 0 to 9999,
/// the range of four digits.
#[must_use]
pub fn format_rfc3339(at: Timestamp, zone: Tz) -> String {
    let utc = to_date_time(at);
    let local = utc.with_timezone(&zone).fixed_offset();
    let writable = (0..=9999).contains(&local.year());
    if writable { local } else { utc.fixed_offset() }.to_rfc3339_opts(SecondsFormat::Secs, false)
}

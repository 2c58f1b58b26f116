//! JSON, strictly, and moments as text.

use chrono::{DateTime, Datelike as _, SecondsFormat, Utc};
use chrono_tz::Tz;
use parlance_core::Timestamp;
use serde::de::DeserializeOwned;

/// What some clients of Windows put before a text in UTF-8. A reader may pass over it (RFC 8259, 8.1).
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Reads one JSON value, with or without a byte order mark before it. A struct's doubled key is refused by the derived reader, any other
/// doubled key here.
///
/// # Errors
/// It is not JSON, not of the right shape, or a key is doubled.
pub fn from_json<T: DeserializeOwned>(body: &[u8]) -> Result<T, serde_json::Error> {
    let body = body.strip_prefix(BYTE_ORDER_MARK).unwrap_or(body);
    serde_json::from_slice::<crate::undoubled::Undoubled>(body)?;
    serde_json::from_slice(body)
}

/// A moment as a date of the UTC calendar, to be put into any zone or format.
#[must_use]
pub fn moment(at: Timestamp) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(at.millis()).unwrap_or_default()
}

/// A moment in a zone: RFC 3339 in seconds, with a numeric offset. Where the zone's calendar has left the years that four digits write,
/// the UTC date.
#[must_use]
pub fn calendar_date(at: Timestamp, zone: Tz) -> String {
    let utc = moment(at);
    let local = utc.with_timezone(&zone).fixed_offset();
    let writable = (0..=9999).contains(&local.year());
    if writable { local } else { utc.fixed_offset() }.to_rfc3339_opts(SecondsFormat::Secs, false)
}

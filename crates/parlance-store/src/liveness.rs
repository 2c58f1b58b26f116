//! The rule of which sessions live, in SQL: the same rule as `Session::is_live`.

use diesel::dsl::{auto_type, exists};
use diesel::prelude::*;
use diesel::sql_types::Bool;
use parlance_core::Timestamp;

use crate::schema::{sessions, users};

/// Whether a session counts at `now`. `used`: a use that is not written yet keeps the session from expiring.
#[auto_type(no_type_alias)]
pub(crate) fn is_live(now: Timestamp, used: bool) -> _ {
    let owner = users::table.filter(users::id.eq(sessions::user_id).and(user_is_current()));
    let session: session_is_live = session_is_live(now, used);
    session.and(exists(owner))
}

/// The part of the rule about the session.
#[auto_type]
pub(crate) fn session_is_live(now: Timestamp, used: bool) -> _ {
    let now: i64 = now.millis();
    let not_expired = sessions::expires_at
        .is_null()
        .or(sessions::expires_at.assume_not_null().gt(now))
        .or(used.into_sql::<Bool>());
    let before_hard_end =
        sessions::hard_end_at.is_null().or(sessions::hard_end_at.assume_not_null().gt(now));
    sessions::revoked_at.is_null().and(sessions::enabled).and(not_expired).and(before_hard_end)
}

/// The part of the rule about the user.
#[auto_type]
pub(crate) fn user_is_current() -> _ {
    users::enabled.and(users::epoch.eq(sessions::epoch))
}

/// Whether a session was dead before a moment, as far as its row holds the time. A session that is dead only because
/// its user's epoch moved has no such time: such a session is dropped after its expiry, or, without an expiry, with its
/// user or by the session limit. To find these sessions here, each purge would have to read every session without an
/// expiry.
#[diesel::dsl::auto_type(no_type_alias)]
pub(crate) fn ended_before(before: Timestamp) -> _ {
    let before: i64 = before.millis();
    let revoked =
        sessions::revoked_at.is_not_null().and(sessions::revoked_at.assume_not_null().lt(before));
    let expired =
        sessions::expires_at.is_not_null().and(sessions::expires_at.assume_not_null().lt(before));
    let ended =
        sessions::hard_end_at.is_not_null().and(sessions::hard_end_at.assume_not_null().lt(before));
    revoked.or(expired).or(ended)
}

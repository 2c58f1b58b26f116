//! Which sessions live, in SQL: the same rule as `Session::is_live`.

use diesel::dsl::{auto_type, exists};
use diesel::prelude::*;
use diesel::sql_types::Bool;
use parlance_core::Timestamp;

use crate::schema::{sessions, users};

/// Whether a session counts at `now`. `used` says that a use which is not written yet keeps it from expiring.
#[auto_type(no_type_alias)]
pub(crate) fn is_live(now: Timestamp, used: bool) -> _ {
    let owner = users::table.filter(users::id.eq(sessions::user_id).and(is_current()));
    let itself: stands = stands(now, used);
    itself.and(exists(owner))
}

/// The session's own part of it.
#[auto_type]
pub(crate) fn stands(now: Timestamp, used: bool) -> _ {
    let now: i64 = now.millis();
    let lasts = sessions::expires_at
        .is_null()
        .or(sessions::expires_at.assume_not_null().gt(now))
        .or(used.into_sql::<Bool>());
    let may_last =
        sessions::hard_end_at.is_null().or(sessions::hard_end_at.assume_not_null().gt(now));
    sessions::revoked_at.is_null().and(sessions::enabled).and(lasts).and(may_last)
}

/// Its user's part of it.
#[auto_type]
pub(crate) fn is_current() -> _ {
    users::enabled.and(users::epoch.eq(sessions::epoch))
}

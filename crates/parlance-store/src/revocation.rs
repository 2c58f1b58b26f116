//! Revocation of all sessions.

use diesel::prelude::*;

use crate::backend::AnyConnection;
use crate::rows::IdColumn;
use crate::schema::users;

/// The number of users in one statement that ends their sessions.
const MAX_USERS_PER_REVOCATION: i64 = 10_000;

/// Ends the sessions of all users, a limited number at a time: one statement for a million users exceeds the statement
/// timeout.
pub(crate) fn revoke_all(conn: &mut AnyConnection) -> QueryResult<u64> {
    let (mut revoked, mut after) = (0, Vec::new());
    loop {
        let next = users::table.filter(users::id.gt(after.as_slice())).order(users::id);
        let ids: Vec<IdColumn> =
            next.select(users::id).limit(MAX_USERS_PER_REVOCATION).load(conn)?;
        let Some(last) = ids.last() else { return Ok(revoked) };
        let last = last.0.as_bytes().to_vec();
        let range =
            users::table.filter(users::id.gt(after.as_slice()).and(users::id.le(last.as_slice())));
        revoked +=
            diesel::update(range).set(users::epoch.eq(users::epoch + 1)).execute(conn)? as u64;
        after = last;
    }
}

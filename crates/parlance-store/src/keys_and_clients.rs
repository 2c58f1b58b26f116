//! Keys and service clients: few rows, seldom changed.

use diesel::dsl::insert_into;
use diesel::prelude::*;
use parlance_core::ports::{Applied, SealedKey};
use parlance_core::{Client, Timestamp};

use crate::backend::AnyConnection;
use crate::changes::applied_if_any;
use crate::fragments::OnConflictDoNothing;
use crate::reports;
use crate::schema::{issuers, keys, service_clients};

/// All keys of a purpose, locked against other changes, in the order of their signing.
fn lock_and_load_keys(conn: &mut AnyConnection, purpose: &str) -> QueryResult<Vec<SealedKey>> {
    conn.lock_keys()?;
    let mut keys = reports::keys(conn)?;
    keys.retain(|key| key.purpose == purpose);
    Ok(keys)
}

pub(crate) fn add_key(
    conn: &mut AnyConnection,
    key: &SealedKey,
    expected_newest: Option<&str>,
) -> QueryResult<Applied> {
    let known = lock_and_load_keys(conn, &key.purpose)?;
    if known.last().map(|newest| newest.kid.as_str()) != expected_newest {
        return Ok(Applied::Refused);
    }
    Ok(if insert_key(conn, key)? > 0 { Applied::Done } else { Applied::Conflict })
}

pub(crate) fn drop_key(
    conn: &mut AnyConnection,
    kid: &str,
    now: Timestamp,
    fallback: Option<&SealedKey>,
) -> QueryResult<Applied> {
    conn.lock_keys()?;
    let purpose: Option<String> =
        keys::table.find(kid).select(keys::purpose).first(conn).optional()?;
    let Some(purpose) = purpose else { return Ok(Applied::Refused) };
    let known = lock_and_load_keys(conn, &purpose)?;
    let current = known.iter().rfind(|key| key.active_from <= now);
    if current.is_some_and(|current| current.kid == kid) {
        match (known.iter().find(|key| key.active_from > now), fallback) {
            (Some(next), _) => {
                let set = keys::active_at.eq(now.millis());
                diesel::update(keys::table.find(&next.kid)).set(set).execute(conn)?;
            }
            (None, Some(fallback)) => {
                insert_key(conn, &SealedKey { active_from: now, ..fallback.clone() })?;
            }
            (None, None) => {}
        }
    }
    Ok(applied_if_any(diesel::delete(keys::table.find(kid)).execute(conn)?))
}

fn insert_key(conn: &mut AnyConnection, key: &SealedKey) -> QueryResult<usize> {
    let insert = insert_into(keys::table).values((
        keys::kid.eq(&key.kid),
        keys::purpose.eq(&key.purpose),
        keys::created_at.eq(key.created.millis()),
        keys::active_at.eq(key.active_from.millis()),
        keys::sealed.eq(key.sealed.as_slice()),
    ));
    OnConflictDoNothing(insert).execute(conn)
}

pub(crate) fn issuer(conn: &mut AnyConnection, purpose: &str) -> QueryResult<Option<String>> {
    issuers::table.find(purpose).select(issuers::issuer).first(conn).optional()
}

pub(crate) fn set_issuer(
    conn: &mut AnyConnection,
    purpose: &str,
    issuer: &str,
    replace: bool,
) -> QueryResult<Applied> {
    let values = (issuers::purpose.eq(purpose), issuers::issuer.eq(issuer));
    let inserted = OnConflictDoNothing(insert_into(issuers::table).values(values)).execute(conn)?;
    if inserted > 0 || !replace {
        return Ok(applied_if_any(inserted));
    }
    let other = issuers::table.find(purpose).filter(issuers::issuer.ne(issuer));
    Ok(applied_if_any(diesel::update(other).set(issuers::issuer.eq(issuer)).execute(conn)?))
}

pub(crate) fn add_client(conn: &mut AnyConnection, client: &Client) -> QueryResult<Applied> {
    let insert = insert_into(service_clients::table).values((
        service_clients::name.eq(&client.name),
        service_clients::id.eq(client.id.as_bytes().as_slice()),
        service_clients::digest.eq(client.digest.as_bytes().as_slice()),
        service_clients::created_at.eq(client.created.millis()),
    ));
    Ok(if OnConflictDoNothing(insert).execute(conn)? > 0 {
        Applied::Done
    } else {
        Applied::Conflict
    })
}

pub(crate) fn remove_client(conn: &mut AnyConnection, name: &str) -> QueryResult<usize> {
    diesel::delete(service_clients::table.find(name)).execute(conn)
}

//! Keys and service clients: few rows, seldom changed.

use diesel::dsl::insert_into;
use diesel::prelude::*;
use parlance_core::ports::{Applied, SealedKey};
use parlance_core::{Client, Timestamp};

use crate::any::AnyConnection;
use crate::changes::done;
use crate::fragments::OrNothing;
use crate::reports;
use crate::schema::{issuers, keys, service_clients};

/// All keys of a purpose, which nobody else changes now, in the order in which they sign.
fn locked(any: &mut AnyConnection, purpose: &str) -> QueryResult<Vec<SealedKey>> {
    any.lock_keys()?;
    let mut keys = reports::keys(any)?;
    keys.retain(|key| key.purpose == purpose);
    Ok(keys)
}

pub(crate) fn add_key(
    any: &mut AnyConnection,
    key: &SealedKey,
    after: Option<&str>,
) -> QueryResult<Applied> {
    let known = locked(any, &key.purpose)?;
    if known.last().map(|newest| newest.kid.as_str()) != after {
        return Ok(Applied::Refused);
    }
    Ok(if insert(any, key)? > 0 { Applied::Done } else { Applied::Taken })
}

pub(crate) fn drop_key(
    any: &mut AnyConnection,
    kid: &str,
    now: Timestamp,
    spare: Option<&SealedKey>,
) -> QueryResult<Applied> {
    any.lock_keys()?;
    let purpose: Option<String> =
        keys::table.find(kid).select(keys::purpose).first(any).optional()?;
    let Some(purpose) = purpose else { return Ok(Applied::Refused) };
    let known = locked(any, &purpose)?;
    let signs = known.iter().rfind(|key| key.active <= now);
    if signs.is_some_and(|signs| signs.kid == kid) {
        match (known.iter().find(|key| key.active > now), spare) {
            (Some(next), _) => {
                let set = keys::active_at.eq(now.millis());
                diesel::update(keys::table.find(&next.kid)).set(set).execute(any)?;
            }
            (None, Some(spare)) => {
                insert(any, &SealedKey { active: now, ..spare.clone() })?;
            }
            (None, None) => {}
        }
    }
    Ok(done(diesel::delete(keys::table.find(kid)).execute(any)?))
}

fn insert(any: &mut AnyConnection, key: &SealedKey) -> QueryResult<usize> {
    let insert = insert_into(keys::table).values((
        keys::kid.eq(&key.kid),
        keys::purpose.eq(&key.purpose),
        keys::created_at.eq(key.created.millis()),
        keys::active_at.eq(key.active.millis()),
        keys::sealed.eq(key.sealed.as_slice()),
    ));
    OrNothing(insert).execute(any)
}

pub(crate) fn issuer(any: &mut AnyConnection, purpose: &str) -> QueryResult<Option<String>> {
    issuers::table.find(purpose).select(issuers::issuer).first(any).optional()
}

pub(crate) fn keep_issuer(
    any: &mut AnyConnection,
    purpose: &str,
    issuer: &str,
    replace: bool,
) -> QueryResult<Applied> {
    let values = (issuers::purpose.eq(purpose), issuers::issuer.eq(issuer));
    let inserted = OrNothing(insert_into(issuers::table).values(values)).execute(any)?;
    if inserted > 0 || !replace {
        return Ok(done(inserted));
    }
    let other = issuers::table.find(purpose).filter(issuers::issuer.ne(issuer));
    Ok(done(diesel::update(other).set(issuers::issuer.eq(issuer)).execute(any)?))
}

pub(crate) fn add_client(any: &mut AnyConnection, client: &Client) -> QueryResult<Applied> {
    let insert = insert_into(service_clients::table).values((
        service_clients::name.eq(&client.name),
        service_clients::id.eq(client.id.as_bytes().as_slice()),
        service_clients::digest.eq(client.digest.as_bytes().as_slice()),
        service_clients::created_at.eq(client.created.millis()),
    ));
    Ok(if OrNothing(insert).execute(any)? > 0 { Applied::Done } else { Applied::Taken })
}

pub(crate) fn remove_client(any: &mut AnyConnection, name: &str) -> QueryResult<usize> {
    diesel::delete(service_clients::table.find(name)).execute(any)
}

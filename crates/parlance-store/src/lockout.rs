//! Account lock-out: a login reserves an attempt in one statement before its password is verified. Afterwards the
//! attempt is released or kept.

use std::net::IpAddr;

use diesel::dsl::{case_when, count_star, insert_into, not};
use diesel::prelude::*;
use diesel::sql_types::BigInt;
use parlance_core::lockout::{
    self, Admission, Attempt, AttemptState, Reservation, TRUSTED_ADDRESSES_PER_USER, account_digest,
};
use parlance_core::ports::Applied;
use parlance_core::{CanonicalName, Digest, Timestamp, UserId};

use crate::attempts::{NO_USER, RecordFailure, ReserveAttempt};
use crate::backend::AnyConnection;
use crate::fragments::{InList, MAX_KEYS_PER_STATEMENT, OnConflictDoNothing};
use crate::rows::{DigestColumn, IdColumn, TimestampColumn};
use crate::schema::{known_addresses, login_attempts, users};

pub(crate) fn reserve(conn: &mut AnyConnection, attempt: &Attempt) -> QueryResult<Applied> {
    let (day, failures, refused, for_trusted_address): (i64, i64, i64, bool) =
        ReserveAttempt::new(attempt).get_result(conn)?;
    if refused == 0 {
        return Ok(Applied::Admitted(Admission {
            day,
            previous_failures: failures,
            for_trusted_address: false,
        }));
    }
    // Also runs for a name that no user has or that has no attempt left: every refusal costs the same, against user
    // enumeration by a timing attack.
    let user = attempt.user.filter(|_| for_trusted_address).unwrap_or(NO_USER);
    let is_old = || known_addresses::day.lt(day);
    let used = case_when(is_old(), 1i64.into_sql::<BigInt>()).otherwise(known_addresses::taken + 1);
    let set = (known_addresses::taken.eq(used), known_addresses::day.eq(day));
    diesel::update(trusted_address_row(user, attempt)).set(set).execute(conn)?;
    Ok(if for_trusted_address {
        Applied::Admitted(Admission { day, previous_failures: 0, for_trusted_address })
    } else {
        Applied::Refused
    })
}

pub(crate) fn record_failure(
    conn: &mut AnyConnection,
    reservation: &Reservation,
) -> QueryResult<Applied> {
    if !reservation.admission.for_trusted_address {
        RecordFailure::new(reservation).execute(conn)?;
    }
    Ok(Applied::Done)
}

pub(crate) fn release(conn: &mut AnyConnection, reservation: &Reservation) -> QueryResult<Applied> {
    if reservation.admission.for_trusted_address {
        release_trusted_address(conn, reservation)?;
    } else {
        diesel::update(attempts_row(reservation))
            .set(login_attempts::taken.eq(login_attempts::taken - 1))
            .execute(conn)?;
    }
    Ok(Applied::Done)
}

/// Releases the attempt of a successful login, and trusts its address from now on. The user's row is locked.
pub(crate) fn reset(conn: &mut AnyConnection, reservation: &Reservation) -> QueryResult<()> {
    let now = reservation.attempt.now.millis();
    if reservation.admission.for_trusted_address {
        release_trusted_address(conn, reservation)?;
    } else {
        let set = (
            login_attempts::taken.eq(login_attempts::taken - 1),
            login_attempts::failures.eq(0),
            login_attempts::until_at.eq(now),
        );
        diesel::update(attempts_row(reservation)).set(set).execute(conn)?;
    }
    let (Some(user), Some(address)) = (reservation.attempt.user, reservation.attempt.address)
    else {
        return Ok(());
    };
    add_trusted_address(conn, user, address, reservation.attempt.now)
}

/// Trusts an address of a user as the latest. The user's row is locked.
fn add_trusted_address(
    conn: &mut AnyConnection,
    user: UserId,
    address: IpAddr,
    now: Timestamp,
) -> QueryResult<()> {
    let (id, address) = (user.0.as_bytes().as_slice(), address.to_string());
    let last_login = known_addresses::seen_at.eq(now.millis());
    let row = known_addresses::table.find((id, address.as_str()));
    if diesel::update(row).set(last_login).execute(conn)? > 0 {
        return Ok(());
    }
    let insert = insert_into(known_addresses::table).values((
        known_addresses::user_id.eq(id),
        known_addresses::address.eq(address.as_str()),
        last_login,
        known_addresses::day.eq(lockout::utc_day(now)),
        known_addresses::taken.eq(0),
    ));
    OnConflictDoNothing(insert).execute(conn)?;
    prune_trusted_addresses(conn, id, &address)
}

/// Trusts an address that an operator vouches for.
pub(crate) fn trust_address(
    conn: &mut AnyConnection,
    name: &CanonicalName,
    address: IpAddr,
    now: Timestamp,
) -> QueryResult<Applied> {
    let named = users::table.filter(users::canonical.eq(name.as_str()));
    // Writes the present value, to lock the user's row: changes of this user's trusted addresses then come one after
    // the other.
    diesel::update(named).set(users::version.eq(users::version)).execute(conn)?;
    let user: Option<IdColumn> = named.select(users::id).first(conn).optional()?;
    let Some(user) = user else { return Ok(Applied::Refused) };
    add_trusted_address(conn, UserId(user.0), address, now)?;
    Ok(Applied::Done)
}

fn prune_trusted_addresses(conn: &mut AnyConnection, user: &[u8], newest: &str) -> QueryResult<()> {
    let of_user = known_addresses::table.filter(known_addresses::user_id.eq(user));
    let mut addresses: Vec<(i64, String)> =
        of_user.select((known_addresses::seen_at, known_addresses::address)).load(conn)?;
    if addresses.len() <= TRUSTED_ADDRESSES_PER_USER {
        return Ok(());
    }
    addresses.sort_by_key(|(seen, address)| (std::cmp::Reverse(*seen), address != newest));
    let dropped = addresses
        .iter()
        .skip(TRUSTED_ADDRESSES_PER_USER)
        .take(MAX_KEYS_PER_STATEMENT)
        .map(|(_, address)| address.as_str());
    let dropped = InList::new(known_addresses::address, dropped);
    diesel::delete(of_user.filter(dropped)).execute(conn).map(drop)
}

pub(crate) fn unlock(conn: &mut AnyConnection, name: &CanonicalName) -> QueryResult<Applied> {
    let digest = account_digest(name);
    diesel::delete(login_attempts::table.find(digest.as_bytes().as_slice())).execute(conn)?;
    let named = users::table.filter(users::canonical.eq(name.as_str())).select(users::id);
    let of_user = known_addresses::table.filter(known_addresses::user_id.eq_any(named));
    diesel::update(of_user).set(known_addresses::taken.eq(0)).execute(conn)?;
    Ok(Applied::Done)
}

/// Moves the counts of a name to another name, in place of the other name's former counts. The names differ.
pub(crate) fn rename(
    conn: &mut AnyConnection,
    old: &CanonicalName,
    new: &CanonicalName,
) -> QueryResult<()> {
    let (old, new) = (account_digest(old), account_digest(new));
    let (old, new) = (old.as_bytes().as_slice(), new.as_bytes().as_slice());
    let counted: i64 = login_attempts::table.find(old).count().get_result(conn)?;
    // Counts that strangers caused under a name without a user do not apply to the renamed user.
    diesel::delete(login_attempts::table.find(new)).execute(conn)?;
    if counted > 0 {
        diesel::update(login_attempts::table.find(old))
            .set(login_attempts::account.eq(new))
            .execute(conn)?;
    }
    Ok(())
}

pub(crate) fn purge(
    conn: &mut AnyConnection,
    before: Timestamp,
    max_unknown_names: u32,
    limit: u32,
) -> QueryResult<Applied> {
    let is_idle = login_attempts::until_at.lt(before.millis());
    let old: Vec<DigestColumn> = login_attempts::table
        .filter(is_idle)
        .limit(limit.into())
        .select(login_attempts::account)
        .load(conn)?;
    let mut dropped = 0;
    for chunk in old.chunks(MAX_KEYS_PER_STATEMENT) {
        let rows = login_attempts::table.filter(account_is_one_of(chunk)).filter(is_idle);
        dropped += diesel::delete(rows).execute(conn)?;
    }
    let unknown_names = login_attempts::table.filter(not(login_attempts::known));
    let unknown_count: i64 = unknown_names.select(count_star()).first(conn)?;
    let room = i64::from(limit) - i64::try_from(dropped).unwrap_or(i64::MAX);
    let excess = (unknown_count - i64::from(max_unknown_names)).min(room);
    if excess > 0 {
        let oldest: Vec<DigestColumn> = unknown_names
            .order(login_attempts::until_at)
            .limit(excess)
            .select(login_attempts::account)
            .load(conn)?;
        for chunk in oldest.chunks(MAX_KEYS_PER_STATEMENT) {
            let rows = unknown_names.filter(account_is_one_of(chunk));
            dropped += diesel::delete(rows).execute(conn)?;
        }
    }
    Ok(Applied::Rows(dropped as u64))
}

fn account_is_one_of(accounts: &[DigestColumn]) -> InList<'_, login_attempts::account, [u8]> {
    let accounts = accounts.iter().map(|account| account.0.as_bytes().as_slice());
    InList::new(login_attempts::account, accounts)
}

pub(crate) fn attempt_state(
    conn: &mut AnyConnection,
    account: Digest,
) -> QueryResult<Option<AttemptState>> {
    let columns = (
        login_attempts::day,
        login_attempts::taken,
        login_attempts::failures,
        login_attempts::until_at,
        login_attempts::refused,
    );
    let found: Option<(i64, i64, i64, TimestampColumn, i64)> = login_attempts::table
        .find(account.as_bytes().as_slice())
        .select(columns)
        .first(conn)
        .optional()?;
    let to_state =
        |(day, taken, failures, until, refused): (_, _, _, TimestampColumn, _)| AttemptState {
            day,
            used: taken,
            consecutive_failures: failures,
            wait_until: until.0,
            consecutive_refusals: refused,
        };
    Ok(found.map(to_state))
}

/// Releases an attempt that was reserved for a trusted address.
fn release_trusted_address(conn: &mut AnyConnection, reservation: &Reservation) -> QueryResult<()> {
    let account = login_attempts::account.eq(reservation.attempt.account.as_bytes().as_slice());
    let that_day = login_attempts::day.eq(reservation.admission.day);
    let account = account.and(that_day).and(login_attempts::reserved.gt(0));
    diesel::update(login_attempts::table.filter(account))
        .set(login_attempts::reserved.eq(login_attempts::reserved - 1))
        .execute(conn)?;
    let Some(user) = reservation.attempt.user else { return Ok(()) };
    let kept = trusted_address_row(user, &reservation.attempt).filter(
        known_addresses::day.eq(reservation.admission.day).and(known_addresses::taken.gt(0)),
    );
    diesel::update(kept)
        .set(known_addresses::taken.eq(known_addresses::taken - 1))
        .execute(conn)
        .map(drop)
}

/// The row of a user's trusted address.
#[diesel::dsl::auto_type(no_type_alias)]
fn trusted_address_row(user: UserId, attempt: &Attempt) -> _ {
    let user: Vec<u8> = user.0.as_bytes().to_vec();
    let address: String = attempt.address.map(|address| address.to_string()).unwrap_or_default();
    known_addresses::table
        .filter(known_addresses::user_id.eq(user).and(known_addresses::address.eq(address)))
}

/// The row with the attempt, if the row still counts for that day.
#[diesel::dsl::auto_type(no_type_alias)]
fn attempts_row(reservation: &Reservation) -> _ {
    let account: Vec<u8> = reservation.attempt.account.as_bytes().to_vec();
    let day: i64 = reservation.admission.day;
    login_attempts::table.filter(
        login_attempts::account
            .eq(account)
            .and(login_attempts::day.eq(day))
            .and(login_attempts::taken.gt(0i64)),
    )
}

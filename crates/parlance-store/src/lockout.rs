//! Ladders: a place is taken before a password is verified, in one statement, and given back or kept once it was.

use diesel::dsl::{case_when, count_star, insert_into, not};
use diesel::prelude::*;
use diesel::sql_types::BigInt;
use parlance_core::lockout::{
    self, Admission, Attempt, KNOWN_ADDRESSES, RESERVE, Rung, Slot, account,
};
use parlance_core::ports::Applied;
use parlance_core::{CanonicalName, Digest, Timestamp, UserId};

use crate::any::AnyConnection;
use crate::fragments::{MOST, OneOf, OrNothing};
use crate::ladder::{Climb, Take};
use crate::rows::{Hash, Moment};
use crate::schema::{known_addresses, login_attempts, users};

pub(crate) fn attempt(any: &mut AnyConnection, attempt: &Attempt) -> QueryResult<Applied> {
    let (day, failures, refused): (i64, i64, i64) = Take::new(attempt).get_result(any)?;
    if refused == 0 {
        return Ok(Applied::Admitted(Admission { day, failures, reserved: false }));
    }
    // Asked for a name that nobody has as well: a refusal costs the same.
    let today = lockout::day(attempt.now);
    let kept = known(attempt.user.unwrap_or(UserId(uuid::Uuid::nil())), attempt);
    let is_old = || known_addresses::day.lt(today);
    let is_left = known_addresses::taken.lt(RESERVE);
    let one_more =
        case_when(is_old(), 1i64.into_sql::<BigInt>()).otherwise(known_addresses::taken + 1);
    let latest = case_when(is_old(), today.into_sql::<BigInt>()).otherwise(known_addresses::day);
    let set = (known_addresses::taken.eq(one_more), known_addresses::day.eq(latest));
    if diesel::update(kept.filter(is_old().or(is_left))).set(set).execute(any)? > 0 {
        return Ok(Applied::Admitted(Admission { day: today, failures: 0, reserved: true }));
    }
    Ok(Applied::Refused)
}

pub(crate) fn failed(any: &mut AnyConnection, slot: &Slot) -> QueryResult<Applied> {
    if !slot.admission.reserved {
        Climb::new(slot).execute(any)?;
    }
    Ok(Applied::Done)
}

pub(crate) fn give_back(any: &mut AnyConnection, slot: &Slot) -> QueryResult<Applied> {
    if slot.admission.reserved {
        keep_for_another(any, slot)?;
    } else {
        diesel::update(taken(slot))
            .set(login_attempts::taken.eq(login_attempts::taken - 1))
            .execute(any)?;
    }
    Ok(Applied::Done)
}

/// Gives the place of a login back that was right, and knows its address from now on. Its user's row is locked.
pub(crate) fn succeeded(any: &mut AnyConnection, slot: &Slot) -> QueryResult<()> {
    let now = slot.attempt.now.millis();
    if slot.admission.reserved {
        keep_for_another(any, slot)?;
    } else {
        let set = (
            login_attempts::taken.eq(login_attempts::taken - 1),
            login_attempts::failures.eq(0),
            login_attempts::until_at.eq(now),
        );
        diesel::update(taken(slot)).set(set).execute(any)?;
    }
    let (Some(user), Some(address)) = (slot.attempt.user, slot.attempt.address) else {
        return Ok(());
    };
    let seen = known_addresses::seen_at.eq(now);
    if diesel::update(known(user, &slot.attempt)).set(seen).execute(any)? > 0 {
        return Ok(());
    }
    let id = user.0.as_bytes().as_slice();
    let insert = insert_into(known_addresses::table).values((
        known_addresses::user_id.eq(id),
        known_addresses::address.eq(address.to_string()),
        seen,
        known_addresses::day.eq(lockout::day(slot.attempt.now)),
        known_addresses::taken.eq(0),
    ));
    OrNothing(insert).execute(any)?;
    forget_all_but_the_latest(any, id, &address.to_string())
}

fn forget_all_but_the_latest(
    any: &mut AnyConnection,
    user: &[u8],
    newest: &str,
) -> QueryResult<()> {
    let his = known_addresses::table.filter(known_addresses::user_id.eq(user));
    let mut seen: Vec<(i64, String)> =
        his.select((known_addresses::seen_at, known_addresses::address)).load(any)?;
    if seen.len() <= KNOWN_ADDRESSES {
        return Ok(());
    }
    seen.sort_by_key(|(seen, address)| (std::cmp::Reverse(*seen), address != newest));
    let dropped = seen.iter().skip(KNOWN_ADDRESSES).take(MOST).map(|(_, address)| address.as_str());
    let dropped = OneOf::new(known_addresses::address, dropped);
    diesel::delete(his.filter(dropped)).execute(any).map(drop)
}

pub(crate) fn unlock(any: &mut AnyConnection, name: &CanonicalName) -> QueryResult<Applied> {
    let ladder = account(name);
    diesel::delete(login_attempts::table.find(ladder.as_bytes().as_slice())).execute(any)?;
    let named = users::table.filter(users::canonical.eq(name.as_str())).select(users::id);
    let his = known_addresses::table.filter(known_addresses::user_id.eq_any(named));
    diesel::update(his).set(known_addresses::taken.eq(0)).execute(any)?;
    Ok(Applied::Done)
}

pub(crate) fn purge(
    any: &mut AnyConnection,
    before: Timestamp,
    unknown: u32,
    limit: u32,
) -> QueryResult<Applied> {
    let untried = login_attempts::until_at.lt(before.millis());
    let old: Vec<Hash> = login_attempts::table
        .filter(untried)
        .limit(limit.into())
        .select(login_attempts::account)
        .load(any)?;
    let mut dropped = 0;
    for old in old.chunks(MOST) {
        let old = login_attempts::table.filter(one_of(old)).filter(untried);
        dropped += diesel::delete(old).execute(any)?;
    }
    let strangers = login_attempts::table.filter(not(login_attempts::known));
    let strangers_now: i64 = strangers.select(count_star()).first(any)?;
    let room = i64::from(limit) - i64::try_from(dropped).unwrap_or(i64::MAX);
    let beyond = (strangers_now - i64::from(unknown)).min(room);
    if beyond > 0 {
        let longest: Vec<Hash> = strangers
            .order(login_attempts::until_at)
            .limit(beyond)
            .select(login_attempts::account)
            .load(any)?;
        for longest in longest.chunks(MOST) {
            let longest = strangers.filter(one_of(longest));
            dropped += diesel::delete(longest).execute(any)?;
        }
    }
    Ok(Applied::Rows(dropped as u64))
}

fn one_of(accounts: &[Hash]) -> OneOf<'_, login_attempts::account, [u8]> {
    let accounts = accounts.iter().map(|account| account.0.as_bytes().as_slice());
    OneOf::new(login_attempts::account, accounts)
}

pub(crate) fn rung(any: &mut AnyConnection, account: Digest) -> QueryResult<Option<Rung>> {
    let columns = (
        login_attempts::day,
        login_attempts::taken,
        login_attempts::failures,
        login_attempts::until_at,
        login_attempts::refused,
    );
    let found: Option<(i64, i64, i64, Moment, i64)> = login_attempts::table
        .find(account.as_bytes().as_slice())
        .select(columns)
        .first(any)
        .optional()?;
    let rung = |(day, taken, failures, until, refused): (_, _, _, Moment, _)| Rung {
        day,
        taken,
        failures,
        until: until.0,
        refused,
    };
    Ok(found.map(rung))
}

/// Gives back what was taken from what is kept for an address.
fn keep_for_another(any: &mut AnyConnection, slot: &Slot) -> QueryResult<()> {
    let Some(user) = slot.attempt.user else { return Ok(()) };
    let kept = known(user, &slot.attempt)
        .filter(known_addresses::day.eq(slot.admission.day).and(known_addresses::taken.gt(0)));
    diesel::update(kept)
        .set(known_addresses::taken.eq(known_addresses::taken - 1))
        .execute(any)
        .map(drop)
}

/// The row of a user's address.
#[diesel::dsl::auto_type(no_type_alias)]
fn known(user: UserId, attempt: &Attempt) -> _ {
    let user: Vec<u8> = user.0.as_bytes().to_vec();
    let address: String = attempt.address.map(|address| address.to_string()).unwrap_or_default();
    known_addresses::table
        .filter(known_addresses::user_id.eq(user).and(known_addresses::address.eq(address)))
}

/// The row that a place was taken on, if it still counts for that day.
#[diesel::dsl::auto_type(no_type_alias)]
fn taken(slot: &Slot) -> _ {
    let account: Vec<u8> = slot.attempt.account.as_bytes().to_vec();
    let day: i64 = slot.admission.day;
    login_attempts::table.filter(
        login_attempts::account
            .eq(account)
            .and(login_attempts::day.eq(day))
            .and(login_attempts::taken.gt(0i64)),
    )
}

//! Ladders: a place is taken before a password is verified, in one statement, and given back or kept once it was.

use std::net::IpAddr;

use diesel::dsl::{case_when, count_star, insert_into, not};
use diesel::prelude::*;
use diesel::sql_types::BigInt;
use parlance_core::lockout::{self, Admission, Attempt, KNOWN_ADDRESSES, Rung, Slot, account};
use parlance_core::ports::Applied;
use parlance_core::{CanonicalName, Digest, Timestamp, UserId};

use crate::any::AnyConnection;
use crate::fragments::{MOST, OneOf, OrNothing};
use crate::ladder::{Climb, NOBODY, Take};
use crate::rows::{Hash, Id, Moment};
use crate::schema::{known_addresses, login_attempts, users};

pub(crate) fn attempt(any: &mut AnyConnection, attempt: &Attempt) -> QueryResult<Applied> {
    let (day, failures, refused, reserved): (i64, i64, i64, bool) =
        Take::new(attempt).get_result(any)?;
    if refused == 0 {
        return Ok(Applied::Admitted(Admission { day, failures, reserved: false }));
    }
    // Asked for a name that nobody has, or that has none left, as well: a refusal costs the same.
    let user = attempt.user.filter(|_| reserved).unwrap_or(NOBODY);
    let is_old = || known_addresses::day.lt(day);
    let one_more =
        case_when(is_old(), 1i64.into_sql::<BigInt>()).otherwise(known_addresses::taken + 1);
    let set = (known_addresses::taken.eq(one_more), known_addresses::day.eq(day));
    diesel::update(known(user, attempt)).set(set).execute(any)?;
    Ok(if reserved {
        Applied::Admitted(Admission { day, failures: 0, reserved })
    } else {
        Applied::Refused
    })
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
    trust(any, user, address, slot.attempt.now)
}

/// Knows an address of a user as the latest. His row is locked.
fn trust(
    any: &mut AnyConnection,
    user: UserId,
    address: IpAddr,
    now: Timestamp,
) -> QueryResult<()> {
    let (id, address) = (user.0.as_bytes().as_slice(), address.to_string());
    let seen = known_addresses::seen_at.eq(now.millis());
    let row = known_addresses::table.find((id, address.as_str()));
    if diesel::update(row).set(seen).execute(any)? > 0 {
        return Ok(());
    }
    let insert = insert_into(known_addresses::table).values((
        known_addresses::user_id.eq(id),
        known_addresses::address.eq(address.as_str()),
        seen,
        known_addresses::day.eq(lockout::day(now)),
        known_addresses::taken.eq(0),
    ));
    OrNothing(insert).execute(any)?;
    forget_all_but_the_latest(any, id, &address)
}

/// Trusts an address that an operator vouches for.
pub(crate) fn trust_address(
    any: &mut AnyConnection,
    name: &CanonicalName,
    address: IpAddr,
    now: Timestamp,
) -> QueryResult<Applied> {
    let named = users::table.filter(users::canonical.eq(name.as_str()));
    // It sets what is there, to lock the user's row: what trusts his addresses comes one after the other.
    diesel::update(named).set(users::version.eq(users::version)).execute(any)?;
    let user: Option<Id> = named.select(users::id).first(any).optional()?;
    let Some(user) = user else { return Ok(Applied::Refused) };
    trust(any, UserId(user.0), address, now)?;
    Ok(Applied::Done)
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

/// Lets what is counted of a name go on under another one, in the place of what was counted of that before. The names differ.
pub(crate) fn rename(
    any: &mut AnyConnection,
    old: &CanonicalName,
    new: &CanonicalName,
) -> QueryResult<()> {
    let (old, new) = (account(old), account(new));
    let (old, new) = (old.as_bytes().as_slice(), new.as_bytes().as_slice());
    let counted: i64 = login_attempts::table.find(old).count().get_result(any)?;
    // What strangers made of a name that had no user is not the renamed one's.
    diesel::delete(login_attempts::table.find(new)).execute(any)?;
    if counted > 0 {
        diesel::update(login_attempts::table.find(old))
            .set(login_attempts::account.eq(new))
            .execute(any)?;
    }
    Ok(())
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
    let account = login_attempts::account.eq(slot.attempt.account.as_bytes().as_slice());
    let that_day = login_attempts::day.eq(slot.admission.day);
    let account = account.and(that_day).and(login_attempts::reserved.gt(0));
    diesel::update(login_attempts::table.filter(account))
        .set(login_attempts::reserved.eq(login_attempts::reserved - 1))
        .execute(any)?;
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

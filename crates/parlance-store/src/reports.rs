//! The lane of reports: what may take long, and must hold up no check. A report shows what is written: a touch shows after its flush.

use diesel::dsl::count_star;
use diesel::prelude::*;
use parlance_core::lockout::Rung;
use parlance_core::ports::{SealedKey, SessionQuery, StoreError, UserPage, UserQuery};
use parlance_core::{Client, Digest, Session, Timestamp, User};

use crate::any::{Any, AnyConnection};
use crate::connection::Held;
use crate::lane::Work;
use crate::live::{is_current, is_live, stands};
use crate::lockout;
use crate::queue::{Reply, answer};
use crate::rows::{ClientRow, KeyRow, SessionRow, UserRow};
use crate::schema::{self, service_clients, sessions, users};
use crate::services;

/// A report.
pub(crate) enum Report {
    Users { offset: u64, limit: u32, reply: Reply<UserPage> },
    FindUsers { query: UserQuery, reply: Reply<Vec<User>> },
    Sessions { query: Box<SessionQuery>, reply: Reply<Vec<(Session, User)>> },
    Live { now: Timestamp, reply: Reply<Vec<(String, u64)>> },
    Keys(Reply<Vec<SealedKey>>),
    Issuer(String, Reply<Option<String>>),
    Clients(Reply<Vec<Client>>),
    Rung(Digest, Reply<Option<Rung>>),
}

/// Makes reports.
pub(crate) struct Reports;

impl Work for Reports {
    type Job = Report;
    const MOST: usize = 1;

    fn turn(&mut self, jobs: Vec<Report>, held: &mut Held) {
        for job in jobs {
            match job {
                Report::Users { offset, limit, reply } => {
                    make(held, reply, |any| users_page(any, offset, limit))
                }
                Report::FindUsers { query, reply } => {
                    make(held, reply, |any| find_users(any, &query))
                }
                Report::Sessions { query, reply } => {
                    make(held, reply, |any| sessions_page(any, &query))
                }
                Report::Live { now, reply } => make(held, reply, |any| live(any, now)),
                Report::Keys(reply) => make(held, reply, keys),
                Report::Issuer(purpose, reply) => {
                    make(held, reply, |any| services::issuer(any, &purpose))
                }
                Report::Rung(account, reply) => {
                    make(held, reply, |any| lockout::rung(any, account))
                }
                Report::Clients(reply) => make(held, reply, clients),
            }
        }
    }
}

fn make<T>(
    held: &mut Held,
    reply: Reply<T>,
    report: impl FnMut(&mut AnyConnection) -> QueryResult<T>,
) {
    if !reply.is_canceled() {
        let made = held.twice(report);
        answer(reply, made.map_err(|setback| StoreError::Unavailable(setback.text)));
    }
}

fn users_page(any: &mut AnyConnection, offset: u64, limit: u32) -> QueryResult<UserPage> {
    let total: i64 = users::table.select(count_star()).first(any)?;
    let page = users::table
        .order(users::canonical)
        .limit(limit.into())
        .offset(i64::try_from(offset).unwrap_or(i64::MAX));
    let rows: Vec<UserRow> = page.select(UserRow::as_select()).load(any)?;
    Ok(UserPage { total: unsigned(total), items: rows.into_iter().map(User::from).collect() })
}

fn find_users(any: &mut AnyConnection, query: &UserQuery) -> QueryResult<Vec<User>> {
    let mut page = users::table
        .select(UserRow::as_select())
        .order(users::canonical)
        .limit(query.limit.into())
        .into_boxed::<Any>();
    if let Some(id) = query.id {
        page = page.filter(users::id.eq(id.0.as_bytes().to_vec()));
    }
    if let Some(after) = &query.after {
        page = page.filter(users::canonical.gt(after.as_str()));
    }
    Ok(page.load(any)?.into_iter().map(User::from).collect())
}

fn sessions_page(
    any: &mut AnyConnection,
    query: &SessionQuery,
) -> QueryResult<Vec<(Session, User)>> {
    let mut page = sessions::table
        .inner_join(users::table)
        .select((SessionRow::as_select(), UserRow::as_select()))
        .order((sessions::created_at, sessions::id))
        .limit(query.limit.into())
        .into_boxed::<Any>();
    if let Some(id) = query.id {
        page = page.filter(sessions::id.eq(id.0.as_bytes().to_vec()));
    }
    if let Some(name) = &query.user {
        page = page.filter(users::canonical.eq(name.as_str()));
    }
    if let Some(dialect) = &query.dialect {
        page = page.filter(sessions::dialect.eq(dialect.as_str()));
    }
    if let Some(since) = query.since {
        page = page.filter(sessions::created_at.ge(since.millis()));
    }
    if let Some(now) = query.live_at {
        page = page.filter(stands(now, false).and(is_current()));
    }
    if let Some((created, id)) = query.after {
        let (created, id) = (created.millis(), id.0.as_bytes().to_vec());
        let same = sessions::created_at.eq(created).and(sessions::id.gt(id));
        page = page.filter(sessions::created_at.gt(created).or(same));
    }
    let rows: Vec<(SessionRow, UserRow)> = page.load(any)?;
    Ok(rows.into_iter().map(|(session, user)| (session.into(), user.into())).collect())
}

fn live(any: &mut AnyConnection, now: Timestamp) -> QueryResult<Vec<(String, u64)>> {
    let by_dialect = sessions::table
        .group_by(sessions::dialect)
        .order(sessions::dialect)
        .filter(is_live(now, false));
    let counts: Vec<(String, i64)> =
        by_dialect.select((sessions::dialect, count_star())).load(any)?;
    Ok(counts.into_iter().map(|(dialect, count)| (dialect, unsigned(count))).collect())
}

pub(crate) fn keys(any: &mut AnyConnection) -> QueryResult<Vec<SealedKey>> {
    let rows: Vec<KeyRow> = schema::keys::table.select(KeyRow::as_select()).load(any)?;
    let mut keys: Vec<_> = rows.into_iter().map(SealedKey::from).collect();
    // Here and not there, where the order of texts is the server's.
    keys.sort_by(|a, b| (a.active, &a.kid).cmp(&(b.active, &b.kid)));
    Ok(keys)
}

fn clients(any: &mut AnyConnection) -> QueryResult<Vec<Client>> {
    let by_name = service_clients::table.order(service_clients::name);
    let rows: Vec<ClientRow> = by_name.select(ClientRow::as_select()).load(any)?;
    Ok(rows.into_iter().map(Client::from).collect())
}

fn unsigned(count: i64) -> u64 {
    u64::try_from(count).unwrap_or(0)
}

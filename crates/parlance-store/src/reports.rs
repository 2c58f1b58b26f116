//! The report worker: queries that may take long, and must not hold up look-ups. A report shows written data: a touch
//! shows after its flush.
//!
//! Lists are read by key, one page at a time. With an offset, a row that ends meanwhile would shift the next page, and
//! another row would never be shown. The database filters by user, dialect, time and liveness. Addresses are texts, so
//! commands match networks themselves; commands also filter the states of dead sessions and locked users. There is no
//! index for the order of sessions, because every login would pay for the index: 20 000 sessions are ten pages of a few
//! milliseconds without one; a million would need one. A session comes with its user, since liveness is a rule about
//! both.

use diesel::dsl::count_star;
use diesel::prelude::*;
use parlance_core::lockout::AttemptState;
use parlance_core::ports::{SealedKey, SessionQuery, StoreError, UserPage, UserQuery};
use parlance_core::{Client, Digest, Session, Timestamp, User};

use crate::backend::{AnyBackend, AnyConnection};
use crate::connection::ConnectionSlot;
use crate::keys_and_clients;
use crate::liveness::{is_live, session_is_live, user_is_current};
use crate::lockout;
use crate::queue::{Reply, send_reply};
use crate::rows::{ClientRow, KeyRow, SessionRow, UserRow};
use crate::schema::{self, service_clients, sessions, users};
use crate::worker::Worker;

pub(crate) enum Report {
    Users { offset: u64, limit: u32, reply: Reply<UserPage> },
    FindUsers { query: UserQuery, reply: Reply<Vec<User>> },
    Sessions { query: Box<SessionQuery>, reply: Reply<Vec<(Session, User)>> },
    LiveSessions { now: Timestamp, reply: Reply<Vec<(String, u64)>> },
    Keys(Reply<Vec<SealedKey>>),
    Issuer(String, Reply<Option<String>>),
    Clients(Reply<Vec<Client>>),
    AttemptState(Digest, Reply<Option<AttemptState>>),
}

/// Makes reports.
pub(crate) struct ReportWorker;

impl Worker for ReportWorker {
    type Job = Report;
    const MAX_BATCH: usize = 1;

    fn run_batch(&mut self, jobs: Vec<Report>, slot: &mut ConnectionSlot) {
        for job in jobs {
            match job {
                Report::Users { offset, limit, reply } => {
                    run_report(slot, reply, |conn| users_page(conn, offset, limit))
                }
                Report::FindUsers { query, reply } => {
                    run_report(slot, reply, |conn| find_users(conn, &query))
                }
                Report::Sessions { query, reply } => {
                    run_report(slot, reply, |conn| sessions_page(conn, &query))
                }
                Report::LiveSessions { now, reply } => {
                    run_report(slot, reply, |conn| count_live_sessions(conn, now))
                }
                Report::Keys(reply) => run_report(slot, reply, keys),
                Report::Issuer(purpose, reply) => {
                    run_report(slot, reply, |conn| keys_and_clients::issuer(conn, &purpose))
                }
                Report::AttemptState(account, reply) => {
                    run_report(slot, reply, |conn| lockout::attempt_state(conn, account))
                }
                Report::Clients(reply) => run_report(slot, reply, clients),
            }
        }
    }
}

fn run_report<T>(
    slot: &mut ConnectionSlot,
    reply: Reply<T>,
    query: impl FnMut(&mut AnyConnection) -> QueryResult<T>,
) {
    if !reply.is_canceled() {
        let result = slot.with_retry(query);
        send_reply(reply, result.map_err(|error| StoreError::Unavailable(error.text)));
    }
}

fn users_page(conn: &mut AnyConnection, offset: u64, limit: u32) -> QueryResult<UserPage> {
    let total: i64 = users::table.select(count_star()).first(conn)?;
    let page = users::table
        .order(users::canonical)
        .limit(limit.into())
        .offset(i64::try_from(offset).unwrap_or(i64::MAX));
    let rows: Vec<UserRow> = page.select(UserRow::as_select()).load(conn)?;
    Ok(UserPage { total: unsigned(total), items: rows.into_iter().map(User::from).collect() })
}

fn find_users(conn: &mut AnyConnection, query: &UserQuery) -> QueryResult<Vec<User>> {
    let mut page = users::table
        .select(UserRow::as_select())
        .order(users::canonical)
        .limit(query.limit.into())
        .into_boxed::<AnyBackend>();
    if let Some(id) = query.id {
        page = page.filter(users::id.eq(id.0.as_bytes().to_vec()));
    }
    if let Some(after) = &query.after {
        page = page.filter(users::canonical.gt(after.as_str()));
    }
    Ok(page.load(conn)?.into_iter().map(User::from).collect())
}

fn sessions_page(
    conn: &mut AnyConnection,
    query: &SessionQuery,
) -> QueryResult<Vec<(Session, User)>> {
    let mut page = sessions::table
        .inner_join(users::table)
        .select((SessionRow::as_select(), UserRow::as_select()))
        .order((sessions::created_at, sessions::id))
        .limit(query.limit.into())
        .into_boxed::<AnyBackend>();
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
        page = page.filter(session_is_live(now, false).and(user_is_current()));
    }
    if let Some((created, id)) = query.after {
        let (created, id) = (created.millis(), id.0.as_bytes().to_vec());
        let same = sessions::created_at.eq(created).and(sessions::id.gt(id));
        page = page.filter(sessions::created_at.gt(created).or(same));
    }
    let rows: Vec<(SessionRow, UserRow)> = page.load(conn)?;
    Ok(rows.into_iter().map(|(session, user)| (session.into(), user.into())).collect())
}

fn count_live_sessions(
    conn: &mut AnyConnection,
    now: Timestamp,
) -> QueryResult<Vec<(String, u64)>> {
    let by_dialect = sessions::table
        .group_by(sessions::dialect)
        .order(sessions::dialect)
        .filter(is_live(now, false));
    let counts: Vec<(String, i64)> =
        by_dialect.select((sessions::dialect, count_star())).load(conn)?;
    Ok(counts.into_iter().map(|(dialect, count)| (dialect, unsigned(count))).collect())
}

pub(crate) fn keys(conn: &mut AnyConnection) -> QueryResult<Vec<SealedKey>> {
    let rows: Vec<KeyRow> = schema::keys::table.select(KeyRow::as_select()).load(conn)?;
    let mut keys: Vec<_> = rows.into_iter().map(SealedKey::from).collect();
    // Sorted here, since the order of texts in the database depends on the server.
    keys.sort_by(|a, b| (a.active_from, &a.kid).cmp(&(b.active_from, &b.kid)));
    Ok(keys)
}

fn clients(conn: &mut AnyConnection) -> QueryResult<Vec<Client>> {
    let by_name = service_clients::table.order(service_clients::name);
    let rows: Vec<ClientRow> = by_name.select(ClientRow::as_select()).load(conn)?;
    Ok(rows.into_iter().map(Client::from).collect())
}

fn unsigned(count: i64) -> u64 {
    u64::try_from(count).unwrap_or(0)
}

//! The look-up worker: sessions by digest, users by name, service clients by id. One query of each kind answers a whole
//! batch.

use std::sync::Arc;

use diesel::prelude::*;
use parlance_core::ports::StoreError;
use parlance_core::{CanonicalName, Client, Digest, Session, Timestamp, User};
use uuid::Uuid;

use crate::backend::AnyConnection;
use crate::connection::ConnectionSlot;
use crate::failure_budget::FailureBudget;
use crate::fragments::{InList, MAX_KEYS_PER_STATEMENT, SessionsAndUsers};
use crate::queue::{Reply, send_reply};
use crate::rows::{ClientRow, SessionRow, UserRow};
use crate::schema::{service_clients, sessions, users};
use crate::touches::Touches;
use crate::worker::Worker;

/// How often a query is run at most when touches move meanwhile. Two flushes within one query mean that the query took
/// longer than a tick.
const MAX_QUERY_ATTEMPTS: usize = 3;

/// A look-up.
pub(crate) enum Lookup {
    Session(Digest, Reply<Option<(Session, User)>>),
    User(CanonicalName, Reply<Option<User>>),
    Client(Uuid, Reply<Option<Client>>),
    Ping(Reply<()>),
    Time(Reply<Option<Timestamp>>),
}

/// Answers look-ups.
pub(crate) struct LookupWorker {
    touches: Arc<Touches>,
}

/// Waiting callers by key, in the order of the keys.
struct Waiters<K, T>(Vec<(K, Reply<Option<T>>)>);

/// A batch of look-ups by kind. Many wait for the same key.
#[derive(Default)]
pub(crate) struct LookupBatch {
    sessions: Waiters<Digest, (Session, User)>,
    users: Waiters<CanonicalName, User>,
    clients: Waiters<Uuid, Client>,
    pings: Vec<Reply<()>>,
    times: Vec<Reply<Option<Timestamp>>>,
}

/// The rows found for a batch, in any order.
#[derive(Default)]
pub(crate) struct LookupResults {
    sessions: Vec<(Session, User)>,
    users: Vec<User>,
    clients: Vec<Client>,
    time: Option<Timestamp>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LookupError {
    #[error(transparent)]
    Database(#[from] diesel::result::Error),
    #[error(
        "queries take longer than the time between two flushes of the pending uses (write-behind)"
    )]
    OvertakenByFlushes,
}

impl LookupWorker {
    pub(crate) fn new(touches: Arc<Touches>) -> Self {
        Self { touches }
    }

    /// Answers a batch with one query for each kind of look-up in it: sessions, users, clients.
    pub(crate) fn look_up(
        &self,
        conn: &mut AnyConnection,
        batch: &LookupBatch,
    ) -> Result<LookupResults, LookupError> {
        let mut found = LookupResults::default();
        if !batch.sessions.is_empty() {
            found.sessions = self.find_sessions(conn, &batch.sessions)?;
        }
        if !batch.users.is_empty() {
            found.users = users_by_name(conn, &batch.users)?;
        }
        if !batch.clients.is_empty() {
            found.clients = clients_by_id(conn, &batch.clients)?;
        }
        let has_no_keys =
            batch.sessions.is_empty() && batch.users.is_empty() && batch.clients.is_empty();
        if has_no_keys && !batch.pings.is_empty() {
            diesel::r2d2::R2D2Connection::ping(conn)?;
        }
        if !batch.times.is_empty() {
            found.time = conn.time()?;
        }
        Ok(found)
    }

    /// Answers each look-up with queries of its own, so that only the bad ones fail.
    fn look_up_one_by_one(&self, slot: &mut ConnectionSlot, lookups: Vec<Lookup>) {
        let mut budget = FailureBudget::default();
        for lookup in lookups {
            let batch = LookupBatch::from_lookups(vec![lookup]);
            match budget.run(|| slot.with_retry(|conn| self.look_up(conn, &batch))) {
                Some(Ok(found)) => batch.resolve(found),
                Some(Err(error)) => batch.fail(&StoreError::Unavailable(error.text)),
                None => batch.fail(&StoreError::Unavailable("the database is too slow".to_owned())),
            }
        }
    }

    fn find_sessions(
        &self,
        conn: &mut AnyConnection,
        waiters: &Waiters<Digest, (Session, User)>,
    ) -> Result<Vec<(Session, User)>, LookupError> {
        for _ in 0..MAX_QUERY_ATTEMPTS {
            let generation = self.touches.generation();
            let mut found = sessions_by_digest(conn, waiters)?;
            if self.touches.overlay(generation, found.iter_mut().map(|(session, _)| session)) {
                return Ok(found);
            }
        }
        Err(LookupError::OvertakenByFlushes)
    }
}

fn sessions_by_digest(
    conn: &mut AnyConnection,
    waiters: &Waiters<Digest, (Session, User)>,
) -> QueryResult<Vec<(Session, User)>> {
    let digests = waiters.keys().map(|digest| digest.as_bytes().as_slice());
    let wanted = InList::new(sessions::digest, digests);
    let rows = SessionsAndUsers(wanted).load_iter::<(SessionRow, UserRow), _>(conn)?;
    let mut found = Vec::with_capacity(waiters.0.len());
    for row in rows {
        let (session, user) = row?;
        found.push((session.into(), user.into()));
    }
    Ok(found)
}

fn users_by_name(
    conn: &mut AnyConnection,
    waiters: &Waiters<CanonicalName, User>,
) -> QueryResult<Vec<User>> {
    let wanted = InList::new(users::canonical, waiters.keys().map(CanonicalName::as_str));
    let rows = users::table.filter(wanted).select(UserRow::as_select()).load::<UserRow>(conn)?;
    Ok(rows.into_iter().map(User::from).collect())
}

fn clients_by_id(
    conn: &mut AnyConnection,
    waiters: &Waiters<Uuid, Client>,
) -> QueryResult<Vec<Client>> {
    let wanted =
        InList::new(service_clients::id, waiters.keys().map(|id| id.as_bytes().as_slice()));
    let clients = service_clients::table.filter(wanted).select(ClientRow::as_select());
    let rows = clients.load::<ClientRow>(conn)?;
    Ok(rows.into_iter().map(Client::from).collect())
}

impl Worker for LookupWorker {
    type Job = Lookup;
    const MAX_BATCH: usize = MAX_KEYS_PER_STATEMENT;

    fn run_batch(&mut self, jobs: Vec<Lookup>, slot: &mut ConnectionSlot) {
        let batch = LookupBatch::from_lookups(jobs);
        match slot.with_retry(|conn| self.look_up(conn, &batch)) {
            Ok(found) => batch.resolve(found),
            // One of the look-ups is at fault; the others must get their answers.
            Err(error) if error.database_answered && batch.len() > 1 => {
                self.look_up_one_by_one(slot, batch.into_lookups());
            }
            Err(error) => batch.fail(&StoreError::Unavailable(error.text)),
        }
    }
}

impl LookupBatch {
    /// Sorts look-ups by kind. Drops look-ups without a waiting caller.
    pub(crate) fn from_lookups(lookups: Vec<Lookup>) -> Self {
        let mut batch = Self::default();
        for lookup in lookups {
            match lookup {
                Lookup::Session(_, reply) if reply.is_canceled() => {}
                Lookup::User(_, reply) if reply.is_canceled() => {}
                Lookup::Client(_, reply) if reply.is_canceled() => {}
                Lookup::Session(digest, reply) => batch.sessions.0.push((digest, reply)),
                Lookup::User(name, reply) => batch.users.0.push((name, reply)),
                Lookup::Client(id, reply) => batch.clients.0.push((id, reply)),
                Lookup::Ping(reply) => batch.pings.push(reply),
                Lookup::Time(reply) => batch.times.push(reply),
            }
        }
        batch.sessions.sort();
        batch.users.sort();
        batch.clients.sort();
        batch
    }

    /// Number of look-ups.
    fn len(&self) -> usize {
        let keyed = self.sessions.0.len() + self.users.0.len() + self.clients.0.len();
        keyed + self.pings.len() + self.times.len()
    }

    /// Answers every look-up with an error.
    fn fail(self, error: &StoreError) {
        self.into_lookups().into_iter().for_each(|lookup| lookup.fail(error.clone()));
    }

    /// Answers every look-up.
    pub(crate) fn resolve(self, found: LookupResults) {
        self.sessions.resolve(found.sessions, |(session, _)| &session.digest);
        self.users.resolve(found.users, |user| &user.canonical);
        self.clients.resolve(found.clients, |client| &client.id);
        self.pings.into_iter().for_each(|reply| send_reply(reply, Ok(())));
        self.times.into_iter().for_each(|reply| send_reply(reply, Ok(found.time)));
    }

    /// Returns the look-ups, to be answered elsewhere.
    pub(crate) fn into_lookups(self) -> Vec<Lookup> {
        let sessions =
            self.sessions.0.into_iter().map(|(digest, reply)| Lookup::Session(digest, reply));
        let users = self.users.0.into_iter().map(|(name, reply)| Lookup::User(name, reply));
        let clients = self.clients.0.into_iter().map(|(id, reply)| Lookup::Client(id, reply));
        let pings = self.pings.into_iter().map(Lookup::Ping);
        let times = self.times.into_iter().map(Lookup::Time);
        sessions.chain(users).chain(clients).chain(pings).chain(times).collect()
    }
}

impl<K: Ord, T: Clone> Waiters<K, T> {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn sort(&mut self) {
        self.0.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
    }

    /// Each key once.
    fn keys(&self) -> impl Iterator<Item = &K> {
        self.0
            .chunk_by(|(one, _), (other, _)| one == other)
            .filter_map(|same| Some(&same.first()?.0))
    }

    /// Gives each waiting caller the row of its key, if found; the last of those with the same key gets the row without
    /// a copy.
    fn resolve(self, mut found: Vec<T>, key: fn(&T) -> &K) {
        found.sort_unstable_by(|one, other| key(one).cmp(key(other)));
        let mut found = found.into_iter().peekable();
        let mut waiters = self.0.into_iter().peekable();
        while let Some((wanted, reply)) = waiters.next() {
            // Skips rows that no look-up waits for.
            while found.next_if(|one| *key(one) < wanted).is_some() {}
            let key_repeats = waiters.peek().is_some_and(|(next, _)| *next == wanted);
            let there = if key_repeats {
                found.peek().filter(|one| *key(one) == wanted).cloned()
            } else {
                found.next_if(|one| *key(one) == wanted)
            };
            send_reply(reply, Ok(there));
        }
    }
}

impl<K, T> Default for Waiters<K, T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl Lookup {
    /// Answers with an error.
    pub(crate) fn fail(self, error: StoreError) {
        match self {
            Self::Session(_, reply) => send_reply(reply, Err(error)),
            Self::User(_, reply) => send_reply(reply, Err(error)),
            Self::Client(_, reply) => send_reply(reply, Err(error)),
            Self::Ping(reply) => send_reply(reply, Err(error)),
            Self::Time(reply) => send_reply(reply, Err(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_channel::oneshot;
    use futures_executor::block_on;

    use super::*;

    /// Each caller gets the row of its own key, if that was found, and nothing else.
    #[track_caller]
    fn check(wanted: &[u8], found: &[u8]) {
        let mut waiters = Waiters::default();
        let answers = wanted.iter().map(|key| {
            let (reply, answer) = oneshot::channel();
            waiters.0.push((*key, reply));
            answer
        });
        let answers: Vec<_> = answers.collect();
        waiters.sort();
        waiters.resolve(found.to_vec(), |one| one);
        for (key, answer) in wanted.iter().zip(answers) {
            let there = found.contains(key).then_some(*key);
            assert_eq!(block_on(answer), Ok(Ok(there)), "{key} of {wanted:?} in {found:?}");
        }
    }

    #[test]
    fn each_waiter_gets_the_row_of_its_own_key() {
        check(&[], &[]);
        check(&[2, 1], &[]);
        check(&[3, 1, 2], &[2, 3, 1]);
        check(&[2, 1, 2, 2], &[2]);
        check(&[4, 2], &[2, 2, 4]);
        check(&[4, 2, 4], &[9, 1, 4, 3, 2]);
    }
}

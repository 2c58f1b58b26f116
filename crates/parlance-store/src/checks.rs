//! The lane of checks: sessions by digest, users by name, clients by id. All that has gathered is answered by one query of each kind.

use std::sync::Arc;

use diesel::prelude::*;
use parlance_core::ports::StoreError;
use parlance_core::{CanonicalName, Client, Digest, Session, Timestamp, User};
use uuid::Uuid;

use crate::any::AnyConnection;
use crate::connection::Held;
use crate::fragments::{MOST, OneOf, SessionsAndUsers};
use crate::lane::Work;
use crate::patience::Patience;
use crate::queue::{Reply, answer};
use crate::rows::{ClientRow, SessionRow, UserRow};
use crate::schema::{service_clients, sessions, users};
use crate::touches::Touches;

/// How often a query is made again because touches moved under it. Twice within one query means that it took longer than a tick.
const TRIES: usize = 3;

/// A look-up.
pub(crate) enum Check {
    Session(Digest, Reply<Option<(Session, User)>>),
    User(CanonicalName, Reply<Option<User>>),
    Client(Uuid, Reply<Option<Client>>),
    Ping(Reply<()>),
    Time(Reply<Option<Timestamp>>),
}

/// Answers look-ups.
pub(crate) struct Checks {
    touches: Arc<Touches>,
}

/// Who asks by a key, in the order of the keys.
struct Askers<K, T>(Vec<(K, Reply<Option<T>>)>);

/// Who asks for what. Many ask for the same.
#[derive(Default)]
pub(crate) struct Asked {
    sessions: Askers<Digest, (Session, User)>,
    users: Askers<CanonicalName, User>,
    clients: Askers<Uuid, Client>,
    pings: Vec<Reply<()>>,
    times: Vec<Reply<Option<Timestamp>>>,
}

/// What there is of it, in any order.
#[derive(Default)]
pub(crate) struct Found {
    sessions: Vec<(Session, User)>,
    users: Vec<User>,
    clients: Vec<Client>,
    time: Option<Timestamp>,
}

/// Why nothing can be said.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CheckError {
    #[error(transparent)]
    Database(#[from] diesel::result::Error),
    #[error("queries take longer than the time between two writes of touches")]
    Outrun,
}

impl Checks {
    pub(crate) fn new(touches: Arc<Touches>) -> Self {
        Self { touches }
    }

    /// Answers all of it with one query for each of what there is: sessions, users, clients.
    pub(crate) fn look_up(
        &self,
        any: &mut AnyConnection,
        asked: &Asked,
    ) -> Result<Found, CheckError> {
        let mut found = Found::default();
        if !asked.sessions.is_empty() {
            found.sessions = self.sessions(any, &asked.sessions)?;
        }
        if !asked.users.is_empty() {
            found.users = users_by_name(any, &asked.users)?;
        }
        if !asked.clients.is_empty() {
            found.clients = clients_by_id(any, &asked.clients)?;
        }
        let nothing =
            asked.sessions.is_empty() && asked.users.is_empty() && asked.clients.is_empty();
        if nothing && !asked.pings.is_empty() {
            diesel::r2d2::R2D2Connection::ping(any)?;
        }
        if !asked.times.is_empty() {
            found.time = any.time()?;
        }
        Ok(found)
    }

    /// Answers each by queries of its own, so that only the bad ones fail.
    fn one_by_one(&self, held: &mut Held, checks: Vec<Check>) {
        let mut patience = Patience::default();
        for check in checks {
            let asked = Asked::of(vec![check]);
            match patience.bear(|| held.twice(|any| self.look_up(any, &asked))) {
                Some(Ok(found)) => asked.answer(found),
                Some(Err(setback)) => asked.refuse(&StoreError::Unavailable(setback.text)),
                None => {
                    asked.refuse(&StoreError::Unavailable("the database is too slow".to_owned()))
                }
            }
        }
    }

    fn sessions(
        &self,
        any: &mut AnyConnection,
        asked: &Askers<Digest, (Session, User)>,
    ) -> Result<Vec<(Session, User)>, CheckError> {
        for _ in 0..TRIES {
            let mark = self.touches.mark();
            let mut found = sessions_by_digest(any, asked)?;
            if self.touches.overlay(mark, found.iter_mut().map(|(session, _)| session)) {
                return Ok(found);
            }
        }
        Err(CheckError::Outrun)
    }
}

fn sessions_by_digest(
    any: &mut AnyConnection,
    asked: &Askers<Digest, (Session, User)>,
) -> QueryResult<Vec<(Session, User)>> {
    let digests = asked.keys().map(|digest| digest.as_bytes().as_slice());
    let wanted = OneOf::new(sessions::digest, digests);
    let rows = SessionsAndUsers(wanted).load_iter::<(SessionRow, UserRow), _>(any)?;
    let mut found = Vec::with_capacity(asked.0.len());
    for row in rows {
        let (session, user) = row?;
        found.push((session.into(), user.into()));
    }
    Ok(found)
}

fn users_by_name(
    any: &mut AnyConnection,
    asked: &Askers<CanonicalName, User>,
) -> QueryResult<Vec<User>> {
    let wanted = OneOf::new(users::canonical, asked.keys().map(CanonicalName::as_str));
    let rows = users::table.filter(wanted).select(UserRow::as_select()).load::<UserRow>(any)?;
    Ok(rows.into_iter().map(User::from).collect())
}

fn clients_by_id(
    any: &mut AnyConnection,
    asked: &Askers<Uuid, Client>,
) -> QueryResult<Vec<Client>> {
    let wanted = OneOf::new(service_clients::id, asked.keys().map(|id| id.as_bytes().as_slice()));
    let clients = service_clients::table.filter(wanted).select(ClientRow::as_select());
    let rows = clients.load::<ClientRow>(any)?;
    Ok(rows.into_iter().map(Client::from).collect())
}

impl Work for Checks {
    type Job = Check;
    const MOST: usize = MOST;

    fn turn(&mut self, jobs: Vec<Check>, held: &mut Held) {
        let asked = Asked::of(jobs);
        match held.twice(|any| self.look_up(any, &asked)) {
            Ok(found) => asked.answer(found),
            // One of them is at fault, and the others are to have their answers.
            Err(setback) if setback.answered && asked.len() > 1 => {
                self.one_by_one(held, asked.into_checks());
            }
            Err(setback) => asked.refuse(&StoreError::Unavailable(setback.text)),
        }
    }
}

impl Asked {
    /// Sorts look-ups by what they ask for. Those for which nobody waits any more are dropped.
    pub(crate) fn of(checks: Vec<Check>) -> Self {
        let mut asked = Self::default();
        for check in checks {
            match check {
                Check::Session(_, reply) if reply.is_canceled() => {}
                Check::User(_, reply) if reply.is_canceled() => {}
                Check::Client(_, reply) if reply.is_canceled() => {}
                Check::Session(digest, reply) => asked.sessions.0.push((digest, reply)),
                Check::User(name, reply) => asked.users.0.push((name, reply)),
                Check::Client(id, reply) => asked.clients.0.push((id, reply)),
                Check::Ping(reply) => asked.pings.push(reply),
                Check::Time(reply) => asked.times.push(reply),
            }
        }
        asked.sessions.sort();
        asked.users.sort();
        asked.clients.sort();
        asked
    }

    /// How many look-ups there are.
    fn len(&self) -> usize {
        let keyed = self.sessions.0.len() + self.users.0.len() + self.clients.0.len();
        keyed + self.pings.len() + self.times.len()
    }

    /// Tells everybody that nothing could be looked up.
    fn refuse(self, error: &StoreError) {
        self.into_checks().into_iter().for_each(|check| check.refuse(error.clone()));
    }

    /// Tells everybody.
    pub(crate) fn answer(self, found: Found) {
        self.sessions.tell(found.sessions, |(session, _)| &session.digest);
        self.users.tell(found.users, |user| &user.canonical);
        self.clients.tell(found.clients, |client| &client.id);
        self.pings.into_iter().for_each(|reply| answer(reply, Ok(())));
        self.times.into_iter().for_each(|reply| answer(reply, Ok(found.time)));
    }

    /// The look-ups again, for somebody else to answer.
    pub(crate) fn into_checks(self) -> Vec<Check> {
        let sessions =
            self.sessions.0.into_iter().map(|(digest, reply)| Check::Session(digest, reply));
        let users = self.users.0.into_iter().map(|(name, reply)| Check::User(name, reply));
        let clients = self.clients.0.into_iter().map(|(id, reply)| Check::Client(id, reply));
        let pings = self.pings.into_iter().map(Check::Ping);
        let times = self.times.into_iter().map(Check::Time);
        sessions.chain(users).chain(clients).chain(pings).chain(times).collect()
    }
}

impl<K: Ord, T: Clone> Askers<K, T> {
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

    /// Tells each what there is of what he asks for; the last of those who ask for the same gets it uncopied.
    fn tell(self, mut found: Vec<T>, key: fn(&T) -> &K) {
        found.sort_unstable_by(|one, other| key(one).cmp(key(other)));
        let mut found = found.into_iter().peekable();
        let mut askers = self.0.into_iter().peekable();
        while let Some((wanted, reply)) = askers.next() {
            // What nobody asks for costs nobody his own.
            while found.next_if(|one| *key(one) < wanted).is_some() {}
            let again = askers.peek().is_some_and(|(next, _)| *next == wanted);
            let there = if again {
                found.peek().filter(|one| *key(one) == wanted).cloned()
            } else {
                found.next_if(|one| *key(one) == wanted)
            };
            answer(reply, Ok(there));
        }
    }
}

impl<K, T> Default for Askers<K, T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl Check {
    /// Answers that it could not be looked up.
    pub(crate) fn refuse(self, error: StoreError) {
        match self {
            Self::Session(_, reply) => answer(reply, Err(error)),
            Self::User(_, reply) => answer(reply, Err(error)),
            Self::Client(_, reply) => answer(reply, Err(error)),
            Self::Ping(reply) => answer(reply, Err(error)),
            Self::Time(reply) => answer(reply, Err(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_channel::oneshot;
    use futures_executor::block_on;

    use super::*;

    /// Each hears of what he asks for, if it was found, and of nothing else.
    #[track_caller]
    fn check(wanted: &[u8], found: &[u8]) {
        let mut askers = Askers::default();
        let answers = wanted.iter().map(|key| {
            let (reply, answer) = oneshot::channel();
            askers.0.push((*key, reply));
            answer
        });
        let answers: Vec<_> = answers.collect();
        askers.sort();
        askers.tell(found.to_vec(), |one| one);
        for (key, answer) in wanted.iter().zip(answers) {
            let there = found.contains(key).then_some(*key);
            assert_eq!(block_on(answer), Ok(Ok(there)), "{key} of {wanted:?} in {found:?}");
        }
    }

    #[test]
    fn whatever_a_database_finds_each_hears_of_his_own() {
        check(&[], &[]);
        check(&[2, 1], &[]);
        check(&[3, 1, 2], &[2, 3, 1]);
        check(&[2, 1, 2, 2], &[2]);
        check(&[4, 2], &[2, 2, 4]);
        check(&[4, 2, 4], &[9, 1, 4, 3, 2]);
    }
}

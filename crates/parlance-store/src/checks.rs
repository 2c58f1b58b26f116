//! The lane of checks: sessions by digest, users by name, clients by id. All that has gathered is answered by one query of each kind.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;

use diesel::prelude::*;
use parlance_core::ports::StoreError;
use parlance_core::{CanonicalName, Client, Digest, Session, Timestamp, User};
use uuid::Uuid;

use crate::any::AnyConnection;
use crate::connection::Held;
use crate::fragments::{MOST, OneOf, SessionsAndUsers};
use crate::lane::Work;
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

type Askers<K, T> = HashMap<K, Vec<Reply<Option<T>>>>;

/// Who asks for what. Many ask for the same.
#[derive(Default)]
pub(crate) struct Asked {
    sessions: Askers<Digest, (Session, User)>,
    users: Askers<CanonicalName, User>,
    clients: Askers<Uuid, Client>,
    pings: Vec<Reply<()>>,
    times: Vec<Reply<Option<Timestamp>>>,
}

/// What there is of it.
#[derive(Default)]
pub(crate) struct Found {
    sessions: HashMap<Digest, (Session, User)>,
    users: HashMap<CanonicalName, User>,
    clients: HashMap<Uuid, Client>,
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
            found.users = users_by_name(any, asked.users.keys())?;
        }
        if !asked.clients.is_empty() {
            found.clients = clients_by_id(any, asked.clients.keys())?;
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

    fn sessions<T>(
        &self,
        any: &mut AnyConnection,
        asked: &HashMap<Digest, T>,
    ) -> Result<HashMap<Digest, (Session, User)>, CheckError> {
        for _ in 0..TRIES {
            let mark = self.touches.mark();
            let mut found = sessions_by_digest(any, asked.keys())?;
            if self.touches.overlay(mark, found.values_mut().map(|(session, _)| session)) {
                return Ok(found);
            }
        }
        Err(CheckError::Outrun)
    }
}

fn sessions_by_digest<'d>(
    any: &mut AnyConnection,
    digests: impl Iterator<Item = &'d Digest>,
) -> QueryResult<HashMap<Digest, (Session, User)>> {
    let wanted = OneOf::new(sessions::digest, digests.map(|digest| digest.as_bytes().as_slice()));
    let rows = SessionsAndUsers(wanted).load_iter::<(SessionRow, UserRow), _>(any)?;
    rows.map(|row| {
        row.map(|(session, user)| {
            let session = Session::from(session);
            (session.digest, (session, User::from(user)))
        })
    })
    .collect()
}

fn users_by_name<'n>(
    any: &mut AnyConnection,
    names: impl Iterator<Item = &'n CanonicalName>,
) -> QueryResult<HashMap<CanonicalName, User>> {
    let wanted = OneOf::new(users::canonical, names.map(CanonicalName::as_str));
    let rows = users::table.filter(wanted).select(UserRow::as_select()).load::<UserRow>(any)?;
    Ok(rows.into_iter().map(User::from).map(|user| (user.canonical.clone(), user)).collect())
}

fn clients_by_id<'i>(
    any: &mut AnyConnection,
    ids: impl Iterator<Item = &'i Uuid>,
) -> QueryResult<HashMap<Uuid, Client>> {
    let wanted = OneOf::new(service_clients::id, ids.map(|id| id.as_bytes().as_slice()));
    let clients = service_clients::table.filter(wanted).select(ClientRow::as_select());
    let rows = clients.load::<ClientRow>(any)?;
    Ok(rows.into_iter().map(Client::from).map(|client| (client.id, client)).collect())
}

impl Work for Checks {
    type Job = Check;
    const MOST: usize = MOST;

    fn turn(&mut self, jobs: Vec<Check>, held: &mut Held) {
        let asked = Asked::of(jobs);
        match held.twice(|any| self.look_up(any, &asked)) {
            Ok(found) => asked.answer(found),
            Err(text) => {
                let away = StoreError::Unavailable(text);
                asked.into_checks().into_iter().for_each(|check| check.refuse(away.clone()));
            }
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
                Check::Session(digest, reply) => {
                    asked.sessions.entry(digest).or_default().push(reply);
                }
                Check::User(name, reply) => asked.users.entry(name).or_default().push(reply),
                Check::Client(id, reply) => asked.clients.entry(id).or_default().push(reply),
                Check::Ping(reply) => asked.pings.push(reply),
                Check::Time(reply) => asked.times.push(reply),
            }
        }
        asked
    }

    /// Tells everybody.
    pub(crate) fn answer(self, found: Found) {
        tell(self.sessions, found.sessions);
        tell(self.users, found.users);
        tell(self.clients, found.clients);
        self.pings.into_iter().for_each(|reply| answer(reply, Ok(())));
        deal(self.times, found.time);
    }

    /// The look-ups again, for somebody else to answer.
    pub(crate) fn into_checks(self) -> Vec<Check> {
        let sessions = again(self.sessions, Check::Session);
        let users = again(self.users, Check::User);
        let clients = again(self.clients, Check::Client);
        let pings = self.pings.into_iter().map(Check::Ping);
        let times = self.times.into_iter().map(Check::Time);
        sessions.chain(users).chain(clients).chain(pings).chain(times).collect()
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

/// Tells everybody who asks for one of these what there is of it.
fn tell<K: Eq + Hash, T: Clone>(asked: Askers<K, T>, mut found: HashMap<K, T>) {
    asked.into_iter().for_each(|(key, replies)| deal(replies, found.remove(&key)));
}

/// The look-ups that ask for these.
fn again<K: Clone, T>(
    asked: Askers<K, T>,
    check: fn(K, Reply<Option<T>>) -> Check,
) -> impl Iterator<Item = Check> {
    let each = move |(key, replies): (K, Vec<_>)| {
        replies.into_iter().map(move |reply| check(key.clone(), reply))
    };
    asked.into_iter().flat_map(each)
}

/// The same answer for each; the last one gets it uncopied.
fn deal<T: Clone>(mut replies: Vec<Reply<T>>, result: T) {
    let last = replies.pop();
    replies.into_iter().for_each(|reply| answer(reply, Ok(result.clone())));
    if let Some(reply) = last {
        answer(reply, Ok(result));
    }
}

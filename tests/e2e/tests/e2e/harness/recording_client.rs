//! Clients that log every operation.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;

use super::history::{Action, History, HistoryEvent, valid_until};
use super::http::Connection;
use super::{HeldSession, Installation, PASSWORD, Rng, Verdict, Wire, clock};

/// A client that works with the sessions of one user, which is its own.
pub(crate) struct RecordingClient {
    pub(crate) user: String,
    history: Arc<History>,
    rng: Rng,
    /// Every session that the client ever got, by its number in the log, with the newest credential.
    sessions: Vec<(usize, HeldSession)>,
    /// Indices into `held` of the sessions that the client believes alive.
    alive: Vec<usize>,
    /// Indices into `held` of the sessions changed since the last look, and the index of the first new session.
    touched: Vec<usize>,
    verified: usize,
}

impl RecordingClient {
    pub(crate) fn new(history: &Arc<History>, user: String, seed: u64) -> Self {
        Self {
            user,
            history: Arc::clone(history),
            rng: Rng::new(seed),
            sessions: Vec::new(),
            alive: Vec::new(),
            touched: Vec::new(),
            verified: 0,
        }
    }

    /// Sends a request and logs the outcome. An error means that no answer came.
    fn send(
        &mut self,
        connection: &mut Connection,
        act: Action,
        at: Option<usize>,
        made_up: Option<&HeldSession>,
    ) -> io::Result<Verdict> {
        let shown = at.and_then(|at| self.sessions.get(at)).cloned();
        let wire = made_up.or(shown.as_ref().map(|(_, held)| held)).map(|held| held.wire);
        let wire = wire.unwrap_or_else(|| *self.rng.pick(&Wire::ALL));
        let held = made_up.or(shown.as_ref().map(|(_, held)| held));
        let request = match (act, held) {
            (Action::Use | Action::Forgery, Some(held)) => held.use_request(),
            (Action::Renewal, Some(held)) => held.renewal_request(),
            (Action::Logout, Some(held)) => held.logout_request(),
            (
                Action::Login | Action::Use | Action::Forgery | Action::Renewal | Action::Logout,
                _,
            ) => wire.login_request(&self.user, PASSWORD),
        };
        let sent = self.history.now();
        let answer = connection.exchange(&request);
        let back = self.history.now();
        let mut session = shown.as_ref().map(|(number, _)| *number);
        let mut until = None;
        let verdict = answer.as_ref().ok().map(|answer| match (act, held) {
            (Action::Use | Action::Forgery, Some(held)) => {
                until = valid_until(held, answer);
                held.use_verdict(answer)
            }
            (Action::Logout, Some(held)) => held.logout_verdict(answer),
            (Action::Renewal, Some(held)) => match held.parse_renewal(answer) {
                Ok(newer) => {
                    until = valid_until(&newer, answer);
                    if let Some(held) = at.and_then(|at| self.sessions.get_mut(at)) {
                        held.1 = newer;
                    }
                    Verdict::Accepted
                }
                Err(verdict) => verdict,
            },
            (
                Action::Login | Action::Use | Action::Forgery | Action::Renewal | Action::Logout,
                _,
            ) => match wire.parse_login(&self.user, answer) {
                Ok(held) => {
                    until = valid_until(&held, answer);
                    let number = self.history.next_session_number();
                    session = Some(number);
                    self.alive.push(self.sessions.len());
                    self.sessions.push((number, held));
                    Verdict::Accepted
                }
                Err(verdict) => verdict,
            },
        });
        self.history.record(&HistoryEvent::Operation {
            user: self.user.clone(),
            wire,
            act,
            session,
            sent,
            back,
            answer: verdict.clone(),
            valid: until,
        });
        answer.map(|_| verdict.unwrap_or(Verdict::Unavailable))
    }

    /// Logs in, uses, renews and logs out, 4:4:1:1, while a server answers and `goes_on` returns true.
    pub(crate) fn run_load(&mut self, address: SocketAddr, goes_on: impl Fn() -> bool) {
        let mut open = Connection::open(address).ok();
        while let Some(connection) = open.as_mut().filter(|_| goes_on()) {
            let recent = self.pick_recent();
            let done = match (self.rng.below(40), recent) {
                (0, Some(at)) => self.forge(connection, at),
                (0..16, Some(at)) => self.send(connection, Action::Use, Some(at), None),
                (16..20, Some(at)) => self.send(connection, Action::Renewal, Some(at), None),
                (20..24, Some(at)) => self.log_out(connection, at),
                _ => self.log_in(connection),
            };
            if done.is_err() {
                open = Connection::open(address).ok();
            }
        }
    }

    /// Logs in. A login on the 1010 wire takes over the client's earlier session there.
    pub(crate) fn log_in(&mut self, connection: &mut Connection) -> io::Result<Verdict> {
        let cookies = |at: &usize| self.sessions[*at].1.wire == Wire::Cookie;
        let before: Vec<_> = self.alive.iter().copied().filter(cookies).collect();
        let entered = self.send(connection, Action::Login, None, None);
        let taken = self.sessions.last().is_some_and(|(_, held)| held.wire == Wire::Cookie);
        self.touched.extend(&before);
        if taken && entered.as_ref().is_ok_and(|verdict| *verdict == Verdict::Accepted) {
            self.alive.retain(|at| !before.contains(at));
        }
        entered
    }

    pub(crate) fn log_out(
        &mut self,
        connection: &mut Connection,
        at: usize,
    ) -> io::Result<Verdict> {
        self.touched.push(at);
        let left = self.send(connection, Action::Logout, Some(at), None);
        if !matches!(left, Ok(Verdict::Unavailable)) {
            self.alive.retain(|other| *other != at);
        }
        left
    }

    /// One of the newest sessions that the client has not ended.
    pub(crate) fn pick_recent(&mut self) -> Option<usize> {
        let back = self.rng.below(20) + 1;
        self.alive.len().checked_sub(back).map(|at| self.alive[at])
    }

    /// Sends a forged secret of the right form: one of the client's own secrets with two neighbouring characters
    /// swapped. The last character stays: at the end of base64 some bits may count for nothing.
    fn forge(&mut self, connection: &mut Connection, at: usize) -> io::Result<Verdict> {
        let mut made_up = self.sessions[at].1.clone();
        let mut letters: Vec<_> = made_up.secret.chars().collect();
        let differ = |at: &usize| letters[*at] != letters[at - 1];
        let Some(second) = (1..letters.len() - 1).rev().find(differ) else {
            return Ok(Verdict::Refused);
        };
        letters.swap(second - 1, second);
        made_up.secret = letters.into_iter().collect();
        self.send(connection, Action::Forgery, None, Some(&made_up))
    }

    /// Uses each of these sessions. A connection that was silent for long, on a busy machine, is opened again.
    fn use_each(&mut self, address: SocketAddr, at: &[usize]) {
        let mut connection = Connection::open(address).unwrap();
        for &at in at {
            clock::wait_for("an answer to a use", || {
                let used = self.send(&mut connection, Action::Use, Some(at), None);
                if used.is_err() {
                    connection = Connection::open(address).unwrap();
                }
                used.ok()
            });
        }
    }

    /// Uses every session changed since the last call, and `old` of the others.
    pub(crate) fn verify_recent(&mut self, address: SocketAddr, old: usize) {
        let mut at: Vec<_> =
            (self.verified..self.sessions.len()).chain(self.touched.drain(..)).collect();
        at.extend((0..old.min(self.verified)).map(|_| self.rng.below(self.verified)));
        at.sort_unstable();
        at.dedup();
        self.verified = self.sessions.len();
        self.use_each(address, &at);
    }

    /// Uses every session that the client ever got.
    pub(crate) fn verify_all(&mut self, address: SocketAddr) {
        self.use_each(address, &(0..self.sessions.len()).collect::<Vec<_>>());
    }
}

/// Runs all clients at once.
pub(crate) fn run_all(clients: &mut [RecordingClient], work: impl Fn(&mut RecordingClient) + Sync) {
    thread::scope(|scope| {
        for client in clients {
            let work = &work;
            scope.spawn(move || work(client));
        }
    });
}

/// Logs every session that `session list` shows.
pub(crate) fn record_listing(installation: &Installation, history: &History) {
    for listed in installation.sessions() {
        let of = |key: &str| listed[key].as_str().unwrap().to_owned();
        history.record(&HistoryEvent::Listed { user: of("user"), dialect: of("dialect") });
    }
}

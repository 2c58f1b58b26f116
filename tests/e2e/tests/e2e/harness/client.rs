//! Clients that keep a log of everything they do.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;

use super::history::{Act, History, Line, valid};
use super::http::Connection;
use super::{Dice, Held, PASSWORD, Site, Verdict, Wire, clock};

/// One that works with sessions of a user of its own.
pub(crate) struct Client {
    pub(crate) user: String,
    history: Arc<History>,
    dice: Dice,
    /// Every session that it was ever given, by its number in the log, with the newest credential.
    held: Vec<(usize, Held)>,
    /// Where in the list those are that it has not ended, as far as it knows.
    alive: Vec<usize>,
    /// Where in the list those are that something has been done to since the last look, and the first of the new ones.
    touched: Vec<usize>,
    settled: usize,
}

impl Client {
    pub(crate) fn new(history: &Arc<History>, user: String, seed: u64) -> Self {
        Self {
            user,
            history: Arc::clone(history),
            dice: Dice::new(seed),
            held: Vec::new(),
            alive: Vec::new(),
            touched: Vec::new(),
            settled: 0,
        }
    }

    /// Sends something, and writes down what came of it. An error means that there was no answer.
    fn ask(
        &mut self,
        connection: &mut Connection,
        act: Act,
        at: Option<usize>,
        made_up: Option<&Held>,
    ) -> io::Result<Verdict> {
        let shown = at.and_then(|at| self.held.get(at)).cloned();
        let wire = made_up.or(shown.as_ref().map(|(_, held)| held)).map(|held| held.wire);
        let wire = wire.unwrap_or_else(|| *self.dice.pick(&Wire::ALL));
        let held = made_up.or(shown.as_ref().map(|(_, held)| held));
        let request = match (act, held) {
            (Act::Use | Act::Forgery, Some(held)) => held.using(),
            (Act::Renewal, Some(held)) => held.renewal(),
            (Act::Logout, Some(held)) => held.logout(),
            (Act::Login | Act::Use | Act::Forgery | Act::Renewal | Act::Logout, _) => {
                wire.login(&self.user, PASSWORD)
            }
        };
        let sent = self.history.now();
        let answer = connection.exchange(&request);
        let back = self.history.now();
        let mut session = shown.as_ref().map(|(number, _)| *number);
        let mut until = None;
        let verdict = answer.as_ref().ok().map(|answer| match (act, held) {
            (Act::Use | Act::Forgery, Some(held)) => {
                until = valid(held, answer);
                held.used(answer)
            }
            (Act::Logout, Some(held)) => held.left(answer),
            (Act::Renewal, Some(held)) => match held.renewed(answer) {
                Ok(newer) => {
                    until = valid(&newer, answer);
                    if let Some(held) = at.and_then(|at| self.held.get_mut(at)) {
                        held.1 = newer;
                    }
                    Verdict::Yes
                }
                Err(verdict) => verdict,
            },
            (Act::Login | Act::Use | Act::Forgery | Act::Renewal | Act::Logout, _) => {
                match wire.opened(&self.user, answer) {
                    Ok(held) => {
                        until = valid(&held, answer);
                        let number = self.history.number();
                        session = Some(number);
                        self.alive.push(self.held.len());
                        self.held.push((number, held));
                        Verdict::Yes
                    }
                    Err(verdict) => verdict,
                }
            }
        });
        self.history.note(&Line::Did {
            user: self.user.clone(),
            wire,
            act,
            session,
            sent,
            back,
            answer: verdict.clone(),
            valid: until,
        });
        answer.map(|_| verdict.unwrap_or(Verdict::Away))
    }

    /// Logs in, uses, renews and logs out, 4:4:1:1, as long as there is a server and `goes_on` says so.
    pub(crate) fn work(&mut self, address: SocketAddr, goes_on: impl Fn() -> bool) {
        let mut open = Connection::open(address).ok();
        while let Some(connection) = open.as_mut().filter(|_| goes_on()) {
            let recent = self.recent();
            let done = match (self.dice.below(40), recent) {
                (0, Some(at)) => self.forge(connection, at),
                (0..16, Some(at)) => self.ask(connection, Act::Use, Some(at), None),
                (16..20, Some(at)) => self.ask(connection, Act::Renewal, Some(at), None),
                (20..24, Some(at)) => self.leave(connection, at),
                _ => self.enter(connection),
            };
            if done.is_err() {
                open = Connection::open(address).ok();
            }
        }
    }

    /// Logs in; on the 1010 wire what it had there is as good as over.
    pub(crate) fn enter(&mut self, connection: &mut Connection) -> io::Result<Verdict> {
        let cookies = |at: &usize| self.held[*at].1.wire == Wire::Cookie;
        let before: Vec<_> = self.alive.iter().copied().filter(cookies).collect();
        let entered = self.ask(connection, Act::Login, None, None);
        let taken = self.held.last().is_some_and(|(_, held)| held.wire == Wire::Cookie);
        self.touched.extend(&before);
        if taken && entered.as_ref().is_ok_and(|verdict| *verdict == Verdict::Yes) {
            self.alive.retain(|at| !before.contains(at));
        }
        entered
    }

    /// Logs out of a session.
    pub(crate) fn leave(&mut self, connection: &mut Connection, at: usize) -> io::Result<Verdict> {
        self.touched.push(at);
        let left = self.ask(connection, Act::Logout, Some(at), None);
        if !matches!(left, Ok(Verdict::Away)) {
            self.alive.retain(|other| *other != at);
        }
        left
    }

    /// One of the newest sessions that it has not ended.
    pub(crate) fn recent(&mut self) -> Option<usize> {
        let back = self.dice.below(20) + 1;
        self.alive.len().checked_sub(back).map(|at| self.alive[at])
    }

    /// Shows a secret of the right form that nobody was given: one of its own with two neighbours changed about. Not the last one:
    /// where that is base64, some of its bits may count for nothing.
    fn forge(&mut self, connection: &mut Connection, at: usize) -> io::Result<Verdict> {
        let mut made_up = self.held[at].1.clone();
        let mut letters: Vec<_> = made_up.secret.chars().collect();
        let differ = |at: &usize| letters[*at] != letters[at - 1];
        let Some(second) = (1..letters.len() - 1).rev().find(differ) else {
            return Ok(Verdict::No);
        };
        letters.swap(second - 1, second);
        made_up.secret = letters.into_iter().collect();
        self.ask(connection, Act::Forgery, None, Some(&made_up))
    }

    /// Uses each of these sessions. A connection that was silent for long, on a machine with other things to do, is opened again.
    fn look(&mut self, address: SocketAddr, at: &[usize]) {
        let mut connection = Connection::open(address).unwrap();
        for &at in at {
            clock::until("an answer to a use", || {
                let used = self.ask(&mut connection, Act::Use, Some(at), None);
                if used.is_err() {
                    connection = Connection::open(address).unwrap();
                }
                used.ok()
            });
        }
    }

    /// Uses every session that it has had to do with since the last time, and this many of the others.
    pub(crate) fn settle(&mut self, address: SocketAddr, old: usize) {
        let mut at: Vec<_> =
            (self.settled..self.held.len()).chain(self.touched.drain(..)).collect();
        at.extend((0..old.min(self.settled)).map(|_| self.dice.below(self.settled)));
        at.sort_unstable();
        at.dedup();
        self.settled = self.held.len();
        self.look(address, &at);
    }

    /// Uses every session that it was ever given.
    pub(crate) fn settle_all(&mut self, address: SocketAddr) {
        self.look(address, &(0..self.held.len()).collect::<Vec<_>>());
    }
}

/// Every client at once.
pub(crate) fn together(clients: &mut [Client], work: impl Fn(&mut Client) + Sync) {
    thread::scope(|scope| {
        for client in clients {
            let work = &work;
            scope.spawn(move || work(client));
        }
    });
}

/// Lets the program itself list the sessions that it has, and writes that down.
pub(crate) fn list(site: &Site, history: &History) {
    for listed in site.sessions() {
        let of = |key: &str| listed[key].as_str().unwrap().to_owned();
        history.note(&Line::Listed { user: of("user"), dialect: of("dialect") });
    }
}

//! The program is killed in the middle of everything: what it acknowledged stands, and what it ended stays ended.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use crate::harness::http::Connection;
use crate::harness::{
    Database, Dice, Held, PASSWORD, Response, Server, Site, Verdict, Watch, Wire,
    on_both_databases, pace,
};

on_both_databases!(no_acknowledged_login_or_logout_is_undone_by_a_kill);

const KILLS: usize = 50;
const CLIENTS: usize = 8;
/// How many old sessions a client looks at after each restart, besides those it has just had to do with.
const OLD: usize = 10;

/// What must be true of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// Its login was acknowledged, and nothing that ends it has been sent.
    Alive,
    /// Its end was acknowledged.
    Ended,
    /// Something that ends it was sent and never answered: both are allowed.
    Open,
}

#[derive(Clone, Debug)]
struct Session {
    /// The newest credential; all of a session's live and die together.
    held: Held,
    fate: Fate,
}

/// One client's memory of what it was told.
#[derive(Clone, Debug)]
struct Ledger {
    user: String,
    sessions: Vec<Session>,
    /// Up to here nothing has been touched since the last restart.
    settled: usize,
    touched: Vec<usize>,
    /// Logins that were never answered.
    lost_logins: usize,
    acknowledged: usize,
    shed: usize,
    violations: Vec<String>,
}

impl Ledger {
    fn new(user: String) -> Self {
        Self {
            user,
            sessions: Vec::new(),
            settled: 0,
            touched: Vec::new(),
            lost_logins: 0,
            acknowledged: 0,
            shed: 0,
            violations: Vec::new(),
        }
    }

    /// Takes note of a login's answer; `None` is none.
    fn opened(&mut self, wire: Wire, answer: Option<&Response>) {
        match answer.map(|answer| wire.opened(&self.user, answer)) {
            Some(Ok(held)) => {
                self.take_over(wire, Fate::Ended);
                self.acknowledged += 1;
                self.sessions.push(Session { held, fate: Fate::Alive });
            }
            Some(Err(Verdict::Away)) => {
                self.take_over(wire, Fate::Open);
                self.shed += 1;
                self.lost_logins += 1;
            }
            Some(Err(other)) => self
                .violations
                .push(format!("a right login was refused: {} {other:?}", wire.name())),
            None => {
                self.take_over(wire, Fate::Open);
                self.lost_logins += 1;
            }
        }
    }

    /// On the 1010 wire a user has one session, and a login takes it over: the cookie from before is dead.
    fn take_over(&mut self, wire: Wire, fate: Fate) {
        if wire != Wire::Cookie {
            return;
        }
        for (number, session) in self.sessions.iter_mut().enumerate() {
            if session.held.wire == Wire::Cookie && session.fate != Fate::Ended {
                session.fate = fate;
                self.touched.push(number);
            }
        }
    }

    /// Takes note of what became of a use.
    fn used(&mut self, number: usize, verdict: Option<&Verdict>) {
        let session = &self.sessions[number];
        let name = session.held.wire.name();
        match (session.fate, verdict) {
            (_, None)
            | (Fate::Alive, Some(Verdict::Yes))
            | (Fate::Ended, Some(Verdict::No))
            | (Fate::Open, Some(Verdict::Yes | Verdict::No)) => {}
            (_, Some(Verdict::Away)) => self.shed += 1,
            (Fate::Alive, Some(Verdict::No)) => self
                .violations
                .push(format!("lost: the acknowledged {name} session {number} is gone")),
            (Fate::Ended, Some(Verdict::Yes)) => self
                .violations
                .push(format!("resurrected: the ended {name} session {number} lives")),
            (_, Some(Verdict::Odd(what))) => self.violations.push(format!("odd: {what}")),
        }
    }

    /// Takes note of what became of a logout of a session that was alive.
    fn left(&mut self, number: usize, verdict: Option<&Verdict>) {
        self.touched.push(number);
        let fate = match verdict {
            Some(Verdict::Yes) => {
                self.acknowledged += 1;
                Fate::Ended
            }
            Some(Verdict::No) => {
                self.used(number, verdict);
                Fate::Ended
            }
            Some(Verdict::Away) => {
                self.shed += 1;
                Fate::Open
            }
            Some(Verdict::Odd(_)) => {
                self.used(number, verdict);
                Fate::Open
            }
            None => Fate::Open,
        };
        self.sessions[number].fate = fate;
    }

    /// Works until the server is gone.
    fn work(&mut self, address: SocketAddr, dice: &mut Dice) {
        let Ok(mut connection) = Connection::open(address) else { return };
        loop {
            let alive = self.recent(dice, Fate::Alive);
            let gone = match (dice.below(10), alive) {
                (0, Some(number)) => {
                    let held = self.sessions[number].held.clone();
                    let answer = connection.exchange(&held.logout()).ok();
                    self.left(number, answer.as_ref().map(|answer| held.left(answer)).as_ref());
                    answer.is_none()
                }
                (1, Some(number)) => {
                    let held = self.sessions[number].held.clone();
                    let answer = connection.exchange(&held.renewal()).ok();
                    let renewed = answer.as_ref().map(|answer| held.renewed(answer));
                    match renewed {
                        Some(Ok(held)) => self.sessions[number].held = held,
                        Some(Err(verdict)) => self.used(number, Some(&verdict)),
                        None => {}
                    }
                    answer.is_none()
                }
                (2..=5, Some(number)) => self.probe(number, &mut connection),
                _ => {
                    let wire = *dice.pick(&Wire::ALL);
                    let answer = connection.exchange(&wire.login(&self.user, PASSWORD)).ok();
                    self.opened(wire, answer.as_ref());
                    answer.is_none()
                }
            };
            if gone {
                return;
            }
        }
    }

    /// One of the newest sessions, if it has this fate.
    fn recent(&self, dice: &mut Dice, fate: Fate) -> Option<usize> {
        let back = dice.below(20) + 1;
        let number = self.sessions.len().checked_sub(back)?;
        (self.sessions[number].fate == fate).then_some(number)
    }

    /// Uses a session; whether the server is gone.
    fn probe(&mut self, number: usize, connection: &mut Connection) -> bool {
        let held = self.sessions[number].held.clone();
        let answer = connection.exchange(&held.using()).ok();
        self.used(number, answer.as_ref().map(|answer| held.used(answer)).as_ref());
        answer.is_none()
    }

    /// Looks at everything that the last round touched, and at some of what was there before. A session whose end is open has one or
    /// the other by now, and must keep it.
    fn settle(&mut self, address: SocketAddr, dice: &mut Dice) {
        let mut numbers: Vec<usize> =
            (self.settled..self.sessions.len()).chain(self.touched.drain(..)).collect();
        numbers.extend((0..OLD.min(self.settled)).map(|_| dice.below(self.settled)));
        numbers.sort_unstable();
        numbers.dedup();
        self.settled = self.sessions.len();
        self.verify(&numbers, address);
    }

    fn verify(&mut self, numbers: &[usize], address: SocketAddr) {
        let mut connection = Connection::open(address).unwrap();
        for &number in numbers {
            let held = self.sessions[number].held.clone();
            let verdict = held.used(&connection.exchange(&held.using()).unwrap());
            self.used(number, Some(&verdict));
            let session = &mut self.sessions[number];
            session.fate = match (session.fate, verdict) {
                (Fate::Open, Verdict::Yes) => Fate::Alive,
                (Fate::Open, Verdict::No) => Fate::Ended,
                (fate, _) => fate,
            };
        }
    }
}

/// Every client at once.
fn together(ledgers: &mut [Ledger], seed: u64, work: impl Fn(&mut Ledger, &mut Dice) + Sync) {
    thread::scope(|scope| {
        for (number, ledger) in ledgers.iter_mut().enumerate() {
            let work = &work;
            scope.spawn(move || {
                work(ledger, &mut Dice::new(seed.wrapping_mul(1000).wrapping_add(number as u64)))
            });
        }
    });
}

fn violations(ledgers: &[Ledger]) -> Vec<String> {
    ledgers.iter().flat_map(|ledger| ledger.violations.clone()).collect()
}

fn no_acknowledged_login_or_logout_is_undone_by_a_kill(database: Database) {
    static SEED: AtomicU32 = AtomicU32::new(1);
    let seed = u64::from(SEED.fetch_add(1, Ordering::Relaxed));
    let watch = Watch::start();
    let kind = if matches!(database, Database::Sqlite(_)) { "SQLite" } else { "PostgreSQL" };
    let site = Site::new(database);
    let mut server = site.start();
    let mut ledgers: Vec<_> =
        (0..CLIENTS).map(|number| Ledger::new(format!("load{number}"))).collect();
    for ledger in &ledgers {
        site.add_user(&ledger.user, PASSWORD);
    }
    let mut dice = Dice::new(seed);
    let mut starts = Vec::new();
    for round in 0..KILLS {
        let address = server.dialects;
        let moment = Duration::from_millis(50 + dice.roll() % 500);
        thread::scope(|scope| {
            scope.spawn(move || {
                pace(moment);
                server.kill();
            });
            together(&mut ledgers, seed + 2 * round as u64, |ledger, dice| {
                ledger.work(address, dice)
            });
        });
        let restart = Watch::start();
        server = site.start();
        starts.push(restart.elapsed());
        let address = server.dialects;
        together(&mut ledgers, seed + 2 * round as u64 + 1, |ledger, dice| {
            ledger.settle(address, dice)
        });
        assert_eq!(violations(&ledgers), Vec::<String>::new(), "after kill {round}");
    }
    let address = server.dialects;
    together(&mut ledgers, seed, |ledger, _| {
        ledger.verify(&(0..ledger.sessions.len()).collect::<Vec<_>>(), address)
    });
    assert_eq!(violations(&ledgers), Vec::<String>::new());

    // Nothing lives that nobody was given.
    let sum = |count: fn(&Ledger) -> usize| ledgers.iter().map(count).sum::<usize>();
    let alive =
        sum(|ledger| ledger.sessions.iter().filter(|session| session.fate == Fate::Alive).count());
    let listed = site.sessions().len();
    let lost = sum(|ledger| ledger.lost_logins);
    assert!(
        (alive..=alive + lost).contains(&listed),
        "{alive} sessions live, {listed} are listed, {lost} logins had no answer"
    );

    the_checker_sees_planted_faults(&ledgers[0], &server);
    server.kill();
    site.database.check_integrity();
    starts.sort_unstable();
    eprintln!(
        "{kind}: {KILLS} kills, {} acknowledged changes, {} sessions, {lost} logins without an answer, {} answers 503; 0 lost, 0 resurrected; ready again in {:?} (median), {:?} (worst); {:?} in all",
        sum(|ledger| ledger.acknowledged),
        sum(|ledger| ledger.sessions.len()),
        sum(|ledger| ledger.shed),
        starts[KILLS / 2],
        starts[KILLS - 1],
        watch.elapsed(),
    );
}

/// A log in which one living session is said to have been ended, and one ended to live: the checker must find both, or it finds nothing.
fn the_checker_sees_planted_faults(ledger: &Ledger, server: &Server) {
    let mut falsified = ledger.clone();
    let find = |fate| ledger.sessions.iter().rposition(|session| session.fate == fate).unwrap();
    let (alive, ended) = (find(Fate::Alive), find(Fate::Ended));
    falsified.sessions[alive].fate = Fate::Ended;
    falsified.sessions[ended].fate = Fate::Alive;
    falsified.verify(&[alive, ended], server.dialects);
    falsified.violations.sort();
    let [lost, resurrected] = &falsified.violations[..] else {
        panic!("{:?}", falsified.violations)
    };
    assert!(
        lost.starts_with("lost: ") && resurrected.starts_with("resurrected: "),
        "{lost}, {resurrected}"
    );
}

#[test]
fn the_checker_allows_what_was_never_answered_and_nothing_else() {
    let held = |wire| Held { wire, user: "u".to_owned(), secret: "s".to_owned() };
    let after = |fate, verdict: Verdict| {
        let mut ledger = Ledger::new("u".to_owned());
        ledger.sessions.push(Session { held: held(Wire::Polish), fate });
        ledger.used(0, Some(&verdict));
        ledger.violations.len()
    };
    assert_eq!(after(Fate::Alive, Verdict::Yes), 0);
    assert_eq!(after(Fate::Alive, Verdict::No), 1);
    assert_eq!(after(Fate::Alive, Verdict::Away), 0);
    assert_eq!(after(Fate::Ended, Verdict::Yes), 1);
    assert_eq!(after(Fate::Ended, Verdict::No), 0);
    assert_eq!(after(Fate::Open, Verdict::Yes), 0);
    assert_eq!(after(Fate::Open, Verdict::No), 0);
    assert_eq!(after(Fate::Open, Verdict::Odd("500".to_owned())), 1);

    let mut ledger = Ledger::new("u".to_owned());
    ledger.sessions.push(Session { held: held(Wire::Cookie), fate: Fate::Alive });
    ledger.opened(Wire::Cookie, None);
    assert_eq!(
        ledger.sessions[0].fate,
        Fate::Open,
        "a login without an answer may have taken the session over"
    );
}

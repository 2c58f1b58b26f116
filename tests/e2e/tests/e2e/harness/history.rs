//! The log of every operation, and the checker that replays it.
//!
//! Each client writes down what it sent, when, what came back and when. A session must live from the answer of its login to the moment
//! that something is sent which ends it, and must be dead from the answer of that on. What was never answered, or heard 503, may have
//! been done or not; once either has been seen after a restart, that is how it must stay.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead as _, BufReader, BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde::{Deserialize, Serialize};

use super::{Held, Verdict, Watch, Wire, clock};

/// What a client does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Act {
    Login,
    Use,
    Renewal,
    Logout,
    /// A use of a secret that no login returned.
    Forgery,
}

/// One line of the log. Times are microseconds since the log was begun.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Line {
    /// An operation, and its answer; `None` is none.
    Did {
        user: String,
        wire: Wire,
        act: Act,
        /// The number of the session that it opened or showed.
        session: Option<usize>,
        sent: u64,
        back: u64,
        answer: Option<Verdict>,
        /// Until when the answer says that the session lives, where it says so.
        valid: Option<String>,
    },
    /// A server was started: nothing from before is still under way.
    Started { at: u64 },
    /// At the end the server itself lists such a session.
    Listed { user: String, dialect: String },
}

/// A log under way: a file of JSON lines.
pub(crate) struct History {
    path: PathBuf,
    file: Mutex<BufWriter<File>>,
    watch: Watch,
    sessions: AtomicUsize,
    /// How many of each act were done: logins, uses, renewals, logouts.
    done: [AtomicUsize; 4],
}

impl History {
    /// Begins a log in this folder.
    pub(crate) fn begin(folder: &Path) -> Self {
        let path = folder.join("history.jsonl");
        let file = Mutex::new(BufWriter::new(File::create(&path).unwrap()));
        Self {
            path,
            file,
            watch: Watch::start(),
            sessions: AtomicUsize::new(0),
            done: <[AtomicUsize; 4]>::default(),
        }
    }

    /// Microseconds since the beginning.
    pub(crate) fn now(&self) -> u64 {
        u64::try_from(self.watch.elapsed().as_micros()).unwrap()
    }

    /// A number for a session.
    pub(crate) fn number(&self) -> usize {
        self.sessions.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) fn note(&self, line: &Line) {
        let mut text = serde_json::to_string(line).unwrap();
        text.push('\n');
        self.file.lock().unwrap().write_all(text.as_bytes()).unwrap();
        if let Line::Did { act, answer: Some(Verdict::Yes), .. } = line {
            let done = match act {
                Act::Login => Some(&self.done[0]),
                Act::Use => Some(&self.done[1]),
                Act::Renewal => Some(&self.done[2]),
                Act::Logout => Some(&self.done[3]),
                Act::Forgery => None,
            };
            done.map(|done| done.fetch_add(1, Ordering::SeqCst));
        }
    }

    /// Waits until so many more of each act were acknowledged: what a fault is about must have happened, however slow the machine is.
    #[track_caller]
    pub(crate) fn until_more(&self, acts: usize) {
        let before = self.done.each_ref().map(|done| done.load(Ordering::SeqCst));
        clock::until("so many acts of each sort", || {
            let mut done = self.done.iter().zip(before);
            done.all(|(done, before)| done.load(Ordering::SeqCst) >= before + acts).then_some(())
        });
    }

    pub(crate) fn started(&self) {
        self.note(&Line::Started { at: self.now() });
    }

    /// Everything that has been written down.
    pub(crate) fn lines(&self) -> Vec<Line> {
        self.file.lock().unwrap().flush().unwrap();
        let lines = BufReader::new(File::open(&self.path).unwrap()).lines();
        lines.map(|line| serde_json::from_str(&line.unwrap()).unwrap()).collect()
    }

    /// Replays the whole log.
    pub(crate) fn judge(&self) -> Judgement {
        judge(&self.lines())
    }
}

/// What the checker found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Judgement {
    pub(crate) operations: usize,
    /// Logins, renewals and logouts that were acknowledged.
    pub(crate) acknowledged: usize,
    /// Answers 503.
    pub(crate) shed: usize,
    /// Requests without an answer.
    pub(crate) unknown: usize,
    /// Something acknowledged that is gone.
    pub(crate) lost: Vec<String>,
    /// Something ended that lives.
    pub(crate) resurrected: Vec<String>,
    /// A session that no login returned.
    pub(crate) invented: Vec<String>,
    /// An answer that no wire has for what was asked.
    pub(crate) odd: Vec<String>,
}

impl Judgement {
    #[track_caller]
    pub(crate) fn assert_clean(&self, when: &str) {
        let found = [&self.lost, &self.resurrected, &self.invented, &self.odd];
        let found: Vec<_> = found.into_iter().flat_map(|kind| kind.iter().take(20)).collect();
        assert!(found.is_empty(), "{when}: {found:#?}");
    }
}

impl std::fmt::Display for Judgement {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { operations, acknowledged, shed, unknown, .. } = self;
        let [lost, resurrected, invented] =
            [&self.lost, &self.resurrected, &self.invented].map(Vec::len);
        write!(
            f,
            "{operations} operations, {acknowledged} acknowledged changes, {shed} answers 503, {unknown} without an answer; {lost} lost, {resurrected} resurrected, {invented} invented"
        )
    }
}

/// Something that ends a session: sent when, answered when, and whether it is known to have been done.
#[derive(Clone, Copy)]
struct End {
    sent: u64,
    back: u64,
    certain: bool,
}

/// Somebody saw a session alive, or dead.
#[derive(Clone, Copy)]
struct Sight {
    sent: u64,
    back: u64,
    alive: bool,
}

struct Session<'l> {
    number: usize,
    user: &'l str,
    wire: Wire,
    opened: (u64, u64),
    first_valid: Option<&'l str>,
    ends: Vec<End>,
    sights: Vec<Sight>,
    /// When a renewal was acknowledged.
    renewed: Option<u64>,
}

impl Session<'_> {
    fn name(&self) -> String {
        format!("{} session {} of {}", self.wire.name(), self.number, self.user)
    }

    /// Since when it must be dead.
    fn dead_since(&self) -> Option<u64> {
        let ends = self.ends.iter().filter(|end| end.certain).map(|end| end.back);
        ends.chain(self.sights.iter().filter(|sight| !sight.alive).map(|sight| sight.back)).min()
    }

    /// Whether it may be dead to somebody whose question was under way from `sent` to `back`.
    fn may_be_dead(&self, sent: u64, back: u64, starts: &[u64]) -> bool {
        let settled = |end: &End| {
            let seen = |sight: &Sight| {
                let between = |start: &u64| end.back <= *start && *start <= sight.sent;
                sight.alive && sight.back <= sent && starts.iter().any(between)
            };
            !end.certain && self.sights.iter().any(seen)
        };
        self.ends.iter().any(|end| end.sent <= back && !settled(end))
    }
}

/// Judges a log.
pub(crate) fn judge(lines: &[Line]) -> Judgement {
    let mut found = Judgement::default();
    let mut starts = Vec::new();
    let mut sessions: BTreeMap<usize, Session<'_>> = BTreeMap::new();
    // Logins that may have opened a session, by user and dialect.
    let mut logins: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    let mut listed: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    // On the 1010 wire a user has one session: a login takes it over.
    let mut takeovers: BTreeMap<&str, Vec<(Option<usize>, End)>> = BTreeMap::new();
    let mut is_listed = false;
    for line in lines {
        let (user, wire, act, session, sent, back, answer, valid) = match line {
            Line::Started { at } => {
                starts.push(*at);
                continue;
            }
            Line::Listed { user, dialect } => {
                is_listed = true;
                *listed.entry((user, dialect)).or_default() += 1;
                continue;
            }
            Line::Did { user, wire, act, session, sent, back, answer, valid } => {
                (user.as_str(), *wire, *act, *session, *sent, *back, answer, valid.as_deref())
            }
        };
        found.operations += 1;
        let yes = *answer == Some(Verdict::Yes);
        match answer {
            None => found.unknown += 1,
            Some(Verdict::Away) => found.shed += 1,
            Some(Verdict::Odd(what)) => found.odd.push(format!("{act:?}: {what}")),
            Some(Verdict::Yes | Verdict::No) => {}
        }
        if yes && matches!(act, Act::Login | Act::Renewal | Act::Logout) {
            found.acknowledged += 1;
        }
        let unknown = !matches!(answer, Some(Verdict::Yes | Verdict::No));
        if act == Act::Login {
            if wire == Wire::Cookie && (yes || unknown) {
                let end = End { sent, back, certain: yes };
                takeovers.entry(user).or_default().push((session, end));
            }
            if unknown {
                *logins.entry((user, wire.name())).or_default() += 1;
            } else if !yes {
                found.odd.push(format!("a right login was refused: {} {user}", wire.name()));
            }
        }
        if act == Act::Forgery && yes {
            found.invented.push(format!("{} lets a made-up secret in", wire.name()));
        }
        let Some(number) = session else { continue };
        let session = sessions.entry(number).or_insert_with(|| Session {
            number,
            user,
            wire,
            opened: (sent, back),
            first_valid: valid,
            ends: Vec::new(),
            sights: Vec::new(),
            renewed: None,
        });
        match (act, answer) {
            (Act::Logout, Some(Verdict::Yes)) => {
                session.ends.push(End { sent, back, certain: true });
                session.sights.push(Sight { sent, back: sent, alive: true });
            }
            (Act::Logout, None | Some(Verdict::Away | Verdict::Odd(_))) => {
                session.ends.push(End { sent, back, certain: false });
            }
            (Act::Use | Act::Renewal, Some(Verdict::Yes)) => {
                if session.renewed.is_some_and(|renewed| renewed < sent)
                    && valid.is_some()
                    && valid == session.first_valid
                {
                    found.lost.push(format!("the renewal of {}", session.name()));
                }
                if act == Act::Renewal && valid != session.first_valid {
                    session.renewed.get_or_insert(back);
                }
                session.sights.push(Sight { sent, back, alive: true });
            }
            (Act::Use | Act::Renewal | Act::Logout, Some(Verdict::No)) => {
                session.sights.push(Sight { sent, back, alive: false });
            }
            (Act::Login | Act::Forgery, _)
            | (Act::Use | Act::Renewal, None | Some(Verdict::Away | Verdict::Odd(_))) => {}
        }
    }
    let mut alive: BTreeMap<(&str, &str), (usize, usize)> = BTreeMap::new();
    for session in sessions.values_mut() {
        take_over(session, takeovers.get(session.user).map_or(&[], Vec::as_slice));
        examine(session, &starts, &mut found);
        let (least, most) = alive.entry((session.user, session.wire.name())).or_default();
        *least += usize::from(!session.may_be_dead(u64::MAX, u64::MAX, &starts));
        *most += usize::from(session.dead_since().is_none());
    }
    if is_listed {
        for key in alive.keys().chain(listed.keys()).chain(logins.keys()) {
            let (least, most) = alive.get(key).copied().unwrap_or_default();
            let most = most + logins.get(key).copied().unwrap_or_default();
            let there = listed.get(key).copied().unwrap_or_default();
            let (user, dialect) = key;
            let what =
                format!("{there} {dialect} sessions of {user} are listed, not {least} to {most}");
            if there < least && !found.lost.contains(&what) {
                found.lost.push(what);
            } else if there > most && !found.invented.contains(&what) {
                found.invented.push(what);
            }
        }
    }
    found
}

/// Adds to a 1010 session's ends the logins of the same user that were not over before its own began.
fn take_over(session: &mut Session<'_>, takeovers: &[(Option<usize>, End)]) {
    if session.wire != Wire::Cookie {
        return;
    }
    let (sent, back) = session.opened;
    let others = takeovers.iter().filter(|(opened, _)| *opened != Some(session.number));
    for (_, end) in others.filter(|(_, end)| end.back > sent) {
        // Of two at once either may be the later.
        let certain = end.certain && end.sent >= back;
        session.ends.push(End { certain, ..*end });
        if certain {
            break;
        }
    }
}

fn examine(session: &Session<'_>, starts: &[u64], found: &mut Judgement) {
    let dead = session.dead_since().unwrap_or(u64::MAX);
    for sight in &session.sights {
        if sight.alive && sight.sent > dead {
            found.resurrected.push(format!("{} lives again at {}", session.name(), sight.sent));
        }
        if !sight.alive && !session.may_be_dead(sight.sent, sight.back, starts) {
            found.lost.push(format!("{} is gone at {}", session.name(), sight.back));
        }
    }
}

/// What a client's answer says about how long its session lives.
pub(crate) fn valid(held: &Held, answer: &super::Response) -> Option<String> {
    (held.wire == Wire::Polish).then(|| answer.at("/validTo"))
}

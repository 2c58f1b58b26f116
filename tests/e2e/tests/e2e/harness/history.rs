//! The log of every operation, and the checker that replays the log.
//!
//! Each client logs every request and its answer, with the time of both. A session must live from the answer of its
//! login until a request that ends the session is sent, and must be dead from the answer of that request. A request
//! without an answer, or with answer 503, may or may not have taken effect. Once either outcome has been seen after a
//! restart, that outcome must last.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead as _, BufReader, BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde::{Deserialize, Serialize};

use super::{HeldSession, Stopwatch, Verdict, Wire, clock};

/// An operation of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Action {
    Login,
    Use,
    Renewal,
    Logout,
    /// A use of a secret that no login returned.
    Forgery,
}

/// One line of the log. Times are microseconds since the log began.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum HistoryEvent {
    /// An operation and its answer; `None` means no answer.
    Operation {
        user: String,
        wire: Wire,
        act: Action,
        /// The number of the session that the operation opened or used.
        session: Option<usize>,
        sent: u64,
        back: u64,
        answer: Option<Verdict>,
        /// The end of the session's lifetime, where the answer states one.
        valid: Option<String>,
    },
    /// A server was started: no earlier request is still in progress.
    Started { at: u64 },
    /// At the end the server itself lists this session.
    Listed { user: String, dialect: String },
}

/// A log in progress: a file of JSON lines.
pub(crate) struct History {
    path: PathBuf,
    file: Mutex<BufWriter<File>>,
    watch: Stopwatch,
    sessions: AtomicUsize,
    /// The number of acknowledged logins, uses, renewals and logouts.
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
            watch: Stopwatch::start(),
            sessions: AtomicUsize::new(0),
            done: <[AtomicUsize; 4]>::default(),
        }
    }

    /// Microseconds since the log began.
    pub(crate) fn now(&self) -> u64 {
        u64::try_from(self.watch.elapsed().as_micros()).unwrap()
    }

    /// The next session number.
    pub(crate) fn next_session_number(&self) -> usize {
        self.sessions.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) fn record(&self, line: &HistoryEvent) {
        let mut text = serde_json::to_string(line).unwrap();
        text.push('\n');
        self.file.lock().unwrap().write_all(text.as_bytes()).unwrap();
        if let HistoryEvent::Operation { act, answer: Some(Verdict::Accepted), .. } = line {
            let done = match act {
                Action::Login => Some(&self.done[0]),
                Action::Use => Some(&self.done[1]),
                Action::Renewal => Some(&self.done[2]),
                Action::Logout => Some(&self.done[3]),
                Action::Forgery => None,
            };
            done.map(|done| done.fetch_add(1, Ordering::SeqCst));
        }
    }

    /// Waits until `acts` more of each act are acknowledged. A fault must meet real operations, however slow the
    /// machine is.
    #[track_caller]
    pub(crate) fn wait_for_more(&self, acts: usize) {
        let before = self.done.each_ref().map(|done| done.load(Ordering::SeqCst));
        clock::wait_for("so many acts of each sort", || {
            let mut done = self.done.iter().zip(before);
            done.all(|(done, before)| done.load(Ordering::SeqCst) >= before + acts).then_some(())
        });
    }

    pub(crate) fn record_start(&self) {
        self.record(&HistoryEvent::Started { at: self.now() });
    }

    /// All lines so far.
    pub(crate) fn events(&self) -> Vec<HistoryEvent> {
        self.file.lock().unwrap().flush().unwrap();
        let lines = BufReader::new(File::open(&self.path).unwrap()).lines();
        lines.map(|line| serde_json::from_str(&line.unwrap()).unwrap()).collect()
    }

    /// Replays the whole log.
    pub(crate) fn check(&self) -> HistoryReport {
        check_history(&self.events())
    }
}

/// The findings of the checker.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct HistoryReport {
    pub(crate) operations: usize,
    /// Acknowledged logins, renewals and logouts.
    pub(crate) acknowledged: usize,
    /// Answers 503.
    pub(crate) unavailable: usize,
    /// Requests without an answer.
    pub(crate) unknown: usize,
    /// Acknowledged changes that are gone.
    pub(crate) lost: Vec<String>,
    /// Ended sessions that live again.
    pub(crate) resurrected: Vec<String>,
    /// Sessions that no login returned.
    pub(crate) invented: Vec<String>,
    /// Answers that are not valid on their wire, and refused logins that were right.
    pub(crate) unexpected: Vec<String>,
}

impl HistoryReport {
    #[track_caller]
    pub(crate) fn assert_clean(&self, when: &str) {
        let found = [&self.lost, &self.resurrected, &self.invented, &self.unexpected];
        let found: Vec<_> = found.into_iter().flat_map(|kind| kind.iter().take(20)).collect();
        assert!(found.is_empty(), "{when}: {found:#?}");
    }
}

impl std::fmt::Display for HistoryReport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { operations, acknowledged, unavailable: shed, unknown, .. } = self;
        let [lost, resurrected, invented] =
            [&self.lost, &self.resurrected, &self.invented].map(Vec::len);
        write!(
            f,
            "{operations} operations, {acknowledged} acknowledged changes, {shed} answers 503, {unknown} without an answer; {lost} lost, {resurrected} resurrected, {invented} invented"
        )
    }
}

/// A request that ends a session: time sent, time answered, and whether its effect is certain.
#[derive(Clone, Copy)]
struct SessionEnd {
    sent: u64,
    back: u64,
    certain: bool,
}

/// A client saw the session alive, or dead.
#[derive(Clone, Copy)]
struct Observation {
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
    ends: Vec<SessionEnd>,
    observations: Vec<Observation>,
    /// When a renewal was acknowledged.
    renewed: Option<u64>,
}

impl Session<'_> {
    fn name(&self) -> String {
        format!("{} session {} of {}", self.wire.name(), self.number, self.user)
    }

    /// The time from which the session must be dead.
    fn dead_since(&self) -> Option<u64> {
        let ends = self.ends.iter().filter(|end| end.certain).map(|end| end.back);
        ends.chain(self.observations.iter().filter(|sight| !sight.alive).map(|sight| sight.back))
            .min()
    }

    /// Whether a request in progress from `sent` to `back` may find the session dead.
    fn may_be_dead(&self, sent: u64, back: u64, starts: &[u64]) -> bool {
        let settled = |end: &SessionEnd| {
            let seen = |sight: &Observation| {
                let between = |start: &u64| end.back <= *start && *start <= sight.sent;
                sight.alive && sight.back <= sent && starts.iter().any(between)
            };
            !end.certain && self.observations.iter().any(seen)
        };
        self.ends.iter().any(|end| end.sent <= back && !settled(end))
    }
}

pub(crate) fn check_history(lines: &[HistoryEvent]) -> HistoryReport {
    let mut found = HistoryReport::default();
    let mut starts = Vec::new();
    let mut sessions: BTreeMap<usize, Session<'_>> = BTreeMap::new();
    // Logins that may have opened a session, by user and dialect.
    let mut logins: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    let mut listed: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    // On the 1010 wire a user has one session: a new login takes that session over.
    let mut takeovers: BTreeMap<&str, Vec<(Option<usize>, SessionEnd)>> = BTreeMap::new();
    let mut is_listed = false;
    for line in lines {
        let (user, wire, act, session, sent, back, answer, valid) = match line {
            HistoryEvent::Started { at } => {
                starts.push(*at);
                continue;
            }
            HistoryEvent::Listed { user, dialect } => {
                is_listed = true;
                *listed.entry((user, dialect)).or_default() += 1;
                continue;
            }
            HistoryEvent::Operation { user, wire, act, session, sent, back, answer, valid } => {
                (user.as_str(), *wire, *act, *session, *sent, *back, answer, valid.as_deref())
            }
        };
        found.operations += 1;
        let yes = *answer == Some(Verdict::Accepted);
        match answer {
            None => found.unknown += 1,
            Some(Verdict::Unavailable) => found.unavailable += 1,
            Some(Verdict::Unexpected(what)) => found.unexpected.push(format!("{act:?}: {what}")),
            Some(Verdict::Accepted | Verdict::Refused) => {}
        }
        if yes && matches!(act, Action::Login | Action::Renewal | Action::Logout) {
            found.acknowledged += 1;
        }
        let unknown = !matches!(answer, Some(Verdict::Accepted | Verdict::Refused));
        if act == Action::Login {
            if wire == Wire::Cookie && (yes || unknown) {
                let end = SessionEnd { sent, back, certain: yes };
                takeovers.entry(user).or_default().push((session, end));
            }
            if unknown {
                *logins.entry((user, wire.name())).or_default() += 1;
            } else if !yes {
                found.unexpected.push(format!("a right login was refused: {} {user}", wire.name()));
            }
        }
        if act == Action::Forgery && yes {
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
            observations: Vec::new(),
            renewed: None,
        });
        match (act, answer) {
            (Action::Logout, Some(Verdict::Accepted)) => {
                session.ends.push(SessionEnd { sent, back, certain: true });
                session.observations.push(Observation { sent, back: sent, alive: true });
            }
            (Action::Logout, None | Some(Verdict::Unavailable | Verdict::Unexpected(_))) => {
                session.ends.push(SessionEnd { sent, back, certain: false });
            }
            (Action::Use | Action::Renewal, Some(Verdict::Accepted)) => {
                if session.renewed.is_some_and(|renewed| renewed < sent)
                    && valid.is_some()
                    && valid == session.first_valid
                {
                    found.lost.push(format!("the renewal of {}", session.name()));
                }
                if act == Action::Renewal && valid != session.first_valid {
                    session.renewed.get_or_insert(back);
                }
                session.observations.push(Observation { sent, back, alive: true });
            }
            (Action::Use | Action::Renewal | Action::Logout, Some(Verdict::Refused)) => {
                session.observations.push(Observation { sent, back, alive: false });
            }
            (Action::Login | Action::Forgery, _)
            | (
                Action::Use | Action::Renewal,
                None | Some(Verdict::Unavailable | Verdict::Unexpected(_)),
            ) => {}
        }
    }
    let mut alive: BTreeMap<(&str, &str), (usize, usize)> = BTreeMap::new();
    for session in sessions.values_mut() {
        add_takeovers(session, takeovers.get(session.user).map_or(&[], Vec::as_slice));
        check_session(session, &starts, &mut found);
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

/// Adds the takeovers by later or concurrent logins of the same user to the ends of a 1010 session.
fn add_takeovers(session: &mut Session<'_>, takeovers: &[(Option<usize>, SessionEnd)]) {
    if session.wire != Wire::Cookie {
        return;
    }
    let (sent, back) = session.opened;
    let others = takeovers.iter().filter(|(opened, _)| *opened != Some(session.number));
    for (_, end) in others.filter(|(_, end)| end.back > sent) {
        // Of two concurrent logins either may be the later one.
        let certain = end.certain && end.sent >= back;
        session.ends.push(SessionEnd { certain, ..*end });
        if certain {
            break;
        }
    }
}

fn check_session(session: &Session<'_>, starts: &[u64], found: &mut HistoryReport) {
    let dead = session.dead_since().unwrap_or(u64::MAX);
    for sight in &session.observations {
        if sight.alive && sight.sent > dead {
            found.resurrected.push(format!("{} lives again at {}", session.name(), sight.sent));
        }
        if !sight.alive && !session.may_be_dead(sight.sent, sight.back, starts) {
            found.lost.push(format!("{} is gone at {}", session.name(), sight.back));
        }
    }
}

/// The end of the session's lifetime according to an answer, read on the polish-longtoken wire alone.
pub(crate) fn valid_until(held: &HeldSession, answer: &super::Response) -> Option<String> {
    (held.wire == Wire::Polish).then(|| answer.text_at("/validTo"))
}

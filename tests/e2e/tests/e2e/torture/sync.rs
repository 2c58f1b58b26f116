//! Between a change and its answer lies a finished sync that covers it, and a power cut at any answer loses nothing.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use serde_json::Value;

use super::times;
use crate::harness::trace::{self, Call};
use crate::harness::{Database, Dice, Held, PASSWORD, Site, Verdict, Watch, Wire};

/// A change that was acknowledged.
struct Acknowledged {
    /// The session's 16 bytes.
    id: Vec<u8>,
    is_login: bool,
    /// The place of the request's receipt and of the answer's dispatch among the calls.
    received: usize,
    answered: usize,
}

#[test]
fn no_answer_leaves_before_what_it_promises_is_on_the_disk() {
    let watch = Watch::start();
    let site = Site::new(Database::sqlite());
    let server = site.start();
    let users: Vec<_> = (0..times(6, 100)).map(|number| format!("user{number}")).collect();
    users.iter().for_each(|user| site.add_user(user, PASSWORD));
    server.signal("TERM");
    drop(server);
    let files = site.database.folder();
    let (disk, lying) = (Disk::of(files), Disk::of(files));

    let file = site.folder().join("trace");
    let mut server = trace::start(&site.serve(), &file);
    // All at once, so that they share commits.
    let log_in = &|users: &[String]| -> Vec<Held> {
        let everywhere = |user: &String| Wire::ALL.map(|wire| server.login(wire, user, PASSWORD));
        users.iter().flat_map(everywhere).collect()
    };
    let held: Vec<Held> = thread::scope(|scope| {
        let chunks = users.chunks(users.len().div_ceil(6));
        let clients: Vec<_> = chunks.map(|chunk| scope.spawn(move || log_in(chunk))).collect();
        clients.into_iter().flat_map(|client| client.join().unwrap()).collect()
    });
    let sessions = site.sessions();
    for held in &held {
        assert_eq!(server.log_out(held), Verdict::Yes);
    }
    server.signal("TERM");
    assert_eq!(server.ended().code(), Some(0));
    let calls = trace::read(&file);
    let changes = acknowledged(&calls, &held, &sessions);
    assert_eq!(changes.len(), 2 * held.len(), "each login and each logout has its answer");

    assert_eq!(uncovered(&calls, &changes), 0, "answers left before their sync");
    let blind: Vec<_> = calls.iter().filter(|call| !call.is_sync()).cloned().collect();
    let without = acknowledged(&blind, &held, &sessions);
    assert_eq!(uncovered(&blind, &without), without.len(), "without syncs nothing is covered");

    let (cuts, wrong) = disk.cuts(&calls, &changes, site.folder());
    assert_eq!(wrong, Vec::<String>::new());
    let (_, wrong) = lying.cuts(&blind, &without, site.folder());
    assert!(
        wrong.iter().any(|what| what.ends_with("is lost")),
        "a disk that never syncs loses: {wrong:?}"
    );
    let syncs = calls.iter().filter(|call| call.is_sync() && call.file.ends_with("-wal")).count();
    eprintln!(
        "sync: {} acknowledged changes, {syncs} syncs of the log, 0 answers before their sync; {cuts} power cuts, 0 lost, 0 resurrected, integrity ok; {:?} in all",
        changes.len(),
        watch.elapsed()
    );
}

/// Finds each login's and each logout's request and answer among the calls.
fn acknowledged(calls: &[Call], held: &[Held], sessions: &[Value]) -> Vec<Acknowledged> {
    let mut changes = Vec::new();
    let answers: Vec<usize> = (0..calls.len())
        .filter(|at| {
            let call = &calls[*at];
            call.name != "recvfrom" && call.data.starts_with(b"HTTP/1.1 20")
        })
        .collect();
    // The logouts came one after the other, after all logins.
    let logouts = &answers[answers.len() - held.len()..];
    for (held, logout) in held.iter().zip(logouts) {
        let is_his = |session: &&Value| {
            session["user"] == held.user.as_str() && session["dialect"] == held.wire.name()
        };
        let id = sessions.iter().find(is_his).and_then(|session| session["id"].as_str()).unwrap();
        let digits: Vec<char> = id.chars().filter(|digit| *digit != '-').collect();
        let byte =
            |pair: &[char]| u8::from_str_radix(&pair.iter().collect::<String>(), 16).unwrap();
        let id: Vec<u8> = digits.chunks(2).map(byte).collect();
        let secret = held.secrets().pop().unwrap();
        let login = answers.iter().find(|at| calls[**at].holds(secret.as_bytes())).unwrap();
        for (answered, is_login) in [(*login, true), (*logout, false)] {
            let socket = &calls[answered].file;
            let asked =
                |call: &Call| call.name == "recvfrom" && call.file == *socket && call.result > 0;
            let received = calls[..answered].iter().rposition(asked).unwrap();
            changes.push(Acknowledged { id: id.clone(), is_login, received, answered });
        }
    }
    changes.sort_by_key(|change| change.answered);
    changes
}

/// How many answers left before what they promise had been written and synced.
fn uncovered(calls: &[Call], changes: &[Acknowledged]) -> usize {
    let covered = |change: &&Acknowledged| {
        let answer = calls[change.answered].began;
        let between = &calls[change.received..];
        let written = between.iter().find(|call| {
            call.name == "pwrite64" && call.file.ends_with("-wal") && call.holds(&change.id)
        });
        written.is_some_and(|write| {
            let after = |call: &&Call| call.began > write.ended && call.ended < answer;
            between.iter().filter(after).any(|call| call.is_sync() && call.file == write.file)
        })
    };
    changes.iter().filter(|change| !covered(change)).count()
}

/// A disk that keeps what is synced, and of the rest what chance leaves.
struct Disk {
    durable: BTreeMap<String, Vec<u8>>,
    pending: Vec<Call>,
    dice: Dice,
}

impl Disk {
    /// With what lies in this folder now.
    fn of(folder: &Path) -> Self {
        let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let durable = files.map(|path| (path.display().to_string(), fs::read(&path).unwrap()));
        Self { durable: durable.collect(), pending: Vec::new(), dice: Dice::new(1) }
    }

    /// Cuts the power at each answer: once all that is not synced is gone, once some of it. How often, and what is wrong then.
    fn cuts(
        mut self,
        calls: &[Call],
        changes: &[Acknowledged],
        folder: &Path,
    ) -> (usize, Vec<String>) {
        let (mut cuts, mut wrong) = (0, Vec::new());
        let mut next = calls.iter().peekable();
        let mut order: Vec<_> = changes.iter().collect();
        order.sort_by_key(|change| calls[change.answered].began);
        let mut acknowledged: BTreeMap<String, bool> = BTreeMap::new();
        for batch in order.chunks(16) {
            let mut expected = Vec::new();
            for change in batch {
                let moment = calls[change.answered].began;
                while let Some(call) = next.next_if(|call| call.ended < moment) {
                    self.take(call);
                }
                acknowledged.insert(hex(&change.id), change.is_login);
                // A logout that was under way may be done already.
                let is_open =
                    |other: &&Acknowledged| !other.is_login && calls[other.received].began < moment;
                let open: Vec<_> =
                    changes.iter().filter(is_open).map(|other| hex(&other.id)).collect();
                for some in [false, true] {
                    self.leave(&folder.join(format!("cut{cuts}")), some);
                    expected.push((cuts, acknowledged.clone(), open.clone()));
                    cuts += 1;
                }
            }
            let paths: Vec<_> =
                expected.iter().map(|(cut, ..)| folder.join(format!("cut{cut}"))).collect();
            for ((cut, expected, open), (integrity, alive)) in expected.iter().zip(look(&paths)) {
                if integrity != "ok" {
                    wrong.push(format!("cut {cut}: {integrity}"));
                }
                for (id, is_alive) in expected {
                    let there = alive.contains(id);
                    if there != *is_alive && !(*is_alive && open.contains(id)) {
                        let what = if there { "resurrected" } else { "lost" };
                        wrong.push(format!("cut {cut}: session {id} is {what}"));
                    }
                }
            }
            paths.iter().for_each(|path| fs::remove_dir_all(path).unwrap());
        }
        (cuts, wrong)
    }

    fn take(&mut self, call: &Call) {
        if !call.file.contains("/parlance.db") && call.name != "unlink"
            || call.file.ends_with("-shm")
        {
            return;
        }
        match call.name.as_str() {
            "pwrite64" | "ftruncate" => self.pending.push(call.clone()),
            "pwritev" | "write" | "writev" => panic!("a write of another kind: {call:?}"),
            _ if call.is_sync() => {
                let (synced, pending) = std::mem::take(&mut self.pending)
                    .into_iter()
                    .partition(|write| write.file == call.file && write.ended < call.began);
                self.pending = pending;
                synced.iter().for_each(|write| apply(&mut self.durable, write));
            }
            _ => {}
        }
    }

    /// Writes down what a power cut leaves.
    fn leave(&mut self, aside: &Path, some: bool) {
        let mut files = self.durable.clone();
        for write in &self.pending {
            if some && self.dice.below(2) == 0 {
                apply(&mut files, write);
            }
        }
        fs::create_dir(aside).unwrap();
        for (name, bytes) in files {
            let name = Path::new(&name).file_name().unwrap();
            if !name.to_string_lossy().ends_with("-shm") {
                fs::write(aside.join(name), bytes).unwrap();
            }
        }
    }
}

fn apply(files: &mut BTreeMap<String, Vec<u8>>, write: &Call) {
    let file = files.entry(write.file.clone()).or_default();
    let at = usize::try_from(write.offset).unwrap();
    if write.name == "ftruncate" {
        file.resize(at, 0);
        return;
    }
    file.resize(file.len().max(at + write.data.len()), 0);
    file[at..at + write.data.len()].copy_from_slice(&write.data);
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What SQLite says of the database in each folder: its integrity, and the sessions that live, in hexadecimal digits.
fn look(folders: &[PathBuf]) -> Vec<(String, Vec<String>)> {
    const SCRIPT: &str = "import sqlite3, sys, json
for cut in sys.argv[1:]:
    db = sqlite3.connect(cut + '/parlance.db')
    try:
        whole = db.execute('PRAGMA integrity_check').fetchone()[0]
        alive = [row[0].hex() for row in db.execute('SELECT id FROM sessions WHERE revoked_at IS NULL')]
    except sqlite3.Error as error:
        whole, alive = str(error), []
    print(json.dumps([whole, alive]))";
    let said = Command::new("python3").args(["-c", SCRIPT]).args(folders).output().unwrap();
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    let lines = String::from_utf8(said.stdout).unwrap();
    lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

//! A finished sync lies between each change and its answer: a power cut at any answer loses nothing.
//!
//! The real binary runs under `strace`, which prints every written byte, every sync and every answer, in order. For
//! each acknowledged login and logout the trace must show, after the receipt of the request, the first write to
//! SQLite's log of a page with the session's id; after the end of that write the beginning of a sync of that file;
//! after the end of that sync the beginning of the answer. With the syncs removed from the trace no change may pass. At
//! each answer the power is cut: another SQLite opens the files with the synced writes alone, and once more with a
//! random half of the other writes. Integrity and every acknowledged change must hold. A disk that never syncs,
//! simulated from the same trace, must lose some changes.
//!
//! Writes are kept or dropped whole. Torn pages are not tried: SQLite guards its log by checksums. PostgreSQL syncs by
//! itself, and parlance refuses to run where `synchronous_commit` says otherwise.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use serde_json::Value;

use super::repetitions;
use crate::harness::trace::{self, SystemCall};
use crate::harness::{
    Database, HeldSession, Installation, PASSWORD, Rng, Stopwatch, Verdict, Wire,
};

/// An acknowledged change.
struct AcknowledgedChange {
    /// The session's 16 bytes.
    id: Vec<u8>,
    is_login: bool,
    /// The indices of the request's receipt and of the answer's dispatch among the calls.
    received: usize,
    answered: usize,
}

#[test]
fn no_change_is_acknowledged_before_it_is_synced() {
    let watch = Stopwatch::start();
    let installation = Installation::new(Database::sqlite());
    let server = installation.start();
    let users: Vec<_> = (0..repetitions(6, 100)).map(|number| format!("user{number}")).collect();
    users.iter().for_each(|user| installation.add_user(user, PASSWORD));
    server.signal("TERM");
    drop(server);
    let files = installation.database.folder();
    let (disk, lying) = (SimulatedDisk::of(files), SimulatedDisk::of(files));

    let file = installation.folder().join("trace");
    let mut server = trace::start(&installation.serve_command(), &file);
    // All at once, so that logins share commits.
    let log_in = &|users: &[String]| -> Vec<HeldSession> {
        let everywhere =
            |user: &String| Wire::ALL.map(|wire| server.log_in_as(wire, user, PASSWORD));
        users.iter().flat_map(everywhere).collect()
    };
    let held: Vec<HeldSession> = thread::scope(|scope| {
        let chunks = users.chunks(users.len().div_ceil(6));
        let clients: Vec<_> = chunks.map(|chunk| scope.spawn(move || log_in(chunk))).collect();
        clients.into_iter().flat_map(|client| client.join().unwrap()).collect()
    });
    let sessions = installation.sessions();
    for held in &held {
        assert_eq!(server.log_out(held), Verdict::Accepted);
    }
    server.signal("TERM");
    assert_eq!(server.wait_for_exit().code(), Some(0));
    let calls = trace::read(&file);
    let changes = acknowledged_changes(&calls, &held, &sessions);
    assert_eq!(changes.len(), 2 * held.len(), "each login and each logout has its answer");

    assert_eq!(count_answered_before_sync(&calls, &changes), 0, "answers left before their sync");
    let blind: Vec<_> = calls.iter().filter(|call| !call.is_sync()).cloned().collect();
    let without = acknowledged_changes(&blind, &held, &sessions);
    assert_eq!(
        count_answered_before_sync(&blind, &without),
        without.len(),
        "without syncs nothing is covered"
    );

    let (cuts, wrong) = disk.cut_power(&calls, &changes, installation.folder());
    assert_eq!(wrong, Vec::<String>::new());
    let (_, wrong) = lying.cut_power(&blind, &without, installation.folder());
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

/// Finds the request and the answer of each login and each logout among the calls.
fn acknowledged_changes(
    calls: &[SystemCall],
    held: &[HeldSession],
    sessions: &[Value],
) -> Vec<AcknowledgedChange> {
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
        let login = answers.iter().find(|at| calls[**at].contains(secret.as_bytes())).unwrap();
        for (answered, is_login) in [(*login, true), (*logout, false)] {
            let socket = &calls[answered].file;
            let asked = |call: &SystemCall| {
                call.name == "recvfrom" && call.file == *socket && call.result > 0
            };
            let received = calls[..answered].iter().rposition(asked).unwrap();
            changes.push(AcknowledgedChange { id: id.clone(), is_login, received, answered });
        }
    }
    changes.sort_by_key(|change| change.answered);
    changes
}

/// The number of answers that left before their change was written and synced.
fn count_answered_before_sync(calls: &[SystemCall], changes: &[AcknowledgedChange]) -> usize {
    let covered = |change: &&AcknowledgedChange| {
        let answer = calls[change.answered].began;
        let between = &calls[change.received..];
        let written = between.iter().find(|call| {
            call.name == "pwrite64" && call.file.ends_with("-wal") && call.contains(&change.id)
        });
        written.is_some_and(|write| {
            let after = |call: &&SystemCall| call.began > write.ended && call.ended < answer;
            between.iter().filter(after).any(|call| call.is_sync() && call.file == write.file)
        })
    };
    changes.iter().filter(|change| !covered(change)).count()
}

/// A simulated disk that keeps synced writes, and a random part of the others.
struct SimulatedDisk {
    durable: BTreeMap<String, Vec<u8>>,
    pending: Vec<SystemCall>,
    rng: Rng,
}

impl SimulatedDisk {
    /// Starts with the files of this folder.
    fn of(folder: &Path) -> Self {
        let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let durable = files.map(|path| (path.display().to_string(), fs::read(&path).unwrap()));
        Self { durable: durable.collect(), pending: Vec::new(), rng: Rng::new(1) }
    }

    /// Cuts the power at each answer, once without any unsynced write and once with a random part of them. Returns the
    /// number of cuts, and the faults found.
    fn cut_power(
        mut self,
        calls: &[SystemCall],
        changes: &[AcknowledgedChange],
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
                    self.record_call(call);
                }
                acknowledged.insert(hex(&change.id), change.is_login);
                // A logout in progress may be done already.
                let is_open = |other: &&AcknowledgedChange| {
                    !other.is_login && calls[other.received].began < moment
                };
                let open: Vec<_> =
                    changes.iter().filter(is_open).map(|other| hex(&other.id)).collect();
                for some in [false, true] {
                    self.write_remains(&folder.join(format!("cut{cuts}")), some);
                    expected.push((cuts, acknowledged.clone(), open.clone()));
                    cuts += 1;
                }
            }
            let paths: Vec<_> =
                expected.iter().map(|(cut, ..)| folder.join(format!("cut{cut}"))).collect();
            for ((cut, expected, open), (integrity, alive)) in
                expected.iter().zip(inspect_databases(&paths))
            {
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

    fn record_call(&mut self, call: &SystemCall) {
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

    /// Writes the files that a power cut leaves.
    fn write_remains(&mut self, aside: &Path, some: bool) {
        let mut files = self.durable.clone();
        for write in &self.pending {
            if some && self.rng.below(2) == 0 {
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

fn apply(files: &mut BTreeMap<String, Vec<u8>>, write: &SystemCall) {
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

/// SQLite's findings in each folder: the integrity, and the ids of living sessions in hexadecimal digits.
fn inspect_databases(folders: &[PathBuf]) -> Vec<(String, Vec<String>)> {
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

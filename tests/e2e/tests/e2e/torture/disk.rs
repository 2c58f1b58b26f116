//! The disk of the database fills up and is freed: no broken promise, and no restart is needed.

use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use super::kill::long_lifetimes_config;
use super::repetitions;
use crate::harness::cluster::Cluster;
use crate::harness::history::History;
use crate::harness::http::Connection;
use crate::harness::recording_client::{RecordingClient, record_listing, run_all};
use crate::harness::tmpfs::TmpfsDisk;
use crate::harness::{
    Database, HeldSession, Installation, PASSWORD, Server, Stopwatch, USER, Verdict, Wire, clock,
};

/// The user of the test logins.
const PROBER: &str = "prober";

/// A installation on a small disk, with clients that log everything.
struct DiskFixture {
    installation: Installation,
    server: Server,
    history: Arc<History>,
    clients: Vec<RecordingClient>,
}

impl DiskFixture {
    fn new(database: Database) -> Self {
        let installation = Installation::with_config(database, &long_lifetimes_config());
        let server = installation.start_with_user();
        installation.add_user(PROBER, PASSWORD);
        let history = Arc::new(History::begin(installation.folder()));
        let client = |number| RecordingClient::new(&history, format!("load{number}"), number);
        let clients: Vec<_> = (0..4).map(client).collect();
        clients.iter().for_each(|client| installation.add_user(&client.user, PASSWORD));
        Self { installation, server, history, clients }
    }

    /// Lets all clients send `requests` requests, again and again, until a login gets 503 on every wire.
    fn work_until_logins_are_refused(&mut self, requests: usize) {
        let (address, watch) = (self.server.dialects, Stopwatch::start());
        clock::wait_for("logins to hear 503", || {
            assert!(watch.elapsed() < Duration::from_secs(120), "logins go on without room");
            run_all(&mut self.clients, |client| run_requests(client, address, requests));
            let server = &self.server;
            let refused = &|wire: Wire| {
                let answer = server.send(&wire.login_request(PROBER, PASSWORD));
                wire.parse_login(PROBER, &answer).err() == Some(Verdict::Unavailable)
            };
            // Each login may wait for a connection.
            let all = thread::scope(|scope| {
                let tries = Wire::ALL.map(|wire| scope.spawn(move || refused(wire)));
                tries.into_iter().all(|tried| tried.join().unwrap())
            });
            all.then_some(())
        });
    }

    /// Waits until a login works again, without a restart.
    fn work_until_logins_work(&mut self) {
        let address = self.server.dialects;
        clock::wait_for("a login", || {
            let answer = self.server.send(&Wire::Polish.login_request(PROBER, PASSWORD));
            Wire::Polish.parse_login(PROBER, &answer).ok()
        });
        run_all(&mut self.clients, |client| run_requests(client, address, 40));
    }

    /// Asserts every acknowledged change, before and after a restart.
    fn judge(mut self, what: &str, watch: Stopwatch, rounds: usize) {
        for restarted in [false, true] {
            let address = self.server.dialects;
            run_all(&mut self.clients, |client| client.verify_all(address));
            if !restarted {
                self.installation.database.check_integrity();
                assert!(self.server.is_running());
                self.server.kill();
                self.server = self.installation.start();
                self.history.record_start();
            }
        }
        // The sessions of these two users are not in the log of the clients.
        for user in [USER, PROBER] {
            self.installation.run_ok(&["session", "revoke", "--user", user]);
        }
        record_listing(&self.installation, &self.history);
        let judgement = self.history.check();
        judgement.assert_clean(what);
        assert!(judgement.unavailable > 0, "nothing was ever refused");
        eprintln!("disk, {what}: full {rounds} times, {judgement}; {:?} in all", watch.elapsed());
    }
}

/// Works for this many requests.
fn run_requests(client: &mut RecordingClient, address: SocketAddr, requests: usize) {
    let left = std::cell::Cell::new(requests);
    client.run_load(address, || {
        left.set(left.get().saturating_sub(1));
        left.get() > 0
    });
}

#[test]
fn sqlite_on_a_full_disk_refuses_logins_serves_reads_and_recovers() {
    let watch = Stopwatch::start();
    let disk = TmpfsDisk::mount(8);
    let database = Database::Sqlite(tempfile::tempdir_in(disk.path()).unwrap());
    let mut fixture = DiskFixture::new(database);
    let rounds = repetitions(3, 50);
    for round in 0..rounds {
        let reading: Vec<HeldSession> = [Wire::Cluster, Wire::Polish, Wire::Cookie]
            .map(|wire| fixture.server.log_in(wire))
            .to_vec();
        disk.fill();
        fixture.work_until_logins_are_refused(20);
        for _ in 0..20 {
            fixture.server.expect_each_use(&reading, &Verdict::Accepted, "on a full disk");
        }
        // A logout writes too: the logout is done or refused with 503, and the log's checker asserts that a done logout
        // lasts.
        let left = fixture.server.log_out(&reading[round % 3]);
        assert!(matches!(left, Verdict::Accepted | Verdict::Unavailable), "{left:?}");
        let after = fixture.server.use_session(&reading[round % 3]);
        assert_eq!(
            after,
            if left == Verdict::Accepted { Verdict::Refused } else { Verdict::Accepted }
        );
        disk.free();
        fixture.work_until_logins_work();
    }
    fixture.judge("SQLite", watch, rounds);
}

#[test]
fn a_full_disk_for_the_wal_of_postgresql_is_survived() {
    let watch = Stopwatch::start();
    let disk = TmpfsDisk::mount(64);
    let log = disk.path().join("wal");
    let make = [format!("--waldir={}", log.display()), "--wal-segsize=1".to_owned()];
    let make: Vec<_> = make.iter().map(String::as_str).collect();
    let cluster = Cluster::start_with(&make, "-c min_wal_size=2MB -c max_wal_size=16MB");
    let mut fixture = DiskFixture::new(Database::External(cluster.url()));
    let rounds = repetitions(1, 10);
    for _ in 0..rounds {
        let held = fixture.server.log_in_everywhere();
        disk.fill();
        // The write-ahead log fills the rest of the disk.
        let emit = "SELECT pg_logical_emit_message(false, 'x', repeat('x', 4000000))";
        clock::wait_for("PostgreSQL to run out of room", || {
            let mut psql = Command::new("psql");
            psql.args(["-X", "-q", "-At", "-v", "ON_ERROR_STOP=1", "-c", emit, &cluster.url()]);
            (!psql.output().unwrap().status.success()).then_some(())
        });
        fixture.work_until_logins_are_refused(2);
        // PostgreSQL stops then, so reads cannot go on. A use gets 503, and never an answer that denies the session.
        for held in &held {
            let used = fixture.server.use_session(held);
            assert!(matches!(used, Verdict::Accepted | Verdict::Unavailable), "{used:?}");
        }
        clock::wait_for("PostgreSQL to give up", || (!cluster.is_running()).then_some(()));
        disk.free();
        cluster.start_again();
        fixture.history.record_start();
        fixture.work_until_logins_work();
        let last = held.iter().filter(|held| held.wire != Wire::Cookie);
        for held in last {
            assert_eq!(fixture.server.use_session(held), Verdict::Accepted, "{}", held.wire.name());
        }
        let mut connection = Connection::open(fixture.server.dialects).unwrap();
        fixture.clients.iter_mut().for_each(|client| drop(client.log_in(&mut connection)));
    }
    fixture.judge("PostgreSQL", watch, rounds);
}

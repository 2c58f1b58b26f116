//! The database's disk is full, and then it is not: nothing is promised that cannot be kept, and no restart is needed.

use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use super::kill::lasting;
use super::times;
use crate::harness::client::{Client, list, together};
use crate::harness::cluster::Cluster;
use crate::harness::history::History;
use crate::harness::http::Connection;
use crate::harness::mount::Disk;
use crate::harness::{Database, Held, PASSWORD, Server, Site, USER, Verdict, Watch, Wire, clock};

/// Who tries whether logins work.
const PROBER: &str = "prober";

/// A site on a small disk, with clients that log everything.
struct Scene {
    site: Site,
    server: Server,
    history: Arc<History>,
    clients: Vec<Client>,
}

impl Scene {
    fn new(database: Database) -> Self {
        let site = Site::with(database, &lasting());
        let server = site.start_with_user();
        site.add_user(PROBER, PASSWORD);
        let history = Arc::new(History::begin(site.folder()));
        let client = |number| Client::new(&history, format!("load{number}"), number);
        let clients: Vec<_> = (0..4).map(client).collect();
        clients.iter().for_each(|client| site.add_user(&client.user, PASSWORD));
        Self { site, server, history, clients }
    }

    /// Lets all clients send so many requests, again and again, until a login hears 503 on every wire.
    fn work_until_logins_are_refused(&mut self, requests: usize) {
        let (address, watch) = (self.server.dialects, Watch::start());
        clock::until("logins to hear 503", || {
            assert!(watch.elapsed() < Duration::from_secs(120), "logins go on without room");
            together(&mut self.clients, |client| some(client, address, requests));
            let server = &self.server;
            let refused = &|wire: Wire| {
                let answer = server.send(&wire.login(PROBER, PASSWORD));
                wire.opened(PROBER, &answer).err() == Some(Verdict::Away)
            };
            // Each may wait for a connection.
            let all = thread::scope(|scope| {
                let tries = Wire::ALL.map(|wire| scope.spawn(move || refused(wire)));
                tries.into_iter().all(|tried| tried.join().unwrap())
            });
            all.then_some(())
        });
    }

    /// Waits until a login works again, by itself.
    fn work_until_logins_work(&mut self) {
        let address = self.server.dialects;
        clock::until("a login", || {
            let answer = self.server.send(&Wire::Polish.login(PROBER, PASSWORD));
            Wire::Polish.opened(PROBER, &answer).ok()
        });
        together(&mut self.clients, |client| some(client, address, 40));
    }

    /// Everything is as it was promised, before and after a restart.
    fn judge(mut self, what: &str, watch: Watch, rounds: usize) {
        for restarted in [false, true] {
            let address = self.server.dialects;
            together(&mut self.clients, |client| client.settle_all(address));
            if !restarted {
                self.site.database.check_integrity();
                assert!(self.server.is_running());
                self.server.kill();
                self.server = self.site.start();
                self.history.started();
            }
        }
        // What these two did is in no log.
        for user in [USER, PROBER] {
            self.site.must(&["session", "revoke", "--user", user]);
        }
        list(&self.site, &self.history);
        let judgement = self.history.judge();
        judgement.assert_clean(what);
        assert!(judgement.shed > 0, "nothing was ever refused");
        eprintln!("disk, {what}: full {rounds} times, {judgement}; {:?} in all", watch.elapsed());
    }
}

/// Works for so many requests.
fn some(client: &mut Client, address: SocketAddr, requests: usize) {
    let left = std::cell::Cell::new(requests);
    client.work(address, || {
        left.set(left.get().saturating_sub(1));
        left.get() > 0
    });
}

#[test]
fn sqlite_refuses_to_promise_goes_on_reading_and_recovers() {
    let watch = Watch::start();
    let disk = Disk::of(8);
    let database = Database::Sqlite(tempfile::tempdir_in(disk.path()).unwrap());
    let mut scene = Scene::new(database);
    let rounds = times(3, 50);
    for round in 0..rounds {
        let reading: Vec<Held> = [Wire::Cluster, Wire::Polish, Wire::Cookie]
            .map(|wire| scene.server.log_in(wire))
            .to_vec();
        disk.fill();
        scene.work_until_logins_are_refused(20);
        for _ in 0..20 {
            scene.server.expect(&reading, &Verdict::Yes, "on a full disk");
        }
        // A logout writes too: it is done or honestly refused, and the log's checker sees to it that it is not undone.
        let left = scene.server.log_out(&reading[round % 3]);
        assert!(matches!(left, Verdict::Yes | Verdict::Away), "{left:?}");
        let after = scene.server.check(&reading[round % 3]);
        assert_eq!(after, if left == Verdict::Yes { Verdict::No } else { Verdict::Yes });
        disk.free();
        scene.work_until_logins_work();
    }
    scene.judge("SQLite", watch, rounds);
}

#[test]
fn postgresql_without_room_for_its_log_is_survived() {
    let watch = Watch::start();
    let disk = Disk::of(64);
    let log = disk.path().join("wal");
    let make = [format!("--waldir={}", log.display()), "--wal-segsize=1".to_owned()];
    let make: Vec<_> = make.iter().map(String::as_str).collect();
    let cluster = Cluster::start_with(&make, "-c min_wal_size=2MB -c max_wal_size=16MB");
    let mut scene = Scene::new(Database::Foreign(cluster.url()));
    let rounds = times(1, 10);
    for _ in 0..rounds {
        let held = scene.server.log_in_everywhere();
        disk.fill();
        // Its log fills up what is left of it.
        let emit = "SELECT pg_logical_emit_message(false, 'x', repeat('x', 4000000))";
        clock::until("PostgreSQL to run out of room", || {
            let mut psql = Command::new("psql");
            psql.args(["-X", "-q", "-At", "-v", "ON_ERROR_STOP=1", "-c", emit, &cluster.url()]);
            (!psql.output().unwrap().status.success()).then_some(())
        });
        scene.work_until_logins_are_refused(2);
        // PostgreSQL stops then, so reads cannot go on; what they hear is 503 and never that the session is gone.
        for held in &held {
            let used = scene.server.check(held);
            assert!(matches!(used, Verdict::Yes | Verdict::Away), "{used:?}");
        }
        clock::until("PostgreSQL to give up", || (!cluster.is_running()).then_some(()));
        disk.free();
        cluster.resume();
        scene.history.started();
        scene.work_until_logins_work();
        let last = held.iter().filter(|held| held.wire != Wire::Cookie);
        for held in last {
            assert_eq!(scene.server.check(held), Verdict::Yes, "{}", held.wire.name());
        }
        let mut connection = Connection::open(scene.server.dialects).unwrap();
        scene.clients.iter_mut().for_each(|client| drop(client.enter(&mut connection)));
    }
    scene.judge("PostgreSQL", watch, rounds);
}

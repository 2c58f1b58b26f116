//! PostgreSQL crashes, and cuts its connections, in the middle of everything.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use super::kill::lasting;
use super::{is_long, times};
use crate::harness::client::{Client, together};
use crate::harness::cluster::Cluster;
use crate::harness::database::psql;
use crate::harness::history::{History, Judgement, Line};
use crate::harness::{
    Database, Dice, EndOnDrop, Held, PASSWORD, Server, Site, Verdict, Watch, clock,
};

const CLIENTS: usize = 8;
/// How many old sessions a client looks at after each crash, besides those it has just had to do with.
const OLD: usize = 5;
/// How many connections a server has: one for each lane, and one more for checks.
const CONNECTIONS: usize = 4;

/// A server on a PostgreSQL of its own, and clients at work.
struct Scene {
    // Before the database, so that it is gone first.
    server: Server,
    site: Site,
    cluster: Cluster,
    history: Arc<History>,
    clients: Vec<Client>,
    /// What must count whenever the database answers.
    held: Vec<Held>,
}

impl Scene {
    fn new() -> Self {
        let cluster = Cluster::start();
        let site = Site::with(Database::Foreign(cluster.url()), &lasting());
        let server = site.start_with_user();
        let history = Arc::new(History::begin(site.folder()));
        let client = |number| Client::new(&history, format!("load{number}"), 1000 + number as u64);
        let clients: Vec<_> = (0..CLIENTS).map(client).collect();
        clients.iter().for_each(|client| site.add_user(&client.user, PASSWORD));
        let held = server.log_in_everywhere();
        history.started();
        Self { server, site, cluster, history, clients, held }
    }

    /// Lets everybody work until this is done.
    fn under_load<T>(&mut self, act: impl FnOnce(&Cluster, &Server, &[Held]) -> T) -> T {
        let over = AtomicBool::new(false);
        let Self { clients, server, cluster, held, .. } = self;
        let address = server.dialects;
        thread::scope(|scope| {
            let end_work = EndOnDrop(&over);
            let working = scope.spawn(|| {
                together(clients, |client| {
                    client.work(address, || !over.load(Ordering::SeqCst));
                });
            });
            let done = act(cluster, server, held);
            drop(end_work);
            working.join().unwrap();
            done
        })
    }

    /// Looks at every session there ever was, and lets the server list what it has.
    fn judge(&mut self) -> Judgement {
        together(&mut self.clients, |client| client.settle_all(self.server.dialects));
        for listed in self.site.sessions() {
            let of = |key: &str| listed[key].as_str().unwrap().to_owned();
            if of("user").starts_with("load") {
                self.history.note(&Line::Listed { user: of("user"), dialect: of("dialect") });
            }
        }
        self.history.judge()
    }
}

/// Waits until a good session counts again; it is never refused.
#[track_caller]
fn until_it_counts(server: &Server, held: &Held) {
    clock::until("a good session to count", || match server.check(held) {
        Verdict::Yes => Some(()),
        Verdict::Away => None,
        other @ (Verdict::No | Verdict::Odd(_)) => panic!("{}: {other:?}", held.wire.name()),
    });
}

#[test]
fn no_acknowledged_change_is_undone_by_a_crash_of_postgresql() {
    let crashes = times(4, 100);
    let watch = Watch::start();
    let mut scene = Scene::new();
    let mut dice = Dice::new(3);
    let mut backs = Vec::new();
    for round in 0..crashes {
        let acts = 1 + dice.below(if is_long() { 60 } else { 20 });
        let history = Arc::clone(&scene.history);
        let back = scene.under_load(|cluster, server, held| {
            history.until_more(acts);
            if round % 2 == 0 {
                cluster.stop()
            } else {
                cluster.kill()
            }
            for held in held {
                assert_eq!(server.check(held), Verdict::Away, "{} while down", held.wire.name());
            }
            assert_eq!(server.admin("/readyz").status, 503);
            cluster.resume();
            let watch = Watch::start();
            held.iter().for_each(|held| until_it_counts(server, held));
            clock::until("readiness", || (server.admin("/readyz").status == 200).then_some(()));
            watch.elapsed()
        });
        backs.push(back);
        scene.history.started();
        let address = scene.server.dialects;
        together(&mut scene.clients, |client| client.settle(address, OLD));
    }
    let judgement = scene.judge();
    judgement.assert_clean("after the crashes");
    let connections = scene.cluster.connections();
    assert!(connections <= CONNECTIONS, "{connections} connections: some leaked");
    backs.sort_unstable();
    let (median, worst) = (backs[backs.len() / 2], backs[backs.len() - 1]);
    eprintln!(
        "postgres: {crashes} crashes, {judgement}; good again {median:?} (median), {worst:?} (worst) after it accepts; {connections} connections afterwards; {:?} in all",
        watch.elapsed()
    );
    assert!(!is_long() || worst <= Duration::from_secs(2), "good again after {worst:?}");
}

#[test]
fn connections_that_are_cut_lose_nothing_and_refuse_nobody() {
    let cuts = times(40, 1000);
    let mut scene = Scene::new();
    let done = scene.under_load(|cluster, server, held| {
        let cut = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()";
        let mut done = 0;
        while done < cuts {
            done += psql(&cluster.url(), cut).trim().parse::<usize>().unwrap();
            held.iter().for_each(|held| until_it_counts(server, held));
        }
        done
    });
    scene.history.started();
    let judgement = scene.judge();
    judgement.assert_clean("after the cuts");
    let connections = scene.cluster.connections();
    assert!(connections <= CONNECTIONS, "{connections} connections: some leaked");
    eprintln!(
        "postgres: {done} connections cut, {judgement}; {connections} connections afterwards"
    );
}

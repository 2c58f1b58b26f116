//! PostgreSQL crashes, and cuts its connections, at any moment under load.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use super::kill::long_lifetimes_config;
use super::{is_long, repetitions};
use crate::harness::cluster::Cluster;
use crate::harness::database::psql;
use crate::harness::history::{History, HistoryEvent, HistoryReport};
use crate::harness::recording_client::{RecordingClient, run_all};
use crate::harness::{
    Database, HeldSession, Installation, PASSWORD, Rng, Server, StopOnDrop, Stopwatch, Verdict,
    clock,
};

const CLIENTS: usize = 8;
/// How many old sessions a client uses after each crash, besides those that it has just changed.
const OLD_SESSIONS_CHECKED: usize = 5;
/// Connections of a server: one for each lane, and one more for checks.
const MAX_SERVER_CONNECTIONS: usize = 4;

/// A server on its own PostgreSQL, and working clients.
struct PostgresFixture {
    // Before the database, so that the server is dropped first.
    server: Server,
    installation: Installation,
    cluster: Cluster,
    history: Arc<History>,
    clients: Vec<RecordingClient>,
    /// Sessions that must be valid whenever the database answers.
    held: Vec<HeldSession>,
}

impl PostgresFixture {
    fn new() -> Self {
        let cluster = Cluster::start();
        let installation =
            Installation::with_config(Database::External(cluster.url()), &long_lifetimes_config());
        let server = installation.start_with_user();
        let history = Arc::new(History::begin(installation.folder()));
        let client =
            |number| RecordingClient::new(&history, format!("load{number}"), 1000 + number as u64);
        let clients: Vec<_> = (0..CLIENTS).map(client).collect();
        clients.iter().for_each(|client| installation.add_user(&client.user, PASSWORD));
        let held = server.log_in_everywhere();
        history.record_start();
        Self { server, installation, cluster, history, clients, held }
    }

    /// Lets all clients work until `act` returns.
    fn under_load<T>(&mut self, act: impl FnOnce(&Cluster, &Server, &[HeldSession]) -> T) -> T {
        let over = AtomicBool::new(false);
        let Self { clients, server, cluster, held, .. } = self;
        let address = server.dialects;
        thread::scope(|scope| {
            let end_work = StopOnDrop(&over);
            let working = scope.spawn(|| {
                run_all(clients, |client| {
                    client.run_load(address, || !over.load(Ordering::SeqCst));
                });
            });
            let done = act(cluster, server, held);
            drop(end_work);
            working.join().unwrap();
            done
        })
    }

    /// Uses every session so far, and logs the sessions that the server lists.
    fn judge(&mut self) -> HistoryReport {
        run_all(&mut self.clients, |client| client.verify_all(self.server.dialects));
        for listed in self.installation.sessions() {
            let of = |key: &str| listed[key].as_str().unwrap().to_owned();
            if of("user").starts_with("load") {
                self.history
                    .record(&HistoryEvent::Listed { user: of("user"), dialect: of("dialect") });
            }
        }
        self.history.check()
    }
}

/// Waits until a good session is valid again; a use may get 503 but no refusal.
#[track_caller]
fn wait_until_accepted(server: &Server, held: &HeldSession) {
    clock::wait_for("a good session to count", || match server.use_session(held) {
        Verdict::Accepted => Some(()),
        Verdict::Unavailable => None,
        other @ (Verdict::Refused | Verdict::Unexpected(_)) => {
            panic!("{}: {other:?}", held.wire.name())
        }
    });
}

#[test]
fn no_acknowledged_change_is_undone_by_a_crash_of_postgresql() {
    let crashes = repetitions(4, 100);
    let watch = Stopwatch::start();
    let mut fixture = PostgresFixture::new();
    let mut rng = Rng::new(3);
    let mut backs = Vec::new();
    for round in 0..crashes {
        let acts = 1 + rng.below(if is_long() { 60 } else { 20 });
        let history = Arc::clone(&fixture.history);
        let back = fixture.under_load(|cluster, server, held| {
            history.wait_for_more(acts);
            if round % 2 == 0 {
                cluster.stop()
            } else {
                cluster.kill()
            }
            for held in held {
                assert_eq!(
                    server.use_session(held),
                    Verdict::Unavailable,
                    "{} while down",
                    held.wire.name()
                );
            }
            assert_eq!(server.get_admin("/readyz").status, 503);
            cluster.start_again();
            let watch = Stopwatch::start();
            held.iter().for_each(|held| wait_until_accepted(server, held));
            clock::wait_for("readiness", || {
                (server.get_admin("/readyz").status == 200).then_some(())
            });
            watch.elapsed()
        });
        backs.push(back);
        fixture.history.record_start();
        let address = fixture.server.dialects;
        run_all(&mut fixture.clients, |client| client.verify_recent(address, OLD_SESSIONS_CHECKED));
    }
    let judgement = fixture.judge();
    judgement.assert_clean("after the crashes");
    let connections = fixture.cluster.connections();
    assert!(connections <= MAX_SERVER_CONNECTIONS, "{connections} connections: some leaked");
    backs.sort_unstable();
    let (median, worst) = (backs[backs.len() / 2], backs[backs.len() - 1]);
    eprintln!(
        "postgres: {crashes} crashes, {judgement}; good again {median:?} (median), {worst:?} (worst) after it accepts; {connections} connections afterwards; {:?} in all",
        watch.elapsed()
    );
    assert!(!is_long() || worst <= Duration::from_secs(2), "good again after {worst:?}");
}

#[test]
fn cut_database_connections_lose_no_change_and_refuse_no_valid_session() {
    let cuts = repetitions(40, 1000);
    let mut fixture = PostgresFixture::new();
    let done = fixture.under_load(|cluster, server, held| {
        let cut = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()";
        let mut done = 0;
        while done < cuts {
            done += psql(&cluster.url(), cut).trim().parse::<usize>().unwrap();
            held.iter().for_each(|held| wait_until_accepted(server, held));
        }
        done
    });
    fixture.history.record_start();
    let judgement = fixture.judge();
    judgement.assert_clean("after the cuts");
    let connections = fixture.cluster.connections();
    assert!(connections <= MAX_SERVER_CONNECTIONS, "{connections} connections: some leaked");
    eprintln!(
        "postgres: {done} connections cut, {judgement}; {connections} connections afterwards"
    );
}

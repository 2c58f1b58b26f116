//! The program is killed at any moment under load: acknowledged changes last, and ended sessions stay ended.

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use super::{is_long, repetitions};
use crate::harness::database::copy_files;
use crate::harness::history::{History, HistoryReport};
use crate::harness::recording_client::{RecordingClient, record_listing, run_all};
use crate::harness::{Database, Installation, PASSWORD, Rng, Server, Stopwatch, on_both_databases};

on_both_databases!(no_acknowledged_change_is_undone_by_a_kill);

const CLIENTS: usize = 16;
/// Kills on one database; then a new database starts, so that the check of all sessions stays quick.
const KILLS_PER_DATABASE: usize = 50;
/// How many old sessions a client uses after each restart, besides those that it has just changed.
const OLD_SESSIONS_CHECKED: usize = 10;
/// Sliding sessions outlive a run.
pub(super) const LONG_LIFETIMES: &str =
    "[dialects.cluster-api]\nlifetime = \"1d\"\n[dialects.1010-cookie]\nidle_lifetime = \"1d\"\n";

/// All sessions outlive a run, however many one user has.
pub(super) fn long_lifetimes_config() -> String {
    format!("max_sessions_per_user = 100000\n{LONG_LIFETIMES}")
}

/// A installation, its clients and their log.
struct KillFixture {
    installation: Installation,
    history: Arc<History>,
    clients: Vec<RecordingClient>,
    rng: Rng,
    /// From the start command to the first good answer.
    starts: Vec<Duration>,
}

impl KillFixture {
    fn new(database: Database, seed: u64) -> Self {
        let installation = Installation::with_config(database, &long_lifetimes_config());
        let history = Arc::new(History::begin(installation.folder()));
        let client = |number: usize| {
            let seed = seed.wrapping_mul(1000).wrapping_add(number as u64);
            RecordingClient::new(&history, format!("load{number}"), seed)
        };
        let clients = (0..CLIENTS).map(client).collect();
        Self { installation, history, clients, rng: Rng::new(seed), starts: Vec::new() }
    }

    /// Starts a server, and waits for the first good answer.
    fn start(&mut self) -> Server {
        self.history.record_start();
        let watch = Stopwatch::start();
        let server = self.installation.start();
        let client = &mut self.clients[0];
        if client.pick_recent().is_some() {
            client.verify_recent(server.dialects, 1);
            self.starts.push(watch.elapsed());
        }
        server
    }

    /// Lets all clients work, and kills the server once `acts` more logins, uses, renewals and logouts each are
    /// acknowledged.
    fn kill_under_load(&mut self, server: Server, acts: usize) -> SocketAddr {
        let address = server.dialects;
        let (clients, history) = (&mut self.clients, Arc::clone(&self.history));
        thread::scope(|scope| {
            scope.spawn(move || {
                history.wait_for_more(acts);
                server.kill();
            });
            run_all(clients, |client| client.run_load(address, || true));
        });
        self.installation.database.check_integrity();
        address
    }

    /// Uses every session so far, and logs the sessions that the server lists.
    fn judge(&mut self, server: &Server) -> HistoryReport {
        run_all(&mut self.clients, |client| client.verify_all(server.dialects));
        record_listing(&self.installation, &self.history);
        self.history.check()
    }
}

fn no_acknowledged_change_is_undone_by_a_kill(database: Database) {
    let watch = Stopwatch::start();
    let sqlite = matches!(database, Database::Sqlite(_));
    let name = if sqlite { "SQLite" } else { "PostgreSQL" };
    let again = || if sqlite { Database::sqlite() } else { Database::postgres() };
    let kills = repetitions(12, if sqlite { 500 } else { 100 });
    let most = if is_long() { 60 } else { 20 };
    let (mut left, mut database) = (kills, Some(database));
    let (mut sum, mut starts) = (HistoryReport::default(), Vec::new());
    while left > 0 {
        let mut fixture = KillFixture::new(database.take().unwrap_or_else(again), left as u64);
        let mut server = fixture.start();
        fixture
            .clients
            .iter()
            .for_each(|client| fixture.installation.add_user(&client.user, PASSWORD));
        for _ in 0..left.min(KILLS_PER_DATABASE) {
            let acts = 1 + fixture.rng.below(most);
            fixture.kill_under_load(server, acts);
            server = fixture.start();
            let address = server.dialects;
            run_all(&mut fixture.clients, |client| {
                client.verify_recent(address, OLD_SESSIONS_CHECKED)
            });
        }
        let judgement = fixture.judge(&server);
        judgement.assert_clean(&format!("{name}, {left} kills before the end"));
        server.kill();
        fixture.installation.database.check_integrity();
        starts.extend(fixture.starts);
        sum.operations += judgement.operations;
        sum.acknowledged += judgement.acknowledged;
        sum.unavailable += judgement.unavailable;
        sum.unknown += judgement.unknown;
        left = left.saturating_sub(KILLS_PER_DATABASE);
    }
    starts.sort_unstable();
    let p99 = starts[(starts.len() * 99).div_ceil(100) - 1];
    eprintln!(
        "kill, {name}: {kills} kills, {sum}; first good answer after {:?} (median), {p99:?} (p99), {:?} (worst); {:?} in all",
        starts[starts.len() / 2],
        starts[starts.len() - 1],
        watch.elapsed(),
    );
    let bounded = sqlite && is_long();
    assert!(!bounded || p99 <= Duration::from_secs(1), "the first good answer took {p99:?}");
}

/// Between kill and restart an older state of the files is put back, as by a disk that lies about its syncs. The
/// checker must notice.
#[test]
fn an_older_state_put_back_is_detected() {
    let mut fixture = KillFixture::new(Database::sqlite(), 7);
    let mut server = fixture.start();
    fixture.clients.iter().for_each(|client| fixture.installation.add_user(&client.user, PASSWORD));
    let aside = tempfile::tempdir().unwrap();
    for round in 0..2 {
        fixture.kill_under_load(server, 50);
        let files = fixture.installation.database.folder();
        match round {
            0 => copy_files(files, aside.path()),
            _ => copy_files(aside.path(), files),
        }
        server = fixture.start();
    }
    let judgement = fixture.judge(&server);
    assert!(!judgement.lost.is_empty(), "logins are gone: {judgement}");
    assert!(!judgement.resurrected.is_empty(), "logouts are undone: {judgement}");
    assert_eq!(judgement.unexpected, Vec::<String>::new());
}

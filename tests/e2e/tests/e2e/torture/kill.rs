//! The program is killed in the middle of everything: what it acknowledged stands, and what it ended stays ended.

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use super::{is_long, times};
use crate::harness::client::{Client, list, together};
use crate::harness::database::copy_files;
use crate::harness::history::{History, Judgement};
use crate::harness::{Database, Dice, PASSWORD, Server, Site, Watch, on_both_databases};

on_both_databases!(no_acknowledged_change_is_undone_by_a_kill);

const CLIENTS: usize = 16;
/// How many kills one database sees; then comes a new one, so that looking at everything stays quick.
const KILLS: usize = 50;
/// How many old sessions a client looks at after each restart, besides those it has just had to do with.
const OLD: usize = 10;
/// The sliding sessions of a run outlive it.
pub(super) const LONG_LIVES: &str =
    "[dialects.cluster-api]\nlifetime = \"1d\"\n[dialects.1010-cookie]\nidle_lifetime = \"1d\"\n";

/// And so do the others, however many there are of one user.
pub(super) fn lasting() -> String {
    format!("max_sessions_per_user = 100000\n{LONG_LIVES}")
}

/// A site, its clients and their log.
struct Scene {
    site: Site,
    history: Arc<History>,
    clients: Vec<Client>,
    dice: Dice,
    /// From the command to the first good answer.
    starts: Vec<Duration>,
}

impl Scene {
    fn new(database: Database, seed: u64) -> Self {
        let site = Site::with(database, &lasting());
        let history = Arc::new(History::begin(site.folder()));
        let client = |number: usize| {
            let seed = seed.wrapping_mul(1000).wrapping_add(number as u64);
            Client::new(&history, format!("load{number}"), seed)
        };
        let clients = (0..CLIENTS).map(client).collect();
        Self { site, history, clients, dice: Dice::new(seed), starts: Vec::new() }
    }

    /// Starts a server, and waits until it has given a good answer.
    fn start(&mut self) -> Server {
        self.history.started();
        let watch = Watch::start();
        let server = self.site.start();
        let client = &mut self.clients[0];
        if client.recent().is_some() {
            client.settle(server.dialects, 1);
            self.starts.push(watch.elapsed());
        }
        server
    }

    /// Lets everybody work, and kills the server once so many more logins, uses, renewals and logouts each were acknowledged.
    fn strike(&mut self, server: Server, acts: usize) -> SocketAddr {
        let address = server.dialects;
        let (clients, history) = (&mut self.clients, Arc::clone(&self.history));
        thread::scope(|scope| {
            scope.spawn(move || {
                history.until_more(acts);
                server.kill();
            });
            together(clients, |client| client.work(address, || true));
        });
        self.site.database.check_integrity();
        address
    }

    /// Looks at every session there ever was, and lets the server list what it has.
    fn judge(&mut self, server: &Server) -> Judgement {
        together(&mut self.clients, |client| client.settle_all(server.dialects));
        list(&self.site, &self.history);
        self.history.judge()
    }
}

fn no_acknowledged_change_is_undone_by_a_kill(database: Database) {
    let watch = Watch::start();
    let sqlite = matches!(database, Database::Sqlite(_));
    let name = if sqlite { "SQLite" } else { "PostgreSQL" };
    let again = || if sqlite { Database::sqlite() } else { Database::postgres() };
    let kills = times(12, if sqlite { 500 } else { 100 });
    let most = if is_long() { 60 } else { 20 };
    let (mut left, mut database) = (kills, Some(database));
    let (mut sum, mut starts) = (Judgement::default(), Vec::new());
    while left > 0 {
        let mut scene = Scene::new(database.take().unwrap_or_else(again), left as u64);
        let mut server = scene.start();
        scene.clients.iter().for_each(|client| scene.site.add_user(&client.user, PASSWORD));
        for _ in 0..left.min(KILLS) {
            let acts = 1 + scene.dice.below(most);
            scene.strike(server, acts);
            server = scene.start();
            let address = server.dialects;
            together(&mut scene.clients, |client| client.settle(address, OLD));
        }
        let judgement = scene.judge(&server);
        judgement.assert_clean(&format!("{name}, {left} kills before the end"));
        server.kill();
        scene.site.database.check_integrity();
        starts.extend(scene.starts);
        sum.operations += judgement.operations;
        sum.acknowledged += judgement.acknowledged;
        sum.shed += judgement.shed;
        sum.unknown += judgement.unknown;
        left = left.saturating_sub(KILLS);
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

/// An older state of the files is put back between kill and restart, as a disk does that lies about its syncs: the checker must say so.
#[test]
fn an_older_state_put_back_is_seen() {
    let mut scene = Scene::new(Database::sqlite(), 7);
    let mut server = scene.start();
    scene.clients.iter().for_each(|client| scene.site.add_user(&client.user, PASSWORD));
    let aside = tempfile::tempdir().unwrap();
    for round in 0..2 {
        scene.strike(server, 50);
        let files = scene.site.database.folder();
        match round {
            0 => copy_files(files, aside.path()),
            _ => copy_files(aside.path(), files),
        }
        server = scene.start();
    }
    let judgement = scene.judge(&server);
    assert!(!judgement.lost.is_empty(), "logins are gone: {judgement}");
    assert!(!judgement.resurrected.is_empty(), "logouts are undone: {judgement}");
    assert_eq!(judgement.odd, Vec::<String>::new());
}

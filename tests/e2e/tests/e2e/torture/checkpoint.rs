//! Two servers commit on one file for eight clients, while another connection writes the log back and cuts it off all the time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use diesel::connection::SimpleConnection as _;
use diesel::sql_types::Integer;
use diesel::{Connection as _, QueryableByName, RunQueryDsl as _, SqliteConnection, sql_query};

use super::kill::lasting;
use super::span;
use crate::harness::client::{Client, list, together};
use crate::harness::history::History;
use crate::harness::{Database, EndOnDrop, PASSWORD, Site, Watch};

#[derive(QueryableByName)]
struct Checkpoint {
    /// Whether somebody was in the way.
    #[diesel(sql_type = Integer)]
    busy: i32,
}

#[test]
fn no_commit_is_lost_to_a_checkpoint() {
    let site = Site::with(Database::sqlite(), &lasting());
    let servers = [site.start(), site.start()];
    let history = Arc::new(History::begin(site.folder()));
    let client = |number| Client::new(&history, format!("load{number}"), number);
    let mut clients: Vec<_> = (0..8).map(client).collect();
    clients.iter().for_each(|client| site.add_user(&client.user, PASSWORD));
    let file = site.database.folder().join("parlance.db");
    let log = site.database.folder().join("parlance.db-wal");
    let (done, whole, busy) = (AtomicBool::new(false), AtomicUsize::new(0), AtomicUsize::new(0));
    let span = span(Duration::from_secs(5), Duration::from_secs(15 * 60));
    let watch = Watch::start();
    thread::scope(|scope| {
        let _end_checkpoints = EndOnDrop(&done);
        scope.spawn(|| {
            // The library inside the program, not this machine's: an older one has the very fault that is looked for.
            let mut connection = SqliteConnection::establish(file.to_str().unwrap()).unwrap();
            connection.batch_execute("PRAGMA busy_timeout=1000").unwrap();
            while !done.load(Ordering::Relaxed) {
                if log.metadata().is_ok_and(|log| log.len() == 0) {
                    thread::yield_now();
                    continue;
                }
                let told = sql_query("PRAGMA wal_checkpoint(TRUNCATE)").get_result(&mut connection);
                let Checkpoint { busy: in_the_way } = told.unwrap();
                [&whole, &busy][usize::from(in_the_way != 0)].fetch_add(1, Ordering::Relaxed);
            }
        });
        let (first, second) = clients.split_at_mut(4);
        let work = |clients, server: usize| {
            let address = servers[server].dialects;
            together(clients, |client| client.work(address, || watch.elapsed() < span));
        };
        thread::scope(|scope| {
            scope.spawn(|| work(first, 0));
            work(second, 1);
        });
    });
    let address = servers[0].dialects;
    together(&mut clients, |client| client.settle_all(address));
    list(&site, &history);
    let judgement = history.judge();
    judgement.assert_clean("after the checkpoints");
    assert!(whole.load(Ordering::Relaxed) > 0, "no checkpoint was ever whole");
    drop(servers);
    site.database.check_integrity();
    let (whole, busy) = (whole.into_inner(), busy.into_inner());
    eprintln!(
        "checkpoint: {judgement}; {whole} checkpoints cut the log off, {busy} found somebody in the way; {:?} in all",
        watch.elapsed()
    );
}

//! Two servers commit on one SQLite file for eight clients, while another connection checkpoints the log all the time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use diesel::connection::SimpleConnection as _;
use diesel::sql_types::Integer;
use diesel::{Connection as _, QueryableByName, RunQueryDsl as _, SqliteConnection, sql_query};

use super::kill::long_lifetimes_config;
use super::run_time;
use crate::harness::history::History;
use crate::harness::recording_client::{RecordingClient, record_listing, run_all};
use crate::harness::{Database, Installation, PASSWORD, StopOnDrop, Stopwatch};

#[derive(QueryableByName)]
struct Checkpoint {
    /// Whether another connection blocked the checkpoint.
    #[diesel(sql_type = Integer)]
    busy: i32,
}

#[test]
fn no_commit_is_lost_to_a_checkpoint() {
    let installation = Installation::with_config(Database::sqlite(), &long_lifetimes_config());
    let servers = [installation.start(), installation.start()];
    let history = Arc::new(History::begin(installation.folder()));
    let client = |number| RecordingClient::new(&history, format!("load{number}"), number);
    let mut clients: Vec<_> = (0..8).map(client).collect();
    clients.iter().for_each(|client| installation.add_user(&client.user, PASSWORD));
    let file = installation.database.folder().join("parlance.db");
    let log = installation.database.folder().join("parlance.db-wal");
    let (done, whole, busy) = (AtomicBool::new(false), AtomicUsize::new(0), AtomicUsize::new(0));
    let span = run_time(Duration::from_secs(5), Duration::from_secs(15 * 60));
    let watch = Stopwatch::start();
    thread::scope(|scope| {
        let _end_checkpoints = StopOnDrop(&done);
        scope.spawn(|| {
            // The SQLite library of the program, not of the machine: an older one has the very fault that this test
            // looks for.
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
            run_all(clients, |client| client.run_load(address, || watch.elapsed() < span));
        };
        thread::scope(|scope| {
            scope.spawn(|| work(first, 0));
            work(second, 1);
        });
    });
    let address = servers[0].dialects;
    run_all(&mut clients, |client| client.verify_all(address));
    record_listing(&installation, &history);
    let judgement = history.check();
    judgement.assert_clean("after the checkpoints");
    assert!(whole.load(Ordering::Relaxed) > 0, "no checkpoint was ever whole");
    drop(servers);
    installation.database.check_integrity();
    let (whole, busy) = (whole.into_inner(), busy.into_inner());
    eprintln!(
        "checkpoint: {judgement}; {whole} checkpoints cut the log off, {busy} found somebody in the way; {:?} in all",
        watch.elapsed()
    );
}

//! Backups under load, kill, restore, start: the backup's content is back, and sessions ended since stay ended.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use super::kill::long_lifetimes_config;
use super::repetitions;
use crate::harness::history::History;
use crate::harness::recording_client::{RecordingClient, run_all};
use crate::harness::{
    Database, HeldSession, Installation, PASSWORD, Server, StopOnDrop, Stopwatch, USER, Verdict,
    Wire, on_both_databases,
};

on_both_databases!(a_restore_brings_back_the_backup_and_ends_all_sessions_unless_they_are_kept);

/// How many clients work during a backup.
const CLIENTS: usize = 4;

fn a_restore_brings_back_the_backup_and_ends_all_sessions_unless_they_are_kept(database: Database) {
    let watch = Stopwatch::start();
    let kind = if matches!(database, Database::Sqlite(_)) { "SQLite" } else { "PostgreSQL" };
    let mut installation = Installation::with_config(database, &long_lifetimes_config());
    let rounds = repetitions(2, 50);
    let mut operations = 0;
    for round in 0..rounds {
        let server = installation.start();
        if round == 0 {
            installation.add_user(USER, PASSWORD);
            installation.add_user("other", PASSWORD);
            (0..CLIENTS)
                .for_each(|number| installation.add_user(&format!("load{number}"), PASSWORD));
        }
        // On the 1010 wire a user has one session.
        let before = server.log_in_everywhere();
        let ended: Vec<HeldSession> =
            Wire::ALL.iter().map(|wire| server.log_in_as(*wire, "other", PASSWORD)).collect();
        let copy = installation.folder().join(format!("copy{round}"));
        operations +=
            back_up_under_load(&installation, &server, copy.to_str().unwrap(), round as u64);
        let after = server.log_in_as(Wire::Flask, USER, PASSWORD);
        for held in &ended {
            assert_eq!(server.log_out(held), Verdict::Accepted, "{}", held.wire.name());
        }
        server.kill();
        installation.database.check_integrity();
        let keep = round % 2 == 1;
        restore(&mut installation, copy.to_str().unwrap(), keep);
        let server = installation.start();
        let verdict = if keep { Verdict::Accepted } else { Verdict::Refused };
        server.expect_each_use(&before, &verdict, "that the backup holds");
        server.expect_each_use(&ended, &verdict, "that was ended since");
        server.expect_each_use(&[after], &Verdict::Refused, "that the backup does not know");
        server.log_in_everywhere();
        fs::remove_file(copy).unwrap();
    }
    eprintln!(
        "restore, {kind}: {rounds} backups under load, {operations} operations meanwhile, each restored after a kill; {:?} in all",
        watch.elapsed()
    );
}

/// Lets clients work during a backup, and asserts that none waits for the end of the backup. Returns the number of
/// operations.
fn back_up_under_load(
    installation: &Installation,
    server: &Server,
    copy: &str,
    seed: u64,
) -> usize {
    let history = Arc::new(History::begin(installation.folder()));
    let client = |number| {
        RecordingClient::new(&history, format!("load{number}"), seed * 100 + number as u64)
    };
    let mut clients: Vec<_> = (0..CLIENTS).map(client).collect();
    let (address, done) = (server.dialects, AtomicBool::new(false));
    thread::scope(|scope| {
        let _end_work = StopOnDrop(&done);
        scope.spawn(|| {
            run_all(&mut clients, |client| {
                client.run_load(address, || !done.load(Ordering::Relaxed))
            });
        });
        let made = installation.run_command(&["backup", copy]);
        assert_eq!(made.code, 0, "{made:?}");
    });
    let judgement = history.check();
    judgement.assert_clean("while a backup is made");
    judgement.operations
}

/// Restores; on PostgreSQL into a new database.
fn restore(installation: &mut Installation, copy: &str, keep: bool) {
    if matches!(installation.database, Database::Postgres { .. }) {
        installation.database = Database::postgres();
    }
    let words = if keep { &["restore", copy, "--keep-sessions"][..] } else { &["restore", copy] };
    let done = installation.run_command(words);
    assert_eq!(done.code, 0, "{done:?}");
}

//! Backups under load, a kill, a restore, a start: what a backup holds is there, and nobody gets in who was ended since.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use super::kill::lasting;
use super::times;
use crate::harness::client::{Client, together};
use crate::harness::history::History;
use crate::harness::{
    Database, EndOnDrop, Held, PASSWORD, Server, Site, USER, Verdict, Watch, Wire,
    on_both_databases,
};

on_both_databases!(what_a_backup_holds_is_there_after_a_restore_and_nobody_who_was_ended_gets_in);

/// How many clients work meanwhile.
const CLIENTS: usize = 4;

fn what_a_backup_holds_is_there_after_a_restore_and_nobody_who_was_ended_gets_in(
    database: Database,
) {
    let watch = Watch::start();
    let kind = if matches!(database, Database::Sqlite(_)) { "SQLite" } else { "PostgreSQL" };
    let mut site = Site::with(database, &lasting());
    let rounds = times(2, 50);
    let mut operations = 0;
    for round in 0..rounds {
        let server = site.start();
        if round == 0 {
            site.add_user(USER, PASSWORD);
            site.add_user("other", PASSWORD);
            (0..CLIENTS).for_each(|number| site.add_user(&format!("load{number}"), PASSWORD));
        }
        // 1010 has one session of a user.
        let before = server.log_in_everywhere();
        let ended: Vec<Held> =
            Wire::ALL.iter().map(|wire| server.login(*wire, "other", PASSWORD)).collect();
        let copy = site.folder().join(format!("copy{round}"));
        operations += back_up_under_load(&site, &server, copy.to_str().unwrap(), round as u64);
        let after = server.login(Wire::Flask, USER, PASSWORD);
        for held in &ended {
            assert_eq!(server.log_out(held), Verdict::Yes, "{}", held.wire.name());
        }
        server.kill();
        site.database.check_integrity();
        let keep = round % 2 == 1;
        restore(&mut site, copy.to_str().unwrap(), keep);
        let server = site.start();
        let verdict = if keep { Verdict::Yes } else { Verdict::No };
        server.expect(&before, &verdict, "that the backup holds");
        server.expect(&ended, &verdict, "that was ended since");
        server.expect(&[after], &Verdict::No, "that the backup does not know");
        server.log_in_everywhere();
        fs::remove_file(copy).unwrap();
    }
    eprintln!(
        "restore, {kind}: {rounds} backups under load, {operations} operations meanwhile, each restored after a kill; {:?} in all",
        watch.elapsed()
    );
}

/// Lets clients work while a backup is made, and asserts that it kept none of them waiting for its end. How many operations there were.
fn back_up_under_load(site: &Site, server: &Server, copy: &str, seed: u64) -> usize {
    let history = Arc::new(History::begin(site.folder()));
    let client =
        |number| Client::new(&history, format!("load{number}"), seed * 100 + number as u64);
    let mut clients: Vec<_> = (0..CLIENTS).map(client).collect();
    let (address, done) = (server.dialects, AtomicBool::new(false));
    thread::scope(|scope| {
        let _end_work = EndOnDrop(&done);
        scope.spawn(|| {
            together(&mut clients, |client| client.work(address, || !done.load(Ordering::Relaxed)));
        });
        let made = site.operate(&["backup", copy]);
        assert_eq!(made.code, 0, "{made:?}");
    });
    let judgement = history.judge();
    judgement.assert_clean("while a backup is made");
    judgement.operations
}

/// Restores; on PostgreSQL into a new database.
fn restore(site: &mut Site, copy: &str, keep: bool) {
    if matches!(site.database, Database::Postgres { .. }) {
        site.database = Database::postgres();
    }
    let words = if keep { &["restore", copy, "--keep-sessions"][..] } else { &["restore", copy] };
    let done = site.operate(words);
    assert_eq!(done.code, 0, "{done:?}");
}

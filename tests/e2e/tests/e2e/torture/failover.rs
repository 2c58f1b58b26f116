//! The primary dies and its standby takes over.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use super::kill::lasting;
use super::times;
use crate::harness::client::{Client, together};
use crate::harness::cluster::Cluster;
use crate::harness::database::psql;
use crate::harness::history::{History, Judgement};
use crate::harness::tap::Tap;
use crate::harness::{
    Database, Dice, EndOnDrop, PASSWORD, Site, USER, Verdict, Watch, Wire, clock,
};

const CLIENTS: usize = 8;

/// What becomes of the line between the two.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Standby {
    /// A commit is acknowledged when the standby has it.
    Synchronous,
    /// A commit does not wait for the standby, whose line stalls before the primary dies.
    LeftBehind,
}

/// One failover under load: what the log says, and how long it took from the promotion to a ready server.
fn fail_over(standby: Standby, seed: u64) -> (Judgement, Duration) {
    let primary = Cluster::start();
    let tap = Tap::before(primary.address());
    let second = Cluster::follow(tap.address);
    if standby == Standby::Synchronous {
        // Not before: the copy must not wait for a standby of its own.
        psql(&primary.url(), "ALTER SYSTEM SET synchronous_standby_names = '*'");
        psql(&primary.url(), "SELECT pg_reload_conf()");
        let state = "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'";
        clock::until("the standby", || (psql(&primary.url(), state).trim() == "1").then_some(()));
    }
    let url = format!(
        "postgres://postgres@{},{}/postgres?target_session_attrs=read-write",
        primary.address(),
        second.address()
    );
    let site = Site::with(Database::Foreign(url), &lasting());
    let server = site.start();
    let history = Arc::new(History::begin(site.folder()));
    let client = |number| Client::new(&history, format!("load{number}"), seed + number as u64);
    let mut clients: Vec<_> = (0..CLIENTS).map(client).collect();
    clients.iter().for_each(|client| site.add_user(&client.user, PASSWORD));
    history.started();
    let over = AtomicBool::new(false);
    let acts = 10 + Dice::new(seed).below(20);
    let took = thread::scope(|scope| {
        let end_work = EndOnDrop(&over);
        let working = scope.spawn(|| {
            together(&mut clients, |client| {
                client.work(server.dialects, || !over.load(Ordering::SeqCst));
            });
        });
        history.until_more(acts);
        if standby == Standby::LeftBehind {
            tap.stall();
            history.until_more(acts);
        }
        primary.kill();
        second.promote();
        let watch = Watch::start();
        clock::until("readiness", || (server.admin("/readyz").status == 200).then_some(()));
        let took = watch.elapsed();
        history.until_more(1);
        drop(end_work);
        working.join().unwrap();
        took
    });
    history.started();
    together(&mut clients, |client| client.settle_all(server.dialects));
    (history.judge(), took)
}

#[test]
fn a_synchronous_standby_that_takes_over_has_everything_that_was_acknowledged() {
    let rounds = times(1, 20);
    let mut sum = Judgement::default();
    let mut worst = Duration::ZERO;
    for round in 0..rounds {
        let (judgement, took) = fail_over(Standby::Synchronous, 100 * round as u64);
        judgement.assert_clean(&format!("failover {round}"));
        worst = worst.max(took);
        sum.operations += judgement.operations;
        sum.acknowledged += judgement.acknowledged;
        sum.shed += judgement.shed;
        sum.unknown += judgement.unknown;
    }
    eprintln!("failover: {rounds} times, {sum}; ready at most {worst:?} after the promotion");
}

/// A node whose connections go to a standby that lags: it would let an ended session pass.
#[test]
fn a_standby_answers_no_check_and_serves_once_it_is_promoted() {
    let primary = Cluster::start();
    let tap = Tap::before(primary.address());
    let second = Cluster::follow(tap.address);
    // Without `target_session_attrs`: whichever host answers.
    let url = format!("postgres://postgres@{},{}/postgres", primary.address(), second.address());
    let site = Site::with(Database::Foreign(url), "key_poll = \"1s\"\n");
    let server = site.start_with_user();
    let held = server.log_in_everywhere();
    server.expect(&held, &Verdict::Yes, "at first");
    let replayed = "SELECT count(*) FROM sessions";
    let count = held.len().to_string();
    clock::until("the standby to have the sessions", || {
        (psql(&second.url(), replayed).trim() == count).then_some(())
    });
    // From here on the standby hears of nothing.
    tap.stall();
    site.must(&["session", "revoke", "--all"]);
    server.expect(&held, &Verdict::No, "once they are ended");
    primary.kill();
    clock::until("the log to name the standby", || server.log.line_with("the server is a standby"));
    for _ in 0..3 {
        server.expect(&held, &Verdict::Away, "before a standby that still shows them");
    }
    for wire in Wire::ALL {
        assert_eq!(server.refusal(wire, USER, PASSWORD), Verdict::Away, "{wire:?}");
    }
    let page = server.admin("/readyz");
    assert_eq!(page.status, 503, "{}", page.text());
    let command = site.operate(&["session", "list"]);
    assert!(command.code == 1 && command.stderr.contains("the server is a standby"), "{command:?}");
    // The one that it becomes is worked with, without a restart.
    second.promote();
    clock::until("readiness", || (server.admin("/readyz").status == 200).then_some(()));
    server.log_in_everywhere();
}

/// The planted fault, and what an operator is warned of: a standby that is behind has lost what it never had.
#[test]
fn a_standby_that_was_left_behind_is_seen_to_have_lost_something() {
    let (judgement, _) = fail_over(Standby::LeftBehind, 7);
    assert!(!judgement.lost.is_empty(), "logins are gone: {judgement}");
    assert_eq!(judgement.odd, Vec::<String>::new());
    eprintln!("failover to a standby that was left behind: {judgement}");
}

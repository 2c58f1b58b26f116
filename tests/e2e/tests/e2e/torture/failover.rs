//! The primary PostgreSQL dies and its standby takes over.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use super::kill::long_lifetimes_config;
use super::repetitions;
use crate::harness::cluster::Cluster;
use crate::harness::database::psql;
use crate::harness::fault_proxy::FaultProxy;
use crate::harness::history::{History, HistoryReport};
use crate::harness::recording_client::{RecordingClient, run_all};
use crate::harness::{
    Database, Installation, PASSWORD, Rng, StopOnDrop, Stopwatch, USER, Verdict, Wire, clock,
};

const CLIENTS: usize = 8;

/// The state of the replication between primary and standby.
#[derive(Clone, Copy, PartialEq, Eq)]
enum StandbyLink {
    /// A commit is acknowledged when the standby has the data.
    Synchronous,
    /// A commit does not wait for the standby; the replication stalls before the primary dies.
    LeftBehind,
}

/// One failover under load. Returns the judgement of the log, and the time from the promotion to a ready server.
fn fail_over(standby: StandbyLink, seed: u64) -> (HistoryReport, Duration) {
    let primary = Cluster::start();
    let fault_proxy = FaultProxy::start(primary.address());
    let second = Cluster::start_standby(fault_proxy.address);
    if standby == StandbyLink::Synchronous {
        // Only after the base backup, which must not wait for a standby.
        psql(&primary.url(), "ALTER SYSTEM SET synchronous_standby_names = '*'");
        psql(&primary.url(), "SELECT pg_reload_conf()");
        let state = "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'";
        clock::wait_for("the standby", || {
            (psql(&primary.url(), state).trim() == "1").then_some(())
        });
    }
    let url = format!(
        "postgres://postgres@{},{}/postgres?target_session_attrs=read-write",
        primary.address(),
        second.address()
    );
    let installation = Installation::with_config(Database::External(url), &long_lifetimes_config());
    let server = installation.start();
    let history = Arc::new(History::begin(installation.folder()));
    let client =
        |number| RecordingClient::new(&history, format!("load{number}"), seed + number as u64);
    let mut clients: Vec<_> = (0..CLIENTS).map(client).collect();
    clients.iter().for_each(|client| installation.add_user(&client.user, PASSWORD));
    history.record_start();
    let over = AtomicBool::new(false);
    let acts = 10 + Rng::new(seed).below(20);
    let took = thread::scope(|scope| {
        let end_work = StopOnDrop(&over);
        let working = scope.spawn(|| {
            run_all(&mut clients, |client| {
                client.run_load(server.dialects, || !over.load(Ordering::SeqCst));
            });
        });
        history.wait_for_more(acts);
        if standby == StandbyLink::LeftBehind {
            fault_proxy.stall();
            history.wait_for_more(acts);
        }
        primary.kill();
        second.promote();
        let watch = Stopwatch::start();
        clock::wait_for("readiness", || (server.get_admin("/readyz").status == 200).then_some(()));
        let took = watch.elapsed();
        history.wait_for_more(1);
        drop(end_work);
        working.join().unwrap();
        took
    });
    history.record_start();
    run_all(&mut clients, |client| client.verify_all(server.dialects));
    (history.check(), took)
}

#[test]
fn a_promoted_synchronous_standby_has_every_acknowledged_change() {
    let rounds = repetitions(1, 20);
    let mut sum = HistoryReport::default();
    let mut worst = Duration::ZERO;
    for round in 0..rounds {
        let (judgement, took) = fail_over(StandbyLink::Synchronous, 100 * round as u64);
        judgement.assert_clean(&format!("failover {round}"));
        worst = worst.max(took);
        sum.operations += judgement.operations;
        sum.acknowledged += judgement.acknowledged;
        sum.unavailable += judgement.unavailable;
        sum.unknown += judgement.unknown;
    }
    eprintln!("failover: {rounds} times, {sum}; ready at most {worst:?} after the promotion");
}

/// A lagging standby would accept an ended session, so a node connected to one answers every check with 503.
#[test]
fn a_standby_answers_no_check_and_serves_once_it_is_promoted() {
    let primary = Cluster::start();
    let fault_proxy = FaultProxy::start(primary.address());
    let second = Cluster::start_standby(fault_proxy.address);
    // Without `target_session_attrs` any host may answer.
    let url = format!("postgres://postgres@{},{}/postgres", primary.address(), second.address());
    let installation = Installation::with_config(Database::External(url), "key_poll = \"1s\"\n");
    let server = installation.start_with_user();
    let held = server.log_in_everywhere();
    server.expect_each_use(&held, &Verdict::Accepted, "at first");
    let replayed = "SELECT count(*) FROM sessions";
    let count = held.len().to_string();
    clock::wait_for("the standby to have the sessions", || {
        (psql(&second.url(), replayed).trim() == count).then_some(())
    });
    // From here on the standby receives no changes.
    fault_proxy.stall();
    installation.run_ok(&["session", "revoke", "--all"]);
    server.expect_each_use(&held, &Verdict::Refused, "once they are ended");
    primary.kill();
    clock::wait_for("the log to name the standby", || {
        server.log.wait_for_line("the server is a standby")
    });
    for _ in 0..3 {
        server.expect_each_use(
            &held,
            &Verdict::Unavailable,
            "before a standby that still shows them",
        );
    }
    for wire in Wire::ALL {
        assert_eq!(server.refused_login(wire, USER, PASSWORD), Verdict::Unavailable, "{wire:?}");
    }
    let page = server.get_admin("/readyz");
    assert_eq!(page.status, 503, "{}", page.text());
    let command = installation.run_command(&["session", "list"]);
    assert!(command.code == 1 && command.stderr.contains("the server is a standby"), "{command:?}");
    // The node works with the promoted standby without a restart.
    second.promote();
    clock::wait_for("readiness", || (server.get_admin("/readyz").status == 200).then_some(()));
    server.log_in_everywhere();
}

/// The planted fault, of which the documentation warns operators: a standby that lags has lost the latest changes.
#[test]
fn the_lost_changes_of_a_lagging_standby_are_detected() {
    let (judgement, _) = fail_over(StandbyLink::LeftBehind, 7);
    assert!(!judgement.lost.is_empty(), "logins are gone: {judgement}");
    assert_eq!(judgement.unexpected, Vec::<String>::new());
    eprintln!("failover to a standby that was left behind: {judgement}");
}

//! Loss and return of the database.

use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use crate::harness::cluster::Cluster;
use crate::harness::database::psql;
use crate::harness::log::Lines;
use crate::harness::{
    Database, HeldSession, Installation, PASSWORD, Server, Stopwatch, USER, Verdict, Wire, clock,
};

/// The longest time for an answer while the database is unavailable.
const MAX_RESPONSE_TIME: Duration = Duration::from_secs(10);

#[test]
fn every_dialect_answers_503_without_the_database_and_recovers_afterwards() {
    let cluster = Cluster::start();
    let installation = Installation::new(Database::External(cluster.url()));
    let mut server = installation.start_with_user();
    let held = server.log_in_everywhere();
    let closing = {
        installation.add_user("other", PASSWORD);
        Wire::ALL.map(|wire| server.log_in_as(wire, "other", PASSWORD))
    };
    assert_eq!(server.get_admin("/readyz").status, 200);

    cluster.stop();
    let mut slowest = Duration::ZERO;
    for round in 0..2 {
        let longest = thread::scope(|scope| {
            let wires: Vec<_> = held
                .iter()
                .map(|held| scope.spawn(|| all_requests_are_unavailable(&server, held, round)))
                .collect();
            wires.into_iter().map(|wire| wire.join().unwrap()).max().unwrap()
        });
        slowest = slowest.max(longest);
    }
    assert!(slowest < MAX_RESPONSE_TIME, "an answer took {slowest:?}");
    let ready = server.get_admin("/readyz");
    assert_eq!((ready.status, ready.header("retry-after")), (503, Some("1")));
    assert_eq!(server.get_admin("/healthz").status, 200);
    assert_eq!(server.get_admin("/metrics").status, 200, "the counters are worth having just then");
    let listed = installation.run_command(&["session", "list"]);
    assert!(listed.code == 1 && listed.stdout.is_empty(), "{listed:?}");

    cluster.start_again();
    let watch = Stopwatch::start();
    clock::wait_for("readiness", || (server.get_admin("/readyz").status == 200).then_some(()));
    let back = watch.elapsed();
    assert!(back < Duration::from_secs(5), "ready {back:?} after the database");
    server.expect_each_use(&held, &Verdict::Accepted, "after the database is back");
    for closing in &closing {
        assert_eq!(
            server.use_session(closing),
            Verdict::Accepted,
            "{}: a logout that heard 503 may not have been done in secret",
            closing.wire.name()
        );
        assert_eq!(server.log_out(closing), Verdict::Accepted);
        assert_eq!(server.use_session(closing), Verdict::Refused);
    }
    server.log_in_everywhere();
    assert!(server.is_running());
    eprintln!("database away: slowest 503 {slowest:?}, ready again {back:?} after it");
}

/// Tries every call of a wire. Returns the longest duration.
#[track_caller]
fn all_requests_are_unavailable(server: &Server, held: &HeldSession, round: usize) -> Duration {
    let wire = held.wire;
    let timed = |what: &str, verdict: &dyn Fn() -> Verdict| {
        let watch = Stopwatch::start();
        assert_eq!(verdict(), Verdict::Unavailable, "{} {what}, round {round}", wire.name());
        watch.elapsed()
    };
    let attempts = [
        timed("login", &|| server.refused_login(wire, USER, PASSWORD)),
        timed("wrong login", &|| server.refused_login(wire, USER, "wrong")),
        timed("use", &|| server.use_session(held)),
        timed("renewal", &|| {
            held.parse_renewal(&server.send(&held.renewal_request())).unwrap_err()
        }),
        timed("logout", &|| server.log_out(held)),
    ];
    attempts.into_iter().max().unwrap()
}

#[test]
fn a_cut_database_connection_is_reopened_and_no_valid_token_is_refused_meanwhile() {
    let database = Database::postgres();
    let url = database.url();
    let installation = Installation::new(database);
    let server = installation.start_with_user();
    let held = server.log_in_everywhere();
    let mut away = 0;
    for _ in 0..20 {
        let cut = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()";
        let count = psql(&url, cut);
        assert_ne!(count.trim(), "0", "the server holds connections");
        for held in &held {
            clock::wait_for("a good token to count", || match server.use_session(held) {
                Verdict::Accepted => Some(()),
                Verdict::Unavailable => {
                    away += 1;
                    None
                }
                other @ (Verdict::Refused | Verdict::Unexpected(_)) => {
                    panic!("{}: {other:?}", held.wire.name())
                }
            });
        }
    }
    let connections = psql(
        &url,
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()",
    );
    assert!(
        connections.trim().parse::<usize>().unwrap() <= 8,
        "{connections} connections: some leaked"
    );
    eprintln!(
        "connections cut: 20 times, {away} answers 503 in 100 uses, {} connections afterwards",
        connections.trim()
    );
}

#[test]
fn a_frozen_database_is_503_within_the_bound() {
    let cluster = Cluster::start();
    let installation = Installation::new(Database::External(cluster.url()));
    let server = installation.start_with_user();
    let held = server.log_in_everywhere();
    cluster.freeze();
    let watch = Stopwatch::start();
    thread::scope(|scope| {
        for held in &held {
            scope.spawn(|| {
                assert_eq!(server.use_session(held), Verdict::Unavailable, "{}", held.wire.name());
            });
            scope.spawn(|| {
                // With the right password a login could still be written, and replace the session, once the database
                // goes on.
                let refusal = server.refused_login(held.wire, USER, "wrong");
                assert_eq!(refusal, Verdict::Unavailable, "{}", held.wire.name());
            });
        }
    });
    let took = watch.elapsed();
    cluster.thaw();
    assert!(took < 2 * MAX_RESPONSE_TIME, "503 came after {took:?}");
    for held in &held {
        clock::wait_for("a good token to count", || {
            (server.use_session(held) == Verdict::Accepted).then_some(())
        });
    }
    server.log_in_everywhere();
    eprintln!("database frozen: 503 after {took:?}");
}

#[test]
fn while_another_program_locks_the_file_uses_succeed_and_logins_answer_503() {
    let installation = Installation::new(Database::sqlite());
    let server = installation.start_with_user();
    let held = server.log_in_everywhere();
    let file = installation.database.url().strip_prefix("sqlite:").unwrap().to_owned();
    let script = "import sqlite3, sys; c = sqlite3.connect(sys.argv[1], isolation_level=None); c.execute('BEGIN IMMEDIATE'); \
                  print('locked', flush=True); sys.stdin.read()";
    let mut command = Command::new("python3");
    let mut locker = command
        .args(["-c", script, &file])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let said = Lines::read(locker.stdout.take().unwrap());
    said.wait_for_line("locked").expect("it locks the file");
    let watch = Stopwatch::start();
    let refusals = thread::scope(|scope| {
        let server = &server;
        let logins = Wire::ALL
            .map(|wire| (wire, scope.spawn(move || server.refused_login(wire, USER, PASSWORD))));
        // Checks that write nothing at once go on.
        for held in held
            .iter()
            .filter(|held| matches!(held.wire, Wire::Cluster | Wire::Polish | Wire::Cookie))
        {
            assert_eq!(
                server.use_session(held),
                Verdict::Accepted,
                "{} under a lock",
                held.wire.name()
            );
        }
        logins.map(|(wire, login)| (wire, login.join().unwrap()))
    });
    let took = watch.elapsed();
    assert_eq!(server.get_admin("/readyz").status, 503, "what cannot be written is not ready");
    drop(locker.stdin.take());
    locker.wait().unwrap();
    for (wire, verdict) in refusals {
        assert_eq!(verdict, Verdict::Unavailable, "{}", wire.name());
    }
    // A batch waits five seconds for the lock, and a login may have to wait for the batch before its own.
    assert!(took < 2 * MAX_RESPONSE_TIME, "503 came after {took:?}");
    server.expect_each_use(&held, &Verdict::Accepted, "after the lock");
    server.log_in_everywhere();
    eprintln!("file locked: 503 after {took:?}");
}

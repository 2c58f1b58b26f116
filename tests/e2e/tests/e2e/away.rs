//! The database goes away and comes back.

use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use crate::harness::cluster::Cluster;
use crate::harness::database::psql;
use crate::harness::log::Lines;
use crate::harness::{Database, Held, PASSWORD, Server, Site, USER, Verdict, Watch, Wire, clock};

/// No answer may take longer than this while the database is away.
const PATIENCE: Duration = Duration::from_secs(10);

#[test]
fn without_its_database_every_dialect_says_503_and_afterwards_all_is_as_before() {
    let cluster = Cluster::start();
    let site = Site::new(Database::Foreign(cluster.url()));
    let mut server = site.start_with_user();
    let held = server.log_in_everywhere();
    let closing = {
        site.add_user("other", PASSWORD);
        Wire::ALL.map(|wire| server.login(wire, "other", PASSWORD))
    };
    assert_eq!(server.admin("/readyz").status, 200);

    cluster.stop();
    let mut slowest = Duration::ZERO;
    for round in 0..2 {
        let longest = thread::scope(|scope| {
            let wires: Vec<_> = held
                .iter()
                .map(|held| scope.spawn(|| everything_is_away(&server, held, round)))
                .collect();
            wires.into_iter().map(|wire| wire.join().unwrap()).max().unwrap()
        });
        slowest = slowest.max(longest);
    }
    assert!(slowest < PATIENCE, "an answer took {slowest:?}");
    let ready = server.admin("/readyz");
    assert_eq!((ready.status, ready.header("retry-after")), (503, Some("1")));
    assert_eq!(server.admin("/healthz").status, 200);
    assert_eq!(server.admin("/metrics").status, 200, "the counters are worth having just then");
    let listed = site.operate(&["session", "list"]);
    assert!(listed.code == 1 && listed.stdout.is_empty(), "{listed:?}");

    cluster.resume();
    let watch = Watch::start();
    clock::until("readiness", || (server.admin("/readyz").status == 200).then_some(()));
    let back = watch.elapsed();
    assert!(back < Duration::from_secs(5), "ready {back:?} after the database");
    server.expect(&held, &Verdict::Yes, "after the database is back");
    for closing in &closing {
        assert_eq!(
            server.check(closing),
            Verdict::Yes,
            "{}: a logout that heard 503 may not have been done in secret",
            closing.wire.name()
        );
        assert_eq!(server.log_out(closing), Verdict::Yes);
        assert_eq!(server.check(closing), Verdict::No);
    }
    server.log_in_everywhere();
    assert!(server.is_running());
    eprintln!("database away: slowest 503 {slowest:?}, ready again {back:?} after it");
}

/// Tries everything that a wire has; the longest that it took.
#[track_caller]
fn everything_is_away(server: &Server, held: &Held, round: usize) -> Duration {
    let wire = held.wire;
    let timed = |what: &str, verdict: &dyn Fn() -> Verdict| {
        let watch = Watch::start();
        assert_eq!(verdict(), Verdict::Away, "{} {what}, round {round}", wire.name());
        watch.elapsed()
    };
    let attempts = [
        timed("login", &|| server.refusal(wire, USER, PASSWORD)),
        timed("wrong login", &|| server.refusal(wire, USER, "wrong")),
        timed("use", &|| server.check(held)),
        timed("renewal", &|| held.renewed(&server.send(&held.renewal())).unwrap_err()),
        timed("logout", &|| server.log_out(held)),
    ];
    attempts.into_iter().max().unwrap()
}

#[test]
fn a_connection_that_is_cut_is_mended_and_no_good_token_is_refused_meanwhile() {
    let database = Database::postgres();
    let url = database.url();
    let site = Site::new(database);
    let server = site.start_with_user();
    let held = server.log_in_everywhere();
    let mut away = 0;
    for _ in 0..20 {
        let cut = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()";
        let count = psql(&url, cut);
        assert_ne!(count.trim(), "0", "the server holds connections");
        for held in &held {
            clock::until("a good token to count", || match server.check(held) {
                Verdict::Yes => Some(()),
                Verdict::Away => {
                    away += 1;
                    None
                }
                other @ (Verdict::No | Verdict::Odd(_)) => {
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
fn a_database_that_stops_without_a_word_is_told_from_one_that_is_slow() {
    let cluster = Cluster::start();
    let site = Site::new(Database::Foreign(cluster.url()));
    let server = site.start_with_user();
    let held = server.log_in_everywhere();
    cluster.freeze();
    let watch = Watch::start();
    thread::scope(|scope| {
        for held in &held {
            scope.spawn(|| {
                assert_eq!(server.check(held), Verdict::Away, "{}", held.wire.name());
            });
            scope.spawn(|| {
                // A right one could yet be written, and replace the session, once the database goes on.
                let refusal = server.refusal(held.wire, USER, "wrong");
                assert_eq!(refusal, Verdict::Away, "{}", held.wire.name());
            });
        }
    });
    let took = watch.elapsed();
    cluster.thaw();
    assert!(took < 2 * PATIENCE, "503 came after {took:?}");
    for held in &held {
        clock::until("a good token to count", || {
            (server.check(held) == Verdict::Yes).then_some(())
        });
    }
    server.log_in_everywhere();
    eprintln!("database frozen: 503 after {took:?}");
}

#[test]
fn while_another_program_locks_the_file_uses_go_on_and_logins_say_503() {
    let site = Site::new(Database::sqlite());
    let server = site.start_with_user();
    let held = server.log_in_everywhere();
    let file = site.database.url().strip_prefix("sqlite:").unwrap().to_owned();
    let script = "import sqlite3, sys; c = sqlite3.connect(sys.argv[1], isolation_level=None); c.execute('BEGIN IMMEDIATE'); \
                  print('locked', flush=True); sys.stdin.read()";
    let mut command = Command::new("python3");
    let mut locker = command
        .args(["-c", script, &file])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let said = Lines::of(locker.stdout.take().unwrap());
    said.line_with("locked").expect("it locks the file");
    let watch = Watch::start();
    let refusals = thread::scope(|scope| {
        let server = &server;
        let logins =
            Wire::ALL.map(|wire| (wire, scope.spawn(move || server.refusal(wire, USER, PASSWORD))));
        // What writes nothing at once goes on.
        for held in held
            .iter()
            .filter(|held| matches!(held.wire, Wire::Cluster | Wire::Polish | Wire::Cookie))
        {
            assert_eq!(server.check(held), Verdict::Yes, "{} under a lock", held.wire.name());
        }
        logins.map(|(wire, login)| (wire, login.join().unwrap()))
    });
    let took = watch.elapsed();
    assert_eq!(server.admin("/readyz").status, 503, "what cannot be written is not ready");
    drop(locker.stdin.take());
    locker.wait().unwrap();
    for (wire, verdict) in refusals {
        assert_eq!(verdict, Verdict::Away, "{}", wire.name());
    }
    // A batch waits five seconds for the lock, and a login may have to wait for the batch before its own.
    assert!(took < 2 * PATIENCE, "503 came after {took:?}");
    server.expect(&held, &Verdict::Yes, "after the lock");
    server.log_in_everywhere();
    eprintln!("file locked: 503 after {took:?}");
}

//! The database goes away and comes back.

use std::thread;
use std::time::Duration;

use crate::harness::cluster::Cluster;
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

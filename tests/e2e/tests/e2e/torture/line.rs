//! A line to the database that is slow, stalled or cut in mid-answer, and rows and files that others lock.

use std::thread;
use std::time::Duration;

use crate::harness::cluster::Cluster;
use crate::harness::holder::Holder;
use crate::harness::tap::Tap;
use crate::harness::{Database, Held, PASSWORD, Server, Site, USER, Verdict, Watch, Wire, clock};
use crate::torture::{is_long, times};

/// Every answer comes within 15 s; the rest is for the machine.
const BOUND: Duration = Duration::from_secs(25);
/// `/readyz` gives the database two seconds.
const READY_BOUND: Duration = Duration::from_secs(10);

/// A PostgreSQL, a server that reaches it through a tap, and one that reaches it as others do.
struct Scene {
    slow: Server,
    near: Server,
    tap: Tap,
    slow_site: Site,
    near_site: Site,
    // Last, so that it goes last.
    cluster: Cluster,
}

impl Scene {
    fn new() -> Self {
        let cluster = Cluster::start();
        let tap = Tap::before(cluster.address());
        let near_site = Site::new(Database::Foreign(cluster.url()));
        let near = near_site.start_with_user();
        // Both are nodes of one deployment: they share the key file and the issuer.
        let slow_site = Site::new(Database::Foreign(Cluster::url_at(tap.address)));
        let keys = |site: &Site| site.folder().join("keys/parlance.key");
        std::fs::copy(keys(&near_site), keys(&slow_site)).unwrap();
        let slow = slow_site.start();
        Self { slow, near, tap, slow_site, near_site, cluster }
    }

    /// Does something with every wire at once on the slow server; the verdicts, and the longest that one took.
    fn at_once(&self, act: impl Fn(&Server, Wire) -> Verdict + Sync) -> (Vec<Verdict>, Duration) {
        let done = thread::scope(|scope| {
            let wires = Wire::ALL.map(|wire| {
                let (act, server) = (&act, &self.slow);
                scope.spawn(move || {
                    let watch = Watch::start();
                    (act(server, wire), watch.elapsed())
                })
            });
            wires.map(|wire| wire.join().unwrap())
        });
        let longest = done.iter().map(|(_, took)| *took).max().unwrap();
        (done.into_iter().map(|(verdict, _)| verdict).collect(), longest)
    }

    fn log_in_near(&self) -> Vec<Held> {
        self.near.log_in_everywhere()
    }
}

fn of(held: &[Held], wire: Wire) -> &Held {
    held.iter().find(|held| held.wire == wire).unwrap()
}

#[track_caller]
fn assert_all(verdicts: &[Verdict], allowed: &[Verdict], when: &str) {
    for (verdict, wire) in verdicts.iter().zip(Wire::ALL) {
        assert!(allowed.contains(verdict), "{} {when}: {verdict:?}", wire.name());
    }
}

/// What a wrong login hears: a right one might be done later, and take a session over.
fn wrong_login(server: &Server, wire: Wire) -> Verdict {
    server.refusal(wire, USER, "wrong")
}

#[test]
fn a_slow_line_is_waited_for_within_the_bound() {
    let scene = Scene::new();
    let delays: &[u64] = if is_long() { &[50, 500, 5000] } else { &[50, 500] };
    for &millis in delays {
        let held = scene.log_in_near();
        let gone = [scene.near.log_in(Wire::Polish)];
        scene.tap.delay(Duration::from_millis(millis));
        let when = format!("behind {millis} ms");
        let (uses, longest_use) = scene.at_once(|server, wire| server.check(of(&held, wire)));
        let (logins, longest_login) = scene.at_once(wrong_login);
        // Five seconds a way and more than one way: that is beyond the bound.
        let away = if millis == 5000 { &[Verdict::Away][..] } else { &[] };
        assert_all(&uses, &[&[Verdict::Yes], away].concat(), &format!("use {when}"));
        assert_all(&logins, &[&[Verdict::No], away].concat(), &format!("login {when}"));
        assert_eq!(scene.near.log_out(&gone[0]), Verdict::Yes);
        let verdict = scene.slow.check(&gone[0]);
        assert!([&[Verdict::No], away].concat().contains(&verdict), "ended there, {when}");
        let watch = Watch::start();
        let ready = scene.slow.admin("/readyz").status;
        assert!(watch.elapsed() < READY_BOUND);
        if millis == 5000 {
            assert_eq!(ready, 503, "{when}");
        }
        let longest = longest_use.max(longest_login);
        assert!(longest < BOUND, "{when}: an answer took {longest:?}");
        scene.tap.flow();
        back(&scene, &held);
        eprintln!(
            "line: {millis} ms a question: uses within {longest_use:?}, logins within {longest_login:?}, /readyz {ready}"
        );
    }
}

/// Waits until the slow server is ready, and everything works on it.
#[track_caller]
fn back(scene: &Scene, held: &[Held]) -> Duration {
    let watch = Watch::start();
    clock::until("readiness", || (scene.slow.admin("/readyz").status == 200).then_some(()));
    for held in held {
        clock::until("a good session", || match scene.slow.check(held) {
            Verdict::Yes => Some(()),
            Verdict::Away => None,
            other @ (Verdict::No | Verdict::Odd(_)) => panic!("{:?}: {other:?}", held.wire),
        });
    }
    watch.elapsed()
}

#[test]
fn a_line_that_stalls_is_503_within_the_bound_and_told_by_readyz() {
    let scene = Scene::new();
    let held = scene.log_in_near();
    let gone = scene.near.log_in(Wire::Polish);
    scene.slow.expect(&held, &Verdict::Yes, "before the stall");
    scene.slow.expect(std::slice::from_ref(&gone), &Verdict::Yes, "before the stall");
    scene.tap.stall();
    assert_eq!(scene.near.log_out(&gone), Verdict::Yes);
    let (longest, ended) = thread::scope(|scope| {
        let (scene, held) = (&scene, &held);
        let uses = scope.spawn(|| scene.at_once(|server, wire| server.check(of(held, wire))));
        let logins = scope.spawn(|| scene.at_once(wrong_login));
        let ended = scope.spawn(|| scene.slow.check(&gone));
        let watch = Watch::start();
        assert_eq!(scene.slow.admin("/readyz").status, 503);
        assert!(watch.elapsed() < READY_BOUND, "/readyz took {:?}", watch.elapsed());
        let (verdicts, longest_use) = uses.join().unwrap();
        assert_all(&verdicts, &[Verdict::Away], "use over a stalled line");
        let (verdicts, longest_login) = logins.join().unwrap();
        assert_all(&verdicts, &[Verdict::Away], "login over a stalled line");
        (longest_use.max(longest_login), ended.join().unwrap())
    });
    assert_eq!(ended, Verdict::Away, "ended while the line was dead");
    assert!(longest < BOUND, "an answer took {longest:?}");
    // What stalled for ever is gone one day, and its connections with it.
    scene.tap.cut();
    scene.tap.flow();
    let mended = back(&scene, &held);
    scene.slow.expect(&[gone], &Verdict::No, "ended while the line was dead");
    eprintln!("line: a stalled line: 503 within {longest:?}, all well {mended:?} after it");
}

#[test]
fn an_answer_that_is_cut_in_its_middle_is_503_or_asked_for_again() {
    let cuts = times(40, 1000);
    let scene = Scene::new();
    let held = scene.log_in_near();
    let (mut away, mut open) = (0, 0);
    scene.tap.cut_answers(cuts);
    for round in 0.. {
        if scene.tap.cuts_left() == 0 {
            break;
        }
        let (verdicts, longest) = scene.at_once(|server, wire| server.check(of(&held, wire)));
        assert_all(&verdicts, &[Verdict::Yes, Verdict::Away], "use of a good session");
        assert!(longest < BOUND, "an answer took {longest:?}");
        away += verdicts.iter().filter(|verdict| **verdict == Verdict::Away).count();
        // What was acknowledged stands; what was not may have been done.
        let held = scene.near.log_in(Wire::ALL[round % 3]);
        match scene.slow.log_out(&held) {
            Verdict::Yes => scene.near.expect(&[held], &Verdict::No, "after its logout"),
            Verdict::Away => open += 1,
            // The answer was lost, and the change made again: it found the session ended.
            other @ (Verdict::No | Verdict::Odd(_)) => panic!("{other:?}"),
        }
    }
    scene.tap.flow();
    back(&scene, &held);
    let connections = scene.cluster.connections();
    assert!(connections <= 2 * 8, "{connections} connections: some leaked");
    eprintln!(
        "line: {cuts} answers cut in their middle: {away} uses and {open} logouts heard 503, none a lie; {connections} connections afterwards"
    );
}

#[test]
fn a_row_that_somebody_holds_is_503_for_its_owner_and_nothing_to_a_use() {
    let scene = Scene::new();
    let held = scene.log_in_near();
    scene.near_site.add_user("other", PASSWORD);
    let rows = format!("SELECT 1 FROM users WHERE canonical = '{USER}' FOR UPDATE");
    let holder = Holder::psql(&scene.cluster.url(), &rows);
    let (verdicts, longest) = scene.at_once(|server, wire| server.refusal(wire, USER, PASSWORD));
    assert_all(&verdicts, &[Verdict::Away], "login of one whose row is held");
    assert!(longest < BOUND, "an answer took {longest:?}");
    for wire in [Wire::Cluster, Wire::Polish, Wire::Cookie] {
        assert_eq!(scene.slow.check(of(&held, wire)), Verdict::Yes, "{}", wire.name());
    }
    let other =
        Wire::Polish.opened("other", &scene.slow.send(&Wire::Polish.login("other", PASSWORD)));
    assert!(matches!(other, Ok(_) | Err(Verdict::Away)), "{other:?}");
    drop(holder);
    back(&scene, &held);
    scene.slow.log_in_everywhere();
    assert!(scene.slow_site.operate(&["session", "list"]).code == 0);
    eprintln!("line: a row held by another: 503 within {longest:?}");
}

#[test]
fn a_file_that_is_locked_exclusively_is_503_to_logins_and_nothing_to_a_use() {
    let site = Site::new(Database::sqlite());
    let server = site.start_with_user();
    let held = server.log_in_everywhere();
    let file = site.database.url().strip_prefix("sqlite:").unwrap().to_owned();
    let holder = Holder::sqlite(&file, "BEGIN EXCLUSIVE");
    let watch = Watch::start();
    let least = if is_long() { Duration::from_secs(30) } else { Duration::ZERO };
    let (mut refused, mut longest) = (0, Duration::ZERO);
    while refused == 0 || watch.elapsed() < least {
        for wire in [Wire::Cluster, Wire::Polish, Wire::Cookie] {
            assert_eq!(server.check(of(&held, wire)), Verdict::Yes, "{}", wire.name());
        }
        let one = Watch::start();
        assert_eq!(server.refusal(Wire::Polish, USER, PASSWORD), Verdict::Away);
        refused += 1;
        longest = longest.max(one.elapsed());
        assert_eq!(server.admin("/readyz").status, 503);
    }
    assert!(longest < BOUND, "an answer took {longest:?}");
    drop(holder);
    clock::until("readiness", || (server.admin("/readyz").status == 200).then_some(()));
    server.expect(&held, &Verdict::Yes, "after the lock");
    server.log_in_everywhere();
    site.database.check_integrity();
    eprintln!(
        "line: a file locked for {:?}: {refused} logins heard 503 within {longest:?}",
        watch.elapsed()
    );
}

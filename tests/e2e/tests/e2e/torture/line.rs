//! A connection to the database that is slow, stalled or cut in mid-answer, and rows and files with foreign locks.

use std::thread;
use std::time::Duration;

use crate::harness::cluster::Cluster;
use crate::harness::fault_proxy::FaultProxy;
use crate::harness::lock_holder::LockHolder;
use crate::harness::{
    Database, HeldSession, Installation, PASSWORD, Server, Stopwatch, USER, Verdict, Wire, clock,
};
use crate::torture::{is_long, repetitions};

/// Every answer comes within a deadline of 15 s; the rest is slack for the machine.
const MAX_RESPONSE_TIME: Duration = Duration::from_secs(25);
/// `/readyz` waits two seconds for the database.
const MAX_READINESS_TIME: Duration = Duration::from_secs(10);

/// A PostgreSQL, a server that reaches the database through a proxy for fault injection, and a server with a direct
/// connection.
struct LinkFixture {
    slow: Server,
    near: Server,
    fault_proxy: FaultProxy,
    slow_installation: Installation,
    near_installation: Installation,
    // Last, so that the cluster is dropped last.
    cluster: Cluster,
}

impl LinkFixture {
    fn new() -> Self {
        let cluster = Cluster::start();
        let fault_proxy = FaultProxy::start(cluster.address());
        let near_installation = Installation::new(Database::External(cluster.url()));
        let near = near_installation.start_with_user();
        // Both are nodes of one deployment: they share the key file and the issuer.
        let slow_installation =
            Installation::new(Database::External(Cluster::url_at(fault_proxy.address)));
        let keys = |installation: &Installation| installation.folder().join("keys/parlance.key");
        std::fs::copy(keys(&near_installation), keys(&slow_installation)).unwrap();
        let slow = slow_installation.start();
        Self { slow, near, fault_proxy, slow_installation, near_installation, cluster }
    }

    /// Runs an action with every wire at once on the slow server. Returns the verdicts, and the longest duration.
    fn at_once(&self, act: impl Fn(&Server, Wire) -> Verdict + Sync) -> (Vec<Verdict>, Duration) {
        let done = thread::scope(|scope| {
            let wires = Wire::ALL.map(|wire| {
                let (act, server) = (&act, &self.slow);
                scope.spawn(move || {
                    let watch = Stopwatch::start();
                    (act(server, wire), watch.elapsed())
                })
            });
            wires.map(|wire| wire.join().unwrap())
        });
        let longest = done.iter().map(|(_, took)| *took).max().unwrap();
        (done.into_iter().map(|(verdict, _)| verdict).collect(), longest)
    }

    fn log_in_near(&self) -> Vec<HeldSession> {
        self.near.log_in_everywhere()
    }
}

fn session_of(held: &[HeldSession], wire: Wire) -> &HeldSession {
    held.iter().find(|held| held.wire == wire).unwrap()
}

#[track_caller]
fn assert_all(verdicts: &[Verdict], allowed: &[Verdict], when: &str) {
    for (verdict, wire) in verdicts.iter().zip(Wire::ALL) {
        assert!(allowed.contains(verdict), "{} {when}: {verdict:?}", wire.name());
    }
}

/// The verdict of a wrong login. A right login might take effect later and take over a session.
fn wrong_login(server: &Server, wire: Wire) -> Verdict {
    server.refused_login(wire, USER, "wrong")
}

#[test]
fn a_slow_database_connection_is_waited_for_within_the_bound() {
    let fixture = LinkFixture::new();
    let delays: &[u64] = if is_long() { &[50, 500, 5000] } else { &[50, 500] };
    for &millis in delays {
        let held = fixture.log_in_near();
        let gone = [fixture.near.log_in(Wire::Polish)];
        fixture.fault_proxy.delay(Duration::from_millis(millis));
        let when = format!("behind {millis} ms");
        let (uses, longest_use) =
            fixture.at_once(|server, wire| server.use_session(session_of(&held, wire)));
        let (logins, longest_login) = fixture.at_once(wrong_login);
        // Five seconds for each message to the database, and more than one message: beyond the deadline.
        let away = if millis == 5000 { &[Verdict::Unavailable][..] } else { &[] };
        assert_all(&uses, &[&[Verdict::Accepted], away].concat(), &format!("use {when}"));
        assert_all(&logins, &[&[Verdict::Refused], away].concat(), &format!("login {when}"));
        assert_eq!(fixture.near.log_out(&gone[0]), Verdict::Accepted);
        let verdict = fixture.slow.use_session(&gone[0]);
        assert!([&[Verdict::Refused], away].concat().contains(&verdict), "ended there, {when}");
        let watch = Stopwatch::start();
        let ready = fixture.slow.get_admin("/readyz").status;
        assert!(watch.elapsed() < MAX_READINESS_TIME);
        if millis == 5000 {
            assert_eq!(ready, 503, "{when}");
        }
        let longest = longest_use.max(longest_login);
        assert!(longest < MAX_RESPONSE_TIME, "{when}: an answer took {longest:?}");
        fixture.fault_proxy.resume();
        wait_until_recovered(&fixture, &held);
        eprintln!(
            "line: {millis} ms a question: uses within {longest_use:?}, logins within {longest_login:?}, /readyz {ready}"
        );
    }
}

/// Waits until the slow server is ready and every session works there.
#[track_caller]
fn wait_until_recovered(fixture: &LinkFixture, held: &[HeldSession]) -> Duration {
    let watch = Stopwatch::start();
    clock::wait_for("readiness", || {
        (fixture.slow.get_admin("/readyz").status == 200).then_some(())
    });
    for held in held {
        clock::wait_for("a good session", || match fixture.slow.use_session(held) {
            Verdict::Accepted => Some(()),
            Verdict::Unavailable => None,
            other @ (Verdict::Refused | Verdict::Unexpected(_)) => {
                panic!("{:?}: {other:?}", held.wire)
            }
        });
    }
    watch.elapsed()
}

#[test]
fn a_stalled_database_connection_is_503_within_the_bound_and_not_ready() {
    let fixture = LinkFixture::new();
    let held = fixture.log_in_near();
    let gone = fixture.near.log_in(Wire::Polish);
    fixture.slow.expect_each_use(&held, &Verdict::Accepted, "before the stall");
    fixture.slow.expect_each_use(
        std::slice::from_ref(&gone),
        &Verdict::Accepted,
        "before the stall",
    );
    fixture.fault_proxy.stall();
    assert_eq!(fixture.near.log_out(&gone), Verdict::Accepted);
    let (longest, ended) = thread::scope(|scope| {
        let (fixture, held) = (&fixture, &held);
        let uses = scope
            .spawn(|| fixture.at_once(|server, wire| server.use_session(session_of(held, wire))));
        let logins = scope.spawn(|| fixture.at_once(wrong_login));
        let ended = scope.spawn(|| fixture.slow.use_session(&gone));
        let watch = Stopwatch::start();
        assert_eq!(fixture.slow.get_admin("/readyz").status, 503);
        assert!(watch.elapsed() < MAX_READINESS_TIME, "/readyz took {:?}", watch.elapsed());
        let (verdicts, longest_use) = uses.join().unwrap();
        assert_all(&verdicts, &[Verdict::Unavailable], "use over a stalled line");
        let (verdicts, longest_login) = logins.join().unwrap();
        assert_all(&verdicts, &[Verdict::Unavailable], "login over a stalled line");
        (longest_use.max(longest_login), ended.join().unwrap())
    });
    assert_eq!(ended, Verdict::Unavailable, "ended while the line was dead");
    assert!(longest < MAX_RESPONSE_TIME, "an answer took {longest:?}");
    // A connection that stalls for ever is cut in the end.
    fixture.fault_proxy.cut();
    fixture.fault_proxy.resume();
    let mended = wait_until_recovered(&fixture, &held);
    fixture.slow.expect_each_use(&[gone], &Verdict::Refused, "ended while the line was dead");
    eprintln!("line: a stalled line: 503 within {longest:?}, all well {mended:?} after it");
}

#[test]
fn a_database_answer_cut_midway_is_503_or_retried() {
    let cuts = repetitions(40, 1000);
    let fixture = LinkFixture::new();
    let held = fixture.log_in_near();
    let (mut away, mut open) = (0, 0);
    fixture.fault_proxy.cut_answers(cuts);
    for round in 0.. {
        if fixture.fault_proxy.cuts_left() == 0 {
            break;
        }
        let (verdicts, longest) =
            fixture.at_once(|server, wire| server.use_session(session_of(&held, wire)));
        assert_all(&verdicts, &[Verdict::Accepted, Verdict::Unavailable], "use of a good session");
        assert!(longest < MAX_RESPONSE_TIME, "an answer took {longest:?}");
        away += verdicts.iter().filter(|verdict| **verdict == Verdict::Unavailable).count();
        // An acknowledged logout lasts; a logout with answer 503 may or may not have taken effect.
        let held = fixture.near.log_in(Wire::ALL[round % 3]);
        match fixture.slow.log_out(&held) {
            Verdict::Accepted => {
                fixture.near.expect_each_use(&[held], &Verdict::Refused, "after its logout")
            }
            Verdict::Unavailable => open += 1,
            // `No` would mean that the answer was lost and the repeated change found the session ended.
            other @ (Verdict::Refused | Verdict::Unexpected(_)) => panic!("{other:?}"),
        }
    }
    fixture.fault_proxy.resume();
    wait_until_recovered(&fixture, &held);
    let connections = fixture.cluster.connections();
    assert!(connections <= 2 * 8, "{connections} connections: some leaked");
    eprintln!(
        "line: {cuts} answers cut in their middle: {away} uses and {open} logouts heard 503, none a lie; {connections} connections afterwards"
    );
}

#[test]
fn a_locked_user_row_is_503_for_logins_of_that_user_and_has_no_effect_on_uses() {
    let fixture = LinkFixture::new();
    let held = fixture.log_in_near();
    fixture.near_installation.add_user("other", PASSWORD);
    let rows = format!("SELECT 1 FROM users WHERE canonical = '{USER}' FOR UPDATE");
    let lock_holder = LockHolder::psql(&fixture.cluster.url(), &rows);
    let (verdicts, longest) =
        fixture.at_once(|server, wire| server.refused_login(wire, USER, PASSWORD));
    assert_all(&verdicts, &[Verdict::Unavailable], "login of one whose row is held");
    assert!(longest < MAX_RESPONSE_TIME, "an answer took {longest:?}");
    for wire in [Wire::Cluster, Wire::Polish, Wire::Cookie] {
        assert_eq!(
            fixture.slow.use_session(session_of(&held, wire)),
            Verdict::Accepted,
            "{}",
            wire.name()
        );
    }
    let other = Wire::Polish
        .parse_login("other", &fixture.slow.send(&Wire::Polish.login_request("other", PASSWORD)));
    assert!(matches!(other, Ok(_) | Err(Verdict::Unavailable)), "{other:?}");
    drop(lock_holder);
    wait_until_recovered(&fixture, &held);
    fixture.slow.log_in_everywhere();
    assert!(fixture.slow_installation.run_command(&["session", "list"]).code == 0);
    eprintln!("line: a row held by another: 503 within {longest:?}");
}

#[test]
fn an_exclusively_locked_file_is_503_for_logins_and_has_no_effect_on_uses() {
    let installation = Installation::new(Database::sqlite());
    let server = installation.start_with_user();
    let held = server.log_in_everywhere();
    let file = installation.database.url().strip_prefix("sqlite:").unwrap().to_owned();
    let lock_holder = LockHolder::sqlite(&file, "BEGIN EXCLUSIVE");
    let watch = Stopwatch::start();
    let least = if is_long() { Duration::from_secs(30) } else { Duration::ZERO };
    let (mut refused, mut longest) = (0, Duration::ZERO);
    while refused == 0 || watch.elapsed() < least {
        for wire in [Wire::Cluster, Wire::Polish, Wire::Cookie] {
            assert_eq!(
                server.use_session(session_of(&held, wire)),
                Verdict::Accepted,
                "{}",
                wire.name()
            );
        }
        let one = Stopwatch::start();
        assert_eq!(server.refused_login(Wire::Polish, USER, PASSWORD), Verdict::Unavailable);
        refused += 1;
        longest = longest.max(one.elapsed());
        assert_eq!(server.get_admin("/readyz").status, 503);
    }
    assert!(longest < MAX_RESPONSE_TIME, "an answer took {longest:?}");
    drop(lock_holder);
    clock::wait_for("readiness", || (server.get_admin("/readyz").status == 200).then_some(()));
    server.expect_each_use(&held, &Verdict::Accepted, "after the lock");
    server.log_in_everywhere();
    installation.database.check_integrity();
    eprintln!(
        "line: a file locked for {:?}: {refused} logins heard 503 within {longest:?}",
        watch.elapsed()
    );
}

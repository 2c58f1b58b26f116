//! Slow and silent clients by the thousand: a good client hardly notices, and memory stays bounded.

use std::net::{IpAddr, Ipv4Addr};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use super::{ResponseTimes, is_long, run_good_client, run_time, wait_for_login};
use crate::harness::http::Connection;
use crate::harness::{
    Database, HeldSession, Installation, PASSWORD, Server, StopOnDrop, Stopwatch, USER, Wire, sleep,
};

/// Kibibytes that a slow connection may cost: several times the largest head and body.
const CONNECTION_KIB: u64 = 32;
/// Additional kibibytes for the allocator.
const OVERHEAD_KIB: u64 = 32 * 1024;

/// The attacks of `slowhttptest`: slow heads, slow bodies, overlapping ranges, slow reading.
const ATTACKS: [(&str, &[&str]); 4] = [
    ("slow heads", &["-H", "-x", "24", "-i", "2"]),
    ("slow bodies", &["-B", "-t", "POST", "-x", "10", "-i", "2", "-s", "8192"]),
    ("ranges", &["-R", "-a", "10", "-b", "3000"]),
    ("slow reading", &["-X", "-w", "512", "-y", "1024", "-n", "5", "-z", "32", "-k", "3"]),
];

/// A server with one session in use.
fn fixture() -> (Installation, Server, HeldSession) {
    let installation = Installation::new(Database::sqlite());
    let server = installation.start_with_user();
    let held = server.log_in(Wire::Polish);
    (installation, server, held)
}

/// Runs an attack while a good client works; returns the answers to the good client.
fn with_good_client(server: &Server, held: &HeldSession, attack: impl FnOnce()) -> ResponseTimes {
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let end_good = StopOnDrop(&over);
        let good = scope.spawn(|| run_good_client(server, held, || !over.load(Ordering::Relaxed)));
        attack();
        drop(end_good);
        good.join().unwrap()
    })
}

/// Repeats one attack until the time is over, because `slowhttptest` stops when the server has cut all connections.
fn slowhttptest(server: &Server, arguments: &[&str], connections: usize, span: Duration) {
    let watch = Stopwatch::start();
    while watch.elapsed() < span {
        let left = span.saturating_sub(watch.elapsed()).as_secs().max(1).to_string();
        let mut command = Command::new("slowhttptest");
        command.args(arguments).args(["-u", &format!("{}/login", server.base_url())]);
        command.args(["-c", &connections.to_string(), "-r", "500", "-l", &left, "-p", "3"]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().expect("slowhttptest is installed");
    }
}

#[track_caller]
fn check_bounds(
    what: &str,
    server: &mut Server,
    connections: usize,
    base: u64,
    good: &ResponseTimes,
) {
    let peak = server.memory().1;
    let bound = base + OVERHEAD_KIB + CONNECTION_KIB * u64::try_from(connections).unwrap();
    eprintln!(
        "slow, {what}: {connections} connections; a good client had {good}; memory {base} KiB before, {peak} KiB at most, {bound} KiB allowed"
    );
    assert!(server.is_running());
    assert!(peak <= bound, "{peak} KiB of {bound}");
    assert!(!good.0.is_empty());
    good.assert_p99(Duration::from_secs(1));
    wait_for_login(server, USER);
}

#[test]
fn slow_clients_delay_no_other_client() {
    if is_long() {
        for (what, arguments) in ATTACKS {
            let (_installation, mut server, held) = fixture();
            let base = server.memory().1;
            let span = run_time(Duration::ZERO, Duration::from_secs(240));
            let good =
                with_good_client(&server, &held, || slowhttptest(&server, arguments, 1000, span));
            check_bounds(what, &mut server, 1000, base, &good);
        }
    } else {
        // All attacks at once.
        let (_installation, mut server, held) = fixture();
        let base = server.memory().1;
        let good = with_good_client(&server, &held, || {
            thread::scope(|scope| {
                for (_, arguments) in ATTACKS {
                    scope.spawn(|| slowhttptest(&server, arguments, 250, Duration::from_secs(6)));
                }
            });
        });
        check_bounds("all", &mut server, 1000, base, &good);
    }
}

#[test]
fn silent_connections_delay_no_other_client() {
    // Both ends are processes with some 20 000 descriptors on many machines, and the listener holds 14 904 of them:
    // beyond that a good client is refused as well.
    let connections = if is_long() { 14_000 } else { 1000 };
    let span = run_time(Duration::from_secs(3), Duration::from_secs(60));
    let (_installation, mut server, held) = fixture();
    let base = server.memory().1;
    let watch = Stopwatch::start();
    let good = with_good_client(&server, &held, || {
        // The server cuts silent connections; then new ones are opened.
        while watch.elapsed() < span {
            let source = |number: usize| {
                IpAddr::from(Ipv4Addr::new(127, 0, 1, u8::try_from(number % 200).unwrap()))
            };
            let open = |number| Connection::open_from(source(number), server.dialects);
            let silent: Vec<_> = (0..connections).map(open).collect();
            let refused = silent.iter().filter(|connection| connection.is_err()).count();
            assert_eq!(refused, 0, "connections that could not be opened");
            sleep(Duration::from_secs(2));
        }
    });
    check_bounds("silent", &mut server, connections, base, &good);
    server.log_in_as(Wire::Flask, USER, PASSWORD);
}

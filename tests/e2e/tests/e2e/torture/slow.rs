//! Slow and silent clients by the thousand: a good one hardly notices, and memory stays bounded.

use std::net::{IpAddr, Ipv4Addr};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use super::{Answers, good_client, is_long, recovers, span};
use crate::harness::http::Connection;
use crate::harness::{Database, EndOnDrop, Held, PASSWORD, Server, Site, USER, Watch, Wire, pace};

/// Kibibytes that a slow connection may cost: its head and body at their largest, several times over.
const EACH: u64 = 32;
/// Kibibytes that the allocator may keep besides.
const ROOM: u64 = 32 * 1024;

/// What `slowhttptest` does: slow heads, slow bodies, overlapping ranges, slow reading.
const ATTACKS: [(&str, &[&str]); 4] = [
    ("slow heads", &["-H", "-x", "24", "-i", "2"]),
    ("slow bodies", &["-B", "-t", "POST", "-x", "10", "-i", "2", "-s", "8192"]),
    ("ranges", &["-R", "-a", "10", "-b", "3000"]),
    ("slow reading", &["-X", "-w", "512", "-y", "1024", "-n", "5", "-z", "32", "-k", "3"]),
];

/// A server with one session in use.
fn scene() -> (Site, Server, Held) {
    let site = Site::new(Database::sqlite());
    let server = site.start_with_user();
    let held = server.log_in(Wire::Polish);
    (site, server, held)
}

/// Runs an attack while a good client works; how it fared.
fn meanwhile(server: &Server, held: &Held, attack: impl FnOnce()) -> Answers {
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let end_good = EndOnDrop(&over);
        let good = scope.spawn(|| good_client(server, held, || !over.load(Ordering::Relaxed)));
        attack();
        drop(end_good);
        good.join().unwrap()
    })
}

/// One attack by so many connections, begun again until the time is over: it gives up when the server has cut them all.
fn slowhttptest(server: &Server, arguments: &[&str], connections: usize, span: Duration) {
    let watch = Watch::start();
    while watch.elapsed() < span {
        let left = span.saturating_sub(watch.elapsed()).as_secs().max(1).to_string();
        let mut command = Command::new("slowhttptest");
        command.args(arguments).args(["-u", &format!("{}/login", server.base())]);
        command.args(["-c", &connections.to_string(), "-r", "500", "-l", &left, "-p", "3"]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().expect("slowhttptest is installed");
    }
}

#[track_caller]
fn judge(what: &str, server: &mut Server, connections: usize, base: u64, good: &Answers) {
    let peak = server.memory().1;
    let bound = base + ROOM + EACH * u64::try_from(connections).unwrap();
    eprintln!(
        "slow, {what}: {connections} connections; a good client had {good}; memory {base} KiB before, {peak} KiB at most, {bound} KiB allowed"
    );
    assert!(server.is_running());
    assert!(peak <= bound, "{peak} KiB of {bound}");
    assert!(!good.0.is_empty());
    good.assert_p99(Duration::from_secs(1));
    recovers(server, USER);
}

#[test]
fn slow_clients_hold_up_nobody() {
    if is_long() {
        for (what, arguments) in ATTACKS {
            let (_site, mut server, held) = scene();
            let base = server.memory().1;
            let span = span(Duration::ZERO, Duration::from_secs(240));
            let good = meanwhile(&server, &held, || slowhttptest(&server, arguments, 1000, span));
            judge(what, &mut server, 1000, base, &good);
        }
    } else {
        // All at once.
        let (_site, mut server, held) = scene();
        let base = server.memory().1;
        let good = meanwhile(&server, &held, || {
            thread::scope(|scope| {
                for (_, arguments) in ATTACKS {
                    scope.spawn(|| slowhttptest(&server, arguments, 250, Duration::from_secs(6)));
                }
            });
        });
        judge("all", &mut server, 1000, base, &good);
    }
}

#[test]
fn silent_connections_hold_up_nobody() {
    // Both ends are processes with some 20 000 descriptors on many machines, of which the listener may hold 14 904: beyond that a good client is
    // refused as well.
    let connections = if is_long() { 14_000 } else { 1000 };
    let span = span(Duration::from_secs(3), Duration::from_secs(60));
    let (_site, mut server, held) = scene();
    let base = server.memory().1;
    let watch = Watch::start();
    let good = meanwhile(&server, &held, || {
        // The server cuts those that say nothing; then come others.
        while watch.elapsed() < span {
            let source = |number: usize| {
                IpAddr::from(Ipv4Addr::new(127, 0, 1, u8::try_from(number % 200).unwrap()))
            };
            let open = |number| Connection::open_from(source(number), server.dialects);
            let silent: Vec<_> = (0..connections).map(open).collect();
            let refused = silent.iter().filter(|connection| connection.is_err()).count();
            assert_eq!(refused, 0, "connections that could not be opened");
            pace(Duration::from_secs(2));
        }
    });
    judge("silent", &mut server, connections, base, &good);
    server.login(Wire::Flask, USER, PASSWORD);
}

//! A thousand clients log in at once: load shedding refuses the excess, memory stays bounded, checks go on.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use super::kill::long_lifetimes_config;
use super::{run_good_client, run_time, wait_for_login};
use crate::harness::http::exchange;
use crate::harness::{
    Database, Installation, PASSWORD, StopOnDrop, Stopwatch, USER, Verdict, Wire, sleep,
};

const CLIENTS: usize = 1000;
/// Kibibytes that one password takes during its hashing.
const HASH_KIB: u64 = 19_456;
/// Kibibytes for a thousand connections, the waiting requests in the queue, and the allocator.
const OVERHEAD_KIB: u64 = 48 * 1024;

#[test]
fn a_login_flood_is_shed_and_checks_go_on() {
    let watch = Stopwatch::start();
    let installation =
        Installation::with_default_hash(Database::sqlite(), &long_lifetimes_config());
    let server = installation.start_with_user();
    let held = server.log_in(Wire::Polish);
    let base = server.memory().1;
    let (opened, shed) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let (span, over) =
        (run_time(Duration::from_secs(4), Duration::from_secs(60)), AtomicBool::new(false));
    let flood = Stopwatch::start();
    let checks = thread::scope(|scope| {
        let end_checks = StopOnDrop(&over);
        let checks =
            scope.spawn(|| run_good_client(&server, &held, || !over.load(Ordering::Relaxed)));
        let client = |number: usize| {
            let wire = Wire::ALL[number % Wire::ALL.len()];
            while flood.elapsed() < span {
                let answer =
                    exchange(server.dialects, &wire.login_request(USER, PASSWORD)).unwrap();
                match wire.parse_login(USER, &answer) {
                    Ok(_) => drop(opened.fetch_add(1, Ordering::Relaxed)),
                    Err(Verdict::Unavailable) => {
                        shed.fetch_add(1, Ordering::Relaxed);
                        assert_eq!(answer.header("retry-after"), Some("1"), "{answer:?}");
                        // As `Retry-After` says.
                        sleep(Duration::from_secs(1));
                    }
                    Err(
                        other @ (Verdict::Accepted | Verdict::Refused | Verdict::Unexpected(_)),
                    ) => {
                        panic!("{}: {other:?}", wire.name())
                    }
                }
            }
        };
        let start = |number| {
            let thread = thread::Builder::new().stack_size(512 * 1024);
            thread.spawn_scoped(scope, move || client(number)).unwrap()
        };
        let clients: Vec<_> = (0..CLIENTS).map(start).collect();
        let ended: Vec<_> = clients.into_iter().map(thread::ScopedJoinHandle::join).collect();
        drop(end_checks);
        let checks = checks.join().unwrap();
        assert!(ended.iter().all(Result::is_ok), "a client had another answer");
        checks
    });
    let peak = server.memory().1;
    let cores = u64::try_from(thread::available_parallelism().unwrap().get()).unwrap();
    let bound = base + cores * HASH_KIB + OVERHEAD_KIB;
    let (opened, shed) = (opened.into_inner(), shed.into_inner());
    eprintln!(
        "flood: {CLIENTS} clients, {opened} logins, {shed} refused with 503 and Retry-After; checks meanwhile: {checks}; memory {base} KiB before, {peak} KiB at most, {bound} KiB allowed; {:?} in all",
        watch.elapsed()
    );
    assert!(opened > 0 && shed > CLIENTS / 2, "{opened} logins, {shed} refused");
    assert!(peak <= bound, "{peak} KiB of {bound}");
    checks.assert_p99(Duration::from_millis(100));
    wait_for_login(&server, USER);
}

//! Attackers send requests at full speed: refusals are counted in the log, and do not fill the log.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::json;

use super::{repetitions, run_time};
use crate::harness::clock::wait_for;
use crate::harness::http::Connection;
use crate::harness::{Database, Installation, Request, Server, Stopwatch, Wire};

const ADDRESSES: usize = 20;
/// Bytes of log that a minute may take.
const MINUTE_BYTES: usize = 1024 * 1024;
/// Connections that are open at a time beyond the limit.
const KEPT_CONNECTIONS: usize = 8;

/// The number of records that contain all of these words, and the sum of their counts.
fn sum_counts(log: &str, words: &[&str]) -> (usize, usize) {
    let records = log.lines().filter(|line| words.iter().all(|word| line.contains(word)));
    let counts = records.map(|line| {
        let count = line.split_once("count=").map(|(_, rest)| rest.split_whitespace().next());
        count.flatten().and_then(|count| count.parse::<usize>().ok()).unwrap_or(1)
    });
    counts.fold((0, 0), |(records, sum), count| (records + 1, sum + count))
}

/// The whole log, after a graceful shutdown.
fn whole_log(mut server: Server) -> String {
    server.signal("TERM");
    assert_eq!(server.wait_for_exit().code(), Some(0));
    server.log.wait_for_end()
}

#[test]
fn rate_limited_addresses_do_not_fill_the_log() {
    let (watch, few) = (Stopwatch::start(), 3);
    let configuration = format!(
        "trusted_proxies = [\"127.0.0.1\"]\n[throttle]\nfailures_per_address = {few}\nwindow = \"1h\"\n"
    );
    let installation = Installation::with_config(Database::sqlite(), &configuration);
    let server = installation.start_with_user();
    let (each, long) =
        (repetitions(150, usize::MAX), run_time(Duration::MAX, Duration::from_secs(60)));
    let (sent, throttled) = (AtomicUsize::new(0), AtomicUsize::new(0));
    thread::scope(|scope| {
        for number in 0..ADDRESSES {
            let (sent, throttled, watch, server) = (&sent, &throttled, &watch, &server);
            scope.spawn(move || {
                let mut connection = Connection::open(server.dialects).unwrap();
                let from = format!("198.18.{number}.1");
                for _ in 0..each {
                    let login = Wire::Polish.login_request("nobody", "wrong");
                    let answer = connection.exchange(&login.header("X-Forwarded-For", &from));
                    sent.fetch_add(1, Ordering::Relaxed);
                    if answer.unwrap().status == 429 {
                        throttled.fetch_add(1, Ordering::Relaxed);
                    }
                    if watch.elapsed() > long {
                        break;
                    }
                }
            });
        }
    });
    let minutes = usize::try_from(watch.elapsed().as_secs() / 60).unwrap() + 1;
    let log = whole_log(server);
    let (sent, throttled) = (sent.into_inner(), throttled.into_inner());
    let (records, told) = sum_counts(&log, &["login refused", "\"throttled\""]);
    eprintln!(
        "log_flood: {ADDRESSES} addresses, {sent} logins, {throttled} throttled, told of in {records} records; {} bytes of log in {:?}",
        log.len(),
        watch.elapsed()
    );
    assert!(throttled > 0);
    assert_eq!(told, throttled, "each is counted: {log}");
    assert!(records <= ADDRESSES * (minutes + 1), "{records} records in {minutes} minutes: {log}");
    assert!(log.len() <= minutes * MINUTE_BYTES, "{} bytes", log.len());
    assert!(!log.lines().any(|line| line.contains("throttled") && line.contains("nobody")));
}

#[test]
fn connections_beyond_the_limit_do_not_fill_the_log() {
    let installation =
        Installation::with_config(Database::sqlite(), "max_connections_per_address = 1\n");
    let server = installation.start();
    let tries = repetitions(200, 20_000);
    let mut opened = 0;
    // The server ends a silent connection after some seconds and admits the next one. Each connection is kept until
    // some more are opened, so that the address holds one all the time.
    let mut kept = VecDeque::new();
    let mut open = || {
        opened += 1;
        kept.push_back(
            Connection::open_from("127.0.0.7".parse().unwrap(), server.dialects).unwrap(),
        );
        kept.drain(..kept.len().saturating_sub(KEPT_CONNECTIONS));
    };
    for _ in 0..=tries {
        open();
    }
    let refused = wait_for("the connections to be refused", || {
        open();
        let refused = usize::try_from(server.metric("parlance_connections_refused_total")).unwrap();
        (refused >= tries).then_some(refused)
    });
    drop(kept);
    let log = whole_log(server);
    let (records, told) = sum_counts(&log, &["connections refused", "127.0.0.7"]);
    assert!((refused..=opened).contains(&told), "{refused} of {opened} refused: {log}");
    assert!(records <= 2 + repetitions(0, 60), "{records} records: {log}");
}

#[test]
fn malformed_calls_do_not_fill_the_log() {
    let installation = Installation::new(Database::sqlite());
    let server = installation.start();
    let tries = repetitions(150, 20_000);
    let mut connection = Connection::open(server.dialects).unwrap();
    for _ in 0..tries {
        let json = Request::post("/login").json(&json!({"login": "nobody", "pass": "wrong"}));
        connection.exchange(&json).unwrap();
    }
    let log = whole_log(server);
    let (records, told) = sum_counts(&log, &["call refused", "polish-longtoken"]);
    assert_eq!(told, tries, "{log}");
    assert!(records <= 2 + repetitions(0, 60), "{records} records: {log}");
}

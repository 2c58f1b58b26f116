//! Attackers from twenty addresses use every costly request on all listeners at once: good clients hardly notice.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use super::crowd::{HTTP2_PREFACE, open_descriptors, serve_with_grpc};
use super::kill::long_lifetimes_config;
use super::pipelining::{pipeline, send_remaining};
use super::unfinished::{BODIES, head};
use super::{ResponseTimes, is_long, run_good_client, run_time, wait_for_login};
use crate::harness::http::Connection;
use crate::harness::{
    Database, Installation, PASSWORD, Request, Server, StopOnDrop, Stopwatch, USER, Verdict, Wire,
    sleep,
};

/// Addresses of attackers; each holds some forty connections.
const ADDRESSES: u8 = 20;
/// How many connections of a kind an address holds at once.
const CONNECTIONS_PER_KIND: usize = 4;
/// How long attackers hold connections that the server does not end.
const HOLD_TIME: Duration = Duration::from_secs(6);
/// The account that failed logins lock.
const LOCKED_USER: &str = "locked";
/// A trusted proxy: forwarded addresses are no loopback addresses, so the rate limit applies to them.
const PROXY_ADDRESS: &str = "127.0.3.1";
/// Kibibytes that the server may hold.
const MAX_MEMORY_KIB: u64 = 256 * 1024;
/// Bytes of log that the server may write in a minute.
const LOG_BYTES_PER_MINUTE: usize = 1024 * 1024;

/// Counts of the attackers' requests.
#[derive(Default)]
struct AttackCounts {
    connections: AtomicUsize,
    logins: AtomicUsize,
    requests: AtomicUsize,
}

struct Attackers<'s> {
    server: &'s Server,
    over: &'s AtomicBool,
    counts: &'s AttackCounts,
}

impl Attackers<'_> {
    fn goes_on(&self) -> bool {
        !self.over.load(Ordering::Relaxed)
    }

    /// Opens connections, sends these bytes on each and nothing more, and replaces the connections after [`HOLD_TIME`].
    fn hold_connections(&self, source: IpAddr, address: SocketAddr, said: &[Vec<u8>]) {
        while self.goes_on() {
            let open = |bytes: &Vec<u8>| {
                let mut connection = Connection::open_from(source, address).ok()?;
                let _ended = connection.write(bytes);
                self.counts.connections.fetch_add(1, Ordering::Relaxed);
                Some(connection)
            };
            let held: Vec<_> =
                said.iter().cycle().take(CONNECTIONS_PER_KIND.max(said.len())).map(open).collect();
            let watch = Stopwatch::start();
            while self.goes_on() && watch.elapsed() < HOLD_TIME {
                sleep(Duration::from_millis(100));
            }
            drop(held);
        }
    }

    /// Sends requests without reading an answer.
    fn pipeline_requests(&self, source: IpAddr, address: SocketAddr) {
        let bytes = head("GET /nowhere", "Accept: */*").repeat(20_000).into_bytes();
        while self.goes_on() {
            let (mut stream, mut sent) = (pipeline(Some(source), address), 0);
            self.counts.connections.fetch_add(1, Ordering::Relaxed);
            while self.goes_on() && send_remaining(&mut stream, &bytes, &mut sent) {
                sleep(Duration::from_millis(100));
            }
        }
    }

    /// Sends requests of a kind one after the other, each over a new connection.
    fn flood(&self, source: IpAddr, request: impl Fn(usize) -> Request) {
        for number in 0.. {
            if !self.goes_on() {
                break;
            }
            let connection = Connection::open_from(source, self.server.dialects);
            let _answer = connection.and_then(|mut open| open.exchange(&request(number)));
            self.counts.requests.fetch_add(1, Ordering::Relaxed);
            sleep(Duration::from_millis(20));
        }
    }

    /// Brute force: wrong passwords for a name that gets locked and for unknown names, with a forwarded address if the
    /// proxy is the source.
    fn guess_passwords(&self, source: IpAddr, forwarded: Option<&str>) {
        self.flood(source, |number| {
            let wire = Wire::ALL[number % Wire::ALL.len()];
            let name = if number.is_multiple_of(2) {
                LOCKED_USER.to_owned()
            } else {
                format!("nobody{number}")
            };
            self.counts.logins.fetch_add(1, Ordering::Relaxed);
            let request = wire.login_request(&name, "wrong");
            match forwarded {
                Some(address) => request.header("X-Forwarded-For", address),
                None => request,
            }
        });
    }

    /// All attacks from one address.
    fn attack_from<'scope>(&'scope self, scope: &'scope thread::Scope<'scope, '_>, number: u8) {
        let source = IpAddr::V4(Ipv4Addr::new(127, 0, 2, number));
        let (dialects, admin) = (self.server.dialects, self.server.admin);
        let grpc = self.server.grpc.unwrap();
        for (address, line) in
            [(dialects, "POST /login"), (dialects, "POST /x"), (admin, "POST /x")]
        {
            let bodies = BODIES.map(|(header, body)| (head(line, header) + body).into_bytes());
            scope.spawn(move || self.hold_connections(source, address, &bodies));
        }
        let whole = head("GET /nowhere", "Accept: */*").into_bytes();
        let slow = [Vec::new(), whole[..20].to_vec(), [&whole, &whole[..20]].concat(), whole];
        let (slow, slow_admin) = (slow.clone(), slow);
        scope.spawn(move || self.hold_connections(source, dialects, &slow));
        scope.spawn(move || self.hold_connections(source, admin, &slow_admin));
        let http2 =
            [&[], &HTTP2_PREFACE[..10], HTTP2_PREFACE, b"GET / HTTP/1.1\r\n"].map(<[u8]>::to_vec);
        scope.spawn(move || self.hold_connections(source, grpc, &http2));
        scope.spawn(move || {
            self.pipeline_requests(source, if number.is_multiple_of(2) { admin } else { dialects })
        });
        scope.spawn(move || self.guess_passwords(source, None));
        scope.spawn(move || {
            self.guess_passwords(
                PROXY_ADDRESS.parse().unwrap(),
                Some(&format!("203.0.113.{number}")),
            );
        });
        // Requests for unclaimed paths, which are logged.
        scope.spawn(move || {
            self.flood(source, |request| Request::get(&format!("/nowhere/{request}")));
        });
    }
}

/// Logs an honest user in twice a second. Returns the durations of the answers, and the number of 503 answers.
fn honest_logins(server: &Server, goes_on: impl Fn() -> bool) -> (ResponseTimes, usize) {
    let (mut answers, mut refused) = (ResponseTimes::default(), 0);
    while goes_on() {
        let watch = Stopwatch::start();
        let wire = Wire::Polish;
        let answer = Connection::open(server.dialects)
            .unwrap()
            .exchange(&wire.login_request(USER, PASSWORD));
        answers.0.push(watch.elapsed());
        match wire.parse_login(USER, &answer.unwrap()) {
            Ok(_) => {}
            Err(Verdict::Unavailable) => refused += 1,
            Err(other) => panic!("an honest login: {other:?}"),
        }
        sleep(Duration::from_millis(500));
    }
    (answers, refused)
}

#[test]
fn combined_attacks_from_twenty_addresses_delay_no_other_client() {
    let configuration =
        format!("trusted_proxies = [\"{PROXY_ADDRESS}\"]\n{}", long_lifetimes_config());
    let installation = Installation::with_default_hash(Database::sqlite(), &configuration);
    let (mut server, _) = Server::spawn(serve_with_grpc(&installation));
    installation.add_user(USER, PASSWORD);
    installation.add_user(LOCKED_USER, PASSWORD);
    let held = server.log_in(Wire::Polish);
    let span = run_time(Duration::from_secs(5), Duration::from_secs(600));
    let (over, deeds, watch) =
        (AtomicBool::new(false), AttackCounts::default(), Stopwatch::start());
    let strangers = Attackers { server: &server, over: &over, counts: &deeds };
    let (mut most_descriptors, mut most_log, mut logged) = (0, 0, server.log.text().len());
    let goes_on = || !over.load(Ordering::Relaxed);
    let (checks, (logins, refused)) = thread::scope(|scope| {
        let end_all = StopOnDrop(&over);
        let checks = scope.spawn(|| run_good_client(&server, &held, goes_on));
        let logins = scope.spawn(|| honest_logins(&server, goes_on));
        (1..=ADDRESSES).for_each(|number| strangers.attack_from(scope, number));
        let mut minute = Stopwatch::start();
        while watch.elapsed() < span && !checks.is_finished() && !logins.is_finished() {
            sleep(Duration::from_millis(200));
            most_descriptors = most_descriptors.max(open_descriptors(&server));
            if minute.elapsed() >= Duration::from_secs(60) {
                let now = server.log.text().len();
                most_log = most_log.max(now - logged);
                (minute, logged) = (Stopwatch::start(), now);
            }
        }
        drop(end_all);
        (checks.join().unwrap(), logins.join().unwrap())
    });
    most_log = most_log.max(server.log.text().len() - logged);
    let (peak, limit) = (server.memory().1, descriptor_limit(&server));
    let [connections, guesses, requests] = [&deeds.connections, &deeds.logins, &deeds.requests]
        .map(|count| count.load(Ordering::Relaxed));
    eprintln!(
        "strangers: {:.0?}, {connections} connections, {requests} requests, {guesses} guesses from {ADDRESSES} addresses; checks meanwhile: {checks}; honest logins: {logins}, {refused} heard 503; {peak} KiB of memory, {most_descriptors} of {limit} descriptors, {} KiB logged in a minute at most",
        watch.elapsed(),
        most_log / 1024
    );
    assert!(server.is_running());
    assert!(
        connections > usize::from(ADDRESSES) * CONNECTIONS_PER_KIND && guesses > 0,
        "they came"
    );
    assert!(!checks.0.is_empty() && refused < logins.0.len(), "a good client was served");
    assert!(peak <= MAX_MEMORY_KIB, "{peak} KiB of {MAX_MEMORY_KIB}");
    assert!(most_descriptors < limit / 2, "{most_descriptors} of {limit} descriptors");
    assert!(most_log <= LOG_BYTES_PER_MINUTE, "{most_log} bytes of log in a minute");
    checks.assert_p99(Duration::from_secs(1));
    assert!(!is_long() || logins.percentile(100) <= Duration::from_secs(5), "{logins}");
    wait_for_login(&server, USER);
}

/// The soft limit, which the kernel enforces.
fn descriptor_limit(server: &Server) -> usize {
    let limits = fs::read_to_string(format!("/proc/{}/limits", server.pid())).unwrap();
    let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    line.split_whitespace().nth(3).unwrap().parse().unwrap()
}

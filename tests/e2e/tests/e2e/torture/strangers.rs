//! Strangers from twenty addresses do on all listeners at once whatever costs a server something: good clients hardly notice.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use super::crowd::{PREFACE, descriptors, serve};
use super::kill::lasting;
use super::pipelining::{pipeline, push};
use super::unfinished::{BODIES, head};
use super::{Answers, good_client, is_long, recovers, span};
use crate::harness::http::Connection;
use crate::harness::{
    Database, EndOnDrop, PASSWORD, Request, Server, Site, USER, Verdict, Watch, Wire, pace,
};

/// Addresses that strangers come from; each holds some forty connections.
const ADDRESSES: u8 = 20;
/// How many connections of a kind an address holds at once.
const EACH: usize = 4;
/// How long strangers hold what the server does not end.
const HOLD: Duration = Duration::from_secs(6);
/// Whose failures lock an account.
const LOCKED: &str = "locked";
/// Through which strangers come from addresses that are not this machine's, which are throttled.
const PROXY: &str = "127.0.3.1";
/// Kibibytes that the server may hold.
const MEMORY: u64 = 256 * 1024;
/// Bytes that it may log in a minute.
const LOG_BYTES_PER_MINUTE: usize = 1024 * 1024;

/// What strangers did.
#[derive(Default)]
struct Deeds {
    connections: AtomicUsize,
    logins: AtomicUsize,
    requests: AtomicUsize,
}

struct Strangers<'s> {
    server: &'s Server,
    over: &'s AtomicBool,
    deeds: &'s Deeds,
}

impl Strangers<'_> {
    fn goes_on(&self) -> bool {
        !self.over.load(Ordering::Relaxed)
    }

    /// Opens connections, says this on each and nothing more, and opens others once they have been held.
    fn hold(&self, source: IpAddr, address: SocketAddr, said: &[Vec<u8>]) {
        while self.goes_on() {
            let open = |bytes: &Vec<u8>| {
                let mut connection = Connection::open_from(source, address).ok()?;
                let _ended = connection.write(bytes);
                self.deeds.connections.fetch_add(1, Ordering::Relaxed);
                Some(connection)
            };
            let held: Vec<_> = said.iter().cycle().take(EACH.max(said.len())).map(open).collect();
            let watch = Watch::start();
            while self.goes_on() && watch.elapsed() < HOLD {
                pace(Duration::from_millis(100));
            }
            drop(held);
        }
    }

    /// Sends requests without reading an answer.
    fn pipelines(&self, source: IpAddr, address: SocketAddr) {
        let bytes = head("GET /nowhere", "Accept: */*").repeat(20_000).into_bytes();
        while self.goes_on() {
            let (mut stream, mut sent) = (pipeline(Some(source), address), 0);
            self.deeds.connections.fetch_add(1, Ordering::Relaxed);
            while self.goes_on() && push(&mut stream, &bytes, &mut sent) {
                pace(Duration::from_millis(100));
            }
        }
    }

    /// Sends requests of a kind one after the other, over connections of their own.
    fn floods(&self, source: IpAddr, request: impl Fn(usize) -> Request) {
        for number in 0.. {
            if !self.goes_on() {
                break;
            }
            let connection = Connection::open_from(source, self.server.dialects);
            let _answer = connection.and_then(|mut open| open.exchange(&request(number)));
            self.deeds.requests.fetch_add(1, Ordering::Relaxed);
            pace(Duration::from_millis(20));
        }
    }

    /// Wrong passwords of a name that gets locked, and of names that nobody has; with a forwarded address through the proxy.
    fn guesses(&self, source: IpAddr, forwarded: Option<&str>) {
        self.floods(source, |number| {
            let wire = Wire::ALL[number % Wire::ALL.len()];
            let name = if number.is_multiple_of(2) {
                LOCKED.to_owned()
            } else {
                format!("nobody{number}")
            };
            self.deeds.logins.fetch_add(1, Ordering::Relaxed);
            let request = wire.login(&name, "wrong");
            match forwarded {
                Some(address) => request.header("X-Forwarded-For", address),
                None => request,
            }
        });
    }

    /// All that one address does.
    fn come<'scope>(&'scope self, scope: &'scope thread::Scope<'scope, '_>, number: u8) {
        let source = IpAddr::V4(Ipv4Addr::new(127, 0, 2, number));
        let (dialects, admin) = (self.server.dialects, self.server.admin);
        let grpc = self.server.grpc.unwrap();
        for (address, line) in
            [(dialects, "POST /login"), (dialects, "POST /x"), (admin, "POST /x")]
        {
            let bodies = BODIES.map(|(header, body)| (head(line, header) + body).into_bytes());
            scope.spawn(move || self.hold(source, address, &bodies));
        }
        let whole = head("GET /nowhere", "Accept: */*").into_bytes();
        let slow = [Vec::new(), whole[..20].to_vec(), [&whole, &whole[..20]].concat(), whole];
        let (slow, slow_admin) = (slow.clone(), slow);
        scope.spawn(move || self.hold(source, dialects, &slow));
        scope.spawn(move || self.hold(source, admin, &slow_admin));
        let http2 = [&[], &PREFACE[..10], PREFACE, b"GET / HTTP/1.1\r\n"].map(<[u8]>::to_vec);
        scope.spawn(move || self.hold(source, grpc, &http2));
        scope.spawn(move || {
            self.pipelines(source, if number.is_multiple_of(2) { admin } else { dialects })
        });
        scope.spawn(move || self.guesses(source, None));
        scope.spawn(move || {
            self.guesses(PROXY.parse().unwrap(), Some(&format!("203.0.113.{number}")));
        });
        // What is written of requests that are nobody's.
        scope.spawn(move || {
            self.floods(source, |request| Request::get(&format!("/nowhere/{request}")));
        });
    }
}

/// Logs an honest user in now and then: how long the answers took, and how many were another than a session.
fn honest_logins(server: &Server, goes_on: impl Fn() -> bool) -> (Answers, usize) {
    let (mut answers, mut refused) = (Answers::default(), 0);
    while goes_on() {
        let watch = Watch::start();
        let wire = Wire::Polish;
        let answer =
            Connection::open(server.dialects).unwrap().exchange(&wire.login(USER, PASSWORD));
        answers.0.push(watch.elapsed());
        match wire.opened(USER, &answer.unwrap()) {
            Ok(_) => {}
            Err(Verdict::Away) => refused += 1,
            Err(other) => panic!("an honest login: {other:?}"),
        }
        pace(Duration::from_millis(500));
    }
    (answers, refused)
}

#[test]
fn strangers_hold_up_nobody() {
    let configuration = format!("trusted_proxies = [\"{PROXY}\"]\n{}", lasting());
    let site = Site::costly(Database::sqlite(), &configuration);
    let (mut server, _) = Server::spawn(serve(&site));
    site.add_user(USER, PASSWORD);
    site.add_user(LOCKED, PASSWORD);
    let held = server.log_in(Wire::Polish);
    let span = span(Duration::from_secs(5), Duration::from_secs(600));
    let (over, deeds, watch) = (AtomicBool::new(false), Deeds::default(), Watch::start());
    let strangers = Strangers { server: &server, over: &over, deeds: &deeds };
    let (mut most_descriptors, mut most_log, mut logged) = (0, 0, server.log.text().len());
    let goes_on = || !over.load(Ordering::Relaxed);
    let (checks, (logins, refused)) = thread::scope(|scope| {
        let end_all = EndOnDrop(&over);
        let checks = scope.spawn(|| good_client(&server, &held, goes_on));
        let logins = scope.spawn(|| honest_logins(&server, goes_on));
        (1..=ADDRESSES).for_each(|number| strangers.come(scope, number));
        let mut minute = Watch::start();
        while watch.elapsed() < span && !checks.is_finished() && !logins.is_finished() {
            pace(Duration::from_millis(200));
            most_descriptors = most_descriptors.max(descriptors(&server));
            if minute.elapsed() >= Duration::from_secs(60) {
                let now = server.log.text().len();
                most_log = most_log.max(now - logged);
                (minute, logged) = (Watch::start(), now);
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
    assert!(connections > usize::from(ADDRESSES) * EACH && guesses > 0, "they came");
    assert!(!checks.0.is_empty() && refused < logins.0.len(), "a good client was served");
    assert!(peak <= MEMORY, "{peak} KiB of {MEMORY}");
    assert!(most_descriptors < limit / 2, "{most_descriptors} of {limit} descriptors");
    assert!(most_log <= LOG_BYTES_PER_MINUTE, "{most_log} bytes of log in a minute");
    checks.assert_p99(Duration::from_secs(1));
    assert!(!is_long() || logins.percentile(100) <= Duration::from_secs(5), "{logins}");
    recovers(&server, USER);
}

/// The soft limit, which is what counts.
fn descriptor_limit(server: &Server) -> usize {
    let limits = fs::read_to_string(format!("/proc/{}/limits", server.pid())).unwrap();
    let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    line.split_whitespace().nth(3).unwrap().parse().unwrap()
}

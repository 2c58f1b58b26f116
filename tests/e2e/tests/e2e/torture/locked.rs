//! Brute force by one address at a locked name: others log in and renew, and the rate limit stops it before a hash.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use super::{ResponseTimes, is_long, repetitions};
use crate::harness::clock::wait_for;
use crate::harness::http::{Connection, exchange};
use crate::harness::{
    Database, Installation, PASSWORD, Request, Response, Server, StopOnDrop, Stopwatch, USER,
    Verdict, Wire,
};

/// More connections than one address gets places in the hashing queue.
const FLOODERS: usize = 48;
const TRUST_LOOPBACK: &str = "trusted_proxies = [\"127.0.0.0/8\"]\n";
/// The hash of the short form, slow even in an optimised build.
const MODERATE_HASH: &str = "[password]\nmemory_kib = 256\niterations = 1\n";
const HONEST_ADDRESS: &str = "203.0.113.7";
const FLOOD_ADDRESS: &str = "198.51.100.9";

fn forwarded_for(address: &str, request: Request) -> Request {
    request.header("X-Forwarded-For", address)
}

/// A server with a user `victim`, locked until after tomorrow.
fn start(installation: &Installation) -> Server {
    let server = installation.start_with_user();
    installation.add_user("victim", PASSWORD);
    server.send(&forwarded_for(FLOOD_ADDRESS, Wire::Polish.login_request("victim", "wrong")));
    installation.database.execute(
        "UPDATE login_attempts SET failures = 90, day = day + 1, until_at = until_at + 172800000",
    );
    server
}

fn installation_with_throttle(throttle: &str) -> Installation {
    let hash = if is_long() { "" } else { MODERATE_HASH };
    Installation::with_default_hash(
        Database::sqlite(),
        &format!("{TRUST_LOOPBACK}{throttle}{hash}"),
    )
}

/// Runs `act` while one address guesses at the locked name over many connections. Returns the number of answers to the
/// guesses, and the number of 503 answers among them.
fn under_flood<T>(server: &Server, act: impl FnOnce() -> T) -> (T, [usize; 2]) {
    let (over, answered, shed) = (AtomicBool::new(false), AtomicUsize::new(0), AtomicUsize::new(0));
    let flood = || {
        let mut connection = Connection::open(server.dialects).unwrap();
        while !over.load(Ordering::Relaxed) {
            let guess = forwarded_for(FLOOD_ADDRESS, Wire::Polish.login_request("victim", "wrong"));
            let answer = connection.exchange(&guess).unwrap();
            shed.fetch_add(usize::from(answer.status == 503), Ordering::Relaxed);
            answered.fetch_add(1, Ordering::Relaxed);
        }
    };
    let done = thread::scope(|scope| {
        let end_flood = StopOnDrop(&over);
        let flooders: Vec<_> = (0..FLOODERS).map(|_| scope.spawn(flood)).collect();
        // The flood is at work and fills its share of the queue.
        wait_for("the flood to fill its part of the queue", || {
            (shed.load(Ordering::Relaxed) > 0).then_some(())
        });
        let done = act();
        drop(end_flood);
        flooders.into_iter().for_each(|flooder| flooder.join().unwrap());
        done
    });
    (done, [answered.into_inner(), shed.into_inner()])
}

#[test]
fn a_login_flood_on_a_locked_account_does_not_affect_logins_and_renewals_of_others() {
    // The rate limit is effectively off: the hashing queue alone protects the others. The renewed session is the oldest
    // one, so the session limit is high.
    let installation = installation_with_throttle(
        "max_sessions_per_user = 100000\n[throttle]\nfailures_per_address = 100000000\nfailures_per_network = 100000000\n",
    );
    let server = start(&installation);
    let log_in = |wire: Wire| {
        let watch = Stopwatch::start();
        let answer = exchange(
            server.dialects,
            &forwarded_for(HONEST_ADDRESS, wire.login_request(USER, PASSWORD)),
        )
        .unwrap();
        (wire.parse_login(USER, &answer), watch.elapsed())
    };
    let axxon = log_in(Wire::Axxon).0.unwrap();
    let rounds = repetitions(60, 2000);
    let (mut logins, mut renewals) = (ResponseTimes::default(), ResponseTimes::default());
    let ((), [answered, shed]) = under_flood(&server, || {
        for number in 0..rounds {
            let wire = Wire::ALL[number % Wire::ALL.len()];
            let (opened, took) = log_in(wire);
            assert!(opened.is_ok(), "login {number} of {rounds}: {} {opened:?}", wire.name());
            logins.0.push(took);
            let watch = Stopwatch::start();
            let answer =
                exchange(server.dialects, &forwarded_for(HONEST_ADDRESS, axxon.renewal_request()))
                    .unwrap();
            assert_eq!(
                axxon.use_verdict(&answer),
                Verdict::Accepted,
                "renewal {number} of {rounds}"
            );
            renewals.0.push(watch.elapsed());
        }
    });
    eprintln!(
        "locked: {answered} guesses at a locked name from one address, {shed} of them heard 503; logins from elsewhere: {logins}; renewals: {renewals}"
    );
}

#[test]
fn an_address_that_floods_a_locked_account_is_rate_limited_before_hashing() {
    // By default an address may try 1000 logins on locked accounts, ten times as many as failures.
    let (throttle, bears) =
        if is_long() { ("", 1000) } else { ("[throttle]\nfailures_per_address = 10\n", 100) };
    let installation = installation_with_throttle(throttle);
    let server = start(&installation);
    let refused = |reason: &str| {
        server.metric(&format!(
            "parlance_refusals_total{{dialect=\"polish-longtoken\",action=\"login\",reason=\"{reason}\"}}"
        ))
    };
    let is_throttled = |answer: &Response| answer.status == 429;
    let ((), [answered, _]) = under_flood(&server, || {
        wait_for("the flood to be throttled", || (refused("throttled") > 0).then_some(()));
        // Other addresses behind the same proxy are not limited.
        let answer =
            server.send(&forwarded_for(HONEST_ADDRESS, Wire::Polish.login_request(USER, PASSWORD)));
        assert_eq!(answer.status, 200, "{}", answer.text());
    });
    let hashed = refused("locked");
    eprintln!(
        "locked: {answered} guesses at a locked name, {hashed} hashed before the address was throttled"
    );
    // Logins in progress when the limit is reached come on top, and the rate limit replenishes evenly.
    let slack = u64::try_from(FLOODERS).unwrap() + bears / 5;
    // Logins that time out in the hashing queue on a slow machine count for the rate limit without a hash.
    assert!((1..=bears + slack).contains(&hashed), "{hashed} hashed of {answered}");
    let answer =
        server.send(&forwarded_for(FLOOD_ADDRESS, Wire::Polish.login_request(USER, PASSWORD)));
    assert!(is_throttled(&answer), "{}", answer.text());
}

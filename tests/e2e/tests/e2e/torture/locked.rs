//! One address floods a name that is locked: everybody else logs in and renews meanwhile, and the address is throttled before a hash is spent.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use super::{Answers, is_long, times};
use crate::harness::clock::until;
use crate::harness::http::{Connection, exchange};
use crate::harness::{
    Database, EndOnDrop, PASSWORD, Request, Response, Server, Site, USER, Verdict, Watch, Wire,
};

/// More connections than one address gets places in the hashing queue.
const FLOODERS: usize = 48;
const TRUSTING: &str = "trusted_proxies = [\"127.0.0.0/8\"]\n";
/// The hash of the short form, which no optimisation makes fast.
const MODERATE: &str = "[password]\nmemory_kib = 256\niterations = 1\n";
const HOME: &str = "203.0.113.7";
const FLOODING: &str = "198.51.100.9";

fn from(address: &str, request: Request) -> Request {
    request.header("X-Forwarded-For", address)
}

/// A server whose user `victim` has to wait until after tomorrow.
fn start(site: &Site) -> Server {
    let server = site.start_with_user();
    site.add_user("victim", PASSWORD);
    server.send(&from(FLOODING, Wire::Polish.login("victim", "wrong")));
    site.database.run(
        "UPDATE login_attempts SET failures = 90, day = day + 1, until_at = until_at + 172800000",
    );
    server
}

fn site(throttle: &str) -> Site {
    let hash = if is_long() { "" } else { MODERATE };
    Site::costly(Database::sqlite(), &format!("{TRUSTING}{throttle}{hash}"))
}

/// Does something while one address guesses at the locked name over many connections, and says how many answers the guesses had, and how many
/// of those were 503.
fn under_flood<T>(server: &Server, act: impl FnOnce() -> T) -> (T, [usize; 2]) {
    let (over, answered, shed) = (AtomicBool::new(false), AtomicUsize::new(0), AtomicUsize::new(0));
    let flood = || {
        let mut connection = Connection::open(server.dialects).unwrap();
        while !over.load(Ordering::Relaxed) {
            let guess = from(FLOODING, Wire::Polish.login("victim", "wrong"));
            let answer = connection.exchange(&guess).unwrap();
            shed.fetch_add(usize::from(answer.status == 503), Ordering::Relaxed);
            answered.fetch_add(1, Ordering::Relaxed);
        }
    };
    let done = thread::scope(|scope| {
        let end_flood = EndOnDrop(&over);
        let flooders: Vec<_> = (0..FLOODERS).map(|_| scope.spawn(flood)).collect();
        // It is at work, and has all that it can get.
        until("the flood to fill its part of the queue", || {
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
fn a_flood_of_one_locked_name_leaves_logins_and_renewals_of_others_alone() {
    // What one address may try is without bound here: the queue alone keeps the others going. The session that is renewed is the oldest of
    // all that are opened.
    let site = site(
        "max_sessions_per_user = 100000\n[throttle]\nfailures_per_address = 100000000\nfailures_per_network = 100000000\n",
    );
    let server = start(&site);
    let log_in = |wire: Wire| {
        let watch = Watch::start();
        let answer = exchange(server.dialects, &from(HOME, wire.login(USER, PASSWORD))).unwrap();
        (wire.opened(USER, &answer), watch.elapsed())
    };
    let axxon = log_in(Wire::Axxon).0.unwrap();
    let rounds = times(60, 2000);
    let (mut logins, mut renewals) = (Answers::default(), Answers::default());
    let ((), [answered, shed]) = under_flood(&server, || {
        for number in 0..rounds {
            let wire = Wire::ALL[number % Wire::ALL.len()];
            let (opened, took) = log_in(wire);
            assert!(opened.is_ok(), "login {number} of {rounds}: {} {opened:?}", wire.name());
            logins.0.push(took);
            let watch = Watch::start();
            let answer = exchange(server.dialects, &from(HOME, axxon.renewal())).unwrap();
            assert_eq!(axxon.used(&answer), Verdict::Yes, "renewal {number} of {rounds}");
            renewals.0.push(watch.elapsed());
        }
    });
    eprintln!(
        "locked: {answered} guesses at a locked name from one address, {shed} of them heard 503; logins from elsewhere: {logins}; renewals: {renewals}"
    );
}

#[test]
fn an_address_that_floods_a_locked_name_is_throttled_before_a_hash_is_spent() {
    // As it comes, ten times as many as of failures: a thousand.
    let (throttle, bears) =
        if is_long() { ("", 1000) } else { ("[throttle]\nfailures_per_address = 10\n", 100) };
    let site = site(throttle);
    let server = start(&site);
    let refused = |reason: &str| {
        server.metric(&format!(
            "parlance_refusals_total{{dialect=\"polish-longtoken\",action=\"login\",reason=\"{reason}\"}}"
        ))
    };
    let is_throttled = |answer: &Response| answer.status == 429;
    let ((), [answered, _]) = under_flood(&server, || {
        until("the flood to be throttled", || (refused("throttled") > 0).then_some(()));
        // Others on the same machine are let alone.
        let answer = server.send(&from(HOME, Wire::Polish.login(USER, PASSWORD)));
        assert_eq!(answer.status, 200, "{}", answer.text());
    });
    let hashed = refused("locked");
    eprintln!(
        "locked: {answered} guesses at a locked name, {hashed} hashed before the address was throttled"
    );
    // Those that were on their way when the last was borne come on top; and one is forgiven now and then.
    let slack = u64::try_from(FLOODERS).unwrap() + bears / 5;
    // Those that waited too long on a slow machine were borne and not hashed.
    assert!((1..=bears + slack).contains(&hashed), "{hashed} hashed of {answered}");
    let answer = server.send(&from(FLOODING, Wire::Polish.login(USER, PASSWORD)));
    assert!(is_throttled(&answer), "{}", answer.text());
}

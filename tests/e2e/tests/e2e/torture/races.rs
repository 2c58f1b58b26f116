//! Two requests for one session or user at once: at most one winner, and no session outlives an acknowledged end.

use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use super::kill::long_lifetimes_config;
use super::repetitions;
use crate::harness::{
    Database, HeldSession, Installation, PASSWORD, Request, Response, Server, Stopwatch, Verdict,
    Wire, clock, on_both_databases,
};

on_both_databases!(races_have_one_winner_at_most);

/// How many pairs race in parallel.
const PARALLEL_PAIRS: usize = 4;

/// A race of one pair, with the server, the installation, the user and the round. Returns whether both requests were in
/// progress at once.
type Race = fn(&Server, &Installation, &str, usize) -> bool;

const RACES: [(&str, Race); 5] = [
    ("renewal and logout", renewal_and_logout),
    ("two logouts", two_logouts),
    ("login and disable", login_and_disable),
    ("kill and kill", kill_and_kill),
    ("possess and use", possess_and_use),
];

fn races_have_one_winner_at_most(database: Database) {
    let watch = Stopwatch::start();
    let kind = if matches!(database, Database::Sqlite(_)) { "SQLite" } else { "PostgreSQL" };
    // The long form makes thousands of refused logins, and of sessions of few users: no lock-out and no session limit
    // may interfere.
    let installation = Installation::with_config(
        database,
        &format!("{}[lockout]\nenabled = false\n", long_lifetimes_config()),
    );
    let server = installation.start();
    let users: Vec<_> = (0..PARALLEL_PAIRS).map(|lane| format!("racer{lane}")).collect();
    users.iter().for_each(|user| installation.add_user(user, PASSWORD));
    let rounds = repetitions(40, 2000) / PARALLEL_PAIRS;
    let mut said = Vec::new();
    for (name, race) in RACES {
        // Each disable starts a program, so the short form has fewer rounds.
        let rounds = if name.contains("disable") && !super::is_long() { 2 } else { rounds };
        let met = AtomicUsize::new(0);
        thread::scope(|scope| {
            for user in &users {
                let (server, installation, met) = (&server, &installation, &met);
                scope.spawn(move || {
                    for round in 0..rounds {
                        met.fetch_add(
                            usize::from(race(server, installation, user, round)),
                            Ordering::Relaxed,
                        );
                    }
                });
            }
        });
        said.push(format!("{name} {} ({} at once)", rounds * PARALLEL_PAIRS, met.into_inner()));
    }
    eprintln!(
        "races, {kind}: {}; one winner at most, 0 alive after their end; {:?} in all",
        said.join(", "),
        watch.elapsed()
    );
}

/// Sends two requests at nearly the same moment. Returns the answers, and whether both were in progress at once.
fn at_once(server: &Server, requests: [&Request; 2]) -> ([Response; 2], bool) {
    let (start, watch) = (Barrier::new(2), Stopwatch::start());
    let send = |request| {
        start.wait();
        let sent = watch.elapsed();
        (server.send(request), sent, watch.elapsed())
    };
    thread::scope(|scope| {
        let other = scope.spawn(|| send(requests[1]));
        let (first, first_sent, first_back) = send(requests[0]);
        let (second, second_sent, second_back) = other.join().unwrap();
        ([first, second], first_sent < second_back && second_sent < first_back)
    })
}

fn wire(round: usize) -> Wire {
    Wire::ALL[round % Wire::ALL.len()]
}

/// Logs in, and repeats after 503: a machine that stalls for seconds sheds load.
fn log_in(server: &Server, wire: Wire, user: &str) -> HeldSession {
    clock::wait_for("a login", || {
        wire.parse_login(user, &server.send(&wire.login_request(user, PASSWORD))).ok()
    })
}

/// The verdict of a use, repeated after 503.
fn check(server: &Server, held: &HeldSession) -> Verdict {
    clock::wait_for("an answer to a use", || {
        Some(server.use_session(held)).filter(|told| *told != Verdict::Unavailable)
    })
}

/// Whether either answer is 503: then the outcome is unknown.
fn is_undecided(answers: &[Response; 2]) -> bool {
    answers.iter().any(|answer| answer.status == 503)
}

#[track_caller]
fn check_dead(server: &Server, held: &HeldSession, why: &str) {
    assert_eq!(check(server, held), Verdict::Refused, "{} {why}", held.wire.name());
}

fn renewal_and_logout(server: &Server, _: &Installation, user: &str, round: usize) -> bool {
    let held = log_in(server, wire(round), user);
    let (answers, met) = at_once(server, [&held.renewal_request(), &held.logout_request()]);
    if is_undecided(&answers) {
        return false;
    }
    let [renewal, logout] = answers;
    assert_eq!(
        held.logout_verdict(&logout),
        Verdict::Accepted,
        "{}: the session was alive",
        held.wire.name()
    );
    match held.parse_renewal(&renewal) {
        Ok(newer) => check_dead(server, &newer, "renewed while it was ended"),
        Err(verdict) => assert_eq!(verdict, Verdict::Refused, "{}", held.wire.name()),
    }
    check_dead(server, &held, "ended while it was renewed");
    met
}

fn two_logouts(server: &Server, _: &Installation, user: &str, round: usize) -> bool {
    let held = log_in(server, wire(round), user);
    let (answers, met) = at_once(server, [&held.logout_request(), &held.logout_request()]);
    if is_undecided(&answers) {
        return false;
    }
    let mut left = answers.each_ref().map(|answer| held.logout_verdict(answer));
    left.sort_by_key(|verdict| *verdict != Verdict::Accepted);
    assert_eq!(
        left,
        [Verdict::Accepted, Verdict::Refused],
        "{}: one of two ends it",
        held.wire.name()
    );
    check_dead(server, &held, "ended twice");
    met
}

fn login_and_disable(
    server: &Server,
    installation: &Installation,
    user: &str,
    round: usize,
) -> bool {
    let disabled = AtomicBool::new(false);
    let wire = wire(round);
    let (opened, refused) = thread::scope(|scope| {
        let logins = scope.spawn(|| {
            let (mut opened, mut refused) = (Vec::new(), 0);
            // One more login after the end of the command.
            loop {
                let is_last = disabled.load(Ordering::SeqCst);
                match wire.parse_login(user, &server.send(&wire.login_request(user, PASSWORD))) {
                    Ok(held) if is_last => {
                        panic!("{} let a disabled user in: {held:?}", wire.name())
                    }
                    Ok(held) => opened.push(held),
                    Err(Verdict::Refused) => refused += 1,
                    Err(Verdict::Unavailable) => continue,
                    Err(other @ (Verdict::Accepted | Verdict::Unexpected(_))) => {
                        panic!("{}: {other:?}", wire.name())
                    }
                }
                if is_last {
                    return (opened, refused);
                }
            }
        });
        installation.run_ok(&["user", "disable", user]);
        disabled.store(true, Ordering::SeqCst);
        logins.join().unwrap()
    });
    // The newest sessions suffice; thousands of older ones would show the same.
    for held in opened.iter().rev().take(20) {
        check_dead(server, held, "opened while its user was disabled");
    }
    installation.run_ok(&["user", "enable", user]);
    for held in opened.iter().rev().take(5) {
        check_dead(server, held, "revived by enabling its user");
    }
    !opened.is_empty() && refused > 0
}

/// A login on the 1010 wire, with the fate of another session in `kill`.
fn login_with_kill(user: &str, kill: &str) -> Request {
    Request::post("/beta-latest/api/!login").form(&[
        ("uid", user),
        ("pw", PASSWORD),
        ("kill", kill),
    ])
}

#[track_caller]
fn opened(user: &str, answer: &Response) -> HeldSession {
    Wire::Cookie.parse_login(user, answer).unwrap_or_else(|verdict| panic!("{verdict:?}"))
}

fn kill_and_kill(server: &Server, _: &Installation, user: &str, _: usize) -> bool {
    let before = log_in(server, Wire::Cookie, user);
    let (answers, met) =
        at_once(server, [&login_with_kill(user, "yes"), &login_with_kill(user, "yes")]);
    if is_undecided(&answers) {
        return false;
    }
    let lives = |answer: &&Response| check(server, &opened(user, answer)) == Verdict::Accepted;
    let alive = answers.iter().filter(lives).count();
    assert_eq!(alive, 1, "of two that kill each other");
    check_dead(server, &before, "killed twice");
    met
}

fn possess_and_use(server: &Server, _: &Installation, user: &str, _: usize) -> bool {
    let before = log_in(server, Wire::Cookie, user);
    let (answers, met) =
        at_once(server, [&login_with_kill(user, "possess"), &before.use_request()]);
    if is_undecided(&answers) {
        return false;
    }
    let [login, used] = answers;
    assert!(matches!(before.use_verdict(&used), Verdict::Accepted | Verdict::Refused), "{used:?}");
    check_dead(server, &before, "possessed while it was used");
    assert_eq!(check(server, &opened(user, &login)), Verdict::Accepted, "who possesses, uses");
    met
}

//! Two requests about one session or user at once: one winner at most, and nothing lives after an acknowledged end.

use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use super::kill::lasting;
use super::times;
use crate::harness::{
    Database, Held, PASSWORD, Request, Response, Server, Site, Verdict, Watch, Wire, clock,
    on_both_databases,
};

on_both_databases!(races_have_one_winner_at_most);

/// How many pairs race side by side.
const LANES: usize = 4;

/// A race of one pair: the server, the site, who, and which round. Whether the two were under way at once.
type Race = fn(&Server, &Site, &str, usize) -> bool;

const RACES: [(&str, Race); 5] = [
    ("renewal and logout", renewal_and_logout),
    ("two logouts", two_logouts),
    ("login and disable", login_and_disable),
    ("kill and kill", kill_and_kill),
    ("possess and use", possess_and_use),
];

fn races_have_one_winner_at_most(database: Database) {
    let watch = Watch::start();
    let kind = if matches!(database, Database::Sqlite(_)) { "SQLite" } else { "PostgreSQL" };
    // Thousands of refused logins and of sessions of few users are what the long form is made of.
    let site = Site::with(database, &format!("{}[lockout]\nenabled = false\n", lasting()));
    let server = site.start();
    let users: Vec<_> = (0..LANES).map(|lane| format!("racer{lane}")).collect();
    users.iter().for_each(|user| site.add_user(user, PASSWORD));
    let rounds = times(40, 2000) / LANES;
    let mut said = Vec::new();
    for (name, race) in RACES {
        // Each of these disables is a program that starts.
        let rounds = if name.contains("disable") && !super::is_long() { 2 } else { rounds };
        let met = AtomicUsize::new(0);
        thread::scope(|scope| {
            for user in &users {
                let (server, site, met) = (&server, &site, &met);
                scope.spawn(move || {
                    for round in 0..rounds {
                        met.fetch_add(
                            usize::from(race(server, site, user, round)),
                            Ordering::Relaxed,
                        );
                    }
                });
            }
        });
        said.push(format!("{name} {} ({} at once)", rounds * LANES, met.into_inner()));
    }
    eprintln!(
        "races, {kind}: {}; one winner at most, 0 alive after their end; {:?} in all",
        said.join(", "),
        watch.elapsed()
    );
}

/// Sends two requests as near to the same moment as can be. The answers, and whether each was sent before the other was answered.
fn at_once(server: &Server, requests: [&Request; 2]) -> ([Response; 2], bool) {
    let (start, watch) = (Barrier::new(2), Watch::start());
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

/// Logs in; a machine that has stalled for seconds says 503 meanwhile.
fn log_in(server: &Server, wire: Wire, user: &str) -> Held {
    clock::until("a login", || wire.opened(user, &server.send(&wire.login(user, PASSWORD))).ok())
}

/// What a use hears, 503 apart.
fn check(server: &Server, held: &Held) -> Verdict {
    clock::until("an answer to a use", || {
        Some(server.check(held)).filter(|told| *told != Verdict::Away)
    })
}

/// Whether either heard 503: then nothing is known.
fn is_void(answers: &[Response; 2]) -> bool {
    answers.iter().any(|answer| answer.status == 503)
}

#[track_caller]
fn is_dead(server: &Server, held: &Held, why: &str) {
    assert_eq!(check(server, held), Verdict::No, "{} {why}", held.wire.name());
}

fn renewal_and_logout(server: &Server, _: &Site, user: &str, round: usize) -> bool {
    let held = log_in(server, wire(round), user);
    let (answers, met) = at_once(server, [&held.renewal(), &held.logout()]);
    if is_void(&answers) {
        return false;
    }
    let [renewal, logout] = answers;
    assert_eq!(held.left(&logout), Verdict::Yes, "{}: the session was alive", held.wire.name());
    match held.renewed(&renewal) {
        Ok(newer) => is_dead(server, &newer, "renewed while it was ended"),
        Err(verdict) => assert_eq!(verdict, Verdict::No, "{}", held.wire.name()),
    }
    is_dead(server, &held, "ended while it was renewed");
    met
}

fn two_logouts(server: &Server, _: &Site, user: &str, round: usize) -> bool {
    let held = log_in(server, wire(round), user);
    let (answers, met) = at_once(server, [&held.logout(), &held.logout()]);
    if is_void(&answers) {
        return false;
    }
    let mut left = answers.each_ref().map(|answer| held.left(answer));
    left.sort_by_key(|verdict| *verdict != Verdict::Yes);
    assert_eq!(left, [Verdict::Yes, Verdict::No], "{}: one of two ends it", held.wire.name());
    is_dead(server, &held, "ended twice");
    met
}

fn login_and_disable(server: &Server, site: &Site, user: &str, round: usize) -> bool {
    let disabled = AtomicBool::new(false);
    let wire = wire(round);
    let (opened, refused) = thread::scope(|scope| {
        let logins = scope.spawn(|| {
            let (mut opened, mut refused) = (Vec::new(), 0);
            // One more after the command has said that it is done.
            loop {
                let is_last = disabled.load(Ordering::SeqCst);
                match wire.opened(user, &server.send(&wire.login(user, PASSWORD))) {
                    Ok(held) if is_last => {
                        panic!("{} let a disabled user in: {held:?}", wire.name())
                    }
                    Ok(held) => opened.push(held),
                    Err(Verdict::No) => refused += 1,
                    Err(Verdict::Away) => continue,
                    Err(other @ (Verdict::Yes | Verdict::Odd(_))) => {
                        panic!("{}: {other:?}", wire.name())
                    }
                }
                if is_last {
                    return (opened, refused);
                }
            }
        });
        site.must(&["user", "disable", user]);
        disabled.store(true, Ordering::SeqCst);
        logins.join().unwrap()
    });
    // All but the newest of thousands would tell the same.
    for held in opened.iter().rev().take(20) {
        is_dead(server, held, "opened while its user was disabled");
    }
    site.must(&["user", "enable", user]);
    for held in opened.iter().rev().take(5) {
        is_dead(server, held, "revived by enabling its user");
    }
    !opened.is_empty() && refused > 0
}

/// A login on the 1010 wire that says what is to become of another session.
fn enter(user: &str, kill: &str) -> Request {
    Request::post("/beta-latest/api/!login").form(&[
        ("uid", user),
        ("pw", PASSWORD),
        ("kill", kill),
    ])
}

#[track_caller]
fn opened(user: &str, answer: &Response) -> Held {
    Wire::Cookie.opened(user, answer).unwrap_or_else(|verdict| panic!("{verdict:?}"))
}

fn kill_and_kill(server: &Server, _: &Site, user: &str, _: usize) -> bool {
    let before = log_in(server, Wire::Cookie, user);
    let (answers, met) = at_once(server, [&enter(user, "yes"), &enter(user, "yes")]);
    if is_void(&answers) {
        return false;
    }
    let lives = |answer: &&Response| check(server, &opened(user, answer)) == Verdict::Yes;
    let alive = answers.iter().filter(lives).count();
    assert_eq!(alive, 1, "of two that kill each other");
    is_dead(server, &before, "killed twice");
    met
}

fn possess_and_use(server: &Server, _: &Site, user: &str, _: usize) -> bool {
    let before = log_in(server, Wire::Cookie, user);
    let (answers, met) = at_once(server, [&enter(user, "possess"), &before.using()]);
    if is_void(&answers) {
        return false;
    }
    let [login, used] = answers;
    assert!(matches!(before.used(&used), Verdict::Yes | Verdict::No), "{used:?}");
    is_dead(server, &before, "possessed while it was used");
    assert_eq!(check(server, &opened(user, &login)), Verdict::Yes, "who possesses, uses");
    met
}

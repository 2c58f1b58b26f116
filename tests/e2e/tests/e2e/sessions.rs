//! How many sessions there may be, and what becomes of the dead.

use std::time::Duration;

use crate::harness::clock::{pace, until};
use crate::harness::{Database, PASSWORD, Site, USER, Verdict, Wire, on_both_databases};

on_both_databases!(
    a_login_beyond_the_cap_ends_the_oldest_session_of_whatever_dialect,
    what_died_long_ago_is_dropped_and_nothing_else,
);

fn a_login_beyond_the_cap_ends_the_oldest_session_of_whatever_dialect(database: Database) {
    let site = Site::with(database, "max_sessions_per_user = 5");
    let server = site.start_with_user();
    site.add_user("other", PASSWORD);
    let other = server.login(Wire::Polish, "other", PASSWORD);
    let rows = || site.database.run("SELECT count(*) FROM sessions");
    // No two in one millisecond: the oldest is the oldest by the clock.
    let log_in = |wire| {
        pace(Duration::from_millis(2));
        server.log_in(wire)
    };
    let mut held: Vec<_> = Wire::ALL.into_iter().map(log_in).collect();
    assert_eq!(rows(), "6");
    for number in 0..5 {
        // The possessing login of 1010-cookie would open nothing.
        held.push(log_in(Wire::ALL[number % 3]));
        let pushed_out = held.remove(0);
        server.expect(&[pushed_out], &Verdict::No, "pushed out");
        server.expect(&held, &Verdict::Yes, "within the cap");
    }
    // A session that has ended makes room: nothing that lives is pushed out.
    assert_eq!(server.log_out(&held.remove(2)), Verdict::Yes);
    held.push(server.log_in(Wire::Axxon));
    server.expect(&held, &Verdict::Yes, "in the room that was made");
    server.expect(&[other], &Verdict::Yes, "of another user");
    assert_eq!(rows(), "6");
}

fn what_died_long_ago_is_dropped_and_nothing_else(database: Database) {
    let site = Site::new(database);
    let server = site.start_with_user();
    let held = server.log_in(Wire::Flask);
    for _ in 0..3 {
        server.log_in(Wire::Polish);
    }
    server.kill();
    let long_ago =
        "UPDATE sessions SET expires_at = created_at - 7200000 WHERE dialect = 'polish-longtoken'";
    site.database.run(long_ago);
    // Once at the start, and every minute then.
    let server = site.start();
    let rows = || site.database.run("SELECT count(*) FROM sessions");
    until("the dead to be dropped", || (rows() == "1").then_some(()));
    server.expect(&[held], &Verdict::Yes, "among the dead");
    assert_eq!(server.refusal(Wire::Flask, USER, "wrong"), Verdict::No);
}

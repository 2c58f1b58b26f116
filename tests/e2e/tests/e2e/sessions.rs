//! The session limit, and the purge of dead sessions.

use std::time::Duration;

use crate::harness::clock::{sleep, wait_for};
use crate::harness::{Database, Installation, PASSWORD, USER, Verdict, Wire, on_both_databases};

on_both_databases!(
    a_login_beyond_the_session_limit_ends_the_oldest_session_of_any_dialect,
    only_sessions_that_expired_long_ago_are_purged,
);

fn a_login_beyond_the_session_limit_ends_the_oldest_session_of_any_dialect(database: Database) {
    let installation = Installation::with_config(database, "max_sessions_per_user = 5");
    let server = installation.start_with_user();
    installation.add_user("other", PASSWORD);
    let other = server.log_in_as(Wire::Polish, "other", PASSWORD);
    let rows = || installation.database.execute("SELECT count(*) FROM sessions");
    // No two logins share a millisecond: the oldest session is the oldest by the clock.
    let log_in = |wire| {
        sleep(Duration::from_millis(2));
        server.log_in(wire)
    };
    let mut held: Vec<_> = Wire::ALL.into_iter().map(log_in).collect();
    assert_eq!(rows(), "6");
    for number in 0..5 {
        // Leaves out 1010-cookie: a `possess` login there opens no session.
        held.push(log_in(Wire::ALL[number % 3]));
        let pushed_out = held.remove(0);
        server.expect_each_use(&[pushed_out], &Verdict::Refused, "pushed out");
        server.expect_each_use(&held, &Verdict::Accepted, "within the cap");
    }
    // A logout makes room: the next login pushes out no live session.
    assert_eq!(server.log_out(&held.remove(2)), Verdict::Accepted);
    held.push(server.log_in(Wire::Axxon));
    server.expect_each_use(&held, &Verdict::Accepted, "in the room that was made");
    server.expect_each_use(&[other], &Verdict::Accepted, "of another user");
    assert_eq!(rows(), "6");
}

fn only_sessions_that_expired_long_ago_are_purged(database: Database) {
    let installation = Installation::new(database);
    let server = installation.start_with_user();
    let held = server.log_in(Wire::Flask);
    for _ in 0..3 {
        server.log_in(Wire::Polish);
    }
    server.kill();
    let long_ago =
        "UPDATE sessions SET expires_at = created_at - 7200000 WHERE dialect = 'polish-longtoken'";
    installation.database.execute(long_ago);
    // The purge runs at the start and then every minute.
    let server = installation.start();
    let rows = || installation.database.execute("SELECT count(*) FROM sessions");
    wait_for("the dead to be dropped", || (rows() == "1").then_some(()));
    server.expect_each_use(&[held], &Verdict::Accepted, "among the dead");
    assert_eq!(server.refused_login(Wire::Flask, USER, "wrong"), Verdict::Refused);
}

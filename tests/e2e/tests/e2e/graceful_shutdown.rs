//! Graceful shutdown.

use std::time::Duration;

use crate::harness::clock::unix_time;
use crate::harness::http::Connection;
use crate::harness::{
    Database, Installation, PASSWORD, Stopwatch, USER, Verdict, Wire, on_both_databases, sleep,
};
use crate::operator::seconds;

on_both_databases!(
    requests_in_flight_are_completed_by_a_graceful_shutdown,
    a_use_just_before_the_shutdown_is_written,
    an_idle_connection_does_not_delay_the_shutdown,
    a_second_signal_ends_the_program_at_once,
    a_node_with_a_drain_delay_is_not_ready_and_keeps_serving,
);

fn requests_in_flight_are_completed_by_a_graceful_shutdown(database: Database) {
    let installation = Installation::new(database);
    let mut server = installation.start_with_user();
    let under_way = Wire::ALL.map(|wire| {
        let mut request = wire.login_request(USER, PASSWORD);
        if request.body.is_empty() {
            request.body = b"  ".to_vec();
        }
        let mut bytes = request.bytes(false);
        let last = bytes.pop().unwrap();
        let mut connection = Connection::open(server.dialects).unwrap();
        connection.write(&bytes).unwrap();
        (wire, connection, last)
    });
    // An answer on a later connection shows that the earlier connections have been accepted.
    server.log_in(Wire::Polish);
    let watch = Stopwatch::start();
    server.signal("TERM");
    server.log.wait_for_line("stopping").expect("it says that it stops");
    let opened = under_way.map(|(wire, mut connection, last)| {
        connection.write(&[last]).unwrap();
        let answer = connection
            .read(false)
            .unwrap_or_else(|error| panic!("{} has no answer: {error}", wire.name()));
        wire.parse_login(USER, &answer)
            .unwrap_or_else(|verdict| panic!("{}: {verdict:?}", wire.name()))
    });
    let status = server.wait_for_exit();
    let took = watch.elapsed();
    assert_eq!(status.code(), Some(0), "{}", server.log.text());
    assert!(took < Duration::from_secs(30), "it took {took:?}");
    assert!(server.log.wait_for_end().contains("stopped"));

    let server = installation.start();
    server.expect_each_use(&opened, &Verdict::Accepted, "opened while the program was stopping");
}

fn a_use_just_before_the_shutdown_is_written(database: Database) {
    let installation = Installation::new(database);
    let mut server = installation.start_with_user();
    let sliding = [Wire::Cluster, Wire::Cookie].map(|wire| server.log_in(wire));
    // Uses the sessions for more than a second, so that a use is pending (write-behind) at the end, and the last use
    // falls into a second of its own.
    let start = unix_time().as_secs();
    let mut last = 0;
    while last < start + 2 {
        server.expect_each_use(&sliding, &Verdict::Accepted, "in use");
        last = unix_time().as_secs();
        sleep(Duration::from_millis(10));
    }
    server.expect_each_use(&sliding, &Verdict::Accepted, "in use");
    server.signal("TERM");
    assert_eq!(server.wait_for_exit().code(), Some(0), "{}", server.log.text());
    for (session, life) in installation
        .sessions()
        .iter()
        .map(|session| (session, if session["dialect"] == "cluster-api" { 600 } else { 3600 }))
    {
        let at = |key: &str| {
            seconds(session[key].as_str().unwrap_or_else(|| panic!("no {key} in {session}")))
        };
        assert!(at("last_used") >= last, "a use at {last} is forgotten: {session}");
        assert_eq!(at("expires"), at("last_used") + life, "{session}");
    }
    let server = installation.start();
    server.expect_each_use(&sliding, &Verdict::Accepted, "after the restart");
}

fn an_idle_connection_does_not_delay_the_shutdown(database: Database) {
    let installation = Installation::new(database);
    let mut server = installation.start_with_user();
    let mut idle = Connection::open(server.dialects).unwrap();
    idle.exchange(&Wire::Polish.login_request(USER, PASSWORD)).unwrap();
    let _silent = Connection::open(server.dialects).unwrap();
    let watch = Stopwatch::start();
    server.signal("INT");
    assert_eq!(server.wait_for_exit().code(), Some(0), "{}", server.log.text());
    let took = watch.elapsed();
    assert!(took < Duration::from_secs(30), "it took {took:?}");
}

fn a_second_signal_ends_the_program_at_once(database: Database) {
    let installation = Installation::new(database);
    let mut server = installation.start_with_user();
    let held = server.log_in(Wire::Polish);
    let mut bytes = Wire::Polish.login_request(USER, PASSWORD).bytes(false);
    bytes.pop();
    let mut unfinished = Connection::open(server.dialects).unwrap();
    unfinished.write(&bytes).unwrap();
    server.expect_each_use(
        std::slice::from_ref(&held),
        &Verdict::Accepted,
        "the other connection has been taken in by now",
    );
    let watch = Stopwatch::start();
    server.signal("TERM");
    server.log.wait_for_line("stopping").expect("it says that it stops");
    server.signal("TERM");
    assert_eq!(server.wait_for_exit().code(), Some(0), "{}", server.log.text());
    let took = watch.elapsed();
    assert!(took < Duration::from_secs(5), "it waited {took:?} for a request that never ends");
    assert!(unfinished.read(false).is_err());
    installation.start().expect_each_use(
        &[held],
        &Verdict::Accepted,
        "what was acknowledged is kept",
    );
}

fn a_node_with_a_drain_delay_is_not_ready_and_keeps_serving(database: Database) {
    let installation = Installation::with_config(database, "drain_delay = \"60s\"\n");
    let mut server = installation.start_with_user();
    let held = server.log_in_everywhere();
    assert_eq!(server.get_admin("/readyz").status, 200);
    server.signal("TERM");
    server.log.wait_for_line("stopping").expect("it says that it stops");
    let ready = server.get_admin("/readyz");
    assert_eq!((ready.status, ready.text()), (503, "stopping\n".to_owned()));
    assert_eq!(server.get_admin("/healthz").status, 200);
    server.expect_each_use(&held, &Verdict::Accepted, "while it waits for the proxy to notice");
    server.log_in_everywhere();
    let watch = Stopwatch::start();
    server.signal("TERM");
    assert_eq!(server.wait_for_exit().code(), Some(0), "{}", server.log.text());
    assert!(watch.elapsed() < Duration::from_secs(30), "it waited for its delay");
}

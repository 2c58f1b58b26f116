//! The program is asked to stop.

use std::time::Duration;

use crate::harness::clock::unix_time;
use crate::harness::http::Connection;
use crate::harness::{
    Database, PASSWORD, Site, USER, Verdict, Watch, Wire, on_both_databases, pace,
};
use crate::operator::seconds;

on_both_databases!(
    requests_under_way_are_finished_and_the_program_ends_well,
    a_use_just_before_the_end_is_remembered,
    an_idle_connection_does_not_hold_it_up,
    a_second_signal_waits_for_nobody,
    a_node_that_may_take_its_time_says_so_and_serves_on,
);

fn requests_under_way_are_finished_and_the_program_ends_well(database: Database) {
    let site = Site::new(database);
    let mut server = site.start_with_user();
    let under_way = Wire::ALL.map(|wire| {
        let mut request = wire.login(USER, PASSWORD);
        if request.body.is_empty() {
            request.body = b"  ".to_vec();
        }
        let mut bytes = request.bytes(false);
        let last = bytes.pop().unwrap();
        let mut connection = Connection::open(server.dialects).unwrap();
        connection.write(&bytes).unwrap();
        (wire, connection, last)
    });
    // An answer on a connection opened later: the others have been taken in by now.
    server.log_in(Wire::Polish);
    let watch = Watch::start();
    server.signal("TERM");
    server.log.line_with("stopping").expect("it says that it stops");
    let opened = under_way.map(|(wire, mut connection, last)| {
        connection.write(&[last]).unwrap();
        let answer = connection
            .read(false)
            .unwrap_or_else(|error| panic!("{} has no answer: {error}", wire.name()));
        wire.opened(USER, &answer).unwrap_or_else(|verdict| panic!("{}: {verdict:?}", wire.name()))
    });
    let status = server.ended();
    let took = watch.elapsed();
    assert_eq!(status.code(), Some(0), "{}", server.log.text());
    assert!(took < Duration::from_secs(30), "it took {took:?}");
    assert!(server.log.whole().contains("stopped"));

    let server = site.start();
    server.expect(&opened, &Verdict::Yes, "opened while the program was stopping");
}

fn a_use_just_before_the_end_is_remembered(database: Database) {
    let site = Site::new(database);
    let mut server = site.start_with_user();
    let sliding = [Wire::Cluster, Wire::Cookie].map(|wire| server.log_in(wire));
    // Used again and again over more than a second, so that a use is pending at the end, and the last one in a second of its own.
    let start = unix_time().as_secs();
    let mut last = 0;
    while last < start + 2 {
        server.expect(&sliding, &Verdict::Yes, "in use");
        last = unix_time().as_secs();
        pace(Duration::from_millis(10));
    }
    server.expect(&sliding, &Verdict::Yes, "in use");
    server.signal("TERM");
    assert_eq!(server.ended().code(), Some(0), "{}", server.log.text());
    for (session, life) in site
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
    let server = site.start();
    server.expect(&sliding, &Verdict::Yes, "after the restart");
}

fn an_idle_connection_does_not_hold_it_up(database: Database) {
    let site = Site::new(database);
    let mut server = site.start_with_user();
    let mut idle = Connection::open(server.dialects).unwrap();
    idle.exchange(&Wire::Polish.login(USER, PASSWORD)).unwrap();
    let _silent = Connection::open(server.dialects).unwrap();
    let watch = Watch::start();
    server.signal("INT");
    assert_eq!(server.ended().code(), Some(0), "{}", server.log.text());
    let took = watch.elapsed();
    assert!(took < Duration::from_secs(30), "it took {took:?}");
}

fn a_second_signal_waits_for_nobody(database: Database) {
    let site = Site::new(database);
    let mut server = site.start_with_user();
    let held = server.log_in(Wire::Polish);
    let mut bytes = Wire::Polish.login(USER, PASSWORD).bytes(false);
    bytes.pop();
    let mut unfinished = Connection::open(server.dialects).unwrap();
    unfinished.write(&bytes).unwrap();
    server.expect(
        std::slice::from_ref(&held),
        &Verdict::Yes,
        "the other connection has been taken in by now",
    );
    let watch = Watch::start();
    server.signal("TERM");
    server.log.line_with("stopping").expect("it says that it stops");
    server.signal("TERM");
    assert_eq!(server.ended().code(), Some(0), "{}", server.log.text());
    let took = watch.elapsed();
    assert!(took < Duration::from_secs(5), "it waited {took:?} for a request that never ends");
    assert!(unfinished.read(false).is_err());
    site.start().expect(&[held], &Verdict::Yes, "what was acknowledged is kept");
}

fn a_node_that_may_take_its_time_says_so_and_serves_on(database: Database) {
    let site = Site::with(database, "stop_delay = \"60s\"\n");
    let mut server = site.start_with_user();
    let held = server.log_in_everywhere();
    assert_eq!(server.admin("/readyz").status, 200);
    server.signal("TERM");
    server.log.line_with("stopping").expect("it says that it stops");
    let ready = server.admin("/readyz");
    assert_eq!((ready.status, ready.text()), (503, "stopping\n".to_owned()));
    assert_eq!(server.admin("/healthz").status, 200);
    server.expect(&held, &Verdict::Yes, "while it waits for the proxy to notice");
    server.log_in_everywhere();
    let watch = Watch::start();
    server.signal("TERM");
    assert_eq!(server.ended().code(), Some(0), "{}", server.log.text());
    assert!(watch.elapsed() < Duration::from_secs(30), "it waited for its delay");
}

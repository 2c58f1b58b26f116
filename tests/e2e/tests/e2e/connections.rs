//! How many connections an address may hold.

use std::net::IpAddr;

use crate::harness::clock::until;
use crate::harness::http::Connection;
use crate::harness::{Database, Held, PASSWORD, Server, Site, USER, Verdict, Wire};

const NEAR: &str = "127.0.0.1";
const FAR: &str = "127.0.0.2";

/// A connection that was let in: it answers.
fn open(server: &Server, held: &Held, from: &str) -> Option<Connection> {
    let source: IpAddr = from.parse().unwrap();
    let mut connection = Connection::open_from(source, server.dialects).ok()?;
    let answer = connection.exchange(&held.using()).ok()?;
    assert_eq!(held.used(&answer), Verdict::Yes);
    Some(connection)
}

/// Of these connections, kept open one after the other, so many are let in, and the others are counted.
#[track_caller]
fn check(configuration: &str, from: &[&str], let_in: usize) {
    let site = Site::with(Database::sqlite(), configuration);
    let server = site.start_with_user();
    // From elsewhere: that connection is counted until the server has seen that it is closed.
    let wire = Wire::Polish;
    let mut other = Connection::open_from("127.0.0.9".parse().unwrap(), server.dialects).unwrap();
    let held = wire.opened(USER, &other.exchange(&wire.login(USER, PASSWORD)).unwrap()).unwrap();
    let refused = || server.metric("parlance_connections_refused_total");
    let open: Vec<_> = from.iter().filter_map(|address| open(&server, &held, address)).collect();
    let turned_away = u64::try_from(from.len() - let_in).unwrap();
    assert_eq!((open.len(), refused()), (let_in, turned_away), "{configuration}");
    drop(open);
    until("room to be made again", || self::open(&server, &held, from[0]));
}

#[test]
fn an_address_holds_as_many_connections_as_it_may_and_a_trusted_proxy_any_number() {
    let three = "max_connections_per_address = 3\n";
    check(three, &[NEAR, NEAR, NEAR, NEAR, NEAR], 3);
    check(three, &[NEAR, NEAR, NEAR, FAR, NEAR, FAR], 5);
    check(&format!("{three}trusted_proxies = [\"127.0.0.0/31\"]\n"), &[NEAR; 5], 5);
    check(&format!("{three}trusted_proxies = [\"127.0.0.2\"]\n"), &[NEAR; 5], 3);
    check("", &[NEAR; 50], 50);
}

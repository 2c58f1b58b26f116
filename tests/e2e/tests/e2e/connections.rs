//! The limit on connections of one address.

use std::net::IpAddr;

use crate::harness::clock::wait_for;
use crate::harness::http::Connection;
use crate::harness::{Database, HeldSession, Installation, PASSWORD, Server, USER, Verdict, Wire};

const NEAR: &str = "127.0.0.1";
const FAR: &str = "127.0.0.2";

/// A connection that the server accepts, as its answer shows.
fn open_admitted(server: &Server, held: &HeldSession, from: &str) -> Option<Connection> {
    let source: IpAddr = from.parse().unwrap();
    let mut connection = Connection::open_from(source, server.dialects).ok()?;
    let answer = connection.exchange(&held.use_request()).ok()?;
    assert_eq!(held.use_verdict(&answer), Verdict::Accepted);
    Some(connection)
}

/// Opens these connections one after the other and keeps them open. Asserts that `let_in` of them are accepted and
/// that the others are counted as refused.
#[track_caller]
fn check(configuration: &str, from: &[&str], let_in: usize) {
    let installation = Installation::with_config(Database::sqlite(), configuration);
    let server = installation.start_with_user();
    // Logs in from another address, since a connection counts until the server has noticed the close.
    let wire = Wire::Polish;
    let mut other = Connection::open_from("127.0.0.9".parse().unwrap(), server.dialects).unwrap();
    let held = wire
        .parse_login(USER, &other.exchange(&wire.login_request(USER, PASSWORD)).unwrap())
        .unwrap();
    let refused = || server.metric("parlance_connections_refused_total");
    let open: Vec<_> =
        from.iter().filter_map(|address| open_admitted(&server, &held, address)).collect();
    let turned_away = u64::try_from(from.len() - let_in).unwrap();
    assert_eq!((open.len(), refused()), (let_in, turned_away), "{configuration}");
    drop(open);
    wait_for("room to be made again", || open_admitted(&server, &held, from[0]));
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

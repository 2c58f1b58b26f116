//! One address holds silent connections up to its limit on each listener: others get in at once, the silent ones end.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::Command;
use std::thread;
use std::time::Duration;

use super::{is_long, wait_for_login};
use crate::harness::clock::wait_for;
use crate::harness::http::Connection;
use crate::harness::server::wrap_command;
use crate::harness::{Database, Installation, PASSWORD, Server, Stopwatch, USER, Wire};

const CROWD_ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));
const OTHER_ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 3));
/// The start of an HTTP/2 client: the preface and empty settings.
pub(super) const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

pub(super) fn serve_with_grpc(installation: &Installation) -> Command {
    let anywhere = ["--listen", "--admin-listen", "--axxon-grpc-listen"];
    let arguments: Vec<_> = anywhere.iter().flat_map(|flag| [*flag, "127.0.0.1:0"]).collect();
    installation.command(&[&["serve"], arguments.as_slice()].concat())
}

/// Starts a server with this limit of descriptors.
fn start(installation: &Installation, descriptors: &str) -> Server {
    let limit = format!("--nofile={descriptors}");
    let (server, _) =
        Server::spawn(wrap_command(&["prlimit", &limit, "--"], &serve_with_grpc(installation)));
    installation.add_user(USER, PASSWORD);
    server
}

/// The number of open descriptors; 0 unless the test runs as root, because the program is not dumpable.
pub(super) fn open_descriptors(server: &Server) -> usize {
    fs::read_dir(format!("/proc/{}/fd", server.pid())).map_or(0, Iterator::count)
}

/// Whether a new connection from another address gets an HTTP/2 answer.
fn speaks_http2(grpc: SocketAddr) -> bool {
    let mut connection = Connection::open_from(OTHER_ADDRESS, grpc).unwrap();
    connection.write(HTTP2_PREFACE).is_ok()
        && connection.read_some().is_ok_and(|bytes| !bytes.is_empty())
}

#[test]
fn one_address_cannot_keep_others_out_of_any_listener() {
    let installation = Installation::new(Database::sqlite());
    let mut server = start(&installation, "256");
    let grpc = server.grpc.unwrap();
    let listeners = [(server.dialects, 100), (server.admin, 20), (grpc, 20)];
    let silent: Vec<_> = listeners
        .into_iter()
        .flat_map(|(address, count)| (0..count).map(move |_| address))
        .filter_map(|address| Connection::open_from(CROWD_ADDRESS, address).ok())
        .collect();
    let watch = Stopwatch::start();
    let mut other = Connection::open_from(OTHER_ADDRESS, server.dialects).unwrap();
    let answer = other.exchange(&Wire::Polish.login_request(USER, PASSWORD)).unwrap();
    Wire::Polish.parse_login(USER, &answer).unwrap();
    assert_eq!(server.get_admin("/readyz").status, 200);
    assert!(speaks_http2(grpc), "another address gets in by gRPC");
    let took = watch.elapsed();
    assert!(!is_long() || took < Duration::from_secs(1), "{took:?}");
    // One address may hold half of each listener's limit: 48, 8 and 8.
    wait_for("the others to be refused", || {
        (server.metric("parlance_connections_refused_total") >= 52 + 12 + 12).then_some(())
    });
    assert!(open_descriptors(&server) < 200, "{}", open_descriptors(&server));
    let log = server.log.text();
    assert!(log.contains("there are few file descriptors for connections"), "{log}");
    eprintln!(
        "crowd: {} silent connections of one address, another in after {took:.1?}",
        silent.len()
    );
    // All of them end by themselves.
    thread::scope(|scope| {
        for mut connection in silent {
            scope.spawn(move || connection.read_to_end().expect("a silent connection ends"));
        }
    });
    assert!(server.is_running());
    wait_for_login(&server, USER);
}

#[test]
fn every_listener_full_at_once_leaves_descriptors_for_the_store() {
    let installation = Installation::new(Database::sqlite());
    let mut server = start(&installation, "256");
    let before = open_descriptors(&server);
    // Three addresses, each of which may hold half of a listener's limit.
    let silent: Vec<_> = [(server.dialects, 96), (server.admin, 16), (server.grpc.unwrap(), 16)]
        .into_iter()
        .flat_map(|(address, share)| (0..share * 2).map(move |number| (address, number)))
        .filter_map(|(address, number)| {
            let source = IpAddr::V4(Ipv4Addr::new(127, 0, 1, number % 3));
            Connection::open_from(source, address).ok()
        })
        .collect();
    // Without root the descriptors cannot be counted; the rest of the test asserts the same.
    if before > 0 {
        wait_for("every listener to be full", || {
            let now = open_descriptors(&server);
            assert!(now < 240, "{now} descriptors of 256");
            (now >= before + 120).then_some(())
        });
    }
    wait_for_login(&server, USER);
    drop(silent);
    assert!(server.is_running());
    let log = server.log.text();
    assert!(log.contains("connections refused"), "{log}");
    for fault in ["Too many open files", "unable to open database", "ERROR"] {
        assert!(!log.contains(fault), "{log}");
    }
}

#[test]
fn the_soft_descriptor_limit_is_raised_to_the_hard_limit() {
    let installation = Installation::new(Database::sqlite());
    let server = start(&installation, "64:4096");
    let limits = fs::read_to_string(format!("/proc/{}/limits", server.pid())).unwrap();
    let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    let words: Vec<_> = line.split_whitespace().collect();
    assert_eq!(words[3..5], ["4096", "4096"], "{line}");
    let silent: Vec<_> =
        (0..200).map(|_| Connection::open_from(CROWD_ADDRESS, server.dialects).unwrap()).collect();
    server.log_in(Wire::Polish);
    assert_eq!(server.metric("parlance_connections_refused_total"), 0);
    drop(silent);
    assert!(!server.log.text().contains("there are few file descriptors"), "{}", server.log.text());
}

#[test]
fn a_grpc_connection_without_a_preface_ends() {
    let installation = Installation::new(Database::sqlite());
    let server = start(&installation, "1024");
    let grpc = server.grpc.unwrap();
    thread::scope(|scope| {
        for said in [0, 1, 23] {
            scope.spawn(move || {
                let mut connection = Connection::open(grpc).unwrap();
                connection.write(&HTTP2_PREFACE[..said]).unwrap();
                let watch = Stopwatch::start();
                connection
                    .read_to_end()
                    .unwrap_or_else(|error| panic!("after {said} bytes: {error}"));
                assert!(!is_long() || watch.elapsed() < Duration::from_secs(12), "{said} bytes");
            });
        }
    });
}

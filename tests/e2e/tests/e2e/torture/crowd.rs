//! One address holds every connection that it may, silent, on each listener: others get in at once, and the silent ones end.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::Command;
use std::thread;
use std::time::Duration;

use super::{is_long, recovers};
use crate::harness::clock::until;
use crate::harness::http::Connection;
use crate::harness::server::under;
use crate::harness::{Database, PASSWORD, Server, Site, USER, Watch, Wire};

const CROWD: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));
const OTHER: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 3));
/// How a client of HTTP/2 begins: its preface, and settings that say nothing.
pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

pub(super) fn serve(site: &Site) -> Command {
    let anywhere = ["--listen", "--admin-listen", "--axxon-grpc-listen"];
    let arguments: Vec<_> = anywhere.iter().flat_map(|flag| [*flag, "127.0.0.1:0"]).collect();
    site.command(&[&["serve"], arguments.as_slice()].concat())
}

/// Starts a server that may have so many descriptors.
fn start(site: &Site, descriptors: &str) -> Server {
    let limit = format!("--nofile={descriptors}");
    let (server, _) = Server::spawn(under(&["prlimit", &limit, "--"], &serve(site)));
    site.add_user(USER, PASSWORD);
    server
}

/// How many descriptors are open: none, if they are not root's who looks, as the program is not dumpable.
pub(super) fn descriptors(server: &Server) -> usize {
    fs::read_dir(format!("/proc/{}/fd", server.pid())).map_or(0, Iterator::count)
}

/// Whether HTTP/2 is spoken on a new connection from elsewhere.
fn speaks(grpc: SocketAddr) -> bool {
    let mut connection = Connection::open_from(OTHER, grpc).unwrap();
    connection.write(PREFACE).is_ok() && connection.some().is_ok_and(|bytes| !bytes.is_empty())
}

#[test]
fn one_address_cannot_keep_others_out_of_any_listener() {
    let site = Site::new(Database::sqlite());
    let mut server = start(&site, "256");
    let grpc = server.grpc.unwrap();
    let listeners = [(server.dialects, 100), (server.admin, 20), (grpc, 20)];
    let silent: Vec<_> = listeners
        .into_iter()
        .flat_map(|(address, count)| (0..count).map(move |_| address))
        .filter_map(|address| Connection::open_from(CROWD, address).ok())
        .collect();
    let watch = Watch::start();
    let mut other = Connection::open_from(OTHER, server.dialects).unwrap();
    let answer = other.exchange(&Wire::Polish.login(USER, PASSWORD)).unwrap();
    Wire::Polish.opened(USER, &answer).unwrap();
    assert_eq!(server.admin("/readyz").status, 200);
    assert!(speaks(grpc), "another address gets in by gRPC");
    let took = watch.elapsed();
    assert!(!is_long() || took < Duration::from_secs(1), "{took:?}");
    // Half of what each listener may hold is that address's: 48, 8 and 8.
    until("the others to be refused", || {
        (server.metric("parlance_connections_refused_total") >= 52 + 12 + 12).then_some(())
    });
    assert!(descriptors(&server) < 200, "{}", descriptors(&server));
    let log = server.log.text();
    assert!(log.contains("there are few descriptors for connections"), "{log}");
    eprintln!(
        "crowd: {} silent connections of one address, another in after {took:.1?}",
        silent.len()
    );
    // All of them end, by themselves.
    thread::scope(|scope| {
        for mut connection in silent {
            scope.spawn(move || connection.rest().expect("a silent connection ends"));
        }
    });
    assert!(server.is_running());
    recovers(&server, USER);
}

#[test]
fn every_listener_full_at_once_leaves_descriptors_for_the_store() {
    let site = Site::new(Database::sqlite());
    let mut server = start(&site, "256");
    let before = descriptors(&server);
    // Three addresses, each of which may have half of a listener.
    let silent: Vec<_> = [(server.dialects, 96), (server.admin, 16), (server.grpc.unwrap(), 16)]
        .into_iter()
        .flat_map(|(address, share)| (0..share * 2).map(move |number| (address, number)))
        .filter_map(|(address, number)| {
            let source = IpAddr::V4(Ipv4Addr::new(127, 0, 1, number % 3));
            Connection::open_from(source, address).ok()
        })
        .collect();
    // Where they cannot be seen, the rest of the test says the same.
    if before > 0 {
        until("every listener to be full", || {
            let now = descriptors(&server);
            assert!(now < 240, "{now} descriptors of 256");
            (now >= before + 120).then_some(())
        });
    }
    recovers(&server, USER);
    drop(silent);
    assert!(server.is_running());
    let log = server.log.text();
    assert!(log.contains("connections refused"), "{log}");
    for fault in ["Too many open files", "unable to open database", "ERROR"] {
        assert!(!log.contains(fault), "{log}");
    }
}

#[test]
fn all_descriptors_that_the_process_may_have_are_taken() {
    let site = Site::new(Database::sqlite());
    let server = start(&site, "64:4096");
    let limits = fs::read_to_string(format!("/proc/{}/limits", server.pid())).unwrap();
    let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    let words: Vec<_> = line.split_whitespace().collect();
    assert_eq!(words[3..5], ["4096", "4096"], "{line}");
    let silent: Vec<_> =
        (0..200).map(|_| Connection::open_from(CROWD, server.dialects).unwrap()).collect();
    server.log_in(Wire::Polish);
    assert_eq!(server.metric("parlance_connections_refused_total"), 0);
    drop(silent);
    assert!(!server.log.text().contains("there are few descriptors"), "{}", server.log.text());
}

#[test]
fn a_grpc_connection_without_a_preface_ends() {
    let site = Site::new(Database::sqlite());
    let server = start(&site, "1024");
    let grpc = server.grpc.unwrap();
    thread::scope(|scope| {
        for said in [0, 1, 23] {
            scope.spawn(move || {
                let mut connection = Connection::open(grpc).unwrap();
                connection.write(&PREFACE[..said]).unwrap();
                let watch = Watch::start();
                connection.rest().unwrap_or_else(|error| panic!("after {said} bytes: {error}"));
                assert!(!is_long() || watch.elapsed() < Duration::from_secs(12), "{said} bytes");
            });
        }
    });
}

//! Thousands of broken requests a dialect over raw sockets, each a little different from a good one.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::thread;

use super::times;
use crate::harness::http::{Connection, exchange};
use crate::harness::{Dice, Request, Wire};
use crate::malformed::{sweep, with_password};

/// Kibibytes that all of them together may leave behind.
const GROWTH: u64 = 32 * 1024;

#[test]
fn no_mutation_of_a_request_breaks_the_server_or_opens_a_session() {
    let mutations = times(3000, 100_000);
    sweep(|server, held| {
        let before = server.memory().0;
        thread::scope(|scope| {
            for (number, held) in held.iter().enumerate() {
                let wire = held.wire;
                let seeds = [
                    with_password(wire, b"wrong"),
                    wire.login("nobody", "wrong"),
                    held.using(),
                    held.renewal(),
                ];
                scope.spawn(move || {
                    storm(server.dialects, wire, &seeds, (number as u64 + 1, mutations))
                });
            }
        });
        let grown = server.memory().0.saturating_sub(before);
        eprintln!("mutations: {mutations} broken requests a dialect, grown by {grown} KiB");
        assert!(grown <= GROWTH, "{grown} KiB");
        let good = exchange(server.dialects, &Request::get("/login")).unwrap();
        assert_eq!(good.status, 404);
    });
}

fn storm(address: SocketAddr, wire: Wire, seeds: &[Request], (seed, mutations): (u64, usize)) {
    let mut dice = Dice::new(seed);
    let mut answers = BTreeMap::new();
    for count in 0..mutations {
        let good = dice.pick(seeds).clone();
        let request = broken(good, &mut dice);
        for status in attempt(address, wire, count, &request) {
            *answers.entry(status).or_insert(0) += 1;
        }
    }
    eprintln!("mutations: {} answers by status {answers:?}", wire.name());
    assert!(
        answers.values().sum::<usize>() > mutations / 2,
        "most of them must get as far as an answer"
    );
}

/// Sends bytes, and asserts that what comes back is no failure of the server's.
fn attempt(address: SocketAddr, wire: Wire, count: usize, request: &[u8]) -> Vec<u16> {
    let mut connection = Connection::open(address)
        .unwrap_or_else(|error| panic!("{} {count}: the server is gone: {error}", wire.name()));
    let _closed = connection.write(request);
    connection.finish();
    let mut answers = Vec::new();
    while let Ok(answer) = connection.read(request.starts_with(b"HEAD ")) {
        let shown = String::from_utf8_lossy(request);
        let fine = answer.status < 500 || answer.status == 503;
        assert!(fine, "{} {count}: {} to {shown:?}", wire.name(), answer.status);
        answers.push(answer.status);
    }
    answers
}

/// Half of them are broken anywhere; the others only where a dialect reads, within the framing that HTTP wants.
fn broken(mut request: Request, dice: &mut Dice) -> Vec<u8> {
    if dice.below(2) == 0 {
        return mutate(&request.bytes(false), dice);
    }
    if request.body.is_empty() || dice.below(4) == 0 {
        let number = dice.below(request.headers.len());
        let mut value = mutate(request.headers[number].1.as_bytes(), dice);
        value.retain(|byte| !matches!(byte, b'\r' | b'\n' | b'\0'));
        request.headers[number].1 = String::from_utf8_lossy(&value).into_owned();
    } else {
        request.body = mutate(&request.body, dice);
    }
    request.bytes(false)
}

/// Changes one to four places.
fn mutate(good: &[u8], dice: &mut Dice) -> Vec<u8> {
    const WORDS: &[&[u8]] = &[
        b"\0",
        b"\r\n",
        b"\r\n\r\n",
        b"%",
        b"%00",
        b"%FF",
        b"%ff%fe",
        b"|",
        b"||",
        b"&",
        b"&&",
        b"=",
        b";",
        b"\"",
        b"\\u0000",
        b"\\ud800",
        b"{",
        b"[[[[[[[[",
        b"}",
        b"null",
        b"-1",
        b"1e999",
        b"18446744073709551616",
        b"\xff",
        b"\xc3\x28",
        b"\xf0\x9f\x98\x80",
        b":",
        b"Content-Length: 0\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Expect: 100-continue\r\n",
        b"Authorization: Bearer a.b.c\r\n",
        b"Cookie: session=|||\r\n",
        b"X-Auth-Token: Og==\r\n",
        b"Content-Type: application/json\r\n",
        b"/../",
        b"!login",
        b"?token=",
        b"&token=",
        b" ",
        b"\t",
        b"HTTP/1.0",
    ];
    // Not DELETE: it would end the one session whose uses are broken here.
    const METHODS: &[&[u8]] = &[
        b"GET", b"HEAD", b"POST", b"PUT", b"OPTIONS", b"PATCH", b"TRACE", b"CONNECT", b"BREW",
        b"post",
    ];
    let mut bytes = good.to_vec();
    for _ in 0..=dice.below(4) {
        let at = dice.below(bytes.len().max(1));
        let end = (at + 1 + dice.below(24)).min(bytes.len());
        match dice.below(8) {
            0 => bytes[at] ^= 1 << dice.below(8),
            1 => bytes[at] = u8::try_from(dice.below(256)).unwrap(),
            2 => {
                bytes.drain(at..end);
            }
            3 => {
                let copy = bytes[at..end].to_vec();
                bytes.splice(at..at, copy);
            }
            4 | 5 => {
                bytes.splice(at..at, dice.pick(WORDS).iter().copied());
            }
            6 => {
                let space = bytes.iter().position(|&byte| byte == b' ').unwrap_or(0);
                bytes.splice(..space, dice.pick(METHODS).iter().copied());
            }
            _ => bytes.truncate(at.max(1)),
        }
        if bytes.is_empty() {
            break;
        }
    }
    bytes
}

//! Thousands of broken requests for each dialect over raw sockets, each a small mutation of a good request.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::thread;

use super::repetitions;
use crate::harness::http::{Connection, exchange};
use crate::harness::{Request, Rng, Wire};
use crate::malformed::{with_password, with_unharmed_server};

/// Kibibytes by which all broken requests together may grow the server's memory.
const MAX_GROWTH_KIB: u64 = 32 * 1024;

#[test]
fn no_mutation_of_a_request_breaks_the_server_or_opens_a_session() {
    let mutations = repetitions(3000, 100_000);
    with_unharmed_server(|server, held| {
        let before = server.memory().0;
        thread::scope(|scope| {
            for (number, held) in held.iter().enumerate() {
                let wire = held.wire;
                let seeds = [
                    with_password(wire, b"wrong"),
                    wire.login_request("nobody", "wrong"),
                    held.use_request(),
                    held.renewal_request(),
                ];
                scope.spawn(move || {
                    send_mutations(server.dialects, wire, &seeds, (number as u64 + 1, mutations))
                });
            }
        });
        let grown = server.memory().0.saturating_sub(before);
        eprintln!("mutations: {mutations} broken requests a dialect, grown by {grown} KiB");
        assert!(grown <= MAX_GROWTH_KIB, "{grown} KiB");
        let good = exchange(server.dialects, &Request::get("/login")).unwrap();
        assert_eq!(good.status, 404);
    });
}

fn send_mutations(
    address: SocketAddr,
    wire: Wire,
    seeds: &[Request],
    (seed, mutations): (u64, usize),
) {
    let mut rng = Rng::new(seed);
    let mut answers = BTreeMap::new();
    for count in 0..mutations {
        let good = rng.pick(seeds).clone();
        let request = mutated(good, &mut rng);
        for status in send_mutation(address, wire, count, &request) {
            *answers.entry(status).or_insert(0) += 1;
        }
    }
    eprintln!("mutations: {} answers by status {answers:?}", wire.name());
    assert!(
        answers.values().sum::<usize>() > mutations / 2,
        "most of them must get as far as an answer"
    );
}

/// Sends bytes, and asserts that no answer reports a server error: 503 apart, no 5xx.
fn send_mutation(address: SocketAddr, wire: Wire, count: usize, request: &[u8]) -> Vec<u16> {
    let mut connection = Connection::open(address)
        .unwrap_or_else(|error| panic!("{} {count}: the server is gone: {error}", wire.name()));
    let _closed = connection.write(request);
    connection.shutdown_write();
    let mut answers = Vec::new();
    while let Ok(answer) = connection.read(request.starts_with(b"HEAD ")) {
        let shown = String::from_utf8_lossy(request);
        let fine = answer.status < 500 || answer.status == 503;
        assert!(fine, "{} {count}: {} to {shown:?}", wire.name(), answer.status);
        answers.push(answer.status);
    }
    answers
}

/// Half of the requests are broken anywhere, the others only in the parts that a dialect reads, within valid HTTP
/// framing.
fn mutated(mut request: Request, rng: &mut Rng) -> Vec<u8> {
    if rng.below(2) == 0 {
        return mutate(&request.bytes(false), rng);
    }
    if request.body.is_empty() || rng.below(4) == 0 {
        let number = rng.below(request.headers.len());
        let mut value = mutate(request.headers[number].1.as_bytes(), rng);
        value.retain(|byte| !matches!(byte, b'\r' | b'\n' | b'\0'));
        request.headers[number].1 = String::from_utf8_lossy(&value).into_owned();
    } else {
        request.body = mutate(&request.body, rng);
    }
    request.bytes(false)
}

/// Changes one to four places.
fn mutate(good: &[u8], rng: &mut Rng) -> Vec<u8> {
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
    // Not DELETE, which would end the one session under test.
    const METHODS: &[&[u8]] = &[
        b"GET", b"HEAD", b"POST", b"PUT", b"OPTIONS", b"PATCH", b"TRACE", b"CONNECT", b"BREW",
        b"post",
    ];
    let mut bytes = good.to_vec();
    for _ in 0..=rng.below(4) {
        let at = rng.below(bytes.len().max(1));
        let end = (at + 1 + rng.below(24)).min(bytes.len());
        match rng.below(8) {
            0 => bytes[at] ^= 1 << rng.below(8),
            1 => bytes[at] = u8::try_from(rng.below(256)).unwrap(),
            2 => {
                bytes.drain(at..end);
            }
            3 => {
                let copy = bytes[at..end].to_vec();
                bytes.splice(at..at, copy);
            }
            4 | 5 => {
                bytes.splice(at..at, rng.pick(WORDS).iter().copied());
            }
            6 => {
                let space = bytes.iter().position(|&byte| byte == b' ').unwrap_or(0);
                bytes.splice(..space, rng.pick(METHODS).iter().copied());
            }
            _ => bytes.truncate(at.max(1)),
        }
        if bytes.is_empty() {
            break;
        }
    }
    bytes
}

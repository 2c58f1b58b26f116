//! Forward auth that fails at the proxy: in no case does the upstream see the request.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{self, Sender};

use super::program::Proxy;
use super::upstream::Upstream;
use crate::harness::http::{self, Request};

/// A proxy's view of an answer that replaces parlance's.
#[derive(Clone, Copy, Debug)]
enum FaultyAnswer {
    /// The connection is refused.
    Refused,
    /// These bytes, and then the end of the connection.
    Bytes(&'static str),
    /// No answer, for longer than the proxy's timeout.
    Silence,
}

/// parlance's answer for an active session.
const ALLOWED: &str = "HTTP/1.1 200 OK\r\nX-Auth-User: jan\r\nX-Auth-Session: s\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

const FAILURES: &[FaultyAnswer] = &[
    FaultyAnswer::Refused,
    FaultyAnswer::Bytes(""),
    FaultyAnswer::Bytes("200\r\n\r\n"),
    FaultyAnswer::Bytes("HTTP/1.1 200 OK\r\nX-Auth-User: root\r\n"),
    FaultyAnswer::Bytes(
        "HTTP/1.1 500 Internal Server Error\r\nX-Auth-User: root\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
    ),
    FaultyAnswer::Bytes(
        "HTTP/1.1 302 Found\r\nLocation: /page\r\nX-Auth-User: root\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
    ),
    FaultyAnswer::Bytes(
        "HTTP/1.1 404 Not Found\r\nX-Auth-User: root\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
    ),
    FaultyAnswer::Silence,
];

/// Takes the place of parlance's admin listener and serves until dropped.
struct FaultyAdmin {
    address: SocketAddr,
    /// On drop this releases the connections that get no answer.
    _silent: Sender<()>,
}

impl FaultyAdmin {
    fn start(heard: FaultyAnswer) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (silent, dropped) = mpsc::channel();
        if !matches!(heard, FaultyAnswer::Refused) {
            std::thread::spawn(move || {
                let mut held = Vec::new();
                for stream in listener.incoming().flatten() {
                    match heard {
                        FaultyAnswer::Bytes(bytes) => drop(write_answer(&stream, bytes)),
                        FaultyAnswer::Silence | FaultyAnswer::Refused => held.push(stream),
                    }
                    if dropped.try_recv() == Err(mpsc::TryRecvError::Disconnected) {
                        break;
                    }
                }
            });
        }
        Self { address, _silent: silent }
    }
}

/// Reads the head of a request and answers with these bytes.
fn write_answer(stream: &TcpStream, bytes: &str) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream);
    let mut line = String::new();
    while lines.read_line(&mut line)? > 0 && line != "\r\n" {
        line.clear();
    }
    let mut stream = stream;
    stream.write_all(bytes.as_bytes())
}

pub(super) fn check(proxy: Proxy) {
    // Shortens the recipe's timeout, so that the test need not wait as long for a silent server.
    let hurry = match proxy {
        Proxy::Nginx => ("proxy_read_timeout 20s", "proxy_read_timeout 1s"),
        Proxy::Caddy => ("response_header_timeout 20s", "response_header_timeout 1s"),
        Proxy::Haproxy => ("timeout = 20000", "timeout = 1000"),
        Proxy::Envoy => ("timeout: 20s", "timeout: 1s"),
    };
    assert_eq!(
        send_through(proxy, FaultyAnswer::Bytes(ALLOWED), &[hurry]),
        (200, 1),
        "{proxy:?}: a good session passes"
    );
    for &heard in FAILURES {
        let (status, reached) = send_through(proxy, heard, &[hurry]);
        assert!((300..600).contains(&status), "{proxy:?}, {heard:?}: {status}");
        assert_eq!(reached, 0, "{proxy:?}, {heard:?}: the upstream saw the request");
    }
    if proxy == Proxy::Haproxy {
        check_lua();
    }
}

/// `HAProxy` goes on after an action that has failed. Asserts that the request stays blocked nevertheless.
fn check_lua() {
    const BEGINS: &str = "local headers = asked(txn)";
    const ENDS: &str = "txn:set_var(";
    const LOADS: &str = "lua-load";
    for changes in [
        [(BEGINS, "error('broken') local headers = asked(txn)"), (LOADS, "lua-load")],
        [(ENDS, "error('broken') txn:set_var("), (LOADS, "lua-load")],
        [
            (BEGINS, "while true do end local headers = asked(txn)"),
            (LOADS, "tune.lua.session-timeout 100ms\n    lua-load"),
        ],
        [
            (BEGINS, "local much = string.rep('x', 1 << 28) local headers = asked(txn)"),
            (LOADS, "tune.lua.maxmem 16\n    lua-load"),
        ],
        [(BEGINS, "do return end local headers = asked(txn)"), (LOADS, "lua-load")],
        [("http-request lua.parlance", "# no action"), (LOADS, "lua-load")],
    ] {
        let (status, reached) =
            send_through(Proxy::Haproxy, FaultyAnswer::Bytes(ALLOWED), &changes);
        assert_eq!((status, reached), (503, 0), "{changes:?}");
    }
}

/// The status for a client that claims to be root, and the number of requests at the upstream.
fn send_through(proxy: Proxy, heard: FaultyAnswer, changes: &[(&str, &str)]) -> (u16, usize) {
    let (helper, upstream) = (FaultyAdmin::start(heard), Upstream::start());
    let front = proxy.start_with_changes(helper.address, upstream.address, changes);
    let request = Request::get("/page").header("X-Auth-User", "root");
    let status = http::send(front.address, &request).status;
    (status, upstream.request_count())
}

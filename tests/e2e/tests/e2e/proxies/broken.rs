//! What a proxy does with a request when its way of asking fails: whatever happens, the upstream does not see the request.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{self, Sender};

use super::program::Proxy;
use super::upstream::Upstream;
use crate::harness::http::{self, Request};

/// What a proxy hears instead of parlance's answer.
#[derive(Clone, Copy, Debug)]
enum Heard {
    /// The connection is refused.
    Refused,
    /// These bytes, and the end of the connection.
    Bytes(&'static str),
    /// Nothing, for longer than the proxy waits.
    Silence,
}

/// What parlance would say of a good session.
const YES: &str = "HTTP/1.1 200 OK\r\nX-Auth-User: jan\r\nX-Auth-Session: s\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

const FAILURES: &[Heard] = &[
    Heard::Refused,
    Heard::Bytes(""),
    Heard::Bytes("200\r\n\r\n"),
    Heard::Bytes("HTTP/1.1 200 OK\r\nX-Auth-User: root\r\n"),
    Heard::Bytes(
        "HTTP/1.1 500 Internal Server Error\r\nX-Auth-User: root\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
    ),
    Heard::Bytes(
        "HTTP/1.1 302 Found\r\nLocation: /page\r\nX-Auth-User: root\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
    ),
    Heard::Bytes(
        "HTTP/1.1 404 Not Found\r\nX-Auth-User: root\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
    ),
    Heard::Silence,
];

/// In the place of parlance's admin listener; it serves until it is dropped.
struct Helper {
    address: SocketAddr,
    /// Those who hear nothing are let go when it is dropped.
    _silent: Sender<()>,
}

impl Helper {
    fn start(heard: Heard) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (silent, dropped) = mpsc::channel();
        if !matches!(heard, Heard::Refused) {
            std::thread::spawn(move || {
                let mut held = Vec::new();
                for stream in listener.incoming().flatten() {
                    match heard {
                        Heard::Bytes(bytes) => drop(say(&stream, bytes)),
                        Heard::Silence | Heard::Refused => held.push(stream),
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

/// Reads the head of a request and says these bytes.
fn say(stream: &TcpStream, bytes: &str) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream);
    let mut line = String::new();
    while lines.read_line(&mut line)? > 0 && line != "\r\n" {
        line.clear();
    }
    let mut stream = stream;
    stream.write_all(bytes.as_bytes())
}

pub(super) fn check(proxy: Proxy) {
    // So that silence need not be borne as long as the recipe bears it.
    let hurry = match proxy {
        Proxy::Nginx => ("proxy_read_timeout 20s", "proxy_read_timeout 1s"),
        Proxy::Caddy => ("response_header_timeout 20s", "response_header_timeout 1s"),
        Proxy::Haproxy => ("timeout = 20000", "timeout = 1000"),
        Proxy::Envoy => ("timeout: 20s", "timeout: 1s"),
    };
    assert_eq!(
        asked(proxy, Heard::Bytes(YES), &[hurry]),
        (200, 1),
        "{proxy:?}: a good session passes"
    );
    for &heard in FAILURES {
        let (status, reached) = asked(proxy, heard, &[hurry]);
        assert!((300..600).contains(&status), "{proxy:?}, {heard:?}: {status}");
        assert_eq!(reached, 0, "{proxy:?}, {heard:?}: the upstream saw the request");
    }
    if proxy == Proxy::Haproxy {
        check_lua();
    }
}

/// Asserts that `HAProxy`, which goes on after an action that has failed, does not.
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
        let (status, reached) = asked(Proxy::Haproxy, Heard::Bytes(YES), &changes);
        assert_eq!((status, reached), (503, 0), "{changes:?}");
    }
}

/// The status that a client hears who claims to be root, and how often the upstream was reached.
fn asked(proxy: Proxy, heard: Heard, changes: &[(&str, &str)]) -> (u16, usize) {
    let (helper, upstream) = (Helper::start(heard), Upstream::start());
    let front = proxy.start_changed(helper.address, upstream.address, changes);
    let request = Request::get("/page").header("X-Auth-User", "root");
    let status = http::send(front.address, &request).status;
    (status, upstream.reached())
}

//! Requests by the thousand on connections whose answers are never read: nothing is read then, and the client is cut.

use std::fs;
use std::io::{ErrorKind, Write as _};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use super::{good_client, is_long, recovers};
use crate::harness::clock::until;
use crate::harness::{Database, EndOnDrop, Server, Site, USER, Watch, Wire, pace};

/// Requests that a client sends at once, if it can.
const REQUESTS: usize = 200_000;
/// The client's buffers, in bytes.
const BUFFER: usize = 4 * 1024;
/// Kibibytes of the server's that a connection may hold.
const EACH: u64 = 128;
/// Kibibytes that the allocator may keep besides.
const ROOM: u64 = 32 * 1024;
/// How much of a core such clients may keep busy, all together, in percent.
const IDLE_PERCENT: u64 = 20;

/// A client that sends as much as is taken, and reads nothing.
pub(super) fn pipeline(source: Option<IpAddr>, address: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(BUFFER).unwrap();
    socket.set_send_buffer_size(BUFFER).unwrap();
    if let Some(source) = source {
        socket.bind(&SocketAddr::new(source, 0).into()).unwrap();
    }
    socket.connect(&address.into()).unwrap();
    socket.set_nonblocking(true).unwrap();
    TcpStream::from(socket)
}

/// Sends what is left of the requests; false once the connection has ended.
pub(super) fn push(stream: &mut TcpStream, bytes: &[u8], sent: &mut usize) -> bool {
    loop {
        match stream.write(&bytes[*sent..]) {
            Ok(0) => return true,
            Ok(count) => *sent += count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return true,
            Err(_) => return false,
        }
    }
}

/// Milliseconds of processor time.
fn busy(server: &Server) -> u64 {
    let text = fs::read_to_string(format!("/proc/{}/stat", server.pid())).unwrap();
    let fields: Vec<_> = text.rsplit(") ").next().unwrap().split(' ').collect();
    let ticks = |at: usize| fields[at].parse::<u64>().unwrap();
    // User and system time, in hundredths of a second.
    (ticks(11) + ticks(12)) * 10
}

#[test]
fn a_client_that_does_not_read_is_not_read_from_and_is_cut() {
    let clients = if is_long() { 400 } else { 120 };
    let site = Site::new(Database::sqlite());
    let mut server = site.start_with_user();
    let held = server.log_in(Wire::Polish);
    let paths = [
        (server.dialects, "GET /nowhere"),
        (server.dialects, "GET /login"),
        (server.admin, "GET /readyz"),
        (server.admin, "GET /metrics"),
    ];
    let requests = paths.map(|(_, line)| {
        format!("{line} HTTP/1.1\r\nHost: a\r\n\r\n").repeat(REQUESTS).into_bytes()
    });
    let base = server.memory().1;
    let mut open: Vec<_> = (0..clients)
        .map(|number| {
            let (path, bytes) = (number % paths.len(), &requests[number % paths.len()]);
            (pipeline(None, paths[path].0), bytes.as_slice(), 0)
        })
        .collect();
    let mut push_all = || {
        open.retain_mut(|(stream, bytes, sent)| push(stream, bytes, sent));
        (open.len(), open.iter().map(|(_, _, sent)| sent).sum::<usize>())
    };
    let over = AtomicBool::new(false);
    let (good, (waiting, sent)) = thread::scope(|scope| {
        let end_good = EndOnDrop(&over);
        let good = scope.spawn(|| good_client(&server, &held, || !over.load(Ordering::Relaxed)));
        // As much as is taken at all: then the server waits for them.
        let mut before = (0, 0);
        for _ in 0..50 {
            let now = push_all();
            if now == before {
                break;
            }
            before = now;
            pace(Duration::from_millis(300));
        }
        drop(end_good);
        (good.join().unwrap(), before)
    });
    let (watch, before) = (Watch::start(), busy(&server));
    pace(Duration::from_secs(2));
    let percent =
        (busy(&server) - before) * 100 / u64::try_from(watch.elapsed().as_millis()).unwrap();
    let peak = server.memory().1;
    let bound = base + ROOM + EACH * u64::try_from(clients).unwrap();
    until("them to be cut", || (push_all().0 == 0).then_some(()));
    eprintln!(
        "pipelining: {clients} clients that do not read, {} KiB taken of each; a good one had {good}; {percent} % of a core while they waited; memory {base} KiB before, {peak} KiB at most, {bound} KiB allowed; all cut {:?} later",
        sent / clients / 1024,
        watch.elapsed()
    );
    assert!(waiting > clients / 2, "{waiting} of {clients} wait");
    assert!(sent < clients * requests[0].len() / 2, "{sent} bytes were taken");
    assert!(percent <= IDLE_PERCENT, "{percent} % of a core");
    assert!(peak <= bound, "{peak} KiB of {bound}");
    good.assert_p99(Duration::from_secs(1));
    assert!(server.is_running());
    recovers(&server, USER);
}

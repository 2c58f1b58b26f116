//! Pipelined requests without reading an answer: backpressure stops reading, and the server cuts the client.

use std::fs;
use std::io::{ErrorKind, Write as _};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use super::{is_long, run_good_client, wait_for_login};
use crate::harness::clock::wait_for;
use crate::harness::{Database, Installation, Server, StopOnDrop, Stopwatch, USER, Wire, sleep};

/// Requests that a client tries to send at once.
const REQUESTS: usize = 200_000;
/// The client's buffers, in bytes.
const BUFFER_BYTES: usize = 4 * 1024;
/// Kibibytes of server memory that a connection may hold.
const CONNECTION_KIB: u64 = 128;
/// Additional kibibytes for the allocator.
const OVERHEAD_KIB: u64 = 32 * 1024;
/// The share of a core that all such clients together may keep busy, in percent.
const IDLE_PERCENT: u64 = 20;

/// A client that sends as much as the server takes, and reads nothing.
pub(super) fn pipeline(source: Option<IpAddr>, address: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(BUFFER_BYTES).unwrap();
    socket.set_send_buffer_size(BUFFER_BYTES).unwrap();
    if let Some(source) = source {
        socket.bind(&SocketAddr::new(source, 0).into()).unwrap();
    }
    socket.connect(&address.into()).unwrap();
    socket.set_nonblocking(true).unwrap();
    TcpStream::from(socket)
}

/// Sends the rest of the requests as far as possible; returns false once the connection has ended.
pub(super) fn send_remaining(stream: &mut TcpStream, bytes: &[u8], sent: &mut usize) -> bool {
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
fn cpu_milliseconds(server: &Server) -> u64 {
    let text = fs::read_to_string(format!("/proc/{}/stat", server.pid())).unwrap();
    let fields: Vec<_> = text.rsplit(") ").next().unwrap().split(' ').collect();
    let ticks = |at: usize| fields[at].parse::<u64>().unwrap();
    // User and system time, in hundredths of a second.
    (ticks(11) + ticks(12)) * 10
}

#[test]
fn a_client_that_reads_no_answers_gets_backpressure_and_is_disconnected() {
    let clients = if is_long() { 400 } else { 120 };
    let installation = Installation::new(Database::sqlite());
    let mut server = installation.start_with_user();
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
        open.retain_mut(|(stream, bytes, sent)| send_remaining(stream, bytes, sent));
        (open.len(), open.iter().map(|(_, _, sent)| sent).sum::<usize>())
    };
    let over = AtomicBool::new(false);
    let (good, (waiting, sent)) = thread::scope(|scope| {
        let end_good = StopOnDrop(&over);
        let good =
            scope.spawn(|| run_good_client(&server, &held, || !over.load(Ordering::Relaxed)));
        // Sends until the server takes no more: then the server waits for the clients.
        let mut before = (0, 0);
        for _ in 0..50 {
            let now = push_all();
            if now == before {
                break;
            }
            before = now;
            sleep(Duration::from_millis(300));
        }
        drop(end_good);
        (good.join().unwrap(), before)
    });
    let watch = Stopwatch::start();
    // A busy machine still answers the requests that the server took, so the first idle second before a client is cut
    // counts: a loop that keeps a core busy has none.
    let mut percent = u64::MAX;
    loop {
        let (second, before) = (Stopwatch::start(), cpu_milliseconds(&server));
        sleep(Duration::from_secs(1));
        let elapsed = u64::try_from(second.elapsed().as_millis()).unwrap();
        percent = percent.min((cpu_milliseconds(&server) - before) * 100 / elapsed);
        if percent <= IDLE_PERCENT || push_all().0 != waiting {
            break;
        }
    }
    let peak = server.memory().1;
    let bound = base + OVERHEAD_KIB + CONNECTION_KIB * u64::try_from(clients).unwrap();
    wait_for("them to be cut", || (push_all().0 == 0).then_some(()));
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
    wait_for_login(&server, USER);
}

//! Three servers on one PostgreSQL: a session ended on one is dead on all from the acknowledgement on.

use std::collections::HashMap;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use crate::harness::http::Connection;
use crate::harness::{
    Database, HeldSession, Installation, PASSWORD, Response, Rng, Server, StopOnDrop, USER,
    Verdict, Wire,
};
use crate::torture::repetitions;

/// How a session ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum EndMethod {
    Logout,
    /// Another login takes the 1010 session over.
    TakeOver,
    /// `session revoke ID`.
    Revoke,
    /// `session revoke --user NAME`.
    RevokeUser,
    /// `user disable NAME`.
    Disable,
}

/// An open connection to each server.
struct NodeConnections(Vec<Connection>);

impl NodeConnections {
    fn open(addresses: &[SocketAddr]) -> Self {
        Self(addresses.iter().map(|address| Connection::open(*address).unwrap()).collect())
    }

    fn verdict(&mut self, at: usize, held: &HeldSession) -> Verdict {
        held.use_verdict(&self.0[at].exchange(&held.use_request()).unwrap())
    }
}

/// Logs in on one node, uses the session on all, and ends the session on one node while the other nodes are polled
/// without a pause. Returns the number of polls.
///
/// # Errors The violation that was seen.
fn trial(
    installation: &Installation,
    ways: &mut NodeConnections,
    wire: Wire,
    end: EndMethod,
    [opened, ended]: [usize; 2],
) -> Result<usize, String> {
    let login = ways.0[opened].exchange(&wire.login_request(USER, PASSWORD)).unwrap();
    let held = wire.parse_login(USER, &login).map_err(|why| format!("{wire:?} login: {why:?}"))?;
    for at in 0..ways.0.len() {
        let verdict = ways.verdict(at, &held);
        if verdict != Verdict::Accepted {
            return Err(format!("{wire:?} opened on {opened}, shown to {at}: {verdict:?}"));
        }
    }
    let over = AtomicBool::new(false);
    let (mine, others): (Vec<_>, Vec<_>) =
        ways.0.iter_mut().enumerate().partition(|(at, _)| *at == ended);
    thread::scope(|scope| {
        let end_pollers = StopOnDrop(&over);
        let pollers: Vec<_> = others
            .into_iter()
            .map(|(at, way)| {
                let (over, held) = (&over, &held);
                scope.spawn(move || poll(way, held, over).map_err(|why| format!("{why} by {at}")))
            })
            .collect();
        let (_, way) = mine.into_iter().next().unwrap();
        let done = end_session(installation, way, &held, end);
        drop(end_pollers);
        let own = held.use_verdict(&way.exchange(&held.use_request()).unwrap());
        let polled: Result<Vec<usize>, String> =
            pollers.into_iter().map(|poller| poller.join().unwrap()).collect();
        let told = |why| format!("{wire:?} opened on {opened}, {end:?} on {ended}: {why}");
        done.map_err(told)?;
        if own != Verdict::Refused {
            return Err(told(format!("shown to {ended} itself: {own:?}")));
        }
        Ok(polled.map_err(told)?.into_iter().sum())
    })
}

/// Polls the session until one use after its end; returns the number of uses. A `Refused` before the acknowledgement is the
/// end in progress, and no `Accepted` may follow.
fn poll(way: &mut Connection, held: &HeldSession, over: &AtomicBool) -> Result<usize, String> {
    let (mut asked, mut dead) = (0, false);
    loop {
        let is_over = over.load(Ordering::SeqCst);
        let verdict = held.use_verdict(&way.exchange(&held.use_request()).unwrap());
        asked += 1;
        match verdict {
            Verdict::Refused => dead = true,
            Verdict::Accepted if !dead && !is_over => {}
            Verdict::Accepted | Verdict::Unavailable | Verdict::Unexpected(_) => {
                return Err(format!("{verdict:?} (over: {is_over}, dead before: {dead})"));
            }
        }
        if is_over {
            return Ok(asked);
        }
    }
}

/// Ends the session; returns after the acknowledgement.
fn end_session(
    installation: &Installation,
    way: &mut Connection,
    held: &HeldSession,
    end: EndMethod,
) -> Result<(), String> {
    let verdict = match end {
        EndMethod::Logout => held.logout_verdict(&way.exchange(&held.logout_request()).unwrap()),
        EndMethod::TakeOver => {
            let login = way.exchange(&held.wire.login_request(USER, PASSWORD)).unwrap();
            held.wire.parse_login(USER, &login).map_or_else(|why| why, |_| Verdict::Accepted)
        }
        EndMethod::Revoke => {
            let mut sessions = installation.sessions();
            sessions.retain(|session| session["dialect"] == held.wire.name());
            for session in &sessions {
                installation.run_ok(&["session", "revoke", session["id"].as_str().unwrap()]);
            }
            Verdict::Accepted
        }
        EndMethod::RevokeUser => {
            installation.run_ok(&["session", "revoke", "--user", USER]);
            Verdict::Accepted
        }
        EndMethod::Disable => {
            installation.run_ok(&["user", "disable", USER]);
            Verdict::Accepted
        }
    };
    if verdict == Verdict::Accepted { Ok(()) } else { Err(format!("not done: {verdict:?}")) }
}

#[test]
fn a_session_ended_on_one_node_is_refused_on_all_from_the_acknowledgement_on() {
    let trials = repetitions(200, 10_000);
    let installation = Installation::new(Database::postgres());
    let servers = [installation.start_with_user(), installation.start(), installation.start()];
    let addresses = servers.each_ref().map(|server| server.dialects);
    let mut ways = NodeConnections::open(&addresses);
    let mut rng = Rng::new(8);
    let (mut asked, mut ends) = (0, HashMap::<&str, usize>::new());
    for number in 0..trials {
        let wire = Wire::ALL[number % 5];
        // A command runs as a slow process of its own, so only one trial in twenty uses commands.
        let end = match number % 60 {
            19 => EndMethod::Revoke,
            39 => EndMethod::RevokeUser,
            59 => EndMethod::Disable,
            _ if wire == Wire::Cookie && rng.below(2) == 0 => EndMethod::TakeOver,
            _ => EndMethod::Logout,
        };
        let nodes = [rng.below(3), rng.below(3)];
        let seen = trial(&installation, &mut ways, wire, end, nodes);
        asked += seen.unwrap_or_else(|why| panic!("trial {number}: {why}"));
        *ends
            .entry(match end {
                EndMethod::Logout => "logouts",
                EndMethod::TakeOver => "takeovers",
                EndMethod::Revoke | EndMethod::RevokeUser => "revocations",
                EndMethod::Disable => "disabled",
            })
            .or_default() += 1;
        if end == EndMethod::Disable {
            installation.run_ok(&["user", "enable", USER]);
        }
    }
    check_concurrent_uses_after_logout(&servers);
    check_stale_answer_is_detected(&installation, &servers);
    let mut ends: Vec<_> =
        ends.into_iter().map(|(what, count)| format!("{count} {what}")).collect();
    ends.sort();
    eprintln!(
        "three nodes: {trials} trials ({}), {asked} uses while a session ended; 0 answered from stale state",
        ends.join(", ")
    );
}

fn check_concurrent_uses_after_logout(servers: &[Server; 3]) {
    for wire in Wire::ALL {
        let held = servers[0].log_in(wire);
        assert_eq!(servers[1].log_out(&held), Verdict::Accepted);
        thread::scope(|scope| {
            for server in servers {
                for _ in 0..100 {
                    scope.spawn(|| {
                        assert_eq!(server.use_session(&held), Verdict::Refused, "{wire:?}")
                    });
                }
            }
        });
    }
}

/// The planted fault: a cache in front of one node repeats old answers. The trial must notice.
fn check_stale_answer_is_detected(installation: &Installation, servers: &[Server; 3]) {
    let [first, second, third] = servers.each_ref().map(|server| server.dialects);
    let mut ways = NodeConnections::open(&[first, second, caching_proxy(third)]);
    for wire in Wire::ALL {
        let seen = trial(installation, &mut ways, wire, EndMethod::Logout, [0, 1]);
        let why = seen.expect_err("a stale answer is not seen");
        assert!(why.contains("Accepted (over: true") && why.ends_with("by 2"), "{why}");
    }
}

/// A caching proxy: forwards each request once, and answers a repeated request with the first answer.
fn caching_proxy(server: SocketAddr) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let memory = Arc::new(Mutex::new(HashMap::<Vec<u8>, Vec<u8>>::new()));
    thread::spawn(move || {
        for client in listener.incoming() {
            let memory = Arc::clone(&memory);
            thread::spawn(move || answer_from_cache(client.unwrap(), server, &memory));
        }
    });
    address
}

fn answer_from_cache(
    mut client: TcpStream,
    server: SocketAddr,
    memory: &Mutex<HashMap<Vec<u8>, Vec<u8>>>,
) {
    let mut upstream = Connection::open(server).unwrap();
    let mut request = vec![0; 64 * 1024];
    // The tests write a request in one piece.
    while let Ok(read @ 1..) = client.read(&mut request) {
        let request = &request[..read];
        let known = memory.lock().unwrap().get(request).cloned();
        let answer = known.unwrap_or_else(|| {
            upstream.write(request).unwrap();
            let answer = bytes(&upstream.read(false).unwrap());
            memory.lock().unwrap().insert(request.to_vec(), answer.clone());
            answer
        });
        if client.write_all(&answer).is_err() {
            return;
        }
    }
}

fn bytes(answer: &Response) -> Vec<u8> {
    let mut bytes = format!("HTTP/1.1 {} ok\r\n", answer.status).into_bytes();
    for (name, value) in &answer.headers {
        bytes.extend(format!("{name}: {value}\r\n").into_bytes());
    }
    bytes.extend_from_slice(b"\r\n");
    bytes.extend_from_slice(&answer.body);
    bytes
}

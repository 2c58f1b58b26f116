//! Three servers on one PostgreSQL: what is ended on any of them is dead on all from the acknowledgement on.

use std::collections::HashMap;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use crate::harness::http::Connection;
use crate::harness::{
    Database, Dice, EndOnDrop, Held, PASSWORD, Response, Server, Site, USER, Verdict, Wire,
};
use crate::torture::times;

/// How a session is ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
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

/// A way to each of the servers that stays open.
struct Ways(Vec<Connection>);

impl Ways {
    fn to(addresses: &[SocketAddr]) -> Self {
        Self(addresses.iter().map(|address| Connection::open(*address).unwrap()).collect())
    }

    fn verdict(&mut self, at: usize, held: &Held) -> Verdict {
        held.used(&self.0[at].exchange(&held.using()).unwrap())
    }
}

/// Logs in on one, uses on all, ends on one while the others are asked without a pause.
///
/// # Errors
/// What was seen that may not be.
fn trial(
    site: &Site,
    ways: &mut Ways,
    wire: Wire,
    end: End,
    [opened, ended]: [usize; 2],
) -> Result<usize, String> {
    let login = ways.0[opened].exchange(&wire.login(USER, PASSWORD)).unwrap();
    let held = wire.opened(USER, &login).map_err(|why| format!("{wire:?} login: {why:?}"))?;
    for at in 0..ways.0.len() {
        let verdict = ways.verdict(at, &held);
        if verdict != Verdict::Yes {
            return Err(format!("{wire:?} opened on {opened}, shown to {at}: {verdict:?}"));
        }
    }
    let over = AtomicBool::new(false);
    let (mine, others): (Vec<_>, Vec<_>) =
        ways.0.iter_mut().enumerate().partition(|(at, _)| *at == ended);
    thread::scope(|scope| {
        let end_pollers = EndOnDrop(&over);
        let pollers: Vec<_> = others
            .into_iter()
            .map(|(at, way)| {
                let (over, held) = (&over, &held);
                scope.spawn(move || poll(way, held, over).map_err(|why| format!("{why} by {at}")))
            })
            .collect();
        let (_, way) = mine.into_iter().next().unwrap();
        let done = carry_out(site, way, &held, end);
        drop(end_pollers);
        let own = held.used(&way.exchange(&held.using()).unwrap());
        let polled: Result<Vec<usize>, String> =
            pollers.into_iter().map(|poller| poller.join().unwrap()).collect();
        let told = |why| format!("{wire:?} opened on {opened}, {end:?} on {ended}: {why}");
        done.map_err(told)?;
        if own != Verdict::No {
            return Err(told(format!("shown to {ended} itself: {own:?}")));
        }
        Ok(polled.map_err(told)?.into_iter().sum())
    })
}

/// Shows the session again and again, until once after its end: how often. A `No` before the acknowledgement is the end on its way, and
/// must be the last word.
fn poll(way: &mut Connection, held: &Held, over: &AtomicBool) -> Result<usize, String> {
    let (mut asked, mut dead) = (0, false);
    loop {
        let is_over = over.load(Ordering::SeqCst);
        let verdict = held.used(&way.exchange(&held.using()).unwrap());
        asked += 1;
        match verdict {
            Verdict::No => dead = true,
            Verdict::Yes if !dead && !is_over => {}
            Verdict::Yes | Verdict::Away | Verdict::Odd(_) => {
                return Err(format!("{verdict:?} (over: {is_over}, dead before: {dead})"));
            }
        }
        if is_over {
            return Ok(asked);
        }
    }
}

/// Ends it, and comes back when that is acknowledged.
fn carry_out(site: &Site, way: &mut Connection, held: &Held, end: End) -> Result<(), String> {
    let verdict = match end {
        End::Logout => held.left(&way.exchange(&held.logout()).unwrap()),
        End::TakeOver => {
            let login = way.exchange(&held.wire.login(USER, PASSWORD)).unwrap();
            held.wire.opened(USER, &login).map_or_else(|why| why, |_| Verdict::Yes)
        }
        End::Revoke => {
            let mut sessions = site.sessions();
            sessions.retain(|session| session["dialect"] == held.wire.name());
            for session in &sessions {
                site.must(&["session", "revoke", session["id"].as_str().unwrap()]);
            }
            Verdict::Yes
        }
        End::RevokeUser => {
            site.must(&["session", "revoke", "--user", USER]);
            Verdict::Yes
        }
        End::Disable => {
            site.must(&["user", "disable", USER]);
            Verdict::Yes
        }
    };
    if verdict == Verdict::Yes { Ok(()) } else { Err(format!("not done: {verdict:?}")) }
}

#[test]
fn what_is_ended_on_one_node_is_dead_on_all_from_the_acknowledgement_on() {
    let trials = times(200, 10_000);
    let site = Site::new(Database::postgres());
    let servers = [site.start_with_user(), site.start(), site.start()];
    let addresses = servers.each_ref().map(|server| server.dialects);
    let mut ways = Ways::to(&addresses);
    let mut dice = Dice::new(8);
    let (mut asked, mut ends) = (0, HashMap::<&str, usize>::new());
    for number in 0..trials {
        let wire = Wire::ALL[number % 5];
        // A command is a process of its own, which takes its time: one in twenty.
        let end = match number % 60 {
            19 => End::Revoke,
            39 => End::RevokeUser,
            59 => End::Disable,
            _ if wire == Wire::Cookie && dice.below(2) == 0 => End::TakeOver,
            _ => End::Logout,
        };
        let nodes = [dice.below(3), dice.below(3)];
        let seen = trial(&site, &mut ways, wire, end, nodes);
        asked += seen.unwrap_or_else(|why| panic!("trial {number}: {why}"));
        *ends
            .entry(match end {
                End::Logout => "logouts",
                End::TakeOver => "takeovers",
                End::Revoke | End::RevokeUser => "revocations",
                End::Disable => "disabled",
            })
            .or_default() += 1;
        if end == End::Disable {
            site.must(&["user", "enable", USER]);
        }
    }
    a_hundred_uses_at_once_find_it_dead(&servers);
    a_node_that_answers_from_memory_is_caught(&site, &servers);
    let mut ends: Vec<_> =
        ends.into_iter().map(|(what, count)| format!("{count} {what}")).collect();
    ends.sort();
    eprintln!(
        "three nodes: {trials} trials ({}), {asked} uses while a session ended; 0 answered from stale state",
        ends.join(", ")
    );
}

fn a_hundred_uses_at_once_find_it_dead(servers: &[Server; 3]) {
    for wire in Wire::ALL {
        let held = servers[0].log_in(wire);
        assert_eq!(servers[1].log_out(&held), Verdict::Yes);
        thread::scope(|scope| {
            for server in servers {
                for _ in 0..100 {
                    scope.spawn(|| assert_eq!(server.check(&held), Verdict::No, "{wire:?}"));
                }
            }
        });
    }
}

/// The planted fault: behind one of the ways somebody remembers answers. The trial must see it.
fn a_node_that_answers_from_memory_is_caught(site: &Site, servers: &[Server; 3]) {
    let [first, second, third] = servers.each_ref().map(|server| server.dialects);
    let mut ways = Ways::to(&[first, second, remembering(third)]);
    for wire in Wire::ALL {
        let seen = trial(site, &mut ways, wire, End::Logout, [0, 1]);
        let why = seen.expect_err("a stale answer is not seen");
        assert!(why.contains("Yes (over: true") && why.ends_with("by 2"), "{why}");
    }
}

/// What forwards requests, and answers one that it has seen with what was answered then.
fn remembering(server: SocketAddr) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let memory = Arc::new(Mutex::new(HashMap::<Vec<u8>, Vec<u8>>::new()));
    thread::spawn(move || {
        for client in listener.incoming() {
            let memory = Arc::clone(&memory);
            thread::spawn(move || remember(client.unwrap(), server, &memory));
        }
    });
    address
}

fn remember(mut client: TcpStream, server: SocketAddr, memory: &Mutex<HashMap<Vec<u8>, Vec<u8>>>) {
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

//! Three nodes behind `HAProxy` are restarted one after the other under load.

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use super::kill::long_lifetimes_config;
use super::repetitions;
use crate::harness::clock::unix_time;
use crate::harness::history::{History, HistoryEvent};
use crate::harness::log::Lines;
use crate::harness::recording_client::{RecordingClient, run_all};
use crate::harness::{
    Database, Installation, PASSWORD, Server, StopOnDrop, Stopwatch, USER, Verdict, Wire, clock,
    sleep,
};
use crate::operator::seconds;

const CLIENTS: usize = 6;
const NODES: usize = 3;
/// The deadline of a graceful shutdown.
const MAX_DRAIN_TIME: Duration = Duration::from_secs(30);

/// The addresses of a node, kept from one start to the next.
type NodeAddresses = [SocketAddr; 2];

/// `HAProxy` in front of the nodes, configured as in `docs/operating/several-nodes.md`; killed on drop.
struct LoadBalancer {
    address: SocketAddr,
    child: Child,
    log: Lines,
}

impl LoadBalancer {
    fn start(installation: &Installation, places: &[NodeAddresses]) -> Self {
        let address = free_address();
        let mut text = format!(
            "defaults\n  mode http\n  timeout connect 5s\n  timeout client 30s\n  timeout server 30s\n  timeout check 5s\n  retries 3\n  option redispatch 1\n\
             frontend clients\n  bind {address}\n  default_backend nodes\n\
             backend nodes\n  balance roundrobin\n  option httpchk GET /readyz\n"
        );
        for (number, [dialects, admin]) in places.iter().enumerate() {
            text.push_str(&format!(
                "  server node{number} {dialects} check port {} inter 200ms fall 1 rise 1\n",
                admin.port()
            ));
        }
        let file = installation.folder().join("haproxy.cfg");
        fs::write(&file, text).unwrap();
        let mut command = Command::new("haproxy");
        command.args(["-db", "-f"]).arg(file).stdin(Stdio::null()).stdout(Stdio::null());
        let mut child = command.stderr(Stdio::piped()).spawn().expect("haproxy is installed");
        let log = Lines::read(child.stderr.take().unwrap());
        clock::wait_for("HAProxy", || TcpStream::connect(address).ok());
        Self { address, child, log }
    }
}

impl Drop for LoadBalancer {
    fn drop(&mut self) {
        let _killed = self.child.kill().and_then(|()| self.child.wait());
        if thread::panicking() {
            eprintln!("--- HAProxy's log\n{}", self.log.text());
        }
    }
}

fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

fn start(installation: &Installation, [dialects, admin]: &NodeAddresses) -> Server {
    let (dialects, admin) = (dialects.to_string(), admin.to_string());
    Server::spawn(installation.command(&["serve", "--listen", &dialects, "--admin-listen", &admin]))
        .0
}

/// Stops a node by SIGTERM and starts the node again under load. Returns the duration of the stop.
#[track_caller]
fn restart(installation: &Installation, place: &NodeAddresses, server: &mut Server) -> Duration {
    // A use that is still in write-behind memory when the shutdown begins.
    let sliding = server.log_in(Wire::Cookie);
    sleep(Duration::from_millis(1100));
    let used = unix_time().as_secs();
    assert_eq!(server.use_session(&sliding), Verdict::Accepted);
    let watch = Stopwatch::start();
    server.signal("TERM");
    assert_eq!(server.wait_for_exit().code(), Some(0), "{}", server.log.text());
    let took = watch.elapsed();
    assert!(took <= MAX_DRAIN_TIME, "it took {took:?}");
    let own = |session: &&serde_json::Value| session["user"] == USER;
    let sessions = installation.sessions();
    let session = sessions.iter().find(own).expect("the session is listed");
    let last = seconds(session["last_used"].as_str().unwrap());
    assert!(last >= used, "a use at {used} is forgotten: {session}");
    *server = start(installation, place);
    clock::wait_for("readiness", || (server.get_admin("/readyz").status == 200).then_some(()));
    took
}

#[test]
fn nodes_that_are_restarted_one_by_one_lose_nothing_and_fail_no_request() {
    let rounds = repetitions(1, 20);
    let watch = Stopwatch::start();
    let installation = Installation::with_config(
        Database::postgres(),
        &format!("drain_delay = \"1s\"\n{}", long_lifetimes_config()),
    );
    let places: Vec<NodeAddresses> = (0..NODES).map(|_| [free_address(), free_address()]).collect();
    let mut servers: Vec<_> = places.iter().map(|place| start(&installation, place)).collect();
    installation.add_user(USER, PASSWORD);
    let balancer = LoadBalancer::start(&installation, &places);
    let history = Arc::new(History::begin(installation.folder()));
    let client =
        |number| RecordingClient::new(&history, format!("load{number}"), 1700 + number as u64);
    let mut clients: Vec<_> = (0..CLIENTS).map(client).collect();
    clients.iter().for_each(|client| installation.add_user(&client.user, PASSWORD));
    history.record_start();
    let over = AtomicBool::new(false);
    let mut drains = thread::scope(|scope| {
        let end_work = StopOnDrop(&over);
        let working = scope.spawn(|| {
            run_all(&mut clients, |client| {
                // A connection that ends between two requests is opened again.
                while !over.load(Ordering::SeqCst) {
                    client.run_load(balancer.address, || !over.load(Ordering::SeqCst));
                }
            });
        });
        let mut drains = Vec::new();
        for _ in 0..rounds {
            for (place, server) in places.iter().zip(&mut servers) {
                drains.push(restart(&installation, place, server));
            }
        }
        drop(end_work);
        working.join().unwrap();
        drains
    });
    history.record_start();
    run_all(&mut clients, |client| client.verify_all(balancer.address));
    for listed in installation.sessions() {
        let of = |key: &str| listed[key].as_str().unwrap().to_owned();
        if of("user") != USER {
            history.record(&HistoryEvent::Listed { user: of("user"), dialect: of("dialect") });
        }
    }
    let judgement = history.check();
    judgement.assert_clean("after the restarts");
    drains.sort_unstable();
    eprintln!(
        "rolling: {rounds} rounds over {NODES} nodes, {judgement}; stopped within {:?} (median), {:?} (worst); {:?} in all",
        drains[drains.len() / 2],
        drains[drains.len() - 1],
        watch.elapsed()
    );
    assert_eq!(judgement.unknown, 0, "requests without an answer");
    assert_eq!(judgement.unavailable, 0, "requests that heard 503");
}

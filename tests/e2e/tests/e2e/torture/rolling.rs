//! Three nodes behind `HAProxy` are restarted one after the other under load.

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use super::kill::lasting;
use super::times;
use crate::harness::client::{Client, together};
use crate::harness::clock::unix_time;
use crate::harness::history::{History, Line};
use crate::harness::log::Lines;
use crate::harness::{
    Database, EndOnDrop, PASSWORD, Server, Site, USER, Verdict, Watch, Wire, clock, pace,
};
use crate::operator::seconds;

const CLIENTS: usize = 6;
const NODES: usize = 3;
/// A node that is asked to stop has this long.
const DRAIN: Duration = Duration::from_secs(30);

/// Where a node listens, from one start to the next.
type Place = [SocketAddr; 2];

/// `HAProxy` before the nodes, as `docs/operating.md` sets it up; killed when it is dropped.
struct Balancer {
    address: SocketAddr,
    child: Child,
    log: Lines,
}

impl Balancer {
    fn before(site: &Site, places: &[Place]) -> Self {
        let address = free();
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
        let file = site.folder().join("haproxy.cfg");
        fs::write(&file, text).unwrap();
        let mut command = Command::new("haproxy");
        command.args(["-db", "-f"]).arg(file).stdin(Stdio::null()).stdout(Stdio::null());
        let mut child = command.stderr(Stdio::piped()).spawn().expect("haproxy is installed");
        let log = Lines::of(child.stderr.take().unwrap());
        clock::until("HAProxy", || TcpStream::connect(address).ok());
        Self { address, child, log }
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        let _killed = self.child.kill().and_then(|()| self.child.wait());
        if thread::panicking() {
            eprintln!("--- HAProxy's log\n{}", self.log.text());
        }
    }
}

fn free() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

fn start(site: &Site, [dialects, admin]: &Place) -> Server {
    let (dialects, admin) = (dialects.to_string(), admin.to_string());
    Server::spawn(site.command(&["serve", "--listen", &dialects, "--admin-listen", &admin])).0
}

/// Stops a node by SIGTERM and starts it again, while everybody works: how long it took to stop.
#[track_caller]
fn restart(site: &Site, place: &Place, server: &mut Server) -> Duration {
    // A use that is still in the node's memory when it is asked to stop.
    let sliding = server.log_in(Wire::Cookie);
    pace(Duration::from_millis(1100));
    let used = unix_time().as_secs();
    assert_eq!(server.check(&sliding), Verdict::Yes);
    let watch = Watch::start();
    server.signal("TERM");
    assert_eq!(server.ended().code(), Some(0), "{}", server.log.text());
    let took = watch.elapsed();
    assert!(took <= DRAIN, "it took {took:?}");
    let own = |session: &&serde_json::Value| session["user"] == USER;
    let sessions = site.sessions();
    let session = sessions.iter().find(own).expect("the session is listed");
    let last = seconds(session["last_used"].as_str().unwrap());
    assert!(last >= used, "a use at {used} is forgotten: {session}");
    *server = start(site, place);
    clock::until("readiness", || (server.admin("/readyz").status == 200).then_some(()));
    took
}

#[test]
fn nodes_that_are_restarted_one_by_one_lose_nothing_and_fail_no_request() {
    let rounds = times(1, 20);
    let watch = Watch::start();
    let site = Site::with(Database::postgres(), &format!("stop_delay = \"1s\"\n{}", lasting()));
    let places: Vec<Place> = (0..NODES).map(|_| [free(), free()]).collect();
    let mut servers: Vec<_> = places.iter().map(|place| start(&site, place)).collect();
    site.add_user(USER, PASSWORD);
    let balancer = Balancer::before(&site, &places);
    let history = Arc::new(History::begin(site.folder()));
    let client = |number| Client::new(&history, format!("load{number}"), 1700 + number as u64);
    let mut clients: Vec<_> = (0..CLIENTS).map(client).collect();
    clients.iter().for_each(|client| site.add_user(&client.user, PASSWORD));
    history.started();
    let over = AtomicBool::new(false);
    let mut drains = thread::scope(|scope| {
        let end_work = EndOnDrop(&over);
        let working = scope.spawn(|| {
            together(&mut clients, |client| {
                // A connection that ends between two requests is opened again.
                while !over.load(Ordering::SeqCst) {
                    client.work(balancer.address, || !over.load(Ordering::SeqCst));
                }
            });
        });
        let mut drains = Vec::new();
        for _ in 0..rounds {
            for (place, server) in places.iter().zip(&mut servers) {
                drains.push(restart(&site, place, server));
            }
        }
        drop(end_work);
        working.join().unwrap();
        drains
    });
    history.started();
    together(&mut clients, |client| client.settle_all(balancer.address));
    for listed in site.sessions() {
        let of = |key: &str| listed[key].as_str().unwrap().to_owned();
        if of("user") != USER {
            history.note(&Line::Listed { user: of("user"), dialect: of("dialect") });
        }
    }
    let judgement = history.judge();
    judgement.assert_clean("after the restarts");
    drains.sort_unstable();
    eprintln!(
        "rolling: {rounds} rounds over {NODES} nodes, {judgement}; stopped within {:?} (median), {:?} (worst); {:?} in all",
        drains[drains.len() / 2],
        drains[drains.len() - 1],
        watch.elapsed()
    );
    assert_eq!(judgement.unknown, 0, "requests without an answer");
    assert_eq!(judgement.shed, 0, "requests that heard 503");
}

//! An app behind a guard, on a socket of its own, and a client that sends exactly the given bytes.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::thread::JoinHandle;
use std::time::Duration;

use actix_web::dev::ServerHandle;
use actix_web::{App, HttpResponse, HttpServer, rt, web};
use futures_util::StreamExt as _;
use parlance_1010_cookie::Cookie1010;
use parlance_cluster_api::{ClusterApi, Settings};
use parlance_core::{PasswordCredentials, Secret};
use parlance_dialect::testing::TestWorld;
use parlance_dialect::{DialectHandler, RequestCredential};
use parlance_flask_usertoken::FlaskUsertoken;

use crate::{AppContext, AuthGuard, Caller, DialectSet, Mount, TrustedProxies};

/// Timeout of the client, far beyond every limit of the server.
const READ_TIMEOUT: Duration = Duration::from_secs(60);
pub(super) const FORM: &str = "Content-Type: application/x-www-form-urlencoded";
/// A multipart form with the boundary `b`.
pub(super) const MULTIPART: &str = "Content-Type: multipart/form-data; boundary=b";

/// A dialect, under its name in the tests.
#[derive(Clone, Copy, Debug)]
pub(super) enum TestDialect {
    Cluster,
    /// cluster-api that also takes a header.
    ClusterHeader,
    Flask,
    Cookie,
}

/// The app, and the world that its dialects live in. The world's one user is `csmith`.
pub(super) struct TestServer {
    pub(super) world: TestWorld,
    dialects: Vec<Arc<dyn DialectHandler>>,
    address: SocketAddr,
    handle: ServerHandle,
    thread: Option<JoinHandle<()>>,
}

/// An answer: its status, its head, its body.
#[derive(Debug)]
pub(super) struct TestResponse {
    pub(super) status: u16,
    pub(super) head: String,
    pub(super) body: Vec<u8>,
}

impl TestServer {
    /// The app behind a guard that takes these dialects' credentials.
    pub(super) fn start(wires: &[TestDialect]) -> Self {
        let mut world = TestWorld::with_csmith();
        world.peer = Some([127, 0, 0, 1].into());
        let dialects: Vec<Arc<dyn DialectHandler>> =
            wires.iter().map(|wire| wire.dialect(&world)).collect();
        let context = AppContext {
            clock: Arc::<parlance_dialect::testing::TestClock>::clone(&world.clock),
            proxies: Arc::new(TrustedProxies::default()),
        };
        let mounts = dialects
            .iter()
            .map(|service| Mount { prefix: "/legacy".to_owned(), dialect: Arc::clone(service) });
        let dialect_set = DialectSet::new(context, mounts).unwrap();
        let guard = dialect_set.guard();
        let (sender, receiver) = channel();
        let thread = std::thread::spawn(move || {
            rt::System::new().block_on(async move {
                let server = HttpServer::new(move || {
                    App::new().configure(|config| routes(config, &dialect_set, &guard))
                });
                let server = server
                    .workers(1)
                    .disable_signals()
                    .shutdown_timeout(0)
                    .bind("127.0.0.1:0")
                    .unwrap();
                let address = server.addrs()[0];
                let server = server.run();
                sender.send((address, server.handle())).unwrap();
                server.await.unwrap();
            });
        });
        let (address, handle) = receiver.recv().unwrap();
        Self { world, dialects, address, handle, thread: Some(thread) }
    }

    /// The credential of a client of the dialect after a login.
    pub(super) fn log_in(&self, at: usize) -> RequestCredential {
        let login = PasswordCredentials {
            user: "csmith".to_owned(),
            password: Secret::new("XXX".to_owned()),
        };
        let now = parlance_core::ports::Clock::now(&*self.world.clock);
        let credential = self.dialects[at].log_in(login, self.world.peer, now);
        self.world.block_on(credential).unwrap()
    }

    /// The dialect's token alone, which its form carries.
    pub(super) fn token(&self, at: usize) -> String {
        self.log_in(at).body.split_once('=').unwrap().1.to_owned()
    }

    pub(super) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(READ_TIMEOUT)).unwrap();
        stream
    }

    /// Sends these header lines and this body, and reads the answer. Adds a `Content-Length` unless the head says how
    /// the body is framed.
    pub(super) fn send(&self, line: &str, headers: &[&str], body: &[u8]) -> TestResponse {
        let mut stream = self.connect();
        let mut head = format!("{line} HTTP/1.1\r\nHost: app.test\r\nConnection: close\r\n");
        headers.iter().for_each(|header| head.push_str(&format!("{header}\r\n")));
        if !head.contains("Transfer-Encoding") && !head.contains("Content-Length") {
            head.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        stream.write_all(format!("{head}\r\n").as_bytes()).unwrap();
        // A server that refuses a body need not read that body.
        let _refused = stream.write_all(body);
        let mut bytes = Vec::new();
        let _reset = stream.read_to_end(&mut bytes);
        TestResponse::read(&bytes)
    }

    /// Sends a request with a client's credential.
    pub(super) fn send_with_credential(
        &self,
        line: &str,
        credential: &RequestCredential,
    ) -> TestResponse {
        let lines = credential.headers.iter().map(|(name, value)| format!("{name}: {value}"));
        let lines: Vec<_> = lines.collect();
        let lines: Vec<_> = lines.iter().map(String::as_str).collect();
        self.send(line, &lines, credential.body.as_bytes())
    }
}

impl TestResponse {
    fn read(bytes: &[u8]) -> Self {
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n");
        let end = end.unwrap_or_else(|| panic!("no answer: {:?}", String::from_utf8_lossy(bytes)));
        let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
        let status = head.get(9..12).unwrap().parse().unwrap();
        Self { status, head, body: bytes[end + 4..].to_vec() }
    }

    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl TestDialect {
    fn dialect(self, world: &TestWorld) -> Arc<dyn DialectHandler> {
        match self {
            Self::Cluster => Arc::new(world.service(ClusterApi::default())),
            Self::ClusterHeader => Arc::new(world.service(ClusterApi::new(Settings {
                access_token_header: true,
                ..Settings::default()
            }))),
            Self::Flask => Arc::new(world.service(FlaskUsertoken::default())),
            Self::Cookie => Arc::new(world.service(Cookie1010::default())),
        }
    }
}

/// The routes of the app.
fn routes(config: &mut web::ServiceConfig, dialect_set: &DialectSet, guard: &AuthGuard) {
    let guarded = web::scope("/app")
        .wrap(guard.clone())
        .route("/whoami", web::to(whoami))
        .route("/echo", web::to(echo))
        .route("/first", web::to(first))
        .route("/nothing", web::to(HttpResponse::NoContent))
        .route("/maybe", web::to(maybe));
    dialect_set.mount(config);
    config
        .service(guarded)
        .route("/bare/whoami", web::to(whoami))
        .route("/bare/maybe", web::to(maybe));
}

async fn whoami(caller: Caller) -> String {
    let roles: Vec<_> = caller.roles.iter().map(ToString::to_string).collect();
    format!("{} by {} with {}", caller.name, caller.dialect, roles.join(","))
}

async fn maybe(caller: Option<Caller>) -> String {
    caller.map_or_else(|| "nobody".to_owned(), |caller| caller.name.clone())
}

/// Echoes the body.
async fn echo(_: Caller, mut payload: web::Payload) -> HttpResponse {
    let mut body = Vec::new();
    while let Some(chunk) = payload.next().await {
        body.extend_from_slice(&chunk.unwrap());
    }
    HttpResponse::Ok().body(body)
}

/// Returns the first piece of the body, without waiting for another.
async fn first(_: Caller, mut payload: web::Payload) -> HttpResponse {
    HttpResponse::Ok().body(payload.next().await.unwrap().unwrap())
}

impl Drop for TestServer {
    fn drop(&mut self) {
        self.world.block_on(self.handle.stop(false));
        let _panicked = self.thread.take().map(JoinHandle::join);
    }
}

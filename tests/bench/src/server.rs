//! The measured servers: the released binary, and the baselines such as the empty handler. Each is a child process that
//! ends with the bench.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use actix_web::{App, HttpResponse, HttpServer, rt, web};
use anyhow::{Context as _, Result, bail};
use parlance::Builder;
use parlance::actix::Caller;
use parlance::system::Stopwatch;
use parlance::table::TABLE;

use crate::naive::NAIVE_ARGUMENT;

/// A running server, terminated when dropped.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    /// The measured address.
    pub(crate) address: SocketAddr,
    /// The address of the admin listener with the metrics.
    pub(crate) admin: Option<SocketAddr>,
    /// The time from the start of the process to its readiness.
    pub(crate) startup_time: Duration,
}

/// A scrape of the metrics within this time has not counted the sessions.
const SETTLED_SCRAPE_TIME: Duration = Duration::from_millis(200);
/// The most scrapes until one comes within that time.
const MAX_SCRAPES: u32 = 30;

/// The argument that starts the guarded process; the database and the key file follow.
pub(crate) const GUARDED_ARGUMENT: &str = "serve-guarded";

/// An integrator's app: the empty handler behind a guard that takes every dialect.
pub(crate) fn serve_guarded(database: &str, key_file: &str) -> Result<()> {
    rt::System::new().block_on(async {
        let builder = Builder { key_file: key_file.into(), ..Builder::open(database)? };
        let dialect_set = builder.build(TABLE.iter().map(|entry| (entry.name, ""))).await?;
        let empty = |_: Caller| async { HttpResponse::Ok().finish() };
        let app = move || {
            App::new().service(web::resource("/guarded").wrap(dialect_set.guard()).to(empty))
        };
        let server = HttpServer::new(app).bind("127.0.0.1:0")?;
        let address = server.addrs().first().copied().context("no address is bound")?;
        println!("guarded ready: http://{address}");
        Ok(server.run().await?)
    })
}

/// The argument that starts the empty process.
pub(crate) const EMPTY_ARGUMENT: &str = "serve-empty";

/// The empty handler: as many workers as `parlance serve`, and no work.
pub(crate) fn serve_empty() -> Result<()> {
    rt::System::new().block_on(async {
        let empty = || async { HttpResponse::Ok().finish() };
        let server = HttpServer::new(move || App::new().default_service(web::get().to(empty)));
        let server = server.bind("127.0.0.1:0")?;
        let address = server.addrs().first().copied().context("no address is bound")?;
        println!("empty ready: http://{address}");
        Ok(server.run().await?)
    })
}

impl Server {
    /// Starts this program as the empty handler.
    pub(crate) fn empty(folder: &Path) -> Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg(EMPTY_ARGUMENT);
        Self::start(command, &folder.join("empty"))
    }

    /// Starts this program as an integrator's app on this database.
    pub(crate) fn guarded(folder: &Path, database: &str, key_file: &Path) -> Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args([GUARDED_ARGUMENT, database]).arg(key_file);
        Self::start(command, folder)
    }

    /// Starts this program as the baseline that renews with one transaction a request.
    pub(crate) fn naive(folder: &Path, database: &str) -> Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args([NAIVE_ARGUMENT, database]);
        Self::start(command, folder)
    }

    /// Starts nginx, which sends a subrequest to `ask` before each request passes to `upstream`. nginx listens on a
    /// port of its own.
    pub(crate) fn nginx(folder: &Path, ask: &str, upstream: SocketAddr) -> Result<Self> {
        fs::create_dir_all(folder)?;
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let here = folder.display();
        let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|what| format!("{what}_temp_path {here}/{what};\n"))
            .concat();
        let (asked, path) = ask.split_once('/').context("no server to ask is named")?;
        // As in the recipe, except for keep-alive: without it, opening two connections for each request would dominate
        // the figures.
        let text = format!(
            "daemon off;\nworker_processes 2;\npid {here}/pid;\nerror_log {here}/error.log crit;\nevents {{ worker_connections 4096; }}\n\
             http {{\n{temporary}access_log off;\nkeepalive_requests 1000000000;\n\
             upstream asked {{ server {asked}; keepalive 256; keepalive_requests 1000000000; }}\n\
             upstream app {{ server {upstream}; keepalive 256; keepalive_requests 1000000000; }}\n\
             server {{\nlisten {address};\nproxy_http_version 1.1;\nproxy_set_header Connection \"\";\n\
             location / {{\nauth_request /_ask;\nauth_request_set $auth_user $upstream_http_x_auth_user;\n\
             proxy_set_header Connection \"\";\nproxy_set_header X-Auth-User $auth_user;\nproxy_pass http://app;\n}}\n\
             location = /_ask {{\ninternal;\nproxy_pass http://asked/{path};\nproxy_pass_request_body off;\n\
             proxy_set_header Connection \"\";\nproxy_set_header Content-Length \"\";\n\
             proxy_set_header X-Original-Method $request_method;\nproxy_set_header X-Original-URI $request_uri;\n}}\n}}\n}}\n"
        );
        let file = folder.join("nginx.conf");
        fs::write(&file, text)?;
        let mut command = Command::new("nginx");
        command.arg("-p").arg(folder).arg("-c").arg(&file).args(["-e", "stderr"]);
        command.stdin(Stdio::null()).stdout(Stdio::null());
        Self::start_silent(command, address)
    }

    /// Starts Redis with its defaults, on a port of its own.
    pub(crate) fn redis(folder: &Path) -> Result<Self> {
        fs::create_dir_all(folder)?;
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let mut command = Command::new("redis-server");
        command.args(["--bind", "127.0.0.1", "--port", &address.port().to_string(), "--dir"]);
        command.arg(folder).stdin(Stdio::null()).stdout(Stdio::null());
        Self::start_silent(command, address)
    }

    /// Starts a program that does not announce its address, and waits until a connection succeeds. The wait fails only
    /// when the program exits.
    fn start_silent(mut command: Command, address: SocketAddr) -> Result<Self> {
        let name = command.get_program().to_string_lossy().into_owned();
        let watch = Stopwatch::start();
        let mut child = command.spawn().with_context(|| format!("cannot run {name}"))?;
        while TcpStream::connect(address).is_err() {
            if child.try_wait()?.is_some() {
                bail!("{name} did not start");
            }
            std::thread::yield_now();
        }
        Ok(Self { child, address, admin: None, startup_time: watch.elapsed() })
    }

    /// Starts `parlance serve` with the default of every setting that `more` leaves out.
    pub(crate) fn parlance(
        program: &Path,
        folder: &Path,
        database: &str,
        key_file: &Path,
        more: &[&str],
    ) -> Result<Self> {
        let mut command = Command::new(program);
        command.args(["serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"]);
        command.args(["--database", database]).args(more);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("PARLANCE_") {
                command.env_remove(name);
            }
        }
        // One key file for all servers, since several may share a database.
        command.env("PARLANCE_KEY_FILE", key_file);
        Self::start(command, folder)
    }

    /// Starts a program in a folder of its own and waits for the line that announces its addresses.
    pub(crate) fn start(mut command: Command, folder: &Path) -> Result<Self> {
        fs::create_dir_all(folder)?;
        let log = folder.join("log");
        command.current_dir(folder).stdin(Stdio::null()).stdout(Stdio::piped());
        let watch = Stopwatch::start();
        let mut child = command.stderr(File::create(&log)?).spawn().context("cannot start")?;
        let mut ready = String::new();
        if let Some(stdout) = child.stdout.take() {
            BufReader::new(stdout).read_line(&mut ready)?;
        }
        let took = watch.elapsed();
        let mut addresses =
            ready.split_whitespace().filter_map(|word| word.strip_prefix("http://")?.parse().ok());
        let (address, admin) = (addresses.next(), addresses.next());
        let Some(address) = address else {
            let _killed = child.kill().and_then(|()| child.wait());
            bail!("a server did not become ready: {}", fs::read_to_string(log).unwrap_or_default());
        };
        Ok(Self { child, address, admin, startup_time: took })
    }

    /// The memory of the process as the kernel counts it, in MiB: `VmRSS`, `VmHWM`.
    pub(crate) fn memory(&self, field: &str) -> Result<f64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let value = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        let kib: f64 = value
            .and_then(|value| value.trim().strip_suffix(" kB")?.parse().ok())
            .with_context(|| format!("the kernel does not report {field}"))?;
        Ok(kib / 1024.0)
    }

    /// Number of granted requests of this kind and dialect, by the server's own counter; `None` for a server without
    /// metrics.
    pub(crate) fn granted_count(&self, counter: &str, dialect: &str) -> Result<Option<u64>> {
        let Some(admin) = self.admin else { return Ok(None) };
        let text = settled_metrics(admin)?;
        let name = format!("parlance_{counter}_total{{dialect=\"{dialect}\"}} ");
        let count = text.lines().find_map(|line| line.strip_prefix(&name)?.trim().parse().ok());
        count.map(Some).with_context(|| format!("the server does not count {counter}"))
    }
}

/// The metrics, once a scrape is fast. A scrape now and then makes the server count its sessions; that work must be
/// over before a measurement begins.
fn settled_metrics(admin: SocketAddr) -> Result<String> {
    for _ in 0..MAX_SCRAPES {
        let watch = Stopwatch::start();
        let mut stream = TcpStream::connect(admin)?;
        stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: bench\r\nconnection: close\r\n\r\n")?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        if watch.elapsed() < SETTLED_SCRAPE_TIME {
            return Ok(text);
        }
    }
    bail!("the server does not finish the count of its sessions")
}

impl Drop for Server {
    fn drop(&mut self) {
        // `Child::kill` sends SIGKILL, which leaves nginx's workers running; on SIGTERM the master ends them.
        let id = self.child.id().to_string();
        let _asked = Command::new("kill").arg(id).status();
        let _killed = self.child.wait();
    }
}

/// Copies the binary that lies beside this program: a build during the run may replace the original.
pub(crate) fn copy_program(folder: &Path) -> Result<PathBuf> {
    let built = std::env::current_exe()?.with_file_name("parlance");
    let copy = folder.join("parlance");
    fs::copy(built, &copy).context("`parlance` is not built: run `cargo xtask bench`")?;
    Ok(copy)
}

//! Servers: the real binary, and the empty handler, each a process of its own that ends with us.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use actix_web::{App, HttpResponse, HttpServer, rt, web};
use anyhow::{Context as _, Result, bail};
use parlance::Setup;
use parlance::actix::Caller;
use parlance::system::Stopwatch;
use parlance::table::TABLE;

use crate::naive::NAIVE;

/// A running server; killed when it is dropped.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    /// Where it is to be measured.
    pub(crate) address: SocketAddr,
    /// Where its counters are.
    pub(crate) admin: Option<SocketAddr>,
    /// How long it took to be ready.
    pub(crate) ready: Duration,
}

/// Metrics that come within this time were not counted for long.
const AT_ONCE: Duration = Duration::from_millis(200);
/// So often they may come later.
const SCRAPES: u32 = 30;

/// What the guarded process is called by; the database follows.
pub(crate) const GUARDED: &str = "serve-guarded";

/// An integrator's app: the empty handler behind a guard that takes every dialect.
pub(crate) fn serve_guarded(database: &str, key_file: &str) -> Result<()> {
    rt::System::new().block_on(async {
        let setup = Setup { key_file: key_file.into(), ..Setup::open(database)? };
        let site = setup.site(TABLE.iter().map(|entry| (entry.name, ""))).await?;
        let empty = |_: Caller| async { HttpResponse::Ok().finish() };
        let app =
            move || App::new().service(web::resource("/guarded").wrap(site.guard()).to(empty));
        let server = HttpServer::new(app).bind("127.0.0.1:0")?;
        let address = server.addrs().first().copied().context("bound to nothing")?;
        println!("guarded ready: http://{address}");
        Ok(server.run().await?)
    })
}

/// What the empty process is called by.
pub(crate) const EMPTY: &str = "serve-empty";

/// The empty process: as many workers as `parlance serve` has, and nothing else.
pub(crate) fn serve_empty() -> Result<()> {
    rt::System::new().block_on(async {
        let empty = || async { HttpResponse::Ok().finish() };
        let server = HttpServer::new(move || App::new().default_service(web::get().to(empty)));
        let server = server.bind("127.0.0.1:0")?;
        let address = server.addrs().first().copied().context("bound to nothing")?;
        println!("empty ready: http://{address}");
        Ok(server.run().await?)
    })
}

impl Server {
    /// This program once more, as the empty handler.
    pub(crate) fn empty(folder: &Path) -> Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg(EMPTY);
        Self::start(command, &folder.join("empty"))
    }

    /// This program once more, as an integrator's app on this database.
    pub(crate) fn guarded(folder: &Path, database: &str, key_file: &Path) -> Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args([GUARDED, database]).arg(key_file);
        Self::start(command, folder)
    }

    /// This program once more, renewing by one transaction a request.
    pub(crate) fn naive(folder: &Path, database: &str) -> Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args([NAIVE, database]);
        Self::start(command, folder)
    }

    /// nginx, which asks `ask` about every request before it passes it to `upstream`. It listens on the port of neither.
    pub(crate) fn nginx(folder: &Path, ask: &str, upstream: SocketAddr) -> Result<Self> {
        fs::create_dir_all(folder)?;
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let here = folder.display();
        let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|what| format!("{what}_temp_path {here}/{what};\n"))
            .concat();
        let (asked, path) = ask.split_once('/').context("nobody is asked")?;
        // As in the recipe, but that connections are kept: two for each request would be all that is measured.
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
        Self::silent(command, address)
    }

    /// Redis as it comes, on a port of its own.
    pub(crate) fn redis(folder: &Path) -> Result<Self> {
        fs::create_dir_all(folder)?;
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let mut command = Command::new("redis-server");
        command.args(["--bind", "127.0.0.1", "--port", &address.port().to_string(), "--dir"]);
        command.arg(folder).stdin(Stdio::null()).stdout(Stdio::null());
        Self::silent(command, address)
    }

    /// Starts what does not say when it listens. What ends a wait in vain is that it ends.
    fn silent(mut command: Command, address: SocketAddr) -> Result<Self> {
        let name = command.get_program().to_string_lossy().into_owned();
        let watch = Stopwatch::start();
        let mut child = command.spawn().with_context(|| format!("cannot run {name}"))?;
        while TcpStream::connect(address).is_err() {
            if child.try_wait()?.is_some() {
                bail!("{name} did not start");
            }
            std::thread::yield_now();
        }
        Ok(Self { child, address, admin: None, ready: watch.elapsed() })
    }

    /// `parlance serve` as it comes, with the defaults of every setting.
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
        // One key file for all, since several may share a database.
        command.env("PARLANCE_KEY_FILE", key_file);
        Self::start(command, folder)
    }

    /// Starts it in a folder of its own and waits until it says where it listens.
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
        Ok(Self { child, address, admin, ready: took })
    }

    /// What the kernel says of its memory, in MiB: `VmRSS`, `VmHWM`.
    pub(crate) fn memory(&self, field: &str) -> Result<f64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let value = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        let kib: f64 = value
            .and_then(|value| value.trim().strip_suffix(" kB")?.parse().ok())
            .with_context(|| format!("the kernel does not tell {field}"))?;
        Ok(kib / 1024.0)
    }

    /// How often its wire has been asked for this and has granted it, by the server's own count; `None` if it does not count.
    pub(crate) fn granted(&self, counter: &str, dialect: &str) -> Result<Option<u64>> {
        let Some(admin) = self.admin else { return Ok(None) };
        let text = settled(admin)?;
        let name = format!("parlance_{counter}_total{{dialect=\"{dialect}\"}} ");
        let count = text.lines().find_map(|line| line.strip_prefix(&name)?.trim().parse().ok());
        count.map(Some).with_context(|| format!("the server does not count {counter}"))
    }
}

/// The metrics, once they come at once: the server counts its sessions now and then when it is asked for them, and that is to be over
/// before anything is measured.
fn settled(admin: SocketAddr) -> Result<String> {
    for _ in 0..SCRAPES {
        let watch = Stopwatch::start();
        let mut stream = TcpStream::connect(admin)?;
        stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: bench\r\nconnection: close\r\n\r\n")?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        if watch.elapsed() < AT_ONCE {
            return Ok(text);
        }
    }
    bail!("the server does not come to an end with counting its sessions")
}

impl Drop for Server {
    fn drop(&mut self) {
        // nginx's workers end with their master only if he is asked.
        let id = self.child.id().to_string();
        let _asked = Command::new("kill").arg(id).status();
        let _killed = self.child.wait();
    }
}

/// A copy of the binary beside us: cargo's own may be replaced while we run.
pub(crate) fn program(folder: &Path) -> Result<PathBuf> {
    let built = std::env::current_exe()?.with_file_name("parlance");
    let copy = folder.join("parlance");
    fs::copy(built, &copy).context("`parlance` is not built: run `cargo xtask bench`")?;
    Ok(copy)
}

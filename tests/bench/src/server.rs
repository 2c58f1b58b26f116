//! Servers: the real binary, and the empty handler, each a process of its own that ends with us.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use actix_web::{App, HttpResponse, HttpServer, rt, web};
use anyhow::{Context as _, Result, bail};

/// A running server; killed when it is dropped.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    /// Where it is to be measured.
    pub(crate) address: SocketAddr,
    /// Where its counters are.
    admin: Option<SocketAddr>,
}

/// What the empty process is called by.
pub(crate) const EMPTY: &str = "serve-empty";

/// The empty process: as many workers as `parlance serve` has, and nothing else.
pub(crate) fn serve_empty() -> Result<()> {
    rt::System::new().block_on(async {
        let empty = || async { HttpResponse::Ok().finish() };
        let server = HttpServer::new(move || App::new().route("/login", web::get().to(empty)));
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

    /// `parlance serve` as it comes, with the defaults of every setting.
    pub(crate) fn parlance(program: &Path, folder: &Path, database: &str) -> Result<Self> {
        let mut command = Command::new(program);
        command.args(["serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"]);
        command.args(["--database", database]);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("PARLANCE_") {
                command.env_remove(name);
            }
        }
        Self::start(command, folder)
    }

    /// Starts it in a folder of its own and waits until it says where it listens.
    fn start(mut command: Command, folder: &Path) -> Result<Self> {
        fs::create_dir_all(folder)?;
        let log = folder.join("log");
        command.current_dir(folder).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.stderr(File::create(&log)?).spawn().context("cannot start")?;
        let mut ready = String::new();
        if let Some(stdout) = child.stdout.take() {
            BufReader::new(stdout).read_line(&mut ready)?;
        }
        let mut addresses =
            ready.split_whitespace().filter_map(|word| word.strip_prefix("http://")?.parse().ok());
        let (address, admin) = (addresses.next(), addresses.next());
        let Some(address) = address else {
            let _killed = child.kill().and_then(|()| child.wait());
            bail!("a server did not become ready: {}", fs::read_to_string(log).unwrap_or_default());
        };
        Ok(Self { child, address, admin })
    }

    /// How often its wire has been asked for this and has granted it, by the server's own count; `None` if it does not count.
    pub(crate) fn granted(&self, counter: &str) -> Result<Option<u64>> {
        let Some(admin) = self.admin else { return Ok(None) };
        let mut stream = TcpStream::connect(admin)?;
        stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: bench\r\nconnection: close\r\n\r\n")?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        let name = format!("parlance_{counter}_total{{dialect=\"polish-longtoken\"}} ");
        let count = text.lines().find_map(|line| line.strip_prefix(&name)?.trim().parse().ok());
        count.map(Some).with_context(|| format!("the server does not count {counter}"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _killed = self.child.kill().and_then(|()| self.child.wait());
    }
}

/// A copy of the binary beside us: cargo's own may be replaced while we run.
pub(crate) fn program(folder: &Path) -> Result<PathBuf> {
    let built = std::env::current_exe()?.with_file_name("parlance");
    let copy = folder.join("parlance");
    fs::copy(built, &copy).context("`parlance` is not built: run `cargo xtask bench`")?;
    Ok(copy)
}

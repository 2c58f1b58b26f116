//! A private PostgreSQL in a temporary folder, which goes when we go.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result, bail};

use crate::shell::{has, output, succeed};

/// Waits until its standard input is closed, which happens however we end, then stops the server and removes the folder.
/// It has a process group of its own, so a Ctrl-C in the terminal does not reach it.
const KEEPER: &str = r#"
folder=$1 ; shift
while read -r _ ; do : ; done
"$@" -D "$folder/data" -m immediate -w stop >/dev/null 2>&1
rm -rf -- "$folder"
"#;

/// For tests: many connections, and no waiting for the disk. `synchronous_commit` stays on, as parlance demands.
const SETTINGS: &str = "
listen_addresses = '127.0.0.1'
max_connections = 300
fsync = off
full_page_writes = off
timezone = 'UTC'
";

/// A running server. Dropping it stops the server and removes its folder.
#[derive(Debug)]
pub(crate) struct Cluster {
    keeper: Child,
    port: u16,
}

impl Cluster {
    /// Starts one on a free port of the loopback interface, for anybody on this machine.
    pub(crate) fn start() -> Result<Self> {
        let bin = bin().context("PostgreSQL's programs are nowhere")?;
        let folder = tempfile::Builder::new().prefix("parlance-postgres-").tempdir()?;
        let folder = folder.keep();
        let user = user()?;
        if let Some(user) = &user {
            chown(&folder, Some(user.uid), Some(user.gid))?;
        }
        let command = |program: &str| {
            let mut words = user.as_ref().map(User::become_him).unwrap_or_default();
            words.push(bin.join(program).display().to_string());
            words
        };
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let keeper = Command::new("sh")
            .args(["-c", KEEPER, "keeper"])
            .arg(&folder)
            .args(command("pg_ctl"))
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .context("cannot run sh")?;
        // From here on the folder goes when this is dropped.
        let cluster = Self { keeper, port };
        let data = folder.join("data").display().to_string();
        let initdb =
            ["-D", &data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-locale", "-N"];
        run(&command("initdb"), &initdb, &folder)?;
        let sockets = format!("unix_socket_directories = '{}'", folder.display());
        let file = folder.join("data/postgresql.conf");
        let settings =
            fs::read_to_string(&file)? + SETTINGS + &sockets + &format!("\nport = {port}\n");
        fs::write(&file, settings)?;
        let log = folder.join("log").display().to_string();
        if let Err(error) =
            run(&command("pg_ctl"), &["-D", &data, "-l", &log, "-w", "start"], &folder)
        {
            eprintln!("{}", fs::read_to_string(&log).unwrap_or_default());
            return Err(error);
        }
        Ok(cluster)
    }

    /// Where it is.
    pub(crate) fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.port)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        let _ = self.keeper.wait();
    }
}

fn run(program: &[String], arguments: &[&str], folder: &Path) -> Result<()> {
    let (first, rest) = program.split_first().context("no program")?;
    let mut command = Command::new(first);
    command.args(rest).args(arguments).current_dir(folder).stdout(Stdio::null());
    succeed(&mut command)
}

/// The newest of Debian's versions, or what is in the path.
fn bin() -> Option<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let number = |path: &PathBuf| path.file_name()?.to_str()?.parse::<u32>().ok();
    let newest = versions.map(|entry| entry.path()).max_by_key(number).map(|path| path.join("bin"));
    let in_path = || {
        let found = output(Command::new("sh").args(["-c", "command -v initdb"]))?;
        Some(Path::new(&found).parent()?.to_owned())
    };
    newest.filter(|bin| bin.join("initdb").exists() && bin.join("pg_ctl").exists()).or_else(in_path)
}

/// The account that the server runs as, where that is not our own: PostgreSQL does not run as root.
struct User {
    uid: u32,
    gid: u32,
}

fn user() -> Result<Option<User>> {
    if !is_root() {
        return Ok(None);
    }
    let id = |flag| output(Command::new("id").args([flag, "postgres"]))?.parse().ok();
    let (Some(uid), Some(gid)) = (id("-u"), id("-g")) else {
        bail!("PostgreSQL does not run as root, and there is no user postgres");
    };
    Ok(Some(User { uid, gid }))
}

impl User {
    fn become_him(&self) -> Vec<String> {
        let (uid, gid) = (format!("--reuid={}", self.uid), format!("--regid={}", self.gid));
        ["setpriv", &uid, &gid, "--clear-groups", "--"].map(str::to_owned).to_vec()
    }
}

fn is_root() -> bool {
    output(Command::new("id").arg("-u")).as_deref() == Some("0")
}

/// Sees to it that everything that the tests need is there: as root on Debian it installs what is missing, otherwise it says so.
pub(crate) fn provide() -> Result<()> {
    let there = [
        ("postgresql", bin().is_some()),
        (
            "libpq-dev",
            has("pg_config", &["--version"]) || has("pkg-config", &["--exists", "libpq"]),
        ),
        ("python3-venv", has("python3", &["-c", "import ensurepip, venv"])),
        ("curl", has("curl", &["--version"])),
    ];
    let missing: Vec<_> = there.iter().filter(|(_, there)| !there).map(|(name, _)| *name).collect();
    if missing.is_empty() {
        return Ok(());
    }
    if !is_root() || !has("apt-get", &["--version"]) {
        bail!("the tests need: apt-get install --no-install-recommends {}", missing.join(" "));
    }
    let apt = |arguments: &[&str]| {
        succeed(Command::new("apt-get").env("DEBIAN_FRONTEND", "noninteractive").args(arguments))
    };
    apt(&["update"])?;
    let install = ["install", "-y", "--no-install-recommends"];
    apt(&[&install[..], &missing].concat())
}

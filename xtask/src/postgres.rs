//! A private PostgreSQL in a temporary folder, removed when this process ends.
//!
//! A test that is skipped for lack of a server is a test that does not run, and a server set up by each developer
//! differs on each machine. Containers need a daemon, and rights that a build machine may not give. Therefore the tests
//! need only Debian's `postgresql`, or another version in the path. They leave no process and no file behind, even
//! after Ctrl-C or SIGKILL.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result, bail};

use crate::shell::{can_run, output, run_ok};

/// Waits until its standard input is closed, which happens on every kind of exit, then stops the server and removes the
/// folder. The process group is its own, so a Ctrl-C in the terminal does not reach the keeper.
const WATCHDOG_SCRIPT: &str = r#"
folder=$1 ; shift
while read -r _ ; do : ; done
"$@" -D "$folder/data" -m immediate -w stop >/dev/null 2>&1
rm -rf -- "$folder"
"#;

/// For tests: many connections, and no waiting for the disk. `synchronous_commit` stays on, as parlance demands.
const TEST_SETTINGS: &str = "
max_connections = 300
fsync = off
full_page_writes = off
timezone = 'UTC'
";
/// The defaults of PostgreSQL, as in production: an acknowledged commit is on the disk.
pub(crate) const DEFAULT_SETTINGS: &str = "
fsync = on
full_page_writes = on
synchronous_commit = on
";

/// A running server. Dropping it stops the server and removes its folder.
#[derive(Debug)]
pub(crate) struct Cluster {
    watchdog: Child,
    port: u16,
}

impl Cluster {
    /// Starts a server for tests on a free port of the loopback interface, open to every local user.
    pub(crate) fn start() -> Result<Self> {
        Self::start_with(TEST_SETTINGS)
    }

    /// Starts a server with these settings.
    pub(crate) fn start_with(settings: &str) -> Result<Self> {
        let bin = programs_folder().context("PostgreSQL's programs are not found: install Debian's `postgresql`, or put initdb and pg_ctl into PATH")?;
        let folder = tempfile::Builder::new().prefix("parlance-postgres-").tempdir()?;
        let folder = folder.keep();
        let user = service_account()?;
        if let Some(user) = &user {
            chown(&folder, Some(user.uid), Some(user.gid))?;
        }
        let command = |program: &str| {
            let mut words = user.as_ref().map(ServiceAccount::setpriv_command).unwrap_or_default();
            words.push(bin.join(program).display().to_string());
            words
        };
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let watchdog = Command::new("sh")
            .args(["-c", WATCHDOG_SCRIPT, "keeper"])
            .arg(&folder)
            .args(command("pg_ctl"))
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .context("cannot run sh")?;
        // From here on, dropping the cluster removes the folder.
        let cluster = Self { watchdog, port };
        let data = folder.join("data").display().to_string();
        let initdb =
            ["-D", &data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-locale", "-N"];
        run(&command("initdb"), &initdb, &folder)?;
        let file = folder.join("data/postgresql.conf");
        let own = format!(
            "listen_addresses = '127.0.0.1'\nport = {port}\nunix_socket_directories = '{}'\n",
            folder.display()
        );
        fs::write(&file, fs::read_to_string(&file)? + settings + &own)?;
        let log = folder.join("log").display().to_string();
        if let Err(error) =
            run(&command("pg_ctl"), &["-D", &data, "-l", &log, "-w", "start"], &folder)
        {
            eprintln!("{}", fs::read_to_string(&log).unwrap_or_default());
            return Err(error);
        }
        Ok(cluster)
    }

    /// The URL of the server.
    pub(crate) fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.port)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        drop(self.watchdog.stdin.take());
        let _ = self.watchdog.wait();
    }
}

fn run(program: &[String], arguments: &[&str], folder: &Path) -> Result<()> {
    let (first, rest) = program.split_first().context("no program")?;
    let mut command = Command::new(first);
    command.args(rest).args(arguments).current_dir(folder).stdout(Stdio::null());
    run_ok(&mut command)
}

/// The programs of the newest Debian version, or those in the path.
fn programs_folder() -> Option<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let number = |path: &PathBuf| path.file_name()?.to_str()?.parse::<u32>().ok();
    let newest = versions.map(|entry| entry.path()).max_by_key(number).map(|path| path.join("bin"));
    let in_path = || {
        let found = output(Command::new("sh").args(["-c", "command -v initdb"]))?;
        Some(Path::new(&found).parent()?.to_owned())
    };
    newest.filter(|bin| bin.join("initdb").exists() && bin.join("pg_ctl").exists()).or_else(in_path)
}

/// The account of the server where this process is root: PostgreSQL does not run as root.
struct ServiceAccount {
    uid: u32,
    gid: u32,
}

fn service_account() -> Result<Option<ServiceAccount>> {
    if !is_root() {
        return Ok(None);
    }
    let id = |flag| output(Command::new("id").args([flag, "postgres"]))?.parse().ok();
    let (Some(uid), Some(gid)) = (id("-u"), id("-g")) else {
        bail!("PostgreSQL does not run as root, and there is no user postgres");
    };
    Ok(Some(ServiceAccount { uid, gid }))
}

impl ServiceAccount {
    fn setpriv_command(&self) -> Vec<String> {
        let (uid, gid) = (format!("--reuid={}", self.uid), format!("--regid={}", self.gid));
        ["setpriv", &uid, &gid, "--clear-groups", "--"].map(str::to_owned).to_vec()
    }
}

fn is_root() -> bool {
    output(Command::new("id").arg("-u")).as_deref() == Some("0")
}

/// Provides everything that the tests need: as root on Debian, installs missing packages; otherwise fails with their
/// names.
pub(crate) fn install_test_packages() -> Result<()> {
    let python = ("python3-venv", can_run("python3", &["-c", "import ensurepip, venv"]));
    let curl = ("curl", can_run("curl", &["--version"]));
    let proxies = [
        ("nginx-light", can_run("nginx", &["-v"])),
        ("caddy", can_run("caddy", &["version"])),
        ("haproxy", can_run("haproxy", &["-v"])),
    ];
    let faketime = ["-c", "ls /usr/lib/*/faketime/libfaketimeMT.so.1"];
    let faults = [
        ("faketime", can_run("sh", &faketime)),
        ("procps", can_run("pgrep", &["--version"])),
        ("strace", can_run("strace", &["-V"])),
        ("slowhttptest", can_run("sh", &["-c", "command -v slowhttptest"])),
        (
            "pgbouncer",
            can_run("sh", &["-c", "command -v pgbouncer || test -x /usr/sbin/pgbouncer"]),
        ),
    ];
    install_missing(
        "the tests",
        &[&database_packages()[..], &[python, curl], &proxies, &faults].concat(),
    )
}

/// The same for the benchmark; with `peers`, also for the peers.
pub(crate) fn install_bench_packages(peers: bool) -> Result<()> {
    let wrk = ("wrk", can_run("sh", &["-c", "command -v wrk"]));
    let nginx = ("nginx-light", can_run("nginx", &["-v"]));
    let sqlite = ("sqlite3", can_run("sqlite3", &["--version"]));
    let theirs = [
        ("python3-venv", !peers || can_run("python3", &["-c", "import ensurepip, venv"])),
        ("nodejs", !peers || can_run("node", &["--version"])),
        ("npm", !peers || can_run("npm", &["--version"])),
        ("redis-server", !peers || can_run("redis-server", &["--version"])),
    ];
    install_missing(
        "the benchmark",
        &[&database_packages()[..], &[wrk, nginx, sqlite], &theirs].concat(),
    )
}

/// The packages needed to run PostgreSQL and to link against its library, each with its presence.
fn database_packages() -> [(&'static str, bool); 2] {
    let library =
        can_run("pg_config", &["--version"]) || can_run("pkg-config", &["--exists", "libpq"]);
    [("postgresql", programs_folder().is_some()), ("libpq-dev", library)]
}

fn install_missing(who: &str, there: &[(&str, bool)]) -> Result<()> {
    let missing: Vec<_> = there.iter().filter(|(_, there)| !there).map(|(name, _)| *name).collect();
    if missing.is_empty() {
        return Ok(());
    }
    if !is_root() || !can_run("apt-get", &["--version"]) {
        let missing = missing.join(" ");
        bail!(
            "{who} cannot run without these packages: apt-get install --no-install-recommends {missing}"
        );
    }
    let apt = |arguments: &[&str]| {
        run_ok(Command::new("apt-get").env("DEBIAN_FRONTEND", "noninteractive").args(arguments))
    };
    apt(&["update"])?;
    let _quiet = NoDaemonStart::new()?;
    let install = ["install", "-y", "--no-install-recommends"];
    apt(&[&install[..], &missing].concat())
}

/// Keeps newly installed packages from starting daemons, until dropped (`invoke-rc.d(8)`): the tests start their own
/// servers.
struct NoDaemonStart {
    ours: bool,
}

const POLICY_FILE: &str = "/usr/sbin/policy-rc.d";

impl NoDaemonStart {
    fn new() -> Result<Self> {
        let ours = !Path::new(POLICY_FILE).exists();
        if ours {
            fs::write(POLICY_FILE, "#!/bin/sh\nexit 101\n")?;
            fs::set_permissions(POLICY_FILE, fs::Permissions::from_mode(0o755))?;
        }
        Ok(Self { ours })
    }
}

impl Drop for NoDaemonStart {
    fn drop(&mut self) {
        if self.ours {
            let _gone = fs::remove_file(POLICY_FILE);
        }
    }
}

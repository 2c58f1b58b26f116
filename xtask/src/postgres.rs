//! A private PostgreSQL in a temporary folder, which goes when we go.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt as _, chown};
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
const FOR_TESTS: &str = "
max_connections = 300
fsync = off
full_page_writes = off
timezone = 'UTC'
";
/// As PostgreSQL comes, which is how it runs in production: what is acknowledged is on the disk.
pub(crate) const AS_IT_COMES: &str = "
fsync = on
full_page_writes = on
synchronous_commit = on
";

/// A running server. Dropping it stops the server and removes its folder.
#[derive(Debug)]
pub(crate) struct Cluster {
    keeper: Child,
    port: u16,
}

impl Cluster {
    /// Starts one for tests on a free port of the loopback interface, for anybody on this machine.
    pub(crate) fn start() -> Result<Self> {
        Self::start_with(FOR_TESTS)
    }

    /// Starts one with these settings.
    pub(crate) fn start_with(settings: &str) -> Result<Self> {
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
    let python = ("python3-venv", has("python3", &["-c", "import ensurepip, venv"]));
    let curl = ("curl", has("curl", &["--version"]));
    let proxies = [
        ("nginx-light", has("nginx", &["-v"])),
        ("caddy", has("caddy", &["version"])),
        ("haproxy", has("haproxy", &["-v"])),
    ];
    let faketime = ["-c", "ls /usr/lib/*/faketime/libfaketimeMT.so.1"];
    let faults = [
        ("faketime", has("sh", &faketime)),
        ("procps", has("pgrep", &["--version"])),
        ("strace", has("strace", &["-V"])),
        ("slowhttptest", has("sh", &["-c", "command -v slowhttptest"])),
        ("pgbouncer", has("sh", &["-c", "command -v pgbouncer || test -x /usr/sbin/pgbouncer"])),
    ];
    install("the tests", &[&database()[..], &[python, curl], &proxies, &faults].concat())
}

/// The same for the benchmark, and for the peers where they are wanted.
pub(crate) fn provide_for_bench(peers: bool) -> Result<()> {
    let wrk = ("wrk", has("sh", &["-c", "command -v wrk"]));
    let nginx = ("nginx-light", has("nginx", &["-v"]));
    let sqlite = ("sqlite3", has("sqlite3", &["--version"]));
    let theirs = [
        ("python3-venv", !peers || has("python3", &["-c", "import ensurepip, venv"])),
        ("nodejs", !peers || has("node", &["--version"])),
        ("npm", !peers || has("npm", &["--version"])),
        ("redis-server", !peers || has("redis-server", &["--version"])),
    ];
    install("the benchmark", &[&database()[..], &[wrk, nginx, sqlite], &theirs].concat())
}

/// What is needed to run PostgreSQL and to link against its library, and whether it is there.
fn database() -> [(&'static str, bool); 2] {
    let library = has("pg_config", &["--version"]) || has("pkg-config", &["--exists", "libpq"]);
    [("postgresql", bin().is_some()), ("libpq-dev", library)]
}

fn install(who: &str, there: &[(&str, bool)]) -> Result<()> {
    let missing: Vec<_> = there.iter().filter(|(_, there)| !there).map(|(name, _)| *name).collect();
    if missing.is_empty() {
        return Ok(());
    }
    if !is_root() || !has("apt-get", &["--version"]) {
        let missing = missing.join(" ");
        bail!("{who} cannot do without: apt-get install --no-install-recommends {missing}");
    }
    let apt = |arguments: &[&str]| {
        succeed(Command::new("apt-get").env("DEBIAN_FRONTEND", "noninteractive").args(arguments))
    };
    apt(&["update"])?;
    let _quiet = NoDaemons::new()?;
    let install = ["install", "-y", "--no-install-recommends"];
    apt(&[&install[..], &missing].concat())
}

/// While it lives, a package that is installed starts no daemon (`invoke-rc.d(8)`): the tests start what they need themselves.
struct NoDaemons {
    ours: bool,
}

const POLICY: &str = "/usr/sbin/policy-rc.d";

impl NoDaemons {
    fn new() -> Result<Self> {
        let ours = !Path::new(POLICY).exists();
        if ours {
            fs::write(POLICY, "#!/bin/sh\nexit 101\n")?;
            fs::set_permissions(POLICY, fs::Permissions::from_mode(0o755))?;
        }
        Ok(Self { ours })
    }
}

impl Drop for NoDaemons {
    fn drop(&mut self) {
        if self.ours {
            let _gone = fs::remove_file(POLICY);
        }
    }
}

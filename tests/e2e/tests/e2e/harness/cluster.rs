//! A PostgreSQL of a single test, which the test may stop.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use super::clock::wait_for;
use super::database::psql;

/// A small cluster in a temporary folder, stopped on drop.
pub(crate) struct Cluster {
    folder: TempDir,
    programs: PathBuf,
    port: u16,
    options: String,
}

impl Cluster {
    /// Creates and starts a cluster.
    pub(crate) fn start() -> Self {
        Self::start_with(&[], "")
    }

    /// As [`Self::start`], with these arguments of `initdb` and these options of the server.
    pub(crate) fn start_with(make: &[&str], options: &str) -> Self {
        let cluster = Self::prepare(options);
        let data = cluster.data();
        let usual = ["-D", &data, "-U", "postgres", "-A", "trust", "--no-sync"];
        cluster.run("initdb", &[&usual[..], make].concat());
        cluster.start_again();
        cluster
    }

    /// Creates and starts a standby of the primary at this address.
    pub(crate) fn start_standby(primary: SocketAddr) -> Self {
        let cluster = Self::prepare("");
        let (data, port) = (cluster.data(), primary.port().to_string());
        let from = ["-h", "127.0.0.1", "-p", &port, "-U", "postgres"];
        let copy = ["-D", &data, "-R", "-X", "stream", "-c", "fast", "--no-sync"];
        cluster.run("pg_basebackup", &[&from[..], &copy[..]].concat());
        cluster.start_again();
        cluster
    }

    /// Promotes a standby to primary.
    pub(crate) fn promote(&self) {
        self.run("pg_ctl", &["-D", &self.data(), "-w", "promote"]);
    }

    fn prepare(options: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let cluster = Self { folder, programs: programs(), port, options: options.to_owned() };
        if is_root() {
            let owned =
                Command::new("chown").arg("postgres").arg(cluster.folder.path()).status().unwrap();
            assert!(owned.success(), "there is no system user postgres");
        }
        cluster
    }

    pub(crate) fn url(&self) -> String {
        Self::url_at(self.address())
    }

    /// The URL of a cluster at this address, for instance behind a proxy.
    pub(crate) fn url_at(address: SocketAddr) -> String {
        format!("postgres://postgres@{address}/postgres")
    }

    pub(crate) fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    /// The number of connections of other clients.
    pub(crate) fn connections(&self) -> usize {
        let count = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()";
        psql(&self.url(), count).trim().parse().unwrap()
    }

    /// Whether the parent process runs.
    pub(crate) fn is_running(&self) -> bool {
        self.postmaster_pid().is_some_and(|pid| fs::exists(format!("/proc/{pid}")).unwrap())
    }

    /// Stops the cluster as a crash does: connections are cut.
    pub(crate) fn stop(&self) {
        self.run("pg_ctl", &["-D", &self.data(), "-m", "immediate", "-w", "stop"]);
    }

    /// Kills the parent process with SIGKILL. Its children notice and end; the cluster can then be started again.
    pub(crate) fn kill(&self) {
        let parent = self.postmaster_pid().expect("it runs");
        let listed = Command::new("pgrep").args(["-P", &parent]).output().unwrap();
        let sent = Command::new("kill").args(["-KILL", &parent]).status().unwrap();
        assert!(sent.success(), "kill -KILL {parent}");
        let children = String::from_utf8(listed.stdout).unwrap();
        for pid in children.lines().chain([parent.as_str()]) {
            let gone = || (!is_alive(pid)).then_some(());
            wait_for("the end of its processes", gone);
        }
    }

    /// Starts the cluster again, on the same port.
    pub(crate) fn start_again(&self) {
        let here = self.folder.path().display();
        let options =
            format!("-p {} -k {here} -c listen_addresses=127.0.0.1 {}", self.port, self.options);
        let log = format!("{here}/log");
        self.run("pg_ctl", &["-D", &self.data(), "-o", &options, "-l", &log, "-w", "start"]);
    }

    /// Freezes all processes, like a machine that has lost its disk: connections stay open, and nothing answers.
    pub(crate) fn freeze(&self) {
        self.signal_all("-STOP");
    }

    /// Lets frozen processes go on.
    pub(crate) fn thaw(&self) {
        self.signal_all("-CONT");
    }

    fn signal_all(&self, signal: &str) {
        let parent = self.postmaster_pid().expect("it runs");
        // The parent first: it starts processes.
        let sent = Command::new("kill").args([signal, &parent]).status().unwrap();
        assert!(sent.success(), "kill {signal} {parent}");
        let sent = Command::new("pkill").args([signal, "-P", &parent]).status().unwrap();
        assert!(sent.success(), "pkill {signal} -P {parent}");
    }

    /// The process id of the parent of all other processes.
    fn postmaster_pid(&self) -> Option<String> {
        let file = fs::read_to_string(self.folder.path().join("data/postmaster.pid")).ok()?;
        file.lines().next().map(str::to_owned)
    }

    fn data(&self) -> String {
        self.folder.path().join("data").display().to_string()
    }

    /// PostgreSQL refuses to run as root, so root runs the program as the user postgres.
    #[track_caller]
    fn run(&self, program: &str, arguments: &[&str]) {
        let path = self.programs.join(program);
        let mut command = if is_root() {
            let mut command = Command::new("runuser");
            command.args(["-u", "postgres", "--"]).arg(path);
            command
        } else {
            Command::new(path)
        };
        // Output goes into a file: the server that `pg_ctl` leaves behind would hold a pipe open.
        let said = self.folder.path().join(format!("{program}.out"));
        let file = fs::File::create(&said).unwrap();
        let status = command
            .args(arguments)
            .current_dir("/")
            .stdout(file.try_clone().unwrap())
            .stderr(file)
            .status()
            .unwrap();
        assert!(status.success(), "{program}: {}", fs::read_to_string(said).unwrap_or_default());
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // A second panic would hide the first.
            if let Some(pid) = self.postmaster_pid() {
                let _gone = Command::new("kill").args(["-QUIT", &pid]).status();
                let _thawed = Command::new("pkill").args(["-CONT", "-P", &pid]).status();
                let _thawed = Command::new("kill").args(["-CONT", &pid]).status();
            }
        } else if self.postmaster_pid().is_some_and(|pid| is_alive(&pid)) {
            self.stop();
        }
    }
}

/// Whether this process exists and is no zombie: a zombie has no open files.
fn is_alive(pid: &str) -> bool {
    Path::new("/proc").join(pid).join("fd/0").exists()
}

fn is_root() -> bool {
    fs::metadata("/proc/self").unwrap().uid() == 0
}

/// The newest Debian version, or else the programs of the search path.
fn programs() -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let newest =
        versions.filter_map(|version| version.file_name().to_str()?.parse::<u32>().ok()).max();
    newest.map_or_else(PathBuf::new, |version| {
        PathBuf::from(format!("/usr/lib/postgresql/{version}/bin"))
    })
}

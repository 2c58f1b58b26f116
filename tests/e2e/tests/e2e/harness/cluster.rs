//! A PostgreSQL of a test's own, which it may stop.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

/// A small cluster in a temporary folder, stopped when it is dropped.
pub(crate) struct Cluster {
    folder: TempDir,
    programs: PathBuf,
    port: u16,
    options: String,
}

impl Cluster {
    /// Makes one and starts it.
    pub(crate) fn start() -> Self {
        Self::start_with(&[], "")
    }

    /// As [`Self::start`], made with these arguments and started with these options.
    pub(crate) fn start_with(make: &[&str], options: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let cluster = Self { folder, programs: programs(), port, options: options.to_owned() };
        if is_root() {
            let owned =
                Command::new("chown").arg("postgres").arg(cluster.folder.path()).status().unwrap();
            assert!(owned.success(), "there is no system user postgres");
        }
        let data = cluster.data();
        let usual = ["-D", &data, "-U", "postgres", "-A", "trust", "--no-sync"];
        cluster.run("initdb", &[&usual[..], make].concat());
        cluster.resume();
        cluster
    }

    pub(crate) fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.port)
    }

    /// Whether its parent process runs.
    pub(crate) fn is_running(&self) -> bool {
        self.parent().is_some_and(|pid| fs::exists(format!("/proc/{pid}")).unwrap())
    }

    /// Stops it as a crash does: connections are cut.
    pub(crate) fn stop(&self) {
        self.run("pg_ctl", &["-D", &self.data(), "-m", "immediate", "-w", "stop"]);
    }

    /// Starts it again, on the same port.
    pub(crate) fn resume(&self) {
        let here = self.folder.path().display();
        let options =
            format!("-p {} -k {here} -c listen_addresses=127.0.0.1 {}", self.port, self.options);
        let log = format!("{here}/log");
        self.run("pg_ctl", &["-D", &self.data(), "-o", &options, "-l", &log, "-w", "start"]);
    }

    /// Holds all its processes, as a machine does that has lost its disk: connections stay open, and nothing answers.
    pub(crate) fn freeze(&self) {
        self.signal_all("-STOP");
    }

    /// Lets them go on.
    pub(crate) fn thaw(&self) {
        self.signal_all("-CONT");
    }

    fn signal_all(&self, signal: &str) {
        let parent = self.parent().expect("it runs");
        // The parent first: it starts processes.
        let sent = Command::new("kill").args([signal, &parent]).status().unwrap();
        assert!(sent.success(), "kill {signal} {parent}");
        let sent = Command::new("pkill").args([signal, "-P", &parent]).status().unwrap();
        assert!(sent.success(), "pkill {signal} -P {parent}");
    }

    /// The process that all others are children of.
    fn parent(&self) -> Option<String> {
        let file = fs::read_to_string(self.folder.path().join("data/postmaster.pid")).ok()?;
        file.lines().next().map(str::to_owned)
    }

    fn data(&self) -> String {
        self.folder.path().join("data").display().to_string()
    }

    /// PostgreSQL refuses to run as root, so root runs it as the user postgres.
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
        // Into a file: the server that `pg_ctl` leaves behind would hold a pipe open.
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
            // It may be down already, and a second panic would hide the first.
            if let Some(pid) = self.parent() {
                let _gone = Command::new("kill").args(["-QUIT", &pid]).status();
                let _thawed = Command::new("pkill").args(["-CONT", "-P", &pid]).status();
                let _thawed = Command::new("kill").args(["-CONT", &pid]).status();
            }
        } else {
            self.stop();
        }
    }
}

fn is_root() -> bool {
    fs::metadata("/proc/self").unwrap().uid() == 0
}

/// The newest of Debian's versions, or whatever is in the path.
fn programs() -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let newest =
        versions.filter_map(|version| version.file_name().to_str()?.parse::<u32>().ok()).max();
    newest.map_or_else(PathBuf::new, |version| {
        PathBuf::from(format!("/usr/lib/postgresql/{version}/bin"))
    })
}

//! A server in its own folder, and the commands an operator gives beside it.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use super::log::Lines;
use super::{
    Database, Held, PASSWORD, Request, Response, USER, Verdict, Wire, binary, clock, http,
};

/// A hash that costs nearly nothing: no test here is about its cost.
const CHEAP: &str = "[password]\nmemory_kib = 8\niterations = 1\n";

/// A folder with a configuration and a key file, and a database: what servers start from.
pub(crate) struct Site {
    // Before the folder, so that it is dropped first.
    pub(crate) database: Database,
    folder: TempDir,
    program: PathBuf,
}

/// A running server; killed when it is dropped.
pub(crate) struct Server {
    pub(crate) dialects: SocketAddr,
    pub(crate) admin: SocketAddr,
    /// Where the gRPC listens, if the address was chosen.
    pub(crate) grpc: Option<SocketAddr>,
    pub(crate) log: Lines,
    child: Child,
}

/// What a command said, and how it ended.
#[derive(Debug)]
pub(crate) struct Output {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Site {
    /// With the cheap hash and nothing else configured.
    pub(crate) fn new(database: Database) -> Self {
        Self::with(database, "")
    }

    /// With these lines of configuration before the cheap hash's.
    pub(crate) fn with(database: Database, configuration: &str) -> Self {
        Self::of(binary::parlance(), database, configuration)
    }

    /// With the hash that the program takes by itself.
    pub(crate) fn costly(database: Database, configuration: &str) -> Self {
        Self::written(binary::parlance(), database, configuration)
    }

    /// Of another build of the program.
    pub(crate) fn of(program: &Path, database: Database, configuration: &str) -> Self {
        Self::written(program, database, &format!("{configuration}\n{CHEAP}"))
    }

    fn written(program: &Path, database: Database, configuration: &str) -> Self {
        let site =
            Self { database, folder: tempfile::tempdir().unwrap(), program: program.to_owned() };
        let key_file = site.folder.path().join("keys/parlance.key");
        std::fs::create_dir(site.folder.path().join("keys")).unwrap();
        let text = format!("key_file = {:?}\n{configuration}", key_file.display().to_string());
        std::fs::write(site.config(), text).unwrap();
        site
    }

    /// The command that serves on free ports, to be run under another program.
    pub(crate) fn serve(&self) -> Command {
        self.command(&["serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"])
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.folder.path().join("parlance.toml")
    }

    /// The program, in this folder, with none of the caller's own settings.
    pub(crate) fn bare_command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(arguments).current_dir(self.folder.path());
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("PARLANCE_") {
                command.env_remove(name);
            }
        }
        command
    }

    /// The program with this site's configuration and database.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.bare_command(arguments);
        command.arg("--config").arg(self.config()).args(["--database", &self.database.url()]);
        command
    }

    /// Starts a server and waits until it says that it is ready.
    #[track_caller]
    pub(crate) fn start(&self) -> Server {
        self.start_with(&[])
    }

    /// As [`Self::start`], with variables of the environment.
    #[track_caller]
    pub(crate) fn start_with(&self, variables: &[(&str, &str)]) -> Server {
        let mut command = self.serve();
        command.envs(variables.iter().copied());
        Server::spawn(command).0
    }

    /// Starts a server on which the usual user can log in.
    #[track_caller]
    pub(crate) fn start_with_user(&self) -> Server {
        let server = self.start();
        self.add_user(USER, PASSWORD);
        server
    }

    /// Gives a command and waits for its end.
    #[track_caller]
    pub(crate) fn operate(&self, arguments: &[&str]) -> Output {
        self.operate_with(arguments, "")
    }

    /// As [`Self::operate`], with this on standard input.
    #[track_caller]
    pub(crate) fn operate_with(&self, arguments: &[&str], input: &str) -> Output {
        run(self.command(arguments), input)
    }

    /// Gives a command that must be done.
    #[track_caller]
    pub(crate) fn must(&self, arguments: &[&str]) -> String {
        let output = self.operate(arguments);
        assert_eq!(output.code, 0, "{arguments:?}: {output:?}");
        output.stdout
    }

    #[track_caller]
    pub(crate) fn add_user(&self, name: &str, password: &str) {
        let output =
            self.operate_with(&["user", "add", name, "--password-stdin"], &format!("{password}\n"));
        assert_eq!(output.code, 0, "{output:?}");
    }

    /// `session list --json`.
    #[track_caller]
    pub(crate) fn sessions(&self) -> Vec<Value> {
        let text = self.must(&["session", "list", "--json"]);
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }
}

/// The command as the argument of another program, which becomes it or stands beside it.
pub(crate) fn under(wrapper: &[&str], inner: &Command) -> Command {
    let (program, arguments) = wrapper.split_first().unwrap();
    let mut command = Command::new(program);
    command.args(arguments).arg(inner.get_program()).args(inner.get_args());
    command.current_dir(inner.get_current_dir().unwrap());
    for (name, value) in inner.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command
}

/// Runs a command to its end, with this on standard input.
#[track_caller]
pub(crate) fn run(mut command: Command, input: &str) -> Output {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    // It may end without reading.
    let _closed = child.stdin.take().unwrap().write_all(input.as_bytes());
    let output = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Output {
        code: output.status.code().unwrap_or(-1),
        stdout: text(output.stdout),
        stderr: text(output.stderr),
    }
}

impl Server {
    /// Starts a command that is to become a server; returns what it had written to standard output when it was ready, too.
    #[track_caller]
    pub(crate) fn spawn(mut command: Command) -> (Self, String) {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let out = Lines::of(child.stdout.take().unwrap());
        let log = Lines::of(child.stderr.take().unwrap());
        let ready = out.line_with("parlance ready: ");
        let addresses = ready.as_deref().and_then(|line| {
            let (dialects, admin) = line
                .strip_prefix("parlance ready: dialects http://")?
                .trim_end()
                .split_once(" admin http://")?;
            let (admin, grpc) =
                admin.split_once(" grpc ").map_or((admin, None), |(admin, grpc)| {
                    (admin, grpc.split_once("://").and_then(|(_, address)| address.parse().ok()))
                });
            Some((dialects.parse().ok()?, admin.parse().ok()?, grpc))
        });
        let Some((dialects, admin, grpc)) = addresses else {
            let _killed = child.kill().and_then(|()| child.wait());
            panic!("the server did not become ready: {ready:?}\n{}\n{}", out.text(), log.whole());
        };
        (Self { dialects, admin, grpc, log, child }, out.text())
    }

    /// `http://` and the dialects' address.
    pub(crate) fn base(&self) -> String {
        format!("http://{}", self.dialects)
    }

    #[track_caller]
    pub(crate) fn send(&self, request: &Request) -> Response {
        http::send(self.dialects, request)
    }

    #[track_caller]
    pub(crate) fn admin(&self, path: &str) -> Response {
        http::send(self.admin, &Request::get(path))
    }

    /// Asks the admin listener.
    #[track_caller]
    pub(crate) fn ask(&self, request: &Request) -> Response {
        http::send(self.admin, request)
    }

    /// A figure of `/metrics`, named with its labels as it stands there.
    #[track_caller]
    pub(crate) fn metric(&self, name: &str) -> u64 {
        let text = self.admin("/metrics").text();
        let value =
            text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok());
        value.unwrap_or_else(|| panic!("no {name} in\n{text}"))
    }

    /// SIGKILL.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Sends a signal, such as `TERM`.
    pub(crate) fn signal(&self, name: &str) {
        let sent = Command::new("kill")
            .args([format!("-{name}"), self.child.id().to_string()])
            .status()
            .unwrap();
        assert!(sent.success());
    }

    /// How it ended, waited for.
    #[track_caller]
    pub(crate) fn ended(&mut self) -> ExitStatus {
        clock::until("the server's end", || self.child.try_wait().unwrap())
    }

    /// Kibibytes of memory: what the process holds now, and the most that it ever held.
    #[track_caller]
    pub(crate) fn memory(&self) -> (u64, u64) {
        let text = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let read = |key: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(key)).unwrap();
            line.trim_start_matches(':').trim().trim_end_matches(" kB").parse().unwrap()
        };
        (read("VmRSS"), read("VmHWM"))
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _killed = self.child.kill().and_then(|()| self.child.wait());
        if std::thread::panicking() {
            eprintln!("--- the server's log\n{}", self.log.text());
        }
    }
}

impl Server {
    /// Logs in where that must work.
    #[track_caller]
    pub(crate) fn login(&self, wire: Wire, user: &str, password: &str) -> Held {
        let answer = self.send(&wire.login(user, password));
        wire.opened(user, &answer)
            .unwrap_or_else(|verdict| panic!("{} login of {user}: {verdict:?}", wire.name()))
    }

    /// Logs the usual user in.
    #[track_caller]
    pub(crate) fn log_in(&self, wire: Wire) -> Held {
        self.login(wire, USER, PASSWORD)
    }

    /// Logs the usual user in on every wire.
    #[track_caller]
    pub(crate) fn log_in_everywhere(&self) -> Vec<Held> {
        Wire::ALL.into_iter().map(|wire| self.log_in(wire)).collect()
    }

    /// How a login is refused that must be.
    #[track_caller]
    pub(crate) fn refusal(&self, wire: Wire, user: &str, password: &str) -> Verdict {
        match wire.opened(user, &self.send(&wire.login(user, password))) {
            Ok(_) => panic!("{} let {user} in", wire.name()),
            Err(verdict) => verdict,
        }
    }

    /// Uses a session.
    #[track_caller]
    pub(crate) fn check(&self, held: &Held) -> Verdict {
        held.used(&self.send(&held.using()))
    }

    /// Asserts what becomes of a use of each of these.
    #[track_caller]
    pub(crate) fn expect(&self, held: &[Held], verdict: &Verdict, when: &str) {
        for held in held {
            assert_eq!(self.check(held), *verdict, "{} {when}", held.wire.name());
        }
    }

    /// Logs out.
    #[track_caller]
    pub(crate) fn log_out(&self, held: &Held) -> Verdict {
        held.left(&self.send(&held.logout()))
    }
}

//! A server in its own folder, and the operator's commands beside the server.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use super::log::Lines;
use super::{
    Database, HeldSession, PASSWORD, Request, Response, USER, Verdict, Wire, binary, clock, http,
};

/// A hash that costs nearly nothing: no test here is about the cost of hashing.
const CHEAP_HASH: &str = "[password]\nmemory_kib = 8\niterations = 1\n";

/// The base of a server: a folder with a configuration and a key file, and a database.
pub(crate) struct Installation {
    // Before the folder, so that it is dropped first.
    pub(crate) database: Database,
    folder: TempDir,
    program: PathBuf,
}

/// A running server; killed when it is dropped.
pub(crate) struct Server {
    pub(crate) dialects: SocketAddr,
    pub(crate) admin: SocketAddr,
    /// The address of the gRPC listener, if the test chose one.
    pub(crate) grpc: Option<SocketAddr>,
    pub(crate) log: Lines,
    child: Child,
}

/// The output and the exit code of a command.
#[derive(Debug)]
pub(crate) struct Output {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Installation {
    /// With the cheap hash and nothing else configured.
    pub(crate) fn new(database: Database) -> Self {
        Self::with_config(database, "")
    }

    /// With these lines of configuration before the cheap hash's.
    pub(crate) fn with_config(database: Database, configuration: &str) -> Self {
        Self::of_program(binary::program(), database, configuration)
    }

    /// With the program's default hash.
    pub(crate) fn with_default_hash(database: Database, configuration: &str) -> Self {
        Self::create(binary::program(), database, configuration)
    }

    /// With another build of the program.
    pub(crate) fn of_program(program: &Path, database: Database, configuration: &str) -> Self {
        Self::create(program, database, &format!("{configuration}\n{CHEAP_HASH}"))
    }

    fn create(program: &Path, database: Database, configuration: &str) -> Self {
        let installation =
            Self { database, folder: tempfile::tempdir().unwrap(), program: program.to_owned() };
        let key_file = installation.folder.path().join("keys/parlance.key");
        std::fs::create_dir(installation.folder.path().join("keys")).unwrap();
        let text = format!("key_file = {:?}\n{configuration}", key_file.display().to_string());
        std::fs::write(installation.config(), text).unwrap();
        installation
    }

    /// The command that serves on free ports, for a wrapper program to run.
    pub(crate) fn serve_command(&self) -> Command {
        self.command(&["serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"])
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.folder.path().join("parlance.toml")
    }

    /// The program in this folder, without the caller's `PARLANCE_` variables.
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

    /// The program with this installation's configuration and database.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.bare_command(arguments);
        command.arg("--config").arg(self.config()).args(["--database", &self.database.url()]);
        command
    }

    /// Starts a server and waits for the line "parlance ready".
    #[track_caller]
    pub(crate) fn start(&self) -> Server {
        self.start_with(&[])
    }

    /// As [`Self::start`], with these environment variables.
    #[track_caller]
    pub(crate) fn start_with(&self, variables: &[(&str, &str)]) -> Server {
        let mut command = self.serve_command();
        command.envs(variables.iter().copied());
        Server::spawn(command).0
    }

    /// Starts a server and adds the usual user.
    #[track_caller]
    pub(crate) fn start_with_user(&self) -> Server {
        let server = self.start();
        self.add_user(USER, PASSWORD);
        server
    }

    /// Runs an operator's command and waits for its end.
    #[track_caller]
    pub(crate) fn run_command(&self, arguments: &[&str]) -> Output {
        self.run_command_with_input(arguments, "")
    }

    /// As [`Self::run_command`], with this on standard input.
    #[track_caller]
    pub(crate) fn run_command_with_input(&self, arguments: &[&str], input: &str) -> Output {
        run_to_end(self.command(arguments), input)
    }

    /// Runs an operator's command that must succeed; returns standard output.
    #[track_caller]
    pub(crate) fn run_ok(&self, arguments: &[&str]) -> String {
        let output = self.run_command(arguments);
        assert_eq!(output.code, 0, "{arguments:?}: {output:?}");
        output.stdout
    }

    #[track_caller]
    pub(crate) fn add_user(&self, name: &str, password: &str) {
        let output = self.run_command_with_input(
            &["user", "add", name, "--password-stdin"],
            &format!("{password}\n"),
        );
        assert_eq!(output.code, 0, "{output:?}");
    }

    /// `session list --json`.
    #[track_caller]
    pub(crate) fn sessions(&self) -> Vec<Value> {
        let text = self.run_ok(&["session", "list", "--json"]);
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }
}

/// The command as the argument of a wrapper program, which runs in its place or beside it.
pub(crate) fn wrap_command(wrapper: &[&str], inner: &Command) -> Command {
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
pub(crate) fn run_to_end(mut command: Command, input: &str) -> Output {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    // The command may end without reading.
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
    /// Starts a command that becomes a server. Also returns standard output up to readiness.
    #[track_caller]
    pub(crate) fn spawn(mut command: Command) -> (Self, String) {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let out = Lines::read(child.stdout.take().unwrap());
        let log = Lines::read(child.stderr.take().unwrap());
        let ready = out.wait_for_line("parlance ready: ");
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
            panic!(
                "the server did not become ready: {ready:?}\n{}\n{}",
                out.text(),
                log.wait_for_end()
            );
        };
        (Self { dialects, admin, grpc, log, child }, out.text())
    }

    pub(crate) fn base_url(&self) -> String {
        format!("http://{}", self.dialects)
    }

    #[track_caller]
    pub(crate) fn send(&self, request: &Request) -> Response {
        http::send(self.dialects, request)
    }

    #[track_caller]
    pub(crate) fn get_admin(&self, path: &str) -> Response {
        http::send(self.admin, &Request::get(path))
    }

    /// Sends a request to the admin listener.
    #[track_caller]
    pub(crate) fn send_admin(&self, request: &Request) -> Response {
        http::send(self.admin, request)
    }

    /// A metric of `/metrics`. The name includes the labels as `/metrics` prints them.
    #[track_caller]
    pub(crate) fn metric(&self, name: &str) -> u64 {
        let text = self.get_admin("/metrics").text();
        let value =
            text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok());
        value.unwrap_or_else(|| panic!("no {name} in\n{text}"))
    }

    /// Kills the server with SIGKILL.
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

    /// Waits for the server's end; returns the exit status.
    #[track_caller]
    pub(crate) fn wait_for_exit(&mut self) -> ExitStatus {
        clock::wait_for("the server's end", || self.child.try_wait().unwrap())
    }

    /// Resident memory in kibibytes: the current size and the peak.
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
    /// Logs in; the login must succeed.
    #[track_caller]
    pub(crate) fn log_in_as(&self, wire: Wire, user: &str, password: &str) -> HeldSession {
        let answer = self.send(&wire.login_request(user, password));
        wire.parse_login(user, &answer)
            .unwrap_or_else(|verdict| panic!("{} login of {user}: {verdict:?}", wire.name()))
    }

    /// Logs the usual user in.
    #[track_caller]
    pub(crate) fn log_in(&self, wire: Wire) -> HeldSession {
        self.log_in_as(wire, USER, PASSWORD)
    }

    /// Logs the usual user in on every wire.
    #[track_caller]
    pub(crate) fn log_in_everywhere(&self) -> Vec<HeldSession> {
        Wire::ALL.into_iter().map(|wire| self.log_in(wire)).collect()
    }

    /// The verdict of a login that must be refused.
    #[track_caller]
    pub(crate) fn refused_login(&self, wire: Wire, user: &str, password: &str) -> Verdict {
        match wire.parse_login(user, &self.send(&wire.login_request(user, password))) {
            Ok(_) => panic!("{} let {user} in", wire.name()),
            Err(verdict) => verdict,
        }
    }

    /// Uses a session.
    #[track_caller]
    pub(crate) fn use_session(&self, held: &HeldSession) -> Verdict {
        held.use_verdict(&self.send(&held.use_request()))
    }

    /// Asserts the verdict of a use of each of these sessions.
    #[track_caller]
    pub(crate) fn expect_each_use(&self, held: &[HeldSession], verdict: &Verdict, when: &str) {
        for held in held {
            assert_eq!(self.use_session(held), *verdict, "{} {when}", held.wire.name());
        }
    }

    #[track_caller]
    pub(crate) fn log_out(&self, held: &HeldSession) -> Verdict {
        held.logout_verdict(&self.send(&held.logout_request()))
    }
}

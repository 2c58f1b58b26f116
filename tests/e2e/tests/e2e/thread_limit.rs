//! A system with too few threads for the program.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::{Child, Command};

use crate::harness::clock::wait_for;
use crate::harness::http::send;
use crate::harness::server::wrap_command;
use crate::harness::{Database, Installation, Request, binary};

/// More threads than the program ever starts.
const PLENTY_OF_THREADS: usize = 200;

/// The outcome of a start.
#[derive(Debug)]
enum StartOutcome {
    /// Ready, with the addresses of the dialects' listener and of the admin listener.
    Ready([SocketAddr; 2]),
    /// Exit code and output of a program that has ended.
    Ended(i32, String),
}

/// A program during its start, killed on drop.
struct StartingServer(Child);

impl Drop for StartingServer {
    fn drop(&mut self) {
        let _gone = self.0.kill();
        let _gone = self.0.wait();
    }
}

/// Starts a server as a user with a limit on threads, and no other limit.
fn start(
    installation: &Installation,
    program: &Path,
    user: &str,
    threads: usize,
) -> (StartingServer, StartOutcome) {
    let (reuid, regid) = (format!("--reuid={user}"), format!("--regid={user}"));
    let limit = format!("--nproc={threads}:{threads}");
    let become_user = ["setpriv", &reuid, &regid, "--clear-groups", "prlimit", &limit];
    let mut inner = Command::new(program);
    let usual = installation.serve_command();
    inner.args(usual.get_args()).current_dir(usual.get_current_dir().unwrap());
    let mut command = wrap_command(&become_user, &inner);
    let [out, err] = ["out", "err"].map(|name| installation.folder().join(name));
    command.stdout(File::create(&out).unwrap()).stderr(File::create(&err).unwrap());
    let mut starting = StartingServer(command.spawn().unwrap());
    let read = |file: &Path| fs::read_to_string(file).unwrap();
    let end = wait_for("a server that is ready or has ended", || {
        let said = read(&out);
        let ready =
            said.lines().find_map(|line| line.strip_prefix("parlance ready: dialects http://"));
        if let Some(places) = ready {
            let (dialects, admin) = places.split_once(" admin http://").unwrap();
            return Some(StartOutcome::Ready(
                [dialects, admin].map(|place| place.parse().unwrap()),
            ));
        }
        let status = starting.0.try_wait().unwrap()?;
        Some(StartOutcome::Ended(status.code().unwrap_or(-1), read(&err)))
    });
    (starting, end)
}

#[test]
fn with_too_few_threads_the_program_ends_with_an_error_and_is_never_ready_without_serving() {
    if fs::metadata("/proc/self").unwrap().uid() != 0 {
        eprintln!("threads: only root can become a user of whom nothing else runs");
        return;
    }
    let installation = Installation::with_config(
        Database::sqlite(),
        "[dialects.axxon-jsonrpc]\nenabled = false\n",
    );
    // A user without other processes: the limit counts all threads of a user.
    let user = (61_000 + std::process::id() % 1000).to_string();
    let program = installation.folder().join("parlance");
    fs::copy(binary::program(), &program).unwrap();
    for folder in [installation.folder(), installation.database.folder()] {
        let owned = Command::new("chown").args(["-R", &user]).arg(folder).status().unwrap();
        assert!(owned.success());
    }
    let (_, enough) = start(&installation, &program, &user, PLENTY_OF_THREADS);
    assert!(matches!(enough, StartOutcome::Ready(_)), "{enough:?}");
    let (mut ended, mut threads) = (0, 1);
    loop {
        let (_running, end) = start(&installation, &program, &user, threads);
        match end {
            StartOutcome::Ended(code, said) => {
                assert_eq!(code, 1, "{threads} threads: {said}");
                let last = said.lines().last().unwrap_or_default();
                assert!(last.starts_with("parlance: "), "{threads} threads: {said}");
                assert!(last.contains("thread"), "{threads} threads: {said}");
                ended += 1;
            }
            StartOutcome::Ready([dialects, admin]) => {
                for _ in 0..8 {
                    assert_eq!(
                        send(admin, &Request::get("/readyz")).status,
                        200,
                        "{threads} threads"
                    );
                    assert_eq!(send(dialects, &Request::get("/")).status, 404, "{threads} threads");
                }
                break;
            }
        }
        threads += 1;
    }
    assert!(ended > 10, "{ended} limits were too low");
}

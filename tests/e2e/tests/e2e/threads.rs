//! A system that gives few threads.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::{Child, Command};

use crate::harness::clock::until;
use crate::harness::http::send;
use crate::harness::server::under;
use crate::harness::{Database, Request, Site, binary};

/// More than the program ever starts.
const PLENTY: usize = 200;

/// How a start ends.
#[derive(Debug)]
enum Start {
    /// It says where it listens: the dialects, the admin.
    Ready([SocketAddr; 2]),
    /// It ends with this code, having said this.
    Ended(i32, String),
}

/// A program that is being started; killed when it is dropped.
struct Starting(Child);

impl Drop for Starting {
    fn drop(&mut self) {
        let _gone = self.0.kill();
        let _gone = self.0.wait();
    }
}

/// Starts a server as a user who may have so many threads, and nothing else.
fn start(site: &Site, program: &Path, user: &str, threads: usize) -> (Starting, Start) {
    let (reuid, regid) = (format!("--reuid={user}"), format!("--regid={user}"));
    let limit = format!("--nproc={threads}:{threads}");
    let become_user = ["setpriv", &reuid, &regid, "--clear-groups", "prlimit", &limit];
    let mut inner = Command::new(program);
    let usual = site.serve();
    inner.args(usual.get_args()).current_dir(usual.get_current_dir().unwrap());
    let mut command = under(&become_user, &inner);
    let [out, err] = ["out", "err"].map(|name| site.folder().join(name));
    command.stdout(File::create(&out).unwrap()).stderr(File::create(&err).unwrap());
    let mut starting = Starting(command.spawn().unwrap());
    let read = |file: &Path| fs::read_to_string(file).unwrap();
    let end = until("a server that is ready or has ended", || {
        let said = read(&out);
        let ready =
            said.lines().find_map(|line| line.strip_prefix("parlance ready: dialects http://"));
        if let Some(places) = ready {
            let (dialects, admin) = places.split_once(" admin http://").unwrap();
            return Some(Start::Ready([dialects, admin].map(|place| place.parse().unwrap())));
        }
        let status = starting.0.try_wait().unwrap()?;
        Some(Start::Ended(status.code().unwrap_or(-1), read(&err)))
    });
    (starting, end)
}

#[test]
fn with_too_few_threads_the_program_ends_with_a_sentence_and_is_never_ready_and_deaf() {
    if fs::metadata("/proc/self").unwrap().uid() != 0 {
        eprintln!("threads: only root can become a user of whom nothing else runs");
        return;
    }
    let site = Site::with(Database::sqlite(), "[dialects.axxon-jsonrpc]\nenabled = false\n");
    // Of whom nothing else runs: the limit is one of all his threads.
    let user = (61_000 + std::process::id() % 1000).to_string();
    let program = site.folder().join("parlance");
    fs::copy(binary::parlance(), &program).unwrap();
    for folder in [site.folder(), site.database.folder()] {
        let owned = Command::new("chown").args(["-R", &user]).arg(folder).status().unwrap();
        assert!(owned.success());
    }
    let (_, enough) = start(&site, &program, &user, PLENTY);
    assert!(matches!(enough, Start::Ready(_)), "{enough:?}");
    let (mut ended, mut threads) = (0, 1);
    loop {
        let (_running, end) = start(&site, &program, &user, threads);
        match end {
            Start::Ended(code, said) => {
                assert_eq!(code, 1, "{threads} threads: {said}");
                let last = said.lines().last().unwrap_or_default();
                assert!(last.starts_with("parlance: "), "{threads} threads: {said}");
                assert!(last.contains("thread"), "{threads} threads: {said}");
                ended += 1;
            }
            Start::Ready([dialects, admin]) => {
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

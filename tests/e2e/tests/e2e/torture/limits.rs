//! Connections take all their descriptors, and memory nearly runs out: the program lives, and accepts again.

use std::fs;
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::Command;
use std::thread;
use std::time::Duration;

use super::{repetitions, run_time, wait_for_login};
use crate::harness::http::{Connection, exchange};
use crate::harness::server::wrap_command;
use crate::harness::{
    Database, Installation, PASSWORD, Server, Stopwatch, USER, Verdict, Wire, clock,
};

#[test]
fn beyond_the_connection_limit_open_connections_go_on_and_accepting_resumes() {
    let watch = Stopwatch::start();
    let installation = Installation::new(Database::sqlite());
    drop(installation.start_with_user());
    let (mut server, _) = Server::spawn(wrap_command(
        &["prlimit", "--nofile=256", "--"],
        &installation.serve_command(),
    ));
    let held = server.log_in(Wire::Polish);
    let rounds = repetitions(1, 20);
    let mut refused = 0;
    for _ in 0..rounds {
        let mut good = Connection::open(server.dialects).unwrap();
        assert_eq!(
            held.use_verdict(&good.exchange(&held.use_request()).unwrap()),
            Verdict::Accepted
        );
        let silent: Vec<_> =
            (0..400).filter_map(|_| TcpStream::connect(server.dialects).ok()).collect();
        let pid = server.pid();
        clock::wait_for("connections to be refused", || {
            (server.metric("parlance_connections_refused_total") > refused).then_some(())
        });
        // The rest is for the database and the health check. Only root can count: the program is not dumpable.
        let open = fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count);
        assert!(open < 224, "{open} descriptors");
        let used = good.exchange(&held.use_request()).unwrap();
        assert_eq!(
            held.use_verdict(&used),
            Verdict::Accepted,
            "over a connection that was there before"
        );
        drop(silent);
        refused = server.metric("parlance_connections_refused_total");
        let resumed = Stopwatch::start();
        wait_for_login(&server, USER);
        assert!(resumed.elapsed() < Duration::from_secs(30), "{:?}", resumed.elapsed());
    }
    assert!(server.is_running());
    assert_eq!(server.use_session(&held), Verdict::Accepted);
    eprintln!(
        "limits: 256 descriptors, {rounds} times as many connections as may be, {refused} refused, 0 crashes, accepting resumed each time; {:?} in all",
        watch.elapsed()
    );
}

/// A limit on memory, and the wrapper command that applies the limit to a program.
struct MemoryBound {
    group: Option<PathBuf>,
    wrapper: Vec<String>,
}

impl MemoryBound {
    /// A control group where one can be made, else a limit on the memory that the process allocates.
    fn of(bytes: u64) -> Self {
        let name = format!("parlance-torture-{}", std::process::id());
        let tries =
            [("/sys/fs/cgroup/memory", "memory.limit_in_bytes"), ("/sys/fs/cgroup", "memory.max")];
        for (root, file) in tries {
            let group = PathBuf::from(root).join(&name);
            if fs::create_dir(&group).is_ok() {
                if fs::write(group.join(file), bytes.to_string()).is_ok() {
                    let join = "echo $$ > \"$0\"/cgroup.procs && exec \"$@\"";
                    let wrapper = ["sh", "-c", join, group.to_str().unwrap()].map(str::to_owned);
                    return Self { group: Some(group), wrapper: wrapper.to_vec() };
                }
                fs::remove_dir(&group).unwrap();
            }
        }
        let wrapper = ["prlimit".to_owned(), format!("--data={bytes}"), "--".to_owned()];
        Self { group: None, wrapper: wrapper.to_vec() }
    }

    fn wrap(&self, command: &Command) -> Command {
        wrap_command(&self.wrapper.iter().map(String::as_str).collect::<Vec<_>>(), command)
    }
}

impl Drop for MemoryBound {
    fn drop(&mut self) {
        if let Some(group) = &self.group {
            let _busy = fs::remove_dir(group);
        }
    }
}

#[test]
fn a_small_memory_is_enough_under_load() {
    let watch = Stopwatch::start();
    let installation = Installation::with_default_hash(Database::sqlite(), "");
    drop(installation.start_with_user());
    let bound = MemoryBound::of(256 << 20);
    let (mut server, _) = Server::spawn(bound.wrap(&installation.serve_command()));
    let load = run_time(Duration::from_secs(4), Duration::from_secs(120));
    let long = "x".repeat(15_000);
    let client = |number: usize| {
        let wire = Wire::ALL[number % Wire::ALL.len()];
        while watch.elapsed() < load {
            // Long passwords, so that waiting requests are as large as possible.
            let password = if number.is_multiple_of(2) { PASSWORD } else { &long };
            let answer = exchange(server.dialects, &wire.login_request(USER, password));
            let odd = answer.is_ok_and(|answer| {
                matches!(wire.parse_login(USER, &answer), Err(Verdict::Unexpected(_)))
                    && answer.status >= 500
            });
            assert!(!odd, "{}", wire.name());
        }
    };
    thread::scope(|scope| {
        let client = &client;
        for number in 0..300 {
            let thread = thread::Builder::new().stack_size(512 * 1024);
            thread.spawn_scoped(scope, move || client(number)).unwrap();
        }
    });
    assert!(server.is_running(), "{}", server.log.text());
    wait_for_login(&server, USER);
    let kind = if bound.group.is_some() { "control group" } else { "limit of the process" };
    eprintln!(
        "limits: 256 MiB ({kind}), 300 clients, 0 crashes, {} KiB at most; {:?} in all",
        server.memory().1,
        watch.elapsed()
    );
    server.kill();
}

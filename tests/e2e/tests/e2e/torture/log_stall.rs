//! Whoever reads the log stalls, or is gone: requests, readiness and the end of the program wait for no record.

use std::fs::File;
use std::io::{Write as _, pipe};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use super::{is_long, times};
use crate::harness::clock::until;
use crate::harness::http::{Connection, send};
use crate::harness::log::Lines;
use crate::harness::server::under;
use crate::harness::{Database, Request, Server, Site, Verdict, Watch, Wire};

/// Nothing slows the logins down whose records fill the queue.
const UNBOUNDED: &str = "[lockout]\nenabled = false\n[throttle]\nenabled = false\n";
/// Bytes that a pipe holds.
const PIPE_BYTES: usize = 64 * 1024;
/// Far beyond what a request, and an end with its last records, may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// A server whose log goes to a pipe, and the pipe's other end, which nothing reads yet.
fn server(site: &Site) -> (Server, File) {
    let fifo = site.folder().join("log");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let reader = File::options().read(true).write(true).open(&fifo).unwrap();
    let shell = ["sh", "-c", "exec \"$0\" \"$@\" 2>log"];
    let (server, _) = Server::spawn(under(&shell, &site.serve()));
    site.add_user(crate::harness::USER, crate::harness::PASSWORD);
    // From now on the reading end is one that only reads: a pipe with a writer of its own would never be broken.
    (server, File::options().read(true).open(&fifo).inspect(|_| drop(reader)).unwrap())
}

/// So many refused logins, each with a record of more than a kibibyte; all are answered.
fn refuse(server: &Server, logins: usize) {
    let number = AtomicU64::new(0);
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let mut connection = Connection::open(server.dialects).unwrap();
                while number.fetch_add(1, Ordering::Relaxed) < logins as u64 {
                    let login = Wire::Polish.login(&"\u{e0041}".repeat(128), "wrong");
                    assert_eq!(connection.exchange(&login).unwrap().status, 401);
                }
            });
        }
    });
}

const DROPPED: &str = "parlance_log_records_dropped_total";

#[test]
fn a_log_that_nobody_reads_holds_up_no_request_and_tells_later_what_it_lost() {
    let watch = Watch::start();
    let site = Site::with(Database::sqlite(), UNBOUNDED);
    let (server, log) = server(&site);
    let held = server.log_in_everywhere();
    let logins = times(3000, 100_000);
    refuse(&server, logins);
    let dropped = server.metric(DROPPED);
    assert!(dropped > 0, "the queue is bounded");
    assert_eq!(server.admin("/readyz").status, 200);
    server.expect(&held, &Verdict::Yes, "while the log is stalled");
    for held in &held {
        assert_eq!(server.log_out(held), Verdict::Yes);
    }
    server.log_in_everywhere();
    let memory = server.memory().1;
    let log = Lines::of(log);
    let told = log.line_with("log records were dropped").expect("it flows again");
    // What was said meanwhile found no room either.
    let dropped = until("all that was dropped to be counted", || {
        told.contains(&format!("dropped={}", server.metric(DROPPED)))
            .then(|| server.metric(DROPPED))
    });
    let written = log.text().lines().filter(|line| line.contains("login refused")).count();
    assert!(written + usize::try_from(dropped).unwrap() >= logins, "{written} and {dropped}");
    eprintln!(
        "log_stall: {logins} refused logins, {dropped} records dropped and counted, each request answered; {memory} KiB at most; {:?} in all",
        watch.elapsed()
    );
    assert!(!is_long() || memory < 128 * 1024, "{memory} KiB");
}

/// The server is told to stop, and stops in its time.
#[track_caller]
fn assert_stops(mut server: Server) {
    let watch = Watch::start();
    server.signal("TERM");
    assert_eq!(server.ended().code(), Some(0));
    assert!(watch.elapsed() < PATIENCE, "it took {:?}", watch.elapsed());
}

#[test]
fn a_stop_waits_for_no_log() {
    let site = Site::with(Database::sqlite(), UNBOUNDED);
    let (server, log) = server(&site);
    refuse(&server, 200);
    assert_stops(server);
    drop(log);
}

#[test]
fn a_log_whose_reader_is_gone_ends_nothing() {
    let site = Site::with(Database::sqlite(), UNBOUNDED);
    let (server, log) = server(&site);
    drop(log);
    refuse(&server, 50);
    until("records to be lost", || (server.metric(DROPPED) > 0).then_some(()));
    assert_eq!(server.admin("/readyz").status, 200);
    server.log_in_everywhere();
    assert_stops(server);
}

/// A pipe that takes nothing more.
fn full_pipe() -> (std::io::PipeReader, std::io::PipeWriter) {
    let (reader, mut writer) = pipe().unwrap();
    writer.write_all(&vec![b'.'; PIPE_BYTES]).unwrap();
    (reader, writer)
}

#[test]
fn nobody_who_reads_where_it_listens_holds_up_the_server() {
    let site = Site::new(Database::sqlite());
    let (_reader, writer) = full_pipe();
    let mut command = site.serve();
    command.stdin(Stdio::null()).stdout(writer).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let log = Lines::of(child.stderr.take().unwrap());
    let serving = log.line_with("serving dialects=").expect("it serves");
    let admin = serving.split_once("admin=").unwrap().1.split_whitespace().next().unwrap();
    assert_eq!(send(admin.parse().unwrap(), &Request::get("/readyz")).status, 200);
    let pid = child.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    let ended = until("its end", || child.try_wait().unwrap());
    assert_eq!(ended.code(), Some(0), "{}", log.text());
}

#[test]
fn nobody_who_reads_why_it_does_not_start_holds_up_its_end() {
    let site = Site::with(Database::sqlite(), "nonsense = 1\n");
    let (_reader, writer) = full_pipe();
    let mut command = site.serve();
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(writer);
    let mut child = command.spawn().unwrap();
    let ended = until("its end", || child.try_wait().unwrap());
    assert_eq!(ended.code(), Some(2));
}

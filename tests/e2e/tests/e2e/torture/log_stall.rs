//! The reader of the log stalls or is gone: requests, readiness and shutdown wait for no log record.

use std::fs::File;
use std::io::{Write as _, pipe};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use super::{is_long, repetitions};
use crate::harness::clock::wait_for;
use crate::harness::http::{Connection, send};
use crate::harness::log::Lines;
use crate::harness::server::wrap_command;
use crate::harness::{Database, Installation, Request, Server, Stopwatch, Verdict, Wire};

/// Without lock-out and rate limit: neither slows down the logins that fill the queue with records.
const WITHOUT_LIMITS: &str = "[lockout]\nenabled = false\n[throttle]\nenabled = false\n";
/// The capacity of a pipe in bytes.
const PIPE_BYTES: usize = 64 * 1024;
/// Far longer than a request, or a shutdown with its last records, may take.
const STOP_TIMEOUT: Duration = Duration::from_secs(30);

/// A server with its log in a pipe, and the pipe's reading end, which has no reader yet.
fn server(installation: &Installation) -> (Server, File) {
    let fifo = installation.folder().join("log");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let reader = File::options().read(true).write(true).open(&fifo).unwrap();
    let shell = ["sh", "-c", "exec \"$0\" \"$@\" 2>log"];
    let (server, _) = Server::spawn(wrap_command(&shell, &installation.serve_command()));
    installation.add_user(crate::harness::USER, crate::harness::PASSWORD);
    // The test's own end is read-only from here on: a pipe with a writer left would never break.
    (server, File::options().read(true).open(&fifo).inspect(|_| drop(reader)).unwrap())
}

/// Sends `logins` logins that are refused, each with a log record of more than a kibibyte. Every login gets its answer.
fn send_refused_logins(server: &Server, logins: usize) {
    let number = AtomicU64::new(0);
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let mut connection = Connection::open(server.dialects).unwrap();
                while number.fetch_add(1, Ordering::Relaxed) < logins as u64 {
                    let login = Wire::Polish.login_request(&"\u{e0041}".repeat(128), "wrong");
                    assert_eq!(connection.exchange(&login).unwrap().status, 401);
                }
            });
        }
    });
}

const DROPPED_METRIC: &str = "parlance_log_records_dropped_total";

#[test]
fn an_unread_log_delays_no_request_and_later_reports_its_dropped_records() {
    let watch = Stopwatch::start();
    let installation = Installation::with_config(Database::sqlite(), WITHOUT_LIMITS);
    let (server, log) = server(&installation);
    let held = server.log_in_everywhere();
    let logins = repetitions(3000, 100_000);
    send_refused_logins(&server, logins);
    let dropped = server.metric(DROPPED_METRIC);
    assert!(dropped > 0, "the queue is bounded");
    assert_eq!(server.get_admin("/readyz").status, 200);
    server.expect_each_use(&held, &Verdict::Accepted, "while the log is stalled");
    for held in &held {
        assert_eq!(server.log_out(held), Verdict::Accepted);
    }
    server.log_in_everywhere();
    let memory = server.memory().1;
    let log = Lines::read(log);
    let told = log.wait_for_line("log records were dropped").expect("it flows again");
    // Records of the meantime were dropped too.
    let dropped = wait_for("all that was dropped to be counted", || {
        told.contains(&format!("dropped={}", server.metric(DROPPED_METRIC)))
            .then(|| server.metric(DROPPED_METRIC))
    });
    let written = log.text().lines().filter(|line| line.contains("login refused")).count();
    assert!(written + usize::try_from(dropped).unwrap() >= logins, "{written} and {dropped}");
    eprintln!(
        "log_stall: {logins} refused logins, {dropped} records dropped and counted, each request answered; {memory} KiB at most; {:?} in all",
        watch.elapsed()
    );
    assert!(!is_long() || memory < 128 * 1024, "{memory} KiB");
}

/// Asserts that the server stops within [`DATABASE_TIMEOUT`] of SIGTERM.
#[track_caller]
fn assert_stops(mut server: Server) {
    let watch = Stopwatch::start();
    server.signal("TERM");
    assert_eq!(server.wait_for_exit().code(), Some(0));
    assert!(watch.elapsed() < STOP_TIMEOUT, "it took {:?}", watch.elapsed());
}

#[test]
fn the_shutdown_does_not_wait_for_the_log() {
    let installation = Installation::with_config(Database::sqlite(), WITHOUT_LIMITS);
    let (server, log) = server(&installation);
    send_refused_logins(&server, 200);
    assert_stops(server);
    drop(log);
}

#[test]
fn a_closed_log_reader_does_not_end_the_server() {
    let installation = Installation::with_config(Database::sqlite(), WITHOUT_LIMITS);
    let (server, log) = server(&installation);
    drop(log);
    send_refused_logins(&server, 50);
    wait_for("records to be lost", || (server.metric(DROPPED_METRIC) > 0).then_some(()));
    assert_eq!(server.get_admin("/readyz").status, 200);
    server.log_in_everywhere();
    assert_stops(server);
}

/// A full pipe.
fn full_pipe() -> (std::io::PipeReader, std::io::PipeWriter) {
    let (reader, mut writer) = pipe().unwrap();
    writer.write_all(&vec![b'.'; PIPE_BYTES]).unwrap();
    (reader, writer)
}

#[test]
fn an_unread_standard_output_does_not_delay_the_server() {
    let installation = Installation::new(Database::sqlite());
    let (_reader, writer) = full_pipe();
    let mut command = installation.serve_command();
    command.stdin(Stdio::null()).stdout(writer).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let log = Lines::read(child.stderr.take().unwrap());
    let serving = log.wait_for_line("serving dialects=").expect("it serves");
    let admin = serving.split_once("admin=").unwrap().1.split_whitespace().next().unwrap();
    assert_eq!(send(admin.parse().unwrap(), &Request::get("/readyz")).status, 200);
    let pid = child.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    let ended = wait_for("its end", || child.try_wait().unwrap());
    assert_eq!(ended.code(), Some(0), "{}", log.text());
}

#[test]
fn an_unread_standard_error_does_not_delay_a_failed_start() {
    let installation = Installation::with_config(Database::sqlite(), "nonsense = 1\n");
    let (_reader, writer) = full_pipe();
    let mut command = installation.serve_command();
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(writer);
    let mut child = command.spawn().unwrap();
    let ended = wait_for("its end", || child.try_wait().unwrap());
    assert_eq!(ended.code(), Some(2));
}

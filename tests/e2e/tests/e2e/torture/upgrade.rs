//! Migrations update a database of an older schema, also after a kill; the previous release works beside this one.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::kill::LONG_LIFETIMES;
use super::{is_long, repetitions};
use crate::harness::fault_proxy::FaultProxy;
use crate::harness::history::History;
use crate::harness::log::Lines;
use crate::harness::recording_client::{RecordingClient, run_all};
use crate::harness::{
    Database, HeldSession, Installation, PASSWORD, Server, StopOnDrop, Verdict, binary,
    on_both_databases, sleep,
};

on_both_databases!(a_database_of_every_earlier_schema_is_migrated_with_its_live_sessions);

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The migrations of this kind of database, oldest first: number and folder.
fn migrations(database: &Database) -> Vec<(String, PathBuf)> {
    let kind = if matches!(database, Database::Sqlite(_)) { "sqlite" } else { "postgres" };
    let folders = fs::read_dir(root().join("migrations").join(kind)).unwrap();
    let mut found: Vec<_> = folders
        .map(|folder| {
            let path = folder.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            (name.split('_').next().unwrap().to_owned(), path)
        })
        .collect();
    found.sort();
    found
}

#[track_caller]
fn execute(database: &Database, statements: &str) {
    let mut command = match database {
        Database::Sqlite(_) => {
            let script = "import sqlite3, sys; sqlite3.connect(sys.argv[1], isolation_level=None).executescript(sys.argv[2])";
            let mut command = Command::new("python3");
            let file = database.url().strip_prefix("sqlite:").unwrap().to_owned();
            command.args(["-c", script, &file, statements]);
            command
        }
        Database::Postgres { .. } | Database::External(_) => {
            let mut command = Command::new("psql");
            let url = database.url();
            command.args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-c", statements, &url]);
            command
        }
    };
    let done = command.output().unwrap();
    assert!(done.status.success(), "{statements}: {}", String::from_utf8_lossy(&done.stderr));
}

/// Reverts the newest migrations until `left` remain.
fn revert_migrations(database: &Database, left: usize) {
    for (number, folder) in migrations(database).into_iter().skip(left).rev() {
        let down = fs::read_to_string(folder.join("down.sql")).unwrap();
        let forget = format!("DELETE FROM __diesel_schema_migrations WHERE version = '{number}'");
        execute(database, &format!("BEGIN; {down}; {forget}; COMMIT;"));
    }
}

/// A installation with a session on every wire, after the server has ended.
fn installation_with_sessions(database: Database) -> (Installation, Vec<HeldSession>) {
    let installation = Installation::with_config(database, LONG_LIFETIMES);
    let mut server = installation.start_with_user();
    let held = server.log_in_everywhere();
    server.signal("TERM");
    assert_eq!(server.wait_for_exit().code(), Some(0), "{}", server.log.text());
    (installation, held)
}

fn a_database_of_every_earlier_schema_is_migrated_with_its_live_sessions(database: Database) {
    let (installation, mut held) = installation_with_sessions(database);
    let newest = migrations(&installation.database).len();
    for left in (1..newest).rev() {
        revert_migrations(&installation.database, left);
        let mut server = installation.start();
        let when = format!("from migration {left}");
        server.expect_each_use(&held, &Verdict::Accepted, &when);
        server.log_in(crate::harness::Wire::Polish);
        // A login on the 1010 wire takes over the earlier session.
        held = server.log_in_everywhere();
        server.signal("TERM");
        assert_eq!(server.wait_for_exit().code(), Some(0), "{}", server.log.text());
    }
    installation.database.check_integrity();
}

/// Starts a server and kills the process after this time. Returns whether the server was ready by then.
fn killed_after(command: &mut Command, moment: Duration) -> bool {
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = child.spawn().unwrap();
    let said = Lines::read(child.stdout.take().unwrap());
    sleep(moment);
    child.kill().unwrap();
    child.wait().unwrap();
    said.wait_for_end().contains("parlance ready")
}

const SERVE_ARGUMENTS: &[&str] =
    &["serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"];

#[test]
fn a_migration_of_sqlite_that_is_killed_at_any_write_is_done_by_the_next_start() {
    let (installation, held) = installation_with_sessions(Database::sqlite());
    let newest = migrations(&installation.database).len();
    let step = if is_long() { 1 } else { 5 };
    let mut kills = 0;
    for left in (1..newest).rev() {
        for write in (1..).step_by(step) {
            revert_migrations(&installation.database, left);
            let mut command = Command::new("strace");
            let inject = format!("inject=pwrite64:signal=SIGKILL:when={write}");
            command.args(["-f", "-o", "/dev/null", "-e", "trace=pwrite64", "-e", &inject]);
            let plain = installation.command(SERVE_ARGUMENTS);
            command
                .arg(plain.get_program())
                .args(plain.get_args())
                .current_dir(installation.folder());
            if is_ready(&mut command) {
                break;
            }
            kills += 1;
            installation.database.check_integrity();
            let server = installation.start();
            server.expect_each_use(
                &held,
                &Verdict::Accepted,
                &format!("{left}, killed at write {write}"),
            );
            server.kill();
        }
    }
    assert!(kills > 0, "no migration was killed");
    eprintln!(
        "upgrade: {kills} kills in the middle of SQLite's migrations, each done by the next start"
    );
}

/// Whether a server under strace becomes ready; the server is ended either way.
fn is_ready(command: &mut Command) -> bool {
    let mut strace =
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let said = Lines::read(strace.stdout.take().unwrap());
    let ready = said.wait_for_line("parlance ready").is_some();
    if ready {
        // strace ends with its child, but the child does not end with strace.
        let parent = strace.id().to_string();
        let sent = Command::new("pkill").args(["-KILL", "-P", &parent]).status().unwrap();
        assert!(sent.success());
    }
    let _killed = strace.wait().unwrap();
    ready
}

#[test]
fn a_migration_of_postgresql_that_is_killed_at_any_moment_is_done_by_the_next_start() {
    let (installation, held) = installation_with_sessions(Database::postgres());
    let newest = migrations(&installation.database).len();
    // A slow connection to the database, so that a kill may fall between two statements.
    let url = installation.database.url();
    let (server, rest) = url.split_once("://").unwrap().1.split_once('/').unwrap();
    let (login, address) = server.rsplit_once('@').unwrap();
    let fault_proxy = FaultProxy::start(address.parse().unwrap());
    let slow = format!("postgres://{login}@{}/{rest}", fault_proxy.address);
    let delay = Duration::from_millis(20);
    let (mut kills, moments) = (0, repetitions(10, 200));
    for left in (1..newest).rev() {
        for moment in 0..moments {
            revert_migrations(&installation.database, left);
            fault_proxy.delay(delay);
            // The moments of the kills are spread over 40 delays: 80 ms apart in the short form, 4 ms apart in the long
            // form.
            let moment =
                delay * 40 * u32::try_from(moment).unwrap() / u32::try_from(moments).unwrap();
            let mut command = installation.bare_command(SERVE_ARGUMENTS);
            command.arg("--config").arg(installation.config()).args(["--database", &slow]);
            kills += usize::from(!killed_after(&mut command, moment));
            let server = installation.start();
            server.expect_each_use(
                &held,
                &Verdict::Accepted,
                &format!("{left}, killed after {moment:?}"),
            );
            server.kill();
        }
    }
    assert!(kills > 0, "no migration was killed");
    eprintln!(
        "upgrade: {kills} kills in the middle of a start on PostgreSQL, each done by the next one"
    );
}

/// The statements of the release of each earlier schema on PostgreSQL are recorded in `statements/NNNN.sql`, one
/// statement a line: all statements that the server and the commands prepared (`log_statement=all`) while they ran
/// every operation once. A later schema must still understand each statement.
#[test]
fn every_statement_of_an_earlier_release_is_understood_by_the_newest_schema() {
    let installation = Installation::new(Database::postgres());
    drop(installation.start());
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("statements");
    let mut prepared = Vec::new();
    for file in fs::read_dir(folder).unwrap() {
        let text = fs::read_to_string(file.unwrap().path()).unwrap();
        prepared.extend(text.lines().enumerate().map(|(number, statement)| {
            format!("PREPARE statement_{number} AS {statement}; DEALLOCATE ALL;")
        }));
    }
    execute(&installation.database, &prepared.join("\n"));
    let count = prepared.len();
    assert!(count > 20, "{count} statements are recorded");
}

/// Builds the program from the commit before the newest migration.
fn build_previous_release() -> PathBuf {
    let git = |arguments: &[&str]| {
        let output = Command::new("git").args(arguments).current_dir(root()).output().unwrap();
        assert!(output.status.success(), "git {arguments:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    let (_, newest) = migrations(&Database::External(String::new())).pop().unwrap();
    let newest = newest.canonicalize().unwrap().display().to_string();
    let added = git(&["log", "--diff-filter=A", "--format=%H", "-1", "--", &newest]);
    let before = git(&["rev-parse", &format!("{added}^")]);
    let folder = binary::target_folder().join("before").join(&before);
    let program = folder.join("target/debug/parlance");
    if !program.exists() {
        fs::create_dir_all(&folder).unwrap();
        let archive = folder.join("source.tar");
        git(&["archive", "-o", &archive.display().to_string(), &before]);
        let unpacked = Command::new("tar").arg("xf").arg(&archive).current_dir(&folder).status();
        assert!(unpacked.unwrap().success());
        let mut cargo = binary::cargo();
        cargo.args(["--package", "parlance-server", "--bin", "parlance", "--features", "postgres"]);
        cargo.current_dir(&folder).env("CARGO_TARGET_DIR", folder.join("target"));
        assert!(cargo.status().unwrap().success(), "{before} does not build");
    }
    program
}

#[test]
fn the_previous_release_works_beside_this_one_on_one_schema() {
    if !is_long() {
        eprintln!("upgrade: the release before is built in the long form only");
        return;
    }
    let database = Database::postgres();
    // The previous release may support only these configuration keys.
    let before = Installation::of_program(
        &build_previous_release(),
        Database::External(database.url()),
        LONG_LIFETIMES,
    );
    let after = Installation::with_config(Database::External(database.url()), LONG_LIFETIMES);
    let old = before.start_with_user();
    let keys = |installation: &Installation| installation.folder().join("keys/parlance.key");
    fs::copy(keys(&before), keys(&after)).unwrap();
    let held = old.log_in_everywhere();
    let history = Arc::new(History::begin(after.folder()));
    let client =
        |number| RecordingClient::new(&history, format!("load{number}"), 1600 + number as u64);
    let mut clients: Vec<_> = (0..8).map(client).collect();
    clients.iter().for_each(|client| before.add_user(&client.user, PASSWORD));
    history.record_start();
    // The new release starts beside the working old one, stops, and starts again; then the old release restarts too.
    let rounds = repetitions(1, 20);
    let mut old = Some(old);
    for round in 0..rounds {
        let new = after.start();
        let at_work = old.take().unwrap();
        at_work.expect_each_use(&held, &Verdict::Accepted, "opened by the old one, before");
        new.expect_each_use(&held, &Verdict::Accepted, "opened by the old one");
        for (one, other) in [(&at_work, &new), (&new, &at_work)] {
            run_both(&history, &mut clients, one, other);
        }
        new.kill();
        at_work.kill();
        history.record_start();
        old = Some(before.start());
        let address = old.as_ref().unwrap().dialects;
        run_all(&mut clients, |client| client.verify_recent(address, 5));
        history.check().assert_clean(&format!("side by side, round {round}"));
    }
    let judgement = history.check();
    eprintln!(
        "upgrade: the release before and this one side by side, {rounds} rounds: {judgement}"
    );
}

/// Half of the clients work on one server and half on the other, until ten acts of each sort are acknowledged.
fn run_both(history: &History, clients: &mut [RecordingClient], one: &Server, other: &Server) {
    let over = AtomicBool::new(false);
    let goes_on = || !over.load(Ordering::SeqCst);
    let (first, second) = clients.split_at_mut(4);
    std::thread::scope(|scope| {
        let _end_work = StopOnDrop(&over);
        scope.spawn(|| run_all(first, |client| client.run_load(one.dialects, goes_on)));
        scope.spawn(|| run_all(second, |client| client.run_load(other.dialects, goes_on)));
        history.wait_for_more(10);
    });
}

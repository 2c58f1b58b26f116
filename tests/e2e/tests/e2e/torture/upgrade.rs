//! A database of an older schema is brought up to date, cut short or not, and the release before works beside this one.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::kill::LONG_LIVES;
use super::{is_long, times};
use crate::harness::client::{Client, together};
use crate::harness::history::History;
use crate::harness::log::Lines;
use crate::harness::tap::Tap;
use crate::harness::{
    Database, EndOnDrop, Held, PASSWORD, Server, Site, Verdict, binary, on_both_databases, pace,
};

on_both_databases!(a_database_of_every_earlier_schema_is_brought_up_to_date_with_all_that_lives);

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The migrations of a kind of database, oldest first: number and folder.
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

/// Runs statements.
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
        Database::Postgres { .. } | Database::Foreign(_) => {
            let mut command = Command::new("psql");
            let url = database.url();
            command.args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-c", statements, &url]);
            command
        }
    };
    let done = command.output().unwrap();
    assert!(done.status.success(), "{statements}: {}", String::from_utf8_lossy(&done.stderr));
}

/// Takes the newest migrations back, until so many are left.
fn down_to(database: &Database, left: usize) {
    for (number, folder) in migrations(database).into_iter().skip(left).rev() {
        let down = fs::read_to_string(folder.join("down.sql")).unwrap();
        let forget = format!("DELETE FROM __diesel_schema_migrations WHERE version = '{number}'");
        execute(database, &format!("BEGIN; {down}; {forget}; COMMIT;"));
    }
}

/// A site with a session on every wire, whose server has ended.
fn inhabited(database: Database) -> (Site, Vec<Held>) {
    let site = Site::with(database, LONG_LIVES);
    let mut server = site.start_with_user();
    let held = server.log_in_everywhere();
    server.signal("TERM");
    assert_eq!(server.ended().code(), Some(0), "{}", server.log.text());
    (site, held)
}

fn a_database_of_every_earlier_schema_is_brought_up_to_date_with_all_that_lives(
    database: Database,
) {
    let (site, mut held) = inhabited(database);
    let newest = migrations(&site.database).len();
    for left in (1..newest).rev() {
        down_to(&site.database, left);
        let mut server = site.start();
        let when = format!("from migration {left}");
        server.expect(&held, &Verdict::Yes, &when);
        server.log_in(crate::harness::Wire::Polish);
        // A 1010 login takes the one before over.
        held = server.log_in_everywhere();
        server.signal("TERM");
        assert_eq!(server.ended().code(), Some(0), "{}", server.log.text());
    }
    site.database.check_integrity();
}

/// Starts a server, kills it after this, and says whether it was ready by then.
fn killed_after(command: &mut Command, moment: Duration) -> bool {
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = child.spawn().unwrap();
    let said = Lines::of(child.stdout.take().unwrap());
    pace(moment);
    child.kill().unwrap();
    child.wait().unwrap();
    said.whole().contains("parlance ready")
}

const SERVE: &[&str] = &["serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"];

#[test]
fn a_migration_of_sqlite_that_is_killed_at_any_write_is_done_by_the_next_start() {
    let (site, held) = inhabited(Database::sqlite());
    let newest = migrations(&site.database).len();
    let step = if is_long() { 1 } else { 5 };
    let mut kills = 0;
    for left in (1..newest).rev() {
        for write in (1..).step_by(step) {
            down_to(&site.database, left);
            let mut command = Command::new("strace");
            let inject = format!("inject=pwrite64:signal=SIGKILL:when={write}");
            command.args(["-f", "-o", "/dev/null", "-e", "trace=pwrite64", "-e", &inject]);
            let plain = site.command(SERVE);
            command.arg(plain.get_program()).args(plain.get_args()).current_dir(site.folder());
            if is_ready(&mut command) {
                break;
            }
            kills += 1;
            site.database.check_integrity();
            let server = site.start();
            server.expect(&held, &Verdict::Yes, &format!("{left}, killed at write {write}"));
            server.kill();
        }
    }
    assert!(kills > 0, "no migration was killed");
    eprintln!(
        "upgrade: {kills} kills in the middle of SQLite's migrations, each done by the next start"
    );
}

/// Whether a server under strace becomes ready; it is ended either way.
fn is_ready(command: &mut Command) -> bool {
    let mut strace =
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let said = Lines::of(strace.stdout.take().unwrap());
    let ready = said.line_with("parlance ready").is_some();
    if ready {
        // strace ends with what it watches, and not the other way round.
        let parent = strace.id().to_string();
        let sent = Command::new("pkill").args(["-KILL", "-P", &parent]).status().unwrap();
        assert!(sent.success());
    }
    let _killed = strace.wait().unwrap();
    ready
}

#[test]
fn a_migration_of_postgresql_that_is_killed_at_any_moment_is_done_by_the_next_start() {
    let (site, held) = inhabited(Database::postgres());
    let newest = migrations(&site.database).len();
    // A line that takes its time, so that there are moments between two questions.
    let url = site.database.url();
    let (server, rest) = url.split_once("://").unwrap().1.split_once('/').unwrap();
    let (login, address) = server.rsplit_once('@').unwrap();
    let tap = Tap::before(address.parse().unwrap());
    let slow = format!("postgres://{login}@{}/{rest}", tap.address);
    let delay = Duration::from_millis(20);
    let (mut kills, moments) = (0, times(10, 200));
    for left in (1..newest).rev() {
        for moment in 0..moments {
            down_to(&site.database, left);
            tap.delay(delay);
            // Half a question apart in the short form, and as close as there are moments in the long one.
            let moment =
                delay * 40 * u32::try_from(moment).unwrap() / u32::try_from(moments).unwrap();
            let mut command = site.bare_command(SERVE);
            command.arg("--config").arg(site.config()).args(["--database", &slow]);
            kills += usize::from(!killed_after(&mut command, moment));
            let server = site.start();
            server.expect(&held, &Verdict::Yes, &format!("{left}, killed after {moment:?}"));
            server.kill();
        }
    }
    assert!(kills > 0, "no migration was killed");
    eprintln!(
        "upgrade: {kills} kills in the middle of a start on PostgreSQL, each done by the next one"
    );
}

/// What the release of each earlier schema asks of PostgreSQL is recorded: `statements/NNNN.sql`, a statement a line, is what its server and commands
/// were seen to prepare (`log_statement=all`) while they did everything once. A later schema must still understand each of them.
#[test]
fn every_statement_of_an_earlier_release_is_understood_by_the_newest_schema() {
    let site = Site::new(Database::postgres());
    drop(site.start());
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("statements");
    let mut prepared = Vec::new();
    for file in fs::read_dir(folder).unwrap() {
        let text = fs::read_to_string(file.unwrap().path()).unwrap();
        prepared.extend(text.lines().enumerate().map(|(number, statement)| {
            format!("PREPARE statement_{number} AS {statement}; DEALLOCATE ALL;")
        }));
    }
    execute(&site.database, &prepared.join("\n"));
    let count = prepared.len();
    assert!(count > 20, "{count} statements are recorded");
}

/// Builds the program as it was before the newest migration, from the repository.
fn release_before() -> PathBuf {
    let git = |arguments: &[&str]| {
        let output = Command::new("git").args(arguments).current_dir(root()).output().unwrap();
        assert!(output.status.success(), "git {arguments:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    let (_, newest) = migrations(&Database::Foreign(String::new())).pop().unwrap();
    let newest = newest.canonicalize().unwrap().display().to_string();
    let added = git(&["log", "--diff-filter=A", "--format=%H", "-1", "--", &newest]);
    let before = git(&["rev-parse", &format!("{added}^")]);
    let folder = binary::folder().join("before").join(&before);
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
fn the_release_before_works_beside_this_one_on_one_schema() {
    if !is_long() {
        eprintln!("upgrade: the release before is built in the long form only");
        return;
    }
    let database = Database::postgres();
    // The release before may know no more keys than these.
    let before = Site::of(&release_before(), Database::Foreign(database.url()), LONG_LIVES);
    let after = Site::with(Database::Foreign(database.url()), LONG_LIVES);
    let old = before.start_with_user();
    let keys = |site: &Site| site.folder().join("keys/parlance.key");
    fs::copy(keys(&before), keys(&after)).unwrap();
    let held = old.log_in_everywhere();
    let history = Arc::new(History::begin(after.folder()));
    let client = |number| Client::new(&history, format!("load{number}"), 1600 + number as u64);
    let mut clients: Vec<_> = (0..8).map(client).collect();
    clients.iter().for_each(|client| before.add_user(&client.user, PASSWORD));
    history.started();
    // The new one comes while the old one works, goes, and comes again; then the old one does.
    let rounds = times(1, 20);
    let mut old = Some(old);
    for round in 0..rounds {
        let new = after.start();
        let at_work = old.take().unwrap();
        at_work.expect(&held, &Verdict::Yes, "opened by the old one, before");
        new.expect(&held, &Verdict::Yes, "opened by the old one");
        for (one, other) in [(&at_work, &new), (&new, &at_work)] {
            work(&history, &mut clients, one, other);
        }
        new.kill();
        at_work.kill();
        history.started();
        old = Some(before.start());
        let address = old.as_ref().unwrap().dialects;
        together(&mut clients, |client| client.settle(address, 5));
        history.judge().assert_clean(&format!("side by side, round {round}"));
    }
    let judgement = history.judge();
    eprintln!(
        "upgrade: the release before and this one side by side, {rounds} rounds: {judgement}"
    );
}

/// Work by half of the clients on one server, and by the others on the other, until ten acts of each sort are done.
fn work(history: &History, clients: &mut [Client], one: &Server, other: &Server) {
    let over = AtomicBool::new(false);
    let goes_on = || !over.load(Ordering::SeqCst);
    let (first, second) = clients.split_at_mut(4);
    std::thread::scope(|scope| {
        let _end_work = EndOnDrop(&over);
        scope.spawn(|| together(first, |client| client.work(one.dialects, goes_on)));
        scope.spawn(|| together(second, |client| client.work(other.dialects, goes_on)));
        history.until_more(10);
    });
}

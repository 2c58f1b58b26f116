//! The file of a SQLite database: replaced, mounted, owned by another user, readable and writable by others; and
//! backups.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, symlink};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::harness::server::{run_to_end, wrap_command};
use crate::harness::{
    Database, Installation, Output, PASSWORD, Server, USER, Verdict, Wire, clock, on_both_databases,
};

on_both_databases!(
    a_backup_is_complete_and_private_and_overwrites_only_with_the_flag,
    a_database_in_use_or_a_file_that_is_no_backup_is_not_restored,
);

/// The user id of `nobody` on Debian.
const NOBODY_UID: u32 = 65534;
/// The user id of `daemon`, another user with a name.
const DAEMON_UID: u32 = 1;

fn database_file(installation: &Installation) -> PathBuf {
    installation.database.folder().join("parlance.db")
}

#[track_caller]
fn check_says(output: &Output, code: i32, parts: &[&str]) {
    assert_eq!(output.code, code, "{output:?}");
    for part in parts {
        assert!(output.stderr.contains(part), "no {part:?} in {output:?}");
    }
}

/// Runs a `serve` that must refuse to start. `timeout` ends a server that starts after all, with another exit code.
#[track_caller]
fn refused_start(command: &Command) -> Output {
    run_to_end(wrap_command(&["timeout", "60"], command), "")
}

/// Stops a server and waits for its exit.
#[track_caller]
fn stop_server(mut server: Server) {
    server.signal("TERM");
    assert_eq!(server.wait_for_exit().code(), Some(0), "{}", server.log.text());
}

/// Asserts that the server notices by itself that its open files have been replaced, and serves nothing.
#[track_caller]
fn check_serves_nothing(server: &Server, held: &[crate::harness::HeldSession]) {
    server.expect_each_use(held, &Verdict::Unavailable, "of a file that was replaced");
    for wire in Wire::ALL {
        assert_eq!(
            server.refused_login(wire, USER, PASSWORD),
            Verdict::Unavailable,
            "{}",
            wire.name()
        );
    }
    let ready = server.get_admin("/readyz");
    assert_eq!(ready.status, 503);
    assert!(ready.text().contains("replaced"), "{}", ready.text());
    let line = server.log.wait_for_line("the database's file was replaced").unwrap();
    assert!(line.contains("ERROR") && line.contains("parlance restore"), "{line}");
}

/// Asserts that no command works on a file that the other process does not have open.
#[track_caller]
fn check_refuses_commands(installation: &Installation) {
    for words in [&["session", "revoke", "--all"][..], &["user", "disable", USER]] {
        check_says(
            &installation.run_command(words),
            1,
            &["another process has the database", "stop that process"],
        );
    }
}

#[test]
fn a_backup_moved_over_the_file_of_a_running_server_ends_its_service_and_opens_after_a_stop() {
    let installation = Installation::new(Database::sqlite());
    let server = installation.start_with_user();
    let copy = installation.folder().join("copy.db");
    installation.run_ok(&["backup", copy.to_str().unwrap()]);
    let held = server.log_in_everywhere();
    fs::rename(&copy, database_file(&installation)).unwrap();
    check_serves_nothing(&server, &held);
    // No command works on the one file beside the log of the other.
    check_refuses_commands(&installation);
    stop_server(server);
    installation.database.check_integrity();
    let server = installation.start();
    server.expect_each_use(&held, &Verdict::Refused, "that the backup does not know");
    server.log_in(Wire::Axxon);
}

#[test]
fn a_removed_wal_file_ends_the_service_and_no_command_works_without_it() {
    for end in ["-shm", "-wal"] {
        let installation = Installation::new(Database::sqlite());
        let server = installation.start_with_user();
        let held = server.log_in_everywhere();
        let mut name = database_file(&installation).into_os_string();
        name.push(end);
        fs::remove_file(&name).unwrap();
        check_serves_nothing(&server, &held);
        check_refuses_commands(&installation);
        stop_server(server);
        installation.database.check_integrity();
        let server = installation.start();
        server.expect_each_use(&held, &Verdict::Accepted, "that nothing has ended");
    }
}

#[test]
fn a_backup_replaces_backups_alone() {
    let installation = Installation::new(Database::sqlite());
    let server = installation.start_with_user();
    let copy = installation.folder().join("copy.db");
    let copy = copy.to_str().unwrap();
    installation.run_ok(&["backup", copy]);
    installation.run_ok(&["backup", copy, "--overwrite"]);
    let own = database_file(&installation);
    let own = own.to_str().unwrap();
    let other = installation.folder().join("keys/parlance.key");
    assert!(other.is_file());
    let others = ["", "-wal", "-shm", "-lock"].map(|end| format!("{own}{end}"));
    let devices = ["/dev/null".to_owned(), other.to_str().unwrap().to_owned()];
    for there in others.iter().chain(&devices) {
        let said = installation.run_command(&["backup", there, "--overwrite"]);
        check_says(&said, 1, &["is not a backup", "choose another name"]);
    }
    server.log_in_everywhere();
}

#[test]
fn commands_change_a_folder_that_replaces_the_served_one_and_the_server_stops_serving() {
    let installation = Installation::new(Database::sqlite());
    let aside = tempfile::tempdir().unwrap();
    let (link, one, two) =
        (aside.path().join("link"), aside.path().join("one"), aside.path().join("two"));
    fs::create_dir(&one).unwrap();
    symlink(&one, &link).unwrap();
    let url = format!("sqlite:{}", link.join("parlance.db").display());
    let at = |words: &[&str]| {
        let mut command = installation.bare_command(words);
        command.arg("--config").arg(installation.config()).args(["--database", &url]);
        command
    };
    let add = ["user", "add", USER, "--password-stdin"];
    assert_eq!(run_to_end(at(&add), PASSWORD).code, 0);
    let words = ["serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"];
    let (server, _) = Server::spawn(at(&words));
    let held = server.log_in_everywhere();
    // Another file, with a later state of the same database.
    assert_eq!(run_to_end(at(&["backup", "copy.db"]), "").code, 0);
    fs::create_dir(&two).unwrap();
    fs::rename(installation.folder().join("copy.db"), two.join("parlance.db")).unwrap();
    symlink(&two, aside.path().join("new")).unwrap();
    fs::rename(aside.path().join("new"), &link).unwrap();
    // Ends the sessions in the file at the path: from here on none of these sessions may be served from the other
    // file.
    let ended = run_to_end(at(&["session", "revoke", "--all"]), "");
    assert_eq!(ended.code, 0, "{ended:?}");
    check_serves_nothing(&server, &held);
    stop_server(server);
    let (server, _) = Server::spawn(at(&words));
    server.expect_each_use(
        &held,
        &Verdict::Refused,
        "that were ended in the file that is served now",
    );
}

#[test]
fn a_file_that_is_mounted_alone_or_has_two_names_is_refused() {
    let installation = Installation::new(Database::sqlite());
    stop_server(installation.start_with_user());
    let other = installation.folder().join("other.db");
    fs::write(&other, "").unwrap();
    let mount = Command::new("mount")
        .arg("--bind")
        .arg(database_file(&installation))
        .arg(&other)
        .status()
        .unwrap();
    assert!(mount.success(), "mounted by root");
    let url = format!("sqlite:{}", other.display());
    let started: Vec<_> = [&["serve", "--listen", "127.0.0.1:0"][..], &["session", "list"]]
        .map(|words| {
            let mut command = installation.bare_command(words);
            command.arg("--config").arg(installation.config()).args(["--database", &url]);
            refused_start(&command)
        })
        .into();
    assert!(Command::new("umount").arg(&other).status().unwrap().success());
    for output in started {
        check_says(&output, 1, &["is a mount point", "mount its folder"]);
    }
    fs::hard_link(database_file(&installation), installation.folder().join("second.db")).unwrap();
    for words in [&["serve", "--listen", "127.0.0.1:0"][..], &["session", "list"]] {
        check_says(&refused_start(&installation.command(words)), 1, &["has 2 names"]);
    }
}

#[test]
fn a_world_readable_database_file_is_warned_of_and_a_world_writable_one_is_refused() {
    let installation = Installation::new(Database::sqlite());
    stop_server(installation.start_with_user());
    let mode = |mode| {
        fs::set_permissions(database_file(&installation), Permissions::from_mode(mode)).unwrap()
    };
    mode(0o644);
    let server = installation.start();
    let line = server.log.wait_for_line("other users may read the database").unwrap();
    assert!(line.contains("WARN") && line.contains("chmod 600"), "{line}");
    stop_server(server);
    mode(0o666);
    for words in [&["serve", "--listen", "127.0.0.1:0"][..], &["session", "list"]] {
        let refused = refused_start(&installation.command(words));
        check_says(&refused, 1, &["other users could change the database", "mode 0666"]);
    }
    mode(0o600);
    fs::set_permissions(installation.database.folder(), Permissions::from_mode(0o777)).unwrap();
    check_says(
        &installation.run_command(&["session", "list"]),
        1,
        &["other users could change the database"],
    );
}

/// The program in this folder, on the database there, as this user.
fn as_user(installation: &Installation, user: u32, folder: &Path, words: &[&str]) -> Command {
    let mut command = installation.bare_command(words);
    command.current_dir(folder).args(["--database", "sqlite:parlance.db"]);
    command.uid(user).gid(user);
    command
}

#[test]
fn files_of_a_service_account_are_created_for_it_and_errors_name_the_owner() {
    let installation = Installation::new(Database::sqlite());
    // A folder that other users can enter, unlike the folder of a test.
    let aside = tempfile::tempdir().unwrap();
    fs::set_permissions(aside.path(), Permissions::from_mode(0o755)).unwrap();
    let home = aside.path().join("home");
    fs::create_dir(&home).unwrap();
    fs::set_permissions(&home, Permissions::from_mode(0o700)).unwrap();
    chown(&home, Some(NOBODY_UID), Some(NOBODY_UID)).unwrap();
    let add = ["user", "add", USER, "--password-stdin"];
    let added = run_to_end(as_user(&installation, 0, &home, &add), PASSWORD);
    assert_eq!(added.code, 0, "{added:?}");
    for name in ["parlance.db", "parlance.db-lock"] {
        let made = fs::metadata(home.join(name)).unwrap();
        assert_eq!((made.uid(), made.mode() & 0o777), (NOBODY_UID, 0o600), "{name}");
    }
    let words = ["serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"];
    let (server, _) = Server::spawn(as_user(&installation, NOBODY_UID, &home, &words));
    server.log_in(Wire::Axxon);
    for name in ["parlance.db-wal", "parlance.db-shm"] {
        assert_eq!(fs::metadata(home.join(name)).unwrap().uid(), NOBODY_UID, "{name}");
    }
    let rotated = run_to_end(as_user(&installation, 0, &home, &["key", "rotate"]), "");
    check_says(&rotated, 1, &["belongs to nobody", "run this as nobody (sudo -u nobody"]);
    assert!(!rotated.stderr.contains("chown"), "{rotated:?}");

    let url = format!("sqlite:{}", home.join("parlance.db").display());
    let mut list = installation.bare_command(&["user", "list", "--database", &url]);
    list.current_dir("/").uid(DAEMON_UID).gid(DAEMON_UID);
    let whose = format!("{} belongs to nobody and has mode 0700", home.display());
    check_says(&run_to_end(list, ""), 1, &["Permission denied", &whose, "run this as nobody"]);
    fs::set_permissions(&home, Permissions::from_mode(0o755)).unwrap();
    let listed = run_to_end(as_user(&installation, DAEMON_UID, &home, &["user", "list"]), "");
    check_says(&listed, 1, &["Permission denied", "belongs to nobody", "run this as nobody"]);
}

#[test]
fn all_sessions_of_five_hundred_users_are_ended_without_a_folder_for_temporary_files() {
    let installation = Installation::new(Database::sqlite());
    let server = installation.start_with_user();
    let held = server.log_in_everywhere();
    installation.database.execute(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 500) \
         INSERT INTO users SELECT randomblob(16), 'user' || i || hex(randomblob(100)), 'user' || i, NULL, 1, 0, 0, x'', 0, NULL, 0, 0 FROM n",
    );
    let folder = installation.database.folder().to_str().unwrap();
    let script = "mount --make-rprivate /; mount --bind \"$0\" \"$0\"; \
                  for place in /var/tmp /usr/tmp /tmp /dev/shm; do \
                  mountpoint -q $place && mount -o remount,bind,ro $place || :; done; mount -o remount,bind,ro /; \
                  ! touch /tmp/parlance-probe 2>/dev/null || exit 9; exec \"$@\"";
    let ended = wrap_command(
        &["unshare", "--mount", "sh", "-ec", script, folder],
        &installation.command(&["session", "revoke", "--all"]),
    );
    let ended = run_to_end(ended, "");
    assert_eq!(ended.code, 0, "{ended:?}");
    server.expect_each_use(&held, &Verdict::Refused, "that were all ended");
}

fn a_backup_is_complete_and_private_and_overwrites_only_with_the_flag(database: Database) {
    let installation = Installation::new(database);
    let server = installation.start_with_user();
    let copy = installation.folder().join("copy");
    let name = copy.to_str().unwrap();
    let made: Value =
        serde_json::from_str(&installation.run_ok(&["backup", name, "--json"])).unwrap();
    let found = fs::metadata(&copy).unwrap();
    assert_eq!((&made["done"], &made["bytes"]), (&"backup".into(), &found.len().into()), "{made}");
    assert_eq!(found.mode() & 0o777, 0o600);
    assert_eq!(made["key_file_included"], false);
    let before = fs::read(&copy).unwrap();
    check_says(&installation.run_command(&["backup", name]), 1, &["exists already", "--overwrite"]);
    assert_eq!(fs::read(&copy).unwrap(), before);
    // The unfinished file of a killed backup is no obstacle.
    fs::write(installation.folder().join(".copy.parlance-part"), "half").unwrap();
    let again = installation.run_command(&["backup", name, "--overwrite"]);
    check_says(&again, 0, &["key file", "is not in the backup"]);
    let left: Vec<_> =
        fs::read_dir(installation.folder()).unwrap().map(|at| at.unwrap().file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().contains("part")), "{left:?}");
    drop(server);
}

fn a_database_in_use_or_a_file_that_is_no_backup_is_not_restored(database: Database) {
    let sqlite = matches!(database, Database::Sqlite(_));
    let installation = Installation::new(database);
    let server = installation.start_with_user();
    let copy = installation.folder().join("copy");
    let name = copy.to_str().unwrap();
    installation.run_ok(&["backup", name]);
    let refused = installation.run_command(&["restore", name]);
    check_says(&refused, 1, &[if sqlite { "is in use" } else { "an empty PostgreSQL database" }]);
    let held = server.log_in(Wire::Polish);
    assert_eq!(
        server.use_session(&held),
        Verdict::Accepted,
        "a restore that is refused changes nothing"
    );
    stop_server(server);
    for (what, bytes) in [("text", b"no database at all".to_vec()), ("cut", first_half(&copy))] {
        let bad = installation.folder().join(what);
        fs::write(&bad, bytes).unwrap();
        check_says(&installation.run_command(&["restore", bad.to_str().unwrap()]), 1, &[""]);
    }
    let server = installation.start();
    assert_eq!(server.use_session(&held), Verdict::Accepted, "nor does one of what is no backup");
}

/// The first half of a file.
fn first_half(file: &Path) -> Vec<u8> {
    let bytes = fs::read(file).unwrap();
    bytes[..bytes.len() / 2].to_vec()
}

#[test]
fn a_restore_ignores_the_files_that_a_killed_server_left() {
    let installation = Installation::new(Database::sqlite());
    let server = installation.start_with_user();
    let copy = installation.folder().join("copy.db");
    installation.run_ok(&["backup", copy.to_str().unwrap()]);
    let held = server.log_in_everywhere();
    installation.add_user("late", PASSWORD);
    server.kill();
    assert!(installation.database.folder().join("parlance.db-wal").exists());
    // The unfinished files of a killed restore, which the next restore must not take for its own either.
    for name in ["", "-wal"] {
        let part = installation.database.folder().join(format!(".parlance.db.parlance-part{name}"));
        fs::copy(installation.database.folder().join(format!("parlance.db{name}")), part).unwrap();
    }
    fs::set_permissions(database_file(&installation), Permissions::from_mode(0o640)).unwrap();
    chown(database_file(&installation), Some(NOBODY_UID), Some(NOBODY_UID)).unwrap();
    let done = installation.run_command(&["restore", copy.to_str().unwrap(), "--json"]);
    assert_eq!(done.code, 0, "{done:?}");
    let said: Value = serde_json::from_str(&done.stdout).unwrap();
    assert_eq!((&said["users"], &said["sessions_ended"]), (&1.into(), &true.into()), "{said}");
    let found = fs::metadata(database_file(&installation)).unwrap();
    assert_eq!((found.uid(), found.mode() & 0o777), (NOBODY_UID, 0o600));
    for name in ["parlance.db-wal", "parlance.db-shm", ".parlance.db.parlance-part"] {
        assert!(!installation.database.folder().join(name).exists(), "{name}");
    }
    installation.database.check_integrity();
    let server = installation.start();
    server.expect_each_use(&held, &Verdict::Refused, "that the backup does not know");
    assert_eq!(server.refused_login(Wire::Polish, "late", PASSWORD), Verdict::Refused);
    server.log_in(Wire::Polish);
    // A leftover log is not replayed into a file that was moved over the log's own file.
    server.kill();
    fs::rename(&copy, database_file(&installation)).unwrap();
    chown(database_file(&installation), Some(NOBODY_UID), Some(NOBODY_UID)).unwrap();
    check_says(
        &installation.run_command(&["session", "list"]),
        1,
        &["belongs to the file that was there before"],
    );
    let kept = installation.folder().join("kept.db");
    fs::copy(database_file(&installation), &kept).unwrap();
    let restored = installation.run_command(&["restore", kept.to_str().unwrap()]);
    assert_eq!(restored.code, 0, "{restored:?}");
    installation.start().log_in(Wire::Polish);
}

#[test]
fn a_server_may_not_start_during_a_restore() {
    let installation = Installation::new(Database::sqlite());
    stop_server(installation.start_with_user());
    let lock = fs::File::open(installation.database.folder().join("parlance.db-lock")).unwrap();
    lock.lock().unwrap();
    check_says(&installation.run_command(&["session", "list"]), 1, &["is being restored"]);
    drop(lock);
    clock::wait_for("the end of the lock", || {
        (installation.run_command(&["session", "list"]).code == 0).then_some(())
    });
}

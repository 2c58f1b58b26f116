//! The file of a SQLite database: replaced, mounted, of another user, read and written by others; and copies of it.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, symlink};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::harness::server::{run, under};
use crate::harness::{
    Database, Output, PASSWORD, Server, Site, USER, Verdict, Wire, clock, on_both_databases,
};

on_both_databases!(
    a_backup_is_whole_and_private_and_replaces_nothing_unasked,
    a_database_in_use_or_a_file_that_is_no_backup_is_not_restored,
);

/// Nobody's number on Debian.
const NOBODY: u32 = 65534;
/// That of another user with a name.
const DAEMON: u32 = 1;

fn file(site: &Site) -> PathBuf {
    site.database.folder().join("parlance.db")
}

#[track_caller]
fn check_says(output: &Output, code: i32, parts: &[&str]) {
    assert_eq!(output.code, code, "{output:?}");
    for part in parts {
        assert!(output.stderr.contains(part), "no {part:?} in {output:?}");
    }
}

/// How `serve` ends that is to be refused; one that serves after all is ended, which is another exit code.
#[track_caller]
fn refused_start(command: &Command) -> Output {
    run(under(&["timeout", "60"], command), "")
}

/// Stops a server, and waits for its end.
#[track_caller]
fn stop(mut server: Server) {
    server.signal("TERM");
    assert_eq!(server.ended().code(), Some(0), "{}", server.log.text());
}

/// The server knows by itself that nothing of what it has open counts any more.
#[track_caller]
fn check_serves_nothing(server: &Server, held: &[crate::harness::Held]) {
    server.expect(held, &Verdict::Away, "of a file that was replaced");
    for wire in Wire::ALL {
        assert_eq!(server.refusal(wire, USER, PASSWORD), Verdict::Away, "{}", wire.name());
    }
    let ready = server.admin("/readyz");
    assert_eq!(ready.status, 503);
    assert!(ready.text().contains("replaced"), "{}", ready.text());
    let line = server.log.line_with("the database's file was replaced").unwrap();
    assert!(line.contains("ERROR") && line.contains("parlance restore"), "{line}");
}

/// No command works on what another process does not have open.
#[track_caller]
fn check_refuses_commands(site: &Site) {
    for words in [&["session", "revoke", "--all"][..], &["user", "disable", USER]] {
        check_says(
            &site.operate(words),
            1,
            &["another process has the database", "stop that process"],
        );
    }
}

#[test]
fn a_backup_moved_over_the_file_of_a_running_server_ends_its_service_and_opens_after_a_stop() {
    let site = Site::new(Database::sqlite());
    let server = site.start_with_user();
    let copy = site.folder().join("copy.db");
    site.must(&["backup", copy.to_str().unwrap()]);
    let held = server.log_in_everywhere();
    fs::rename(&copy, file(&site)).unwrap();
    check_serves_nothing(&server, &held);
    // No command works on the one file beside the log of the other.
    check_refuses_commands(&site);
    stop(server);
    site.database.check_integrity();
    let server = site.start();
    server.expect(&held, &Verdict::No, "that the backup does not know");
    server.log_in(Wire::Axxon);
}

#[test]
fn a_file_of_the_log_that_is_removed_ends_the_service_and_no_command_works_without_it() {
    for end in ["-shm", "-wal"] {
        let site = Site::new(Database::sqlite());
        let server = site.start_with_user();
        let held = server.log_in_everywhere();
        let mut name = file(&site).into_os_string();
        name.push(end);
        fs::remove_file(&name).unwrap();
        check_serves_nothing(&server, &held);
        check_refuses_commands(&site);
        stop(server);
        site.database.check_integrity();
        let server = site.start();
        server.expect(&held, &Verdict::Yes, "that nothing has ended");
    }
}

#[test]
fn a_backup_replaces_backups_alone() {
    let site = Site::new(Database::sqlite());
    let server = site.start_with_user();
    let copy = site.folder().join("copy.db");
    let copy = copy.to_str().unwrap();
    site.must(&["backup", copy]);
    site.must(&["backup", copy, "--overwrite"]);
    let own = file(&site);
    let own = own.to_str().unwrap();
    let other = site.folder().join("keys/parlance.key");
    assert!(other.is_file());
    let others = ["", "-wal", "-shm", "-lock"].map(|end| format!("{own}{end}"));
    let devices = ["/dev/null".to_owned(), other.to_str().unwrap().to_owned()];
    for there in others.iter().chain(&devices) {
        let said = site.operate(&["backup", there, "--overwrite"]);
        check_says(&said, 1, &["is no backup but something else", "choose another name"]);
    }
    server.log_in_everywhere();
}

#[test]
fn a_folder_put_in_place_of_the_one_served_is_what_commands_change_and_the_server_stops_serving() {
    let site = Site::new(Database::sqlite());
    let aside = tempfile::tempdir().unwrap();
    let (link, one, two) =
        (aside.path().join("link"), aside.path().join("one"), aside.path().join("two"));
    fs::create_dir(&one).unwrap();
    symlink(&one, &link).unwrap();
    let url = format!("sqlite:{}", link.join("parlance.db").display());
    let at = |words: &[&str]| {
        let mut command = site.bare_command(words);
        command.arg("--config").arg(site.config()).args(["--database", &url]);
        command
    };
    let add = ["user", "add", USER, "--password-stdin"];
    assert_eq!(run(at(&add), PASSWORD).code, 0);
    let words = ["serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"];
    let (server, _) = Server::spawn(at(&words));
    let held = server.log_in_everywhere();
    // Another state of the same database.
    assert_eq!(run(at(&["backup", "copy.db"]), "").code, 0);
    fs::create_dir(&two).unwrap();
    fs::rename(site.folder().join("copy.db"), two.join("parlance.db")).unwrap();
    symlink(&two, aside.path().join("new")).unwrap();
    fs::rename(aside.path().join("new"), &link).unwrap();
    // It ends the sessions in the file that stands there: from here on none of them is served from the other.
    let ended = run(at(&["session", "revoke", "--all"]), "");
    assert_eq!(ended.code, 0, "{ended:?}");
    check_serves_nothing(&server, &held);
    stop(server);
    let (server, _) = Server::spawn(at(&words));
    server.expect(&held, &Verdict::No, "that were ended in the file that is served now");
}

#[test]
fn a_file_that_is_mounted_alone_or_has_two_names_is_refused() {
    let site = Site::new(Database::sqlite());
    stop(site.start_with_user());
    let other = site.folder().join("other.db");
    fs::write(&other, "").unwrap();
    let mount = Command::new("mount").arg("--bind").arg(file(&site)).arg(&other).status().unwrap();
    assert!(mount.success(), "mounted by root");
    let url = format!("sqlite:{}", other.display());
    let started: Vec<_> = [&["serve", "--listen", "127.0.0.1:0"][..], &["session", "list"]]
        .map(|words| {
            let mut command = site.bare_command(words);
            command.arg("--config").arg(site.config()).args(["--database", &url]);
            refused_start(&command)
        })
        .into();
    assert!(Command::new("umount").arg(&other).status().unwrap().success());
    for output in started {
        check_says(&output, 1, &["is a mount point", "mount its folder"]);
    }
    fs::hard_link(file(&site), site.folder().join("second.db")).unwrap();
    for words in [&["serve", "--listen", "127.0.0.1:0"][..], &["session", "list"]] {
        check_says(&refused_start(&site.command(words)), 1, &["has 2 names"]);
    }
}

#[test]
fn a_file_that_others_read_is_told_at_the_start_and_one_that_they_write_is_refused() {
    let site = Site::new(Database::sqlite());
    stop(site.start_with_user());
    let mode = |mode| fs::set_permissions(file(&site), Permissions::from_mode(mode)).unwrap();
    mode(0o644);
    let server = site.start();
    let line = server.log.line_with("others may read the database").unwrap();
    assert!(line.contains("WARN") && line.contains("chmod 600"), "{line}");
    stop(server);
    mode(0o666);
    for words in [&["serve", "--listen", "127.0.0.1:0"][..], &["session", "list"]] {
        let refused = refused_start(&site.command(words));
        check_says(&refused, 1, &["others could change the database", "mode 0666"]);
    }
    mode(0o600);
    fs::set_permissions(site.database.folder(), Permissions::from_mode(0o777)).unwrap();
    check_says(&site.operate(&["session", "list"]), 1, &["others could change the database"]);
}

/// The program in a folder, on the database in it, as this user.
fn as_user(site: &Site, user: u32, folder: &Path, words: &[&str]) -> Command {
    let mut command = site.bare_command(words);
    command.current_dir(folder).args(["--database", "sqlite:parlance.db"]);
    command.uid(user).gid(user);
    command
}

#[test]
fn what_belongs_to_a_service_is_made_for_it_and_says_whose_it_is() {
    let site = Site::new(Database::sqlite());
    // Where other users get to, unlike the folder of a test.
    let aside = tempfile::tempdir().unwrap();
    fs::set_permissions(aside.path(), Permissions::from_mode(0o755)).unwrap();
    let home = aside.path().join("home");
    fs::create_dir(&home).unwrap();
    fs::set_permissions(&home, Permissions::from_mode(0o700)).unwrap();
    chown(&home, Some(NOBODY), Some(NOBODY)).unwrap();
    let add = ["user", "add", USER, "--password-stdin"];
    let added = run(as_user(&site, 0, &home, &add), PASSWORD);
    assert_eq!(added.code, 0, "{added:?}");
    for name in ["parlance.db", "parlance.db-lock"] {
        let made = fs::metadata(home.join(name)).unwrap();
        assert_eq!((made.uid(), made.mode() & 0o777), (NOBODY, 0o600), "{name}");
    }
    let words = ["serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"];
    let (server, _) = Server::spawn(as_user(&site, NOBODY, &home, &words));
    server.log_in(Wire::Axxon);
    for name in ["parlance.db-wal", "parlance.db-shm"] {
        assert_eq!(fs::metadata(home.join(name)).unwrap().uid(), NOBODY, "{name}");
    }
    let rotated = run(as_user(&site, 0, &home, &["key", "rotate"]), "");
    check_says(&rotated, 1, &["belongs to nobody", "run this as nobody (sudo -u nobody"]);
    assert!(!rotated.stderr.contains("chown"), "{rotated:?}");

    let url = format!("sqlite:{}", home.join("parlance.db").display());
    let mut list = site.bare_command(&["user", "list", "--database", &url]);
    list.current_dir("/").uid(DAEMON).gid(DAEMON);
    let whose = format!("{} belongs to nobody and has mode 0700", home.display());
    check_says(&run(list, ""), 1, &["Permission denied", &whose, "run this as nobody"]);
    fs::set_permissions(&home, Permissions::from_mode(0o755)).unwrap();
    let listed = run(as_user(&site, DAEMON, &home, &["user", "list"]), "");
    check_says(&listed, 1, &["Permission denied", "belongs to nobody", "run this as nobody"]);
}

#[test]
fn all_sessions_of_five_hundred_users_are_ended_without_a_folder_for_temporary_files() {
    let site = Site::new(Database::sqlite());
    let server = site.start_with_user();
    let held = server.log_in_everywhere();
    site.database.run(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 500) \
         INSERT INTO users SELECT randomblob(16), 'user' || i || hex(randomblob(100)), 'user' || i, NULL, 1, 0, 0, x'', 0, NULL, 0, 0 FROM n",
    );
    let folder = site.database.folder().to_str().unwrap();
    let script = "mount --make-rprivate /; mount --bind \"$0\" \"$0\"; \
                  for place in /var/tmp /usr/tmp /tmp /dev/shm; do \
                  mountpoint -q $place && mount -o remount,bind,ro $place || :; done; mount -o remount,bind,ro /; \
                  ! touch /tmp/parlance-probe 2>/dev/null || exit 9; exec \"$@\"";
    let ended = under(
        &["unshare", "--mount", "sh", "-ec", script, folder],
        &site.command(&["session", "revoke", "--all"]),
    );
    let ended = run(ended, "");
    assert_eq!(ended.code, 0, "{ended:?}");
    server.expect(&held, &Verdict::No, "that were all ended");
}

fn a_backup_is_whole_and_private_and_replaces_nothing_unasked(database: Database) {
    let site = Site::new(database);
    let server = site.start_with_user();
    let copy = site.folder().join("copy");
    let name = copy.to_str().unwrap();
    let made: Value = serde_json::from_str(&site.must(&["backup", name, "--json"])).unwrap();
    let found = fs::metadata(&copy).unwrap();
    assert_eq!((&made["done"], &made["bytes"]), (&"backup".into(), &found.len().into()), "{made}");
    assert_eq!(found.mode() & 0o777, 0o600);
    assert_eq!(made["key_file_included"], false);
    let before = fs::read(&copy).unwrap();
    check_says(&site.operate(&["backup", name]), 1, &["is there already", "--overwrite"]);
    assert_eq!(fs::read(&copy).unwrap(), before);
    // What a killed one has left is in nobody's way.
    fs::write(site.folder().join(".copy.parlance-part"), "half").unwrap();
    let again = site.operate(&["backup", name, "--overwrite"]);
    check_says(&again, 0, &["key file", "is not in it"]);
    let left: Vec<_> =
        fs::read_dir(site.folder()).unwrap().map(|at| at.unwrap().file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().contains("part")), "{left:?}");
    drop(server);
}

fn a_database_in_use_or_a_file_that_is_no_backup_is_not_restored(database: Database) {
    let sqlite = matches!(database, Database::Sqlite(_));
    let site = Site::new(database);
    let server = site.start_with_user();
    let copy = site.folder().join("copy");
    let name = copy.to_str().unwrap();
    site.must(&["backup", name]);
    let refused = site.operate(&["restore", name]);
    check_says(&refused, 1, &[if sqlite { "is in use" } else { "an empty PostgreSQL database" }]);
    let held = server.log_in(Wire::Polish);
    assert_eq!(server.check(&held), Verdict::Yes, "a restore that is refused changes nothing");
    stop(server);
    for (what, bytes) in [("text", b"no database at all".to_vec()), ("cut", cut(&copy))] {
        let bad = site.folder().join(what);
        fs::write(&bad, bytes).unwrap();
        check_says(&site.operate(&["restore", bad.to_str().unwrap()]), 1, &[""]);
    }
    let server = site.start();
    assert_eq!(server.check(&held), Verdict::Yes, "nor does one of what is no backup");
}

/// The first half of a file.
fn cut(file: &Path) -> Vec<u8> {
    let bytes = fs::read(file).unwrap();
    bytes[..bytes.len() / 2].to_vec()
}

#[test]
fn a_killed_server_leaves_nothing_that_a_restore_takes_for_its_own() {
    let site = Site::new(Database::sqlite());
    let server = site.start_with_user();
    let copy = site.folder().join("copy.db");
    site.must(&["backup", copy.to_str().unwrap()]);
    let held = server.log_in_everywhere();
    site.add_user("late", PASSWORD);
    server.kill();
    assert!(site.database.folder().join("parlance.db-wal").exists());
    // Nor what a restore left that was killed itself.
    for name in ["", "-wal"] {
        let part = site.database.folder().join(format!(".parlance.db.parlance-part{name}"));
        fs::copy(site.database.folder().join(format!("parlance.db{name}")), part).unwrap();
    }
    fs::set_permissions(file(&site), Permissions::from_mode(0o640)).unwrap();
    chown(file(&site), Some(NOBODY), Some(NOBODY)).unwrap();
    let done = site.operate(&["restore", copy.to_str().unwrap(), "--json"]);
    assert_eq!(done.code, 0, "{done:?}");
    let said: Value = serde_json::from_str(&done.stdout).unwrap();
    assert_eq!((&said["users"], &said["sessions_ended"]), (&1.into(), &true.into()), "{said}");
    let found = fs::metadata(file(&site)).unwrap();
    assert_eq!((found.uid(), found.mode() & 0o777), (NOBODY, 0o600));
    for name in ["parlance.db-wal", "parlance.db-shm", ".parlance.db.parlance-part"] {
        assert!(!site.database.folder().join(name).exists(), "{name}");
    }
    site.database.check_integrity();
    let server = site.start();
    server.expect(&held, &Verdict::No, "that the backup does not know");
    assert_eq!(server.refusal(Wire::Polish, "late", PASSWORD), Verdict::No);
    server.log_in(Wire::Polish);
    // A log that is left beside a file which was moved over the one it belongs to is not played into that.
    server.kill();
    fs::rename(&copy, file(&site)).unwrap();
    chown(file(&site), Some(NOBODY), Some(NOBODY)).unwrap();
    check_says(
        &site.operate(&["session", "list"]),
        1,
        &["belongs to the file that stood there before"],
    );
    let kept = site.folder().join("kept.db");
    fs::copy(file(&site), &kept).unwrap();
    let restored = site.operate(&["restore", kept.to_str().unwrap()]);
    assert_eq!(restored.code, 0, "{restored:?}");
    site.start().log_in(Wire::Polish);
}

#[test]
fn a_server_may_not_start_during_a_restore() {
    let site = Site::new(Database::sqlite());
    stop(site.start_with_user());
    let lock = fs::File::open(site.database.folder().join("parlance.db-lock")).unwrap();
    lock.lock().unwrap();
    check_says(&site.operate(&["session", "list"]), 1, &["is being restored"]);
    drop(lock);
    clock::until("the end of the lock", || {
        (site.operate(&["session", "list"]).code == 0).then_some(())
    });
}

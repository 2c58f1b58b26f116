//! Tests of the file of a SQLite database: which files may be opened, and which replacements are noticed.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, chown, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_executor::block_on;
use parlance_core::ports::{Change, Store, StoreError};
use tempfile::TempDir;

use super::{apply, find_session, populate};
use crate::{Database, FILE_REPLACED_PREFIX, OpenError, Options, migrate, open, security_warning};

/// A folder with a migrated database in a folder of its own.
struct TestFolder(TempDir);

impl TestFolder {
    fn new() -> Self {
        let home = Self(tempfile::tempdir().unwrap());
        home.create_database("data");
        home
    }

    fn create_database(&self, folder: &str) {
        fs::create_dir(self.at(folder)).unwrap();
        fs::set_permissions(self.at(folder), Permissions::from_mode(0o700)).unwrap();
        migrate(&self.url(folder)).unwrap();
        populate(&open(&self.url(folder), Options::default()).unwrap(), [1]);
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn file(&self, folder: &str) -> PathBuf {
        self.at(folder).join("parlance.db")
    }

    fn url(&self, folder: &str) -> String {
        format!("sqlite:{}", self.file(folder).display())
    }

    fn open(&self, folder: &str) -> Database {
        open(&self.url(folder), Options::default()).unwrap()
    }

    #[track_caller]
    fn refusal(&self, folder: &str) -> OpenError {
        match open(&self.url(folder), Options::default()) {
            Ok(_) => panic!("{folder} was opened"),
            Err(error) => error,
        }
    }
}

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

/// Checks that this store answers no call any more.
#[track_caller]
fn check_refused(store: &Database, why: &str) {
    let refused = |answer: Result<(), StoreError>| match answer {
        Err(StoreError::Unavailable(text)) => {
            assert!(text.starts_with(FILE_REPLACED_PREFIX), "{why}: {text}")
        }
        other => panic!("{why}: {other:?}"),
    };
    refused(find_session(store, 1).map(drop));
    refused(apply(store, Change::RevokeAll).map(drop));
    refused(block_on(store.ping()));
    refused(block_on(store.clients()).map(drop));
}

#[test]
fn a_file_that_is_replaced_is_served_no_more() {
    type Replacement = fn(&TestFolder);
    let cases: [(&str, Replacement, bool); 8] = [
        (
            "another file moved over it",
            |home| fs::rename(home.file("other"), home.file("data")).unwrap(),
            true,
        ),
        ("removed", |home| fs::remove_file(home.file("data")).unwrap(), false),
        (
            "its folder swapped",
            |home| {
                fs::rename(home.at("data"), home.at("old")).unwrap();
                fs::rename(home.at("other"), home.at("data")).unwrap();
            },
            false,
        ),
        (
            "its folder moved away",
            |home| fs::rename(home.at("data"), home.at("old")).unwrap(),
            false,
        ),
        (
            "its log removed",
            |home| fs::remove_file(home.at("data/parlance.db-wal")).unwrap(),
            false,
        ),
        (
            "its log replaced",
            |home| {
                let log = home.at("data/parlance.db-wal");
                fs::copy(&log, home.at("copy")).unwrap();
                fs::rename(home.at("copy"), log).unwrap();
            },
            false,
        ),
        (
            "the index of its log removed",
            |home| fs::remove_file(home.at("data/parlance.db-shm")).unwrap(),
            false,
        ),
        (
            "the index of its log replaced",
            |home| {
                let index = home.at("data/parlance.db-shm");
                fs::copy(&index, home.at("copy")).unwrap();
                fs::rename(home.at("copy"), index).unwrap();
            },
            false,
        ),
    ];
    for (why, act, beside) in cases {
        let home = TestFolder::new();
        home.create_database("other");
        let store = home.open("data");
        assert!(find_session(&store, 1).unwrap().is_some());
        act(&home);
        check_refused(&store, why);
        // While the old file is open, no other process uses the replacement beside the old file's log.
        if beside {
            assert!(matches!(home.refusal("data"), OpenError::FileReplaced(_)), "{why}");
        }
        drop(store);
    }
}

#[test]
fn a_symlink_moved_to_another_folder_is_detected_and_moved_back_is_served_again() {
    static CALLBACK_CALLS: AtomicUsize = AtomicUsize::new(0);
    let home = TestFolder::new();
    home.create_database("other");
    symlink(home.at("data"), home.at("link")).unwrap();
    let count = |_: Option<&str>| {
        CALLBACK_CALLS.fetch_add(1, Ordering::SeqCst);
    };
    let options = Options { on_file_replaced: Some(count), ..Options::default() };
    let store = open(&home.url("link"), options).unwrap();
    let switch_link = |to: &str| {
        symlink(home.at(to), home.at("new")).unwrap();
        fs::rename(home.at("new"), home.at("link")).unwrap();
    };
    switch_link("other");
    check_refused(&store, "turned");
    assert_eq!(CALLBACK_CALLS.load(Ordering::SeqCst), 1, "once");
    switch_link("data");
    assert!(find_session(&store, 1).unwrap().is_some());
    assert_eq!(CALLBACK_CALLS.load(Ordering::SeqCst), 2);
}

#[test]
fn after_a_clean_stop_the_file_that_was_put_in_place_opens_whole() {
    let home = TestFolder::new();
    home.create_database("other");
    let store = home.open("data");
    populate_more(&store, "data");
    populate_more(&home.open("other"), "other");
    fs::rename(home.file("other"), home.file("data")).unwrap();
    check_refused(&store, "moved over it");
    drop(store);
    assert!(!home.at("data/parlance.db-wal").exists(), "the log of the file that is gone");
    let store = home.open("data");
    assert_eq!(names(&store), ["other", "user1", "user2"]);
}

#[test]
fn a_write_ahead_log_left_by_a_crash_is_not_applied_to_another_file() {
    let home = TestFolder::new();
    home.create_database("other");
    let store = home.open("data");
    populate_more(&store, "data");
    // A killed process leaves a log, which a clean end would have removed.
    fs::hard_link(home.at("data/parlance.db-wal"), home.at("log")).unwrap();
    drop(store);
    fs::rename(home.at("log"), home.at("data/parlance.db-wal")).unwrap();
    fs::rename(home.file("data"), home.at("kept")).unwrap();
    fs::rename(home.file("other"), home.file("data")).unwrap();
    assert!(matches!(home.refusal("data"), OpenError::ForeignWal(_)));
    assert!(matches!(migrate(&home.url("data")), Err(OpenError::ForeignWal(_))));
    fs::rename(home.at("kept"), home.file("data")).unwrap();
    assert_eq!(names(&home.open("data")), ["data", "user1", "user2"]);
}

#[test]
fn a_copy_of_the_folder_opens_with_what_is_in_its_log() {
    let home = TestFolder::new();
    let store = home.open("data");
    populate_more(&store, "data");
    fs::create_dir(home.at("copy")).unwrap();
    for name in ["parlance.db-lock", "parlance.db-wal", "parlance.db"] {
        fs::copy(home.at("data").join(name), home.at("copy").join(name)).unwrap();
    }
    assert_eq!(names(&home.open("copy")), ["data", "user1", "user2"]);
}

#[test]
fn a_file_with_two_hard_links_is_refused() {
    let home = TestFolder::new();
    fs::hard_link(home.file("data"), home.at("other")).unwrap();
    let refused = home.refusal("data");
    assert!(
        matches!(refused, OpenError::MultiplePaths { .. })
            && refused.to_string().contains("2 names")
    );
    assert!(matches!(migrate(&home.url("data")), Err(OpenError::MultiplePaths { .. })));
}

#[test]
fn a_file_writable_by_others_is_refused_and_a_readable_one_causes_a_warning() {
    let home = TestFolder::new();
    let cases = [
        (0o700, 0o600, false, false),
        (0o755, 0o640, false, true),
        (0o755, 0o644, false, true),
        (0o700, 0o602, true, false),
        (0o700, 0o620, true, false),
        (0o777, 0o600, true, false),
        (0o1777, 0o600, true, false),
    ];
    for (folder, file, refused, told) in cases {
        let why = format!("{folder:o} {file:o}");
        mode(&home.at("data"), folder);
        mode(&home.file("data"), file);
        match open(&home.url("data"), Options::default()) {
            Err(OpenError::WritableByOthers(text)) => {
                assert!(refused && text.contains("chmod"), "{why}: {text}")
            }
            Err(other) => panic!("{why}: {other}"),
            Ok(_) => assert!(!refused, "{why}"),
        }
        let advice = security_warning(&home.url("data")).unwrap();
        assert_eq!(
            advice.is_some(),
            told || refused && file != 0o600 && file != 0o602,
            "{why}: {advice:?}"
        );
    }
    mode(&home.at("data"), 0o700);
    mode(&home.file("data"), 0o600);
    let store = home.open("data");
    mode(&home.at("data/parlance.db-wal"), 0o666);
    assert!(matches!(home.refusal("data"), OpenError::WritableByOthers(_)), "the log");
    drop(store);
    let journal = home.at("data/parlance.db-journal");
    fs::write(&journal, "").unwrap();
    for (bits, refused) in [(0o600, false), (0o602, true), (0o620, true)] {
        mode(&journal, bits);
        match open(&home.url("data"), Options::default()) {
            Err(OpenError::WritableByOthers(text)) => {
                assert!(refused && text.contains("remove it"), "{bits:o}: {text}")
            }
            Err(other) => panic!("{bits:o}: {other}"),
            Ok(_) => assert!(!refused, "{bits:o}"),
        }
        // SQLite removes an empty journal.
        fs::write(&journal, "").unwrap();
    }
}

#[test]
fn files_of_another_user_are_refused() {
    const SERVICE: u32 = 54321;
    const OTHER: u32 = 54322;
    // Only root can give a file away.
    if crate::owner::effective_uid() != 0 {
        return;
    }
    let home = TestFolder::new();
    let give = |name: &str, user| chown(home.at(name), Some(user), None).unwrap();
    let files = ["data", "data/parlance.db", "data/parlance.db-journal"];
    fs::write(home.at("data/parlance.db-journal"), "").unwrap();
    files.iter().for_each(|name| give(name, SERVICE));
    drop(home.open("data"));
    fs::write(home.at("data/parlance.db-journal"), "").unwrap();
    for (name, advice) in [("data", "(chown 54321 "), ("data/parlance.db-journal", "remove it")] {
        give(name, OTHER);
        let refused = home.refusal("data");
        let text = refused.to_string();
        assert!(
            matches!(refused, OpenError::WritableByOthers(_)) && text.contains(advice),
            "{text}"
        );
        give(name, SERVICE);
    }
    let store = home.open("data");
    for name in ["data/parlance.db-wal", "data/parlance.db-shm"] {
        give(name, OTHER);
        assert!(matches!(home.refusal("data"), OpenError::WritableByOthers(_)), "{name}");
        give(name, SERVICE);
    }
    drop(store);
}

#[test]
fn a_path_without_a_database_or_a_dangling_symlink_is_reported() {
    let home = TestFolder::new();
    fs::create_dir_all(home.file("folder")).unwrap();
    assert!(matches!(home.refusal("folder"), OpenError::NotAFile(_)));
    assert!(matches!(home.refusal("nowhere"), OpenError::NoFile(_)));
    fs::write(home.at("plain"), "").unwrap();
    let below = home.refusal("plain").to_string();
    assert!(below.contains("Not a directory"), "{below}");
    fs::create_dir(home.at("links")).unwrap();
    symlink("missing", home.file("links")).unwrap();
    assert!(matches!(home.refusal("links"), OpenError::Unreadable { .. }));
    assert!(matches!(migrate(&home.url("links")), Err(OpenError::Unreadable { .. })));
}

/// Adds another user, to tell this database from others.
fn populate_more(store: &Database, name: &str) {
    let mut user = super::user(9);
    name.clone_into(&mut user.name);
    user.canonical = parlance_core::CanonicalName::from_stored(name.to_owned());
    apply(store, Change::AddUser(Box::new(user))).unwrap();
}

fn names(store: &Database) -> Vec<String> {
    let page = block_on(store.users(0, 10)).unwrap();
    page.items.into_iter().map(|user| user.name).collect()
}

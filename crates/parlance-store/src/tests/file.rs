//! Claims about the file of a SQLite database: what may be opened, and what is noticed once it is open.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, chown, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_executor::block_on;
use parlance_core::ports::{Change, Store, StoreError};
use tempfile::TempDir;

use super::{apply, found, populate};
use crate::{Database, FILE_REPLACED, OpenError, Options, advice, migrate, open};

/// A folder with a migrated database in a folder of its own.
struct Home(TempDir);

impl Home {
    fn new() -> Self {
        let home = Self(tempfile::tempdir().unwrap());
        home.make("data");
        home
    }

    fn make(&self, folder: &str) {
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

/// Nothing of this store is answered any more.
#[track_caller]
fn check_refused(store: &Database, why: &str) {
    let refused = |answer: Result<(), StoreError>| match answer {
        Err(StoreError::Unavailable(text)) => {
            assert!(text.starts_with(FILE_REPLACED), "{why}: {text}")
        }
        other => panic!("{why}: {other:?}"),
    };
    refused(found(store, 1).map(drop));
    refused(apply(store, Change::RevokeAll).map(drop));
    refused(block_on(store.ping()));
    refused(block_on(store.clients()).map(drop));
}

#[test]
fn a_file_that_is_replaced_is_served_no_more() {
    type Act = fn(&Home);
    let cases: [(&str, Act, bool); 8] = [
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
        let home = Home::new();
        home.make("other");
        let store = home.open("data");
        assert!(found(&store, 1).unwrap().is_some());
        act(&home);
        check_refused(&store, why);
        // While the old file is open, nobody works on what was put in its place beside the old one's log.
        if beside {
            assert!(matches!(home.refusal("data"), OpenError::Replaced(_)), "{why}");
        }
        drop(store);
    }
}

#[test]
fn a_link_that_is_turned_to_another_folder_is_noticed_and_turned_back_is_served_again() {
    static TOLD: AtomicUsize = AtomicUsize::new(0);
    let home = Home::new();
    home.make("other");
    symlink(home.at("data"), home.at("link")).unwrap();
    let count = |_: Option<&str>| {
        TOLD.fetch_add(1, Ordering::SeqCst);
    };
    let options = Options { file_replaced: Some(count), ..Options::default() };
    let store = open(&home.url("link"), options).unwrap();
    let turn = |to: &str| {
        symlink(home.at(to), home.at("new")).unwrap();
        fs::rename(home.at("new"), home.at("link")).unwrap();
    };
    turn("other");
    check_refused(&store, "turned");
    assert_eq!(TOLD.load(Ordering::SeqCst), 1, "once");
    turn("data");
    assert!(found(&store, 1).unwrap().is_some());
    assert_eq!(TOLD.load(Ordering::SeqCst), 2);
}

#[test]
fn after_a_clean_stop_the_file_that_was_put_in_place_opens_whole() {
    let home = Home::new();
    home.make("other");
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
fn a_log_that_a_crash_left_is_not_taken_for_another_files() {
    let home = Home::new();
    home.make("other");
    let store = home.open("data");
    populate_more(&store, "data");
    // What a killed process leaves: a log, which a clean end would have removed.
    fs::hard_link(home.at("data/parlance.db-wal"), home.at("log")).unwrap();
    drop(store);
    fs::rename(home.at("log"), home.at("data/parlance.db-wal")).unwrap();
    fs::rename(home.file("data"), home.at("kept")).unwrap();
    fs::rename(home.file("other"), home.file("data")).unwrap();
    assert!(matches!(home.refusal("data"), OpenError::ForeignLog(_)));
    assert!(matches!(migrate(&home.url("data")), Err(OpenError::ForeignLog(_))));
    fs::rename(home.at("kept"), home.file("data")).unwrap();
    assert_eq!(names(&home.open("data")), ["data", "user1", "user2"]);
}

#[test]
fn a_copy_of_the_folder_opens_with_what_is_in_its_log() {
    let home = Home::new();
    let store = home.open("data");
    populate_more(&store, "data");
    fs::create_dir(home.at("copy")).unwrap();
    for name in ["parlance.db-lock", "parlance.db-wal", "parlance.db"] {
        fs::copy(home.at("data").join(name), home.at("copy").join(name)).unwrap();
    }
    assert_eq!(names(&home.open("copy")), ["data", "user1", "user2"]);
}

#[test]
fn a_file_with_two_places_is_refused() {
    let home = Home::new();
    fs::hard_link(home.file("data"), home.at("other")).unwrap();
    let refused = home.refusal("data");
    assert!(
        matches!(refused, OpenError::TwoPlaces { .. }) && refused.to_string().contains("2 names")
    );
    assert!(matches!(migrate(&home.url("data")), Err(OpenError::TwoPlaces { .. })));
}

#[test]
fn a_file_that_others_can_change_is_refused_and_one_that_they_can_read_is_told() {
    let home = Home::new();
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
            Err(OpenError::Writable(text)) => {
                assert!(refused && text.contains("chmod"), "{why}: {text}")
            }
            Err(other) => panic!("{why}: {other}"),
            Ok(_) => assert!(!refused, "{why}"),
        }
        let advice = advice(&home.url("data")).unwrap();
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
    assert!(matches!(home.refusal("data"), OpenError::Writable(_)), "the log");
    drop(store);
    let journal = home.at("data/parlance.db-journal");
    fs::write(&journal, "").unwrap();
    for (bits, refused) in [(0o600, false), (0o602, true), (0o620, true)] {
        mode(&journal, bits);
        match open(&home.url("data"), Options::default()) {
            Err(OpenError::Writable(text)) => {
                assert!(refused && text.contains("remove it"), "{bits:o}: {text}")
            }
            Err(other) => panic!("{bits:o}: {other}"),
            Ok(_) => assert!(!refused, "{bits:o}"),
        }
        // SQLite removes an empty one.
        fs::write(&journal, "").unwrap();
    }
}

#[test]
fn what_belongs_to_another_user_is_refused() {
    const SERVICE: u32 = 54321;
    const OTHER: u32 = 54322;
    // Nobody else can give a file away.
    if crate::owner::own_user() != 0 {
        return;
    }
    let home = Home::new();
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
        assert!(matches!(refused, OpenError::Writable(_)) && text.contains(advice), "{text}");
        give(name, SERVICE);
    }
    let store = home.open("data");
    for name in ["data/parlance.db-wal", "data/parlance.db-shm"] {
        give(name, OTHER);
        assert!(matches!(home.refusal("data"), OpenError::Writable(_)), "{name}");
        give(name, SERVICE);
    }
    drop(store);
}

#[test]
fn what_is_no_database_or_a_link_to_nowhere_is_said() {
    let home = Home::new();
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

/// Another user, so that a database is told from others.
fn populate_more(store: &Database, name: &str) {
    let mut user = super::user(9);
    name.clone_into(&mut user.name);
    user.canonical = parlance_core::CanonicalName::stored(name.to_owned());
    apply(store, Change::AddUser(Box::new(user))).unwrap();
}

fn names(store: &Database) -> Vec<String> {
    let page = block_on(store.users(0, 10)).unwrap();
    page.items.into_iter().map(|user| user.name).collect()
}

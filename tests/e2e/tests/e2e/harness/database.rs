//! A database of a single test.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use tempfile::TempDir;

/// A database, dropped with its test.
pub(crate) enum Database {
    Sqlite(TempDir),
    Postgres {
        admin: String,
        url: String,
        name: String,
    },
    /// A database that another owner creates and drops.
    External(String),
}

impl Database {
    pub(crate) fn sqlite() -> Self {
        Self::Sqlite(tempfile::tempdir().unwrap())
    }

    /// A database on the server that `PARLANCE_TEST_POSTGRES` names.
    pub(crate) fn postgres() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let Ok(admin) = std::env::var("PARLANCE_TEST_POSTGRES") else {
            panic!(
                "PARLANCE_TEST_POSTGRES names no PostgreSQL to test on: run `cargo xtask test`, which starts one"
            );
        };
        let name = format!("e2e_{}_{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let (server, rest) = admin.rsplit_once('/').unwrap();
        let query = rest.find('?').map_or("", |at| &rest[at..]);
        let url = format!("{server}/{name}{query}");
        psql(&admin, &format!("CREATE DATABASE {name}"));
        Self::Postgres { admin, url, name }
    }

    pub(crate) fn url(&self) -> String {
        match self {
            Self::Sqlite(folder) => format!("sqlite:{}", database_file(folder.path()).display()),
            Self::Postgres { url, .. } | Self::External(url) => url.clone(),
        }
    }

    /// The whole stored content as bytes: the files of SQLite, or a dump.
    pub(crate) fn stored_bytes(&self) -> Vec<u8> {
        match self {
            Self::Sqlite(folder) => {
                let files = std::fs::read_dir(folder.path()).unwrap();
                files.flat_map(|file| std::fs::read(file.unwrap().path()).unwrap()).collect()
            }
            Self::Postgres { url, .. } | Self::External(url) => {
                let dump = Command::new("pg_dump").args(["--inserts", url]).output().unwrap();
                assert!(dump.status.success(), "{}", String::from_utf8_lossy(&dump.stderr));
                dump.stdout
            }
        }
    }

    /// Runs a statement beside the servers; returns the first column of the first row, if there is one.
    #[track_caller]
    pub(crate) fn execute(&self, statement: &str) -> String {
        let folder = match self {
            Self::Sqlite(folder) => folder,
            Self::Postgres { url, .. } | Self::External(url) => {
                return psql(url, statement).trim().to_owned();
            }
        };
        let script = "import sqlite3,sys; c=sqlite3.connect(sys.argv[1],60); r=c.execute(sys.argv[2]).fetchone(); \
                      c.commit(); print(r[0] if r else '')";
        let mut python = Command::new("python3");
        let done = python
            .args(["-c", script])
            .arg(database_file(folder.path()))
            .arg(statement)
            .output()
            .unwrap();
        assert!(done.status.success(), "{statement}: {}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8(done.stdout).unwrap().trim().to_owned()
    }

    /// Asserts that no page is damaged, with another SQLite than the one inside the binary. The check reads a copy: the
    /// last process that closes the original files would repair and shorten them.
    pub(crate) fn check_integrity(&self) {
        let Self::Sqlite(folder) = self else { return };
        let aside = tempfile::tempdir().unwrap();
        copy_files(folder.path(), aside.path());
        assert_eq!(integrity(aside.path()), "ok");
    }

    /// The folder of SQLite's files.
    pub(crate) fn folder(&self) -> &Path {
        match self {
            Self::Sqlite(folder) => folder.path(),
            Self::Postgres { .. } | Self::External(_) => panic!("no folder of ours"),
        }
    }
}

/// The result of SQLite's integrity check of the database in this folder: a damage, or `ok`.
pub(crate) fn integrity(folder: &Path) -> String {
    let script = "import sqlite3,sys; print(*sqlite3.connect(sys.argv[1]).execute('PRAGMA integrity_check').fetchone())";
    let checked =
        Command::new("python3").args(["-c", script]).arg(database_file(folder)).output().unwrap();
    let said = if checked.status.success() { checked.stdout } else { checked.stderr };
    String::from_utf8_lossy(&said).trim().to_owned()
}

/// Replaces the database and its log with copies. The shared-memory file is left out: its content does not outlive the
/// processes.
pub(crate) fn copy_files(from: &Path, to: &Path) {
    for name in ["parlance.db", "parlance.db-wal", "parlance.db-shm"] {
        let _absent = std::fs::remove_file(to.join(name));
        if !name.ends_with("-shm") && from.join(name).exists() {
            std::fs::copy(from.join(name), to.join(name)).unwrap();
        }
    }
}

fn database_file(folder: &Path) -> PathBuf {
    folder.join("parlance.db")
}

/// Runs a statement with `psql`.
#[track_caller]
pub(crate) fn psql(url: &str, statement: &str) -> String {
    let mut command = Command::new("psql");
    command.args(["-X", "-q", "-At", "-v", "ON_ERROR_STOP=1", "-c", statement, url]);
    let done = command.output().expect("psql is installed");
    assert!(done.status.success(), "{statement}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).unwrap()
}

impl Drop for Database {
    fn drop(&mut self) {
        if let Self::Postgres { admin, name, .. } = self {
            let statement = format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)");
            let _best_effort =
                Command::new("psql").args(["-X", "-q", "-c", &statement, admin]).output();
        }
    }
}

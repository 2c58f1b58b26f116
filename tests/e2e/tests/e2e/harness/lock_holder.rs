//! Another program that holds a lock in the database.

use std::io::Write as _;
use std::process::{Child, Command, Stdio};

use super::log::Lines;

/// Holds its lock until dropped; then the transaction is rolled back.
pub(crate) struct LockHolder(Child);

impl LockHolder {
    /// Begins a transaction on PostgreSQL and runs these statements.
    #[track_caller]
    pub(crate) fn psql(url: &str, statements: &str) -> Self {
        let mut command = Command::new("psql");
        command.args(["-X", "-q", "-At", "-v", "ON_ERROR_STOP=1", url]);
        Self::start(command, &format!("BEGIN;\n{statements};\n\\echo taken\n"))
    }

    /// Takes the lock of a SQLite file with this statement.
    #[track_caller]
    pub(crate) fn sqlite(file: &str, statement: &str) -> Self {
        let script = "import sqlite3, sys; c = sqlite3.connect(sys.argv[1], isolation_level=None); c.execute(sys.argv[2]); \
                      print('taken', flush=True); sys.stdin.read()";
        let mut command = Command::new("python3");
        command.args(["-c", script, file, statement]);
        Self::start(command, "")
    }

    #[track_caller]
    fn start(mut command: Command, input: &str) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let said = Lines::read(child.stdout.take().unwrap());
        child.stdin.as_mut().unwrap().write_all(input.as_bytes()).unwrap();
        let lock_holder = Self(child);
        said.wait_for_line("taken").expect("it takes what it is to hold");
        lock_holder
    }
}

impl Drop for LockHolder {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ended = self.0.wait();
    }
}

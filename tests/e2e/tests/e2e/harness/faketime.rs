//! A server with a shifted clock (libfaketime). The machine's own clock stays as is.

use std::path::{Path, PathBuf};

use super::clock::unix_time;

/// The environment variables that shift the clock of a process by this many seconds.
pub(crate) fn environment_with_offset(seconds: i64) -> Vec<(String, String)> {
    let mut variables = preload_environment();
    variables.push(("FAKETIME".to_owned(), format!("{seconds:+}")));
    variables
}

/// A clock that may be stepped while a process reads the time.
pub(crate) struct SteppedClock(PathBuf);

impl SteppedClock {
    /// Starts on time; the control file is in this folder.
    pub(crate) fn new(folder: &Path) -> Self {
        let steps = Self(folder.join("clock"));
        steps.step_to(0);
        steps
    }

    pub(crate) fn variables(&self) -> Vec<(String, String)> {
        let mut variables = preload_environment();
        let file = self.0.display().to_string();
        variables.push(("FAKETIME_TIMESTAMP_FILE".to_owned(), file));
        // The file is read at every look at the clock.
        variables.push(("FAKETIME_NO_CACHE".to_owned(), "1".to_owned()));
        variables
    }

    /// Steps the clock to this many seconds off.
    pub(crate) fn step_to(&self, seconds: i64) {
        // The rename is atomic: no process reads half a file.
        let new = self.0.with_extension("new");
        std::fs::write(&new, format!("{seconds:+}\n")).unwrap();
        std::fs::rename(new, &self.0).unwrap();
    }
}

/// The seconds from now to this Unix time.
pub(crate) fn offset_to(second: i64) -> i64 {
    second - i64::try_from(unix_time().as_secs()).unwrap()
}

/// The monotonic clock is left alone: it counts elapsed seconds through a step of the wall clock.
fn preload_environment() -> Vec<(String, String)> {
    let places = std::fs::read_dir("/usr/lib").into_iter().flatten().flatten();
    let library = places
        .map(|place| place.path().join("faketime/libfaketimeMT.so.1"))
        .find(|file| file.exists())
        .expect("libfaketime is installed (Debian: faketime)");
    vec![
        ("LD_PRELOAD".to_owned(), library.display().to_string()),
        ("FAKETIME_DONT_FAKE_MONOTONIC".to_owned(), "1".to_owned()),
    ]
}

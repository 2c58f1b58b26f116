//! A server that believes another time (libfaketime). The machine's own clock stays as it is.

use std::path::{Path, PathBuf};

use super::clock::unix_time;

/// What a process must have in its environment to believe a time that is this many seconds off.
pub(crate) fn shifted(seconds: i64) -> Vec<(String, String)> {
    let mut variables = preloaded();
    variables.push(("FAKETIME".to_owned(), format!("{seconds:+}")));
    variables
}

/// A clock that may be stepped while a process reads it.
pub(crate) struct Steps(PathBuf);

impl Steps {
    /// On time; the file is made in this folder.
    pub(crate) fn new(folder: &Path) -> Self {
        let steps = Self(folder.join("clock"));
        steps.to(0);
        steps
    }

    pub(crate) fn variables(&self) -> Vec<(String, String)> {
        let mut variables = preloaded();
        let file = self.0.display().to_string();
        variables.push(("FAKETIME_TIMESTAMP_FILE".to_owned(), file));
        // It is read at every look at the clock.
        variables.push(("FAKETIME_NO_CACHE".to_owned(), "1".to_owned()));
        variables
    }

    /// Steps to so many seconds off.
    pub(crate) fn to(&self, seconds: i64) {
        // Never half written.
        let new = self.0.with_extension("new");
        std::fs::write(&new, format!("{seconds:+}\n")).unwrap();
        std::fs::rename(new, &self.0).unwrap();
    }
}

/// How many seconds off this second since 1970 is.
pub(crate) fn until_second(second: i64) -> i64 {
    second - i64::try_from(unix_time().as_secs()).unwrap()
}

/// A machine whose clock is stepped still counts the seconds that go by: the monotonic clock is left alone.
fn preloaded() -> Vec<(String, String)> {
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

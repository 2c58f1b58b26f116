//! The threads that the program needs to work. The end of one is a fault: without its threads the program no longer
//! answers, or loses writes.

use std::collections::BTreeMap;
use std::time::Duration;
use std::{fs, io};

use actix_web::rt;

/// Interval between two counts.
const CHECK_INTERVAL: Duration = Duration::from_secs(5);
/// Prefixes of the names of threads that run as long as the program does.
const PERMANENT_THREAD_PREFIXES: &[&str] = &["actix-", "hash-", "log", "r2d2-", "sign", "store-"];

/// The number of threads of each name. Empty where the system has no `/proc`.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct ThreadCounts(BTreeMap<String, usize>);

impl ThreadCounts {
    /// Counts the threads, leniently.
    pub(crate) fn snapshot() -> Self {
        Self::try_snapshot().unwrap_or_default()
    }

    /// Counts the threads.
    ///
    /// # Errors
    /// `/proc` cannot be read.
    fn try_snapshot() -> io::Result<Self> {
        let mut names = Vec::new();
        for task in fs::read_dir("/proc/self/task")? {
            match fs::read_to_string(task?.path().join("comm")) {
                Ok(name) => names.push(name),
                // The thread ended between the two reads; the kernel returns ESRCH for a thread about to end.
                Err(error)
                    if error.kind() == io::ErrorKind::NotFound
                        || error.raw_os_error() == Some(rustix::io::Errno::SRCH.raw_os_error()) => {
                }
                Err(error) => return Err(error),
            }
        }
        Ok(Self::from_names(names))
    }

    fn from_names(names: impl IntoIterator<Item = String>) -> Self {
        let mut threads = BTreeMap::new();
        for name in names {
            let name = name.trim_end();
            if PERMANENT_THREAD_PREFIXES.iter().any(|lasting| name.starts_with(lasting)) {
                *threads.entry(name.to_owned()).or_default() += 1;
            }
        }
        Self(threads)
    }

    /// The name of a thread of `self` that is gone from `now`.
    fn missing_from(&self, now: &Self) -> Option<&str> {
        let gone =
            |(name, count): &(&String, &usize)| now.0.get(*name).is_none_or(|now| now < *count);
        self.0.iter().find(gone).map(|(name, _)| name.as_str())
    }

    /// As [`Self::missing_from`]. A failed look misses no thread: a process without a free descriptor still has its
    /// threads.
    fn missing_from_result(&self, look: &io::Result<Self>) -> Option<&str> {
        look.as_ref().ok().and_then(|now| self.missing_from(now))
    }

    /// Waits until a thread has ended, and returns its name. A worker that was restarted in between counts as running.
    pub(crate) async fn wait_for_missing(&self) -> String {
        let mut tick = rt::time::interval(CHECK_INTERVAL);
        loop {
            tick.tick().await;
            if let Some(name) = self.missing_from_result(&Self::try_snapshot()) {
                return name.to_owned();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks the thread that is missed after a change of names.
    #[track_caller]
    fn check(before: &[&str], after: &[&str], missing: Option<&str>) {
        let [before, after] = [before, after]
            .map(|names| ThreadCounts::from_names(names.iter().map(ToString::to_string)));
        assert_eq!(before.missing_from(&after), missing);
    }

    #[test]
    fn an_ended_thread_is_missing_and_a_short_lived_one_is_not() {
        check(&["hash-0\n", "log\n"], &["hash-0\n", "log\n", "hash-1\n"], None);
        check(
            &["hash-0", "store-checks", "store-checks"],
            &["hash-0", "store-checks"],
            Some("store-checks"),
        );
        check(
            &["actix-server ac", "actix-server ac"],
            &["actix-server ac"],
            Some("actix-server ac"),
        );
        check(&["parlance", "shared-clock", "tokio-rt"], &["parlance"], None);
        check(&["log"], &[], Some("log"));
    }

    #[test]
    fn a_failed_thread_listing_reports_no_thread_missing() {
        let before = ThreadCounts::from_names(["hash-0".to_owned()]);
        let look = Err(io::Error::from(rustix::io::Errno::MFILE));
        assert_eq!(before.missing_from_result(&look), None);
        assert_eq!(before.missing_from_result(&Ok(ThreadCounts::default())), Some("hash-0"));
    }

    #[test]
    fn the_start_and_the_end_of_a_real_thread_are_detected() {
        let (stop, stopped) = std::sync::mpsc::channel::<()>();
        let thread = std::thread::Builder::new().name("store-test".to_owned());
        let thread = thread.spawn(move || stopped.recv().unwrap_err()).unwrap();
        // A thread names itself once it runs.
        let with = loop {
            let now = ThreadCounts::snapshot();
            if now.0.contains_key("store-test") {
                break now;
            }
            std::thread::yield_now();
        };
        drop(stop);
        thread.join().unwrap();
        // The kernel takes a moment to remove the thread.
        while with.missing_from(&ThreadCounts::snapshot()) != Some("store-test") {
            std::thread::yield_now();
        }
    }
}

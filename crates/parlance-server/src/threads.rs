//! The threads that the program works with: one that is gone is a fault, and a program without it is deaf or forgetful.

use std::collections::BTreeMap;
use std::time::Duration;
use std::{fs, io};

use actix_web::rt;

/// How often they are counted.
const EVERY: Duration = Duration::from_secs(5);
/// What the names of those begin with that work as long as the program does.
const LASTING: &[&str] = &["actix-", "hash-", "log", "r2d2-", "sign", "store-"];

/// How many threads there are of each name. Nothing where the system does not say (`/proc`).
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Threads(BTreeMap<String, usize>);

impl Threads {
    /// Those that there are now.
    pub(crate) fn now() -> Self {
        Self::read().unwrap_or_default()
    }

    /// Those that there are now.
    ///
    /// # Errors
    /// The system does not say.
    fn read() -> io::Result<Self> {
        let mut names = Vec::new();
        for task in fs::read_dir("/proc/self/task")? {
            match fs::read_to_string(task?.path().join("comm")) {
                Ok(name) => names.push(name),
                // It ended between the two looks; the kernel says ESRCH of one that is about to.
                Err(error)
                    if error.kind() == io::ErrorKind::NotFound
                        || error.raw_os_error() == Some(rustix::io::Errno::SRCH.raw_os_error()) => {
                }
                Err(error) => return Err(error),
            }
        }
        Ok(Self::named(names))
    }

    fn named(names: impl IntoIterator<Item = String>) -> Self {
        let mut threads = BTreeMap::new();
        for name in names {
            let name = name.trim_end();
            if LASTING.iter().any(|lasting| name.starts_with(lasting)) {
                *threads.entry(name.to_owned()).or_default() += 1;
            }
        }
        Self(threads)
    }

    /// The name of one that is not among these any more.
    fn missing_from(&self, now: &Self) -> Option<&str> {
        let gone =
            |(name, count): &(&String, &usize)| now.0.get(*name).is_none_or(|now| now < *count);
        self.0.iter().find(gone).map(|(name, _)| name.as_str())
    }

    /// As [`Self::missing_from`]. A look that failed misses nothing: a process without a descriptor left has its threads still.
    fn missing_from_look(&self, look: &io::Result<Self>) -> Option<&str> {
        look.as_ref().ok().and_then(|now| self.missing_from(now))
    }

    /// Waits until one of them has ended, and says which. A worker that was started again in between is as good.
    pub(crate) async fn one_ends(&self) -> String {
        let mut tick = rt::time::interval(EVERY);
        loop {
            tick.tick().await;
            if let Some(name) = self.missing_from_look(&Self::read()) {
                return name.to_owned();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of these names, then of those, this one is missed.
    #[track_caller]
    fn check(before: &[&str], after: &[&str], missing: Option<&str>) {
        let [before, after] =
            [before, after].map(|names| Threads::named(names.iter().map(ToString::to_string)));
        assert_eq!(before.missing_from(&after), missing);
    }

    #[test]
    fn a_thread_that_has_ended_is_missed_and_one_that_came_and_went_is_not() {
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
    fn without_a_descriptor_to_look_with_no_thread_is_missed() {
        let before = Threads::named(["hash-0".to_owned()]);
        let look = Err(io::Error::from(rustix::io::Errno::MFILE));
        assert_eq!(before.missing_from_look(&look), None);
        assert_eq!(before.missing_from_look(&Ok(Threads::default())), Some("hash-0"));
    }

    #[test]
    fn a_thread_of_our_own_is_seen_and_its_end_as_well() {
        let (stop, stopped) = std::sync::mpsc::channel::<()>();
        let thread = std::thread::Builder::new().name("store-test".to_owned());
        let thread = thread.spawn(move || stopped.recv().unwrap_err()).unwrap();
        // A thread names itself once it runs.
        let with = loop {
            let now = Threads::now();
            if now.0.contains_key("store-test") {
                break now;
            }
            std::thread::yield_now();
        };
        drop(stop);
        thread.join().unwrap();
        // The kernel takes a moment to forget it.
        while with.missing_from(&Threads::now()) != Some("store-test") {
            std::thread::yield_now();
        }
    }
}

//! The output of a process, line by line, stored and awaited.

use std::io::{BufRead as _, BufReader, Read};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

/// The lines of one stream of a process.
#[derive(Clone, Default)]
pub(crate) struct Lines(Arc<(Mutex<State>, Condvar)>);

#[derive(Default)]
struct State {
    text: String,
    ended: bool,
}

impl Lines {
    /// Reads the stream to its end, on a thread.
    pub(crate) fn read(stream: impl Read + Send + 'static) -> Self {
        let lines = Self::default();
        let shared = lines.clone();
        std::thread::spawn(move || {
            let mut stream = BufReader::new(stream);
            let mut line = Vec::new();
            while stream.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
                shared.change(|state| state.text.push_str(&String::from_utf8_lossy(&line)));
                line.clear();
            }
            shared.change(|state| state.ended = true);
        });
        lines
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.0.0.lock().unwrap_or_else(PoisonError::into_inner));
        self.0.1.notify_all();
    }

    /// Everything so far.
    pub(crate) fn text(&self) -> String {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner).text.clone()
    }

    /// Everything, once the stream has ended.
    pub(crate) fn wait_for_end(&self) -> String {
        self.wait(|state| state.ended.then(|| state.text.clone())).unwrap_or_else(|| self.text())
    }

    /// The first line that contains `part`, awaited for at most a minute, or until the stream has ended.
    pub(crate) fn wait_for_line(&self, part: &str) -> Option<String> {
        let find = |text: &str| {
            text.split_inclusive('\n')
                .find(|line| line.ends_with('\n') && line.contains(part))
                .map(str::to_owned)
        };
        self.wait(|state| find(&state.text).map(Some).or(state.ended.then_some(None))).flatten()
    }

    fn wait<T>(&self, found: impl Fn(&State) -> Option<T>) -> Option<T> {
        let mut state = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(found) = found(&state) {
                return Some(found);
            }
            let (next, waited) = self
                .0
                .1
                .wait_timeout(state, Duration::from_secs(60))
                .unwrap_or_else(PoisonError::into_inner);
            if waited.timed_out() {
                return None;
            }
            state = next;
        }
    }
}

//! The log's queue: bounded, with one thread that writes to standard error. Load shedding: a record without room is
//! dropped and counted.
//!
//! Otherwise a reader that stalls (a stopped terminal, a container's log driver) would hold up every thread that logs.

use std::cell::Cell;
use std::os::fd::AsFd;
use std::sync::{Condvar, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

/// Most bytes of queued records; as many again may be in the hands of the thread that writes.
const QUEUE_BYTES: usize = 1024 * 1024;
/// Bytes of one write, in whole records: a pipe takes this many at once (`PIPE_BUF`), so that lines of programs on the
/// same pipe do not mix.
const WRITE_BYTES: usize = 4096;

/// Records that wait, and the number of dropped ones.
#[derive(Debug, Default)]
pub(crate) struct LogQueue {
    state: Mutex<State>,
    changed: Condvar,
    dropped: Counter,
}

#[derive(Debug, Default)]
struct State {
    waiting: Vec<u8>,
    /// Whether the thread has records that are not written yet.
    writing: bool,
    /// Dropped records that no record has reported yet.
    unreported_drops: u64,
}

thread_local! {
    /// Whether this is the thread that writes. Its own records are never dropped for lack of room.
    static IS_LOG_WRITER: Cell<bool> = const { Cell::new(false) };
}

pub(crate) static LOG_QUEUE: LazyLock<LogQueue> = LazyLock::new(LogQueue::default);

impl LogQueue {
    /// The number of dropped records: the queue was full, or the write failed.
    pub(crate) fn dropped(&self) -> Counter {
        self.dropped.clone()
    }

    /// Bytes of records that wait.
    pub(crate) fn waiting_bytes(&self) -> usize {
        self.lock().waiting.len()
    }

    /// Queues a record, which ends in a line break. Never blocks: a record without room is dropped.
    pub(super) fn push(&self, record: &[u8]) {
        let mut state = self.lock();
        if state.waiting.len() + record.len() <= QUEUE_BYTES || IS_LOG_WRITER.get() {
            state.waiting.extend_from_slice(record);
            self.changed.notify_all();
        } else {
            self.drop_records(state, 1);
        }
    }

    /// Waits until all records are written, but no longer than `timeout`.
    pub(super) fn flush(&self, timeout: Duration) {
        let is_busy = |state: &mut State| state.writing || !state.waiting.is_empty();
        let waited = self.changed.wait_timeout_while(self.lock(), timeout, is_busy);
        drop(waited);
    }

    /// Writes queued records, for ever. Once records flow again after a loss, `tell` gets the number of dropped ones.
    pub(super) fn write_to(&self, out: &impl AsFd, tell: impl Fn(u64)) {
        IS_LOG_WRITER.set(true);
        let (mut records, mut torn) = (Vec::new(), false);
        loop {
            self.wait_and_take(&mut records);
            let mut is_well = true;
            for chunk in write_chunks(&records) {
                is_well = (!torn || write_fully(out, b"\n").is_ok()) && {
                    let written = write_fully(out, chunk);
                    torn = written.is_err_and(|written| written > 0);
                    written.is_ok()
                };
                if !is_well {
                    self.drop_records(self.lock(), count_lines(chunk));
                }
            }
            let untold = std::mem::take(&mut self.lock().unreported_drops);
            if untold > 0 && is_well {
                tell(untold);
            } else {
                self.lock().unreported_drops += untold;
            }
        }
    }

    /// Waits for records, and takes all that wait.
    fn wait_and_take(&self, records: &mut Vec<u8>) {
        records.clear();
        let mut state = self.lock();
        state.writing = false;
        self.changed.notify_all();
        let waited = self.changed.wait_while(state, |state| state.waiting.is_empty());
        let mut state = waited.unwrap_or_else(PoisonError::into_inner);
        state.writing = true;
        std::mem::swap(&mut state.waiting, records);
    }

    fn drop_records(&self, mut state: MutexGuard<'_, State>, records: u64) {
        state.unreported_drops += records;
        self.dropped.inc_by(records);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No code under the lock can panic halfway.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Splits records into writes: as many whole lines as one write takes; a longer line by itself.
fn write_chunks(mut records: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let line_end = |bytes: &[u8]| bytes.iter().position(|byte| *byte == b'\n');
        let first = records.get(..WRITE_BYTES).unwrap_or(records);
        let fits = first.iter().rposition(|byte| *byte == b'\n');
        let end = fits.or_else(|| line_end(records)).map_or(records.len(), |end| end + 1);
        let (chunk, rest) = records.split_at_checked(end)?;
        records = rest;
        (!chunk.is_empty()).then_some(chunk)
    })
}

fn count_lines(chunk: &[u8]) -> u64 {
    chunk.iter().map(|byte| u64::from(*byte == b'\n')).sum()
}

/// Writes all bytes, and blocks as long as that takes. Avoids `std::io::Stderr`: its lock would be held meanwhile.
///
/// # Errors
/// The number of bytes written before the failure.
fn write_fully(out: &impl AsFd, bytes: &[u8]) -> Result<(), usize> {
    let mut rest = bytes;
    while !rest.is_empty() {
        match rustix::io::write(out, rest) {
            Ok(0) => return Err(bytes.len() - rest.len()),
            Ok(written) => rest = rest.get(written..).unwrap_or_default(),
            Err(Errno::INTR) => {}
            // Another process that shares the file has made the file non-blocking.
            Err(Errno::AGAIN) => {
                let _ready = poll(&mut [PollFd::new(out, PollFlags::OUT)], None);
            }
            Err(_) => return Err(bytes.len() - rest.len()),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader, pipe};
    use std::sync::Arc;
    use std::thread;

    use super::*;

    const SHORT_TIMEOUT: Duration = Duration::from_millis(50);
    const LONG_TIMEOUT: Duration = Duration::from_secs(60);

    /// A queue that writes to a pipe, and reports dropped records as `dropped N`.
    fn queue(out: impl AsFd + Send + 'static) -> Arc<LogQueue> {
        let queue = Arc::<LogQueue>::default();
        let writer = Arc::clone(&queue);
        thread::spawn(move || {
            let tell = |dropped| writer.push(format!("dropped {dropped}\n").as_bytes());
            writer.write_to(&out, tell);
        });
        queue
    }

    #[test]
    fn a_stalled_log_reader_causes_no_wait_and_a_counted_and_reported_drop() {
        let (reader, writer) = pipe().unwrap();
        let queue = queue(writer);
        let record = |number: usize| format!("{number} {}\n", "x".repeat(990));
        let sent = 4000;
        for number in 0..sent {
            queue.push(record(number).as_bytes());
        }
        queue.flush(SHORT_TIMEOUT);
        let dropped = queue.dropped().get();
        assert!(queue.waiting_bytes() <= QUEUE_BYTES);
        assert!((1000..4000).contains(&dropped), "{dropped} dropped");
        let mut lines = BufReader::new(reader).lines().map(Result::unwrap);
        let told = lines.by_ref().position(|line| line == format!("dropped {dropped}")).unwrap();
        assert_eq!(told as u64 + dropped, sent as u64, "each is written or counted");
        queue.push(b"after\n");
        assert_eq!(lines.next().unwrap(), "after");
        queue.flush(LONG_TIMEOUT);
    }

    #[test]
    fn a_closed_log_reader_causes_no_wait_and_a_counted_drop() {
        let (reader, writer) = pipe().unwrap();
        drop(reader);
        let queue = queue(writer);
        for _ in 0..10 {
            queue.push(b"lost\n");
            queue.flush(LONG_TIMEOUT);
        }
        assert_eq!(queue.dropped().get(), 10);
    }

    #[test]
    fn lines_are_written_whole_and_many_at_once() {
        let check = |records: &str, expected: &[usize]| {
            let lengths: Vec<_> = write_chunks(records.as_bytes()).map(<[u8]>::len).collect();
            assert_eq!(lengths, expected);
        };
        let (short, long) = (format!("{}\n", "s".repeat(999)), format!("{}\n", "l".repeat(4999)));
        check("", &[]);
        check("a\nb\n", &[4]);
        check(&short.repeat(9), &[4000, 4000, 1000]);
        check(&format!("{short}{long}{short}"), &[1000, 5000, 1000]);
    }
}

//! A connection with backpressure: bounds how much is read ahead, and how long a client may keep the server waiting.
//!
//! actix-http reads on while answers wait to be sent and while requests wait for their turn, up to 128 KiB. It decodes
//! all of that at once, and has no bound on a client that does not read. This stream stands between actix-http and the
//! socket.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::future::Future as _;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use actix_web::rt::net::TcpStream;
use actix_web::rt::time::{Instant, Sleep, sleep_until};
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf, Take};

/// Bytes read in one turn of the connection, all of which actix-http decodes at once. No more than one head is among
/// them: a decoded request holds 8 KiB until its turn, and 4 KiB hold 200 requests of the shortest kind.
const READ_BUDGET_BYTES: usize = 4 * 1024;
/// Deadline for a request to come in full, from the end of the answer before: actix's 5 s of keep-alive, and another 5
/// s for the head. actix bounds the head of a connection's first request alone.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the client may leave an answer unread.
const WRITE_TIMEOUT: Duration = Duration::from_secs(15);
/// Bytes of an answer that the system may hold unsent (`TCP_NOTSENT_LOWAT`). The system takes more as soon as the
/// client has taken some, so that a slow client differs from one that takes nothing.
const MAX_UNSENT_BYTES: u32 = 16 * 1024;
/// Bytes of an unread body that are discarded after the answer, while the connection ends.
const MAX_DISCARDED_BYTES: usize = 256 * 1024;

/// State shared by a connection and the requests on the connection. All live on one thread.
pub(crate) struct ConnectionState {
    /// Whether a request is answered, from its head to the last byte of the answer.
    in_flight: Cell<bool>,
    /// Whether the handler waits for more of the body.
    body_wanted: Cell<bool>,
    /// Bytes that may still be discarded of an unread body.
    discard_bytes_left: Cell<Option<usize>>,
    /// Start of the wait for a request.
    idle_since: Cell<Instant>,
    /// The task that waits until reading is allowed again.
    read_waker: RefCell<Option<Waker>>,
}

impl ConnectionState {
    fn new() -> Self {
        Self {
            in_flight: Cell::new(false),
            body_wanted: Cell::new(false),
            discard_bytes_left: Cell::new(None),
            idle_since: Cell::new(Instant::now()),
            read_waker: RefCell::default(),
        }
    }

    /// Begins to answer a request, until the returned value is dropped.
    pub(crate) fn begin_request(self: Rc<Self>) -> RequestInFlight {
        self.in_flight.set(true);
        self.discard_bytes_left.set(None);
        RequestInFlight { state: self, body_finished: None }
    }

    /// Notes whether the handler waits for more of the body.
    pub(crate) fn set_body_wanted(&self, wanted: bool) {
        self.body_wanted.set(wanted);
        if wanted {
            self.wake();
        }
    }

    /// Bytes that may be read now.
    fn readable_bytes(&self) -> usize {
        if self.body_wanted.get() {
            usize::MAX
        } else if self.in_flight.get() {
            0
        } else {
            self.discard_bytes_left.get().unwrap_or(usize::MAX)
        }
    }

    fn wake(&self) {
        if let Some(reader) = self.read_waker.take() {
            reader.wake();
        }
    }
}

/// A request that is being answered, until this value is dropped.
pub(crate) struct RequestInFlight {
    state: Rc<ConnectionState>,
    /// Whether the request's body has come to its end; `None` without a body.
    pub(crate) body_finished: Option<Rc<Cell<bool>>>,
}

impl Drop for RequestInFlight {
    fn drop(&mut self) {
        let state = &self.state;
        state.in_flight.set(false);
        let unread = self.body_finished.as_ref().is_some_and(|finished| !finished.get());
        state.discard_bytes_left.set(unread.then_some(MAX_DISCARDED_BYTES));
        state.idle_since.set(Instant::now());
        state.wake();
    }
}

/// A stream with backpressure: read no faster than its requests are answered and their answers are taken.
pub(crate) struct Connection {
    stream: Take<TcpStream>,
    state: Rc<ConnectionState>,
    /// Bytes read from the socket beyond the head that was handed on, at most `READ_BUDGET_BYTES`.
    surplus: Vec<u8>,
    /// Bytes that may still be read in this turn.
    read_budget: usize,
    /// Start of the time in which the client has taken nothing of the answer that waits.
    write_blocked_since: Option<Instant>,
    timer: Pin<Box<Sleep>>,
    /// The task that the timer wakes, as of the timer's last poll.
    timer_waker: Option<Waker>,
    _permit: Box<dyn Any>,
}

impl Connection {
    /// `place` lives as long as the connection.
    pub(crate) fn new(stream: TcpStream, permit: Box<dyn Any>) -> Self {
        let state = Rc::new(ConnectionState::new());
        let socket = SockRef::from(&stream);
        // For data that the system still has to send once the connection is closed. A system that cannot set an option
        // does not have that option.
        let _longer = socket.set_tcp_user_timeout(Some(WRITE_TIMEOUT));
        let _more = socket.set_tcp_notsent_lowat(MAX_UNSENT_BYTES);
        let timer = Box::pin(sleep_until(state.idle_since.get() + REQUEST_TIMEOUT));
        Self {
            stream: stream.take(0),
            state,
            surplus: Vec::new(),
            read_budget: READ_BUDGET_BYTES,
            write_blocked_since: None,
            timer,
            timer_waker: None,
            _permit: permit,
        }
    }

    pub(crate) fn state(&self) -> &Rc<ConnectionState> {
        &self.state
    }

    /// The moment from which the client has kept the server waiting for too long; `None` while the server prepares the
    /// answer.
    fn deadline(&self) -> Option<Instant> {
        match self.write_blocked_since {
            Some(since) => Some(since + WRITE_TIMEOUT),
            None if self.state.in_flight.get() => None,
            None => Some(self.state.idle_since.get() + REQUEST_TIMEOUT),
        }
    }

    /// Whether the deadline has passed. Otherwise the task is woken when the deadline passes.
    fn is_overdue(&mut self, cx: &mut Context<'_>) -> bool {
        loop {
            let Some(deadline) = self.deadline() else { return false };
            // A timer that is set for an earlier moment is left alone until then: most deadlines move before they are
            // reached.
            if self.timer.deadline() > deadline {
                self.timer.as_mut().reset(deadline);
                self.timer_waker = None;
            }
            // A timer that wakes this task already is not polled again: a poll costs 2 % of a check's time.
            let wakes = self.timer_waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker()));
            if wakes && Instant::now() < self.timer.deadline() {
                return false;
            }
            self.timer_waker = None;
            if self.timer.as_mut().poll(cx).is_pending() {
                self.timer_waker = Some(cx.waker().clone());
                return false;
            }
            if Instant::now() >= deadline {
                return true;
            }
            self.timer.as_mut().reset(deadline);
        }
    }

    /// Reads at most `most` bytes and at most one head, from the surplus before the socket.
    fn read(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
        limit: usize,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        if self.surplus.is_empty() {
            self.stream.set_limit(limit as u64);
            ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
            let (_, read) = buffer.filled().split_at(before);
            let (head, surplus) = read.split_at(end_of_head(read).unwrap_or(read.len()));
            let filled = before + head.len();
            self.surplus.extend_from_slice(surplus);
            buffer.set_filled(filled);
        } else {
            let end = end_of_head(&self.surplus).unwrap_or(self.surplus.len()).min(limit);
            self.surplus.drain(..end).for_each(|byte| buffer.put_slice(&[byte]));
        }
        self.record_read(buffer.filled().len() - before);
        if !self.surplus.is_empty() {
            self.read_budget = 0;
        }
        Poll::Ready(Ok(()))
    }

    /// Counts read bytes against the turn and against the bytes to discard.
    fn record_read(&mut self, bytes: usize) {
        self.read_budget = self.read_budget.saturating_sub(bytes);
        if let Some(left) = self.state.discard_bytes_left.get() {
            self.state.discard_bytes_left.set(Some(left.saturating_sub(bytes)));
        }
    }

    /// Takes the outcome of an attempt to write. Each attempt ends a turn; an attempt that blocks sets a deadline for
    /// the client.
    fn after_write<T>(
        &mut self,
        cx: &mut Context<'_>,
        result: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        self.read_budget = READ_BUDGET_BYTES;
        if result.is_ready() {
            if self.write_blocked_since.take().is_some() {
                self.state.wake();
            }
            return result;
        }
        self.write_blocked_since.get_or_insert_with(Instant::now);
        if self.is_overdue(cx) { Poll::Ready(Err(io::ErrorKind::TimedOut.into())) } else { result }
    }
}

/// End of the first head in these bytes: behind an empty line, of which the CR may be missing (RFC 9112, section 2.2).
/// A body with an empty line is read in two turns.
fn end_of_head(bytes: &[u8]) -> Option<usize> {
    let mut ends =
        bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at + 1);
    ends.find_map(|end| match bytes.get(end..).unwrap_or_default() {
        [b'\n', ..] => Some(end + 1),
        [b'\r', b'\n', ..] => Some(end + 2),
        _ => None,
    })
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let readable =
            if this.write_blocked_since.is_some() { 0 } else { this.state.readable_bytes() };
        let limit = readable.min(this.read_budget).min(buffer.remaining());
        if limit == 0 {
            if readable == 0 {
                this.state.read_waker.replace(Some(cx.waker().clone()));
            } else {
                cx.waker().wake_by_ref();
            }
        } else {
            let read = this.read(cx, buffer, limit);
            if read.is_ready() {
                return read;
            }
        }
        // To actix the client has closed its side: actix ends the connection once all is answered.
        if this.is_overdue(cx) { Poll::Ready(Ok(())) } else { Poll::Pending }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(self.stream.get_mut()).poll_write(cx, bytes);
        self.after_write(cx, result)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(self.stream.get_mut()).poll_flush(cx);
        self.after_write(cx, result)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(self.stream.get_mut()).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::end_of_head;

    #[test]
    fn a_head_ends_behind_its_first_empty_line() {
        for (bytes, end) in [
            ("", None),
            ("GET / HTTP/1.1\r\nHost: a\r\n", None),
            ("GET / HTTP/1.1\r\nHost: a\r\n\r", None),
            ("GET / HTTP/1.1\r\n\r\n", Some(18)),
            ("GET / HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\n\r\n", Some(18)),
            ("GET / HTTP/1.1\n\nGET", Some(16)),
            ("GET / HTTP/1.1\r\nHost: a\n\r\nGET", Some(26)),
            ("\r\n", None),
            ("\n\n", Some(2)),
        ] {
            assert_eq!(end_of_head(bytes.as_bytes()), end, "{bytes:?}");
        }
    }
}

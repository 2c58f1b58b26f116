//! A connection with backpressure: how much is read of it, and how long it may make the server wait.
//!
//! actix-http reads on while answers wait to be sent and while requests wait for their turn, up to 128 KiB, decodes all of it at once, and
//! has no bound on a client that does not read. This stream stands between it and the socket.

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

/// How many bytes are read in one turn of the connection, all of which actix-http decodes at once. No more than one head is among them: a
/// decoded request holds 8 KiB until its turn, and 4 KiB hold 200 requests of the shortest kind.
const READ_BYTES_PER_TURN: usize = 4 * 1024;
/// How long a request may take to come in full, from the end of the answer before it: actix's 5 s of keep-alive, and as long again for its
/// head, which actix bounds for a connection's first request alone.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the client may leave an answer unread.
const WRITE_TIMEOUT: Duration = Duration::from_secs(15);
/// How much of an answer the system may hold besides what it has sent. So it takes more as soon as the client has taken some, and a slow
/// client is none that takes nothing.
const UNSENT_BYTES: u32 = 16 * 1024;
/// How many bytes of a body that was not read are passed over after the answer, while the connection ends.
const DISCARDED_BYTES: usize = 256 * 1024;

/// What a connection and the requests on it tell one another. They live on one thread.
pub(crate) struct Exchange {
    /// Whether a request is answered, from its head to the last byte of the answer.
    answering: Cell<bool>,
    /// Whether its handler waits for more of the body.
    body_wanted: Cell<bool>,
    /// How much may still be passed over of a body that nobody reads.
    discard: Cell<Option<usize>>,
    /// Since when a request is waited for.
    idle_since: Cell<Instant>,
    /// Who waits until there may be reading again.
    reader: RefCell<Option<Waker>>,
}

impl Exchange {
    fn new() -> Self {
        Self {
            answering: Cell::new(false),
            body_wanted: Cell::new(false),
            discard: Cell::new(None),
            idle_since: Cell::new(Instant::now()),
            reader: RefCell::default(),
        }
    }

    /// A request has come.
    pub(crate) fn begin(self: Rc<Self>) -> Answering {
        self.answering.set(true);
        self.discard.set(None);
        Answering { exchange: self, body_finished: None }
    }

    /// Whether the handler waits for more of the body.
    pub(crate) fn want_body(&self, wanted: bool) {
        self.body_wanted.set(wanted);
        if wanted {
            self.wake();
        }
    }

    /// How many bytes may be read now.
    fn readable(&self) -> usize {
        if self.body_wanted.get() {
            usize::MAX
        } else if self.answering.get() {
            0
        } else {
            self.discard.get().unwrap_or(usize::MAX)
        }
    }

    fn wake(&self) {
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }
}

/// A request that is being answered, until this is dropped.
pub(crate) struct Answering {
    exchange: Rc<Exchange>,
    /// Whether the request's body has come to its end, if there is one.
    pub(crate) body_finished: Option<Rc<Cell<bool>>>,
}

impl Drop for Answering {
    fn drop(&mut self) {
        let exchange = &self.exchange;
        exchange.answering.set(false);
        let unread = self.body_finished.as_ref().is_some_and(|finished| !finished.get());
        exchange.discard.set(unread.then_some(DISCARDED_BYTES));
        exchange.idle_since.set(Instant::now());
        exchange.wake();
    }
}

/// A stream that is read no faster than its requests are answered and their answers are taken.
pub(crate) struct Connection {
    stream: Take<TcpStream>,
    exchange: Rc<Exchange>,
    /// Bytes read from the socket beyond the head that was handed on, at most `READ_BYTES_PER_TURN`.
    surplus: Vec<u8>,
    /// How much may still be read in this turn.
    turn: usize,
    /// Since when the client has taken nothing of what waits for it.
    write_blocked_since: Option<Instant>,
    timer: Pin<Box<Sleep>>,
    /// The task that the timer wakes, since the timer was last polled.
    timer_waker: Option<Waker>,
    _place: Box<dyn Any>,
}

impl Connection {
    /// The place lives as long as the connection.
    pub(crate) fn new(stream: TcpStream, place: Box<dyn Any>) -> Self {
        let exchange = Rc::new(Exchange::new());
        let socket = SockRef::from(&stream);
        // For what the system still has to send once the connection is closed. What it cannot set it does not have.
        let _longer = socket.set_tcp_user_timeout(Some(WRITE_TIMEOUT));
        let _more = socket.set_tcp_notsent_lowat(UNSENT_BYTES);
        let timer = Box::pin(sleep_until(exchange.idle_since.get() + REQUEST_TIMEOUT));
        Self {
            stream: stream.take(0),
            exchange,
            surplus: Vec::new(),
            turn: READ_BYTES_PER_TURN,
            write_blocked_since: None,
            timer,
            timer_waker: None,
            _place: place,
        }
    }

    pub(crate) fn exchange(&self) -> &Rc<Exchange> {
        &self.exchange
    }

    /// When it has made the server wait for too long.
    fn deadline(&self) -> Option<Instant> {
        match self.write_blocked_since {
            Some(since) => Some(since + WRITE_TIMEOUT),
            None if self.exchange.answering.get() => None,
            None => Some(self.exchange.idle_since.get() + REQUEST_TIMEOUT),
        }
    }

    /// Whether it has; else it will be polled when it does.
    fn is_overdue(&mut self, cx: &mut Context<'_>) -> bool {
        loop {
            let Some(deadline) = self.deadline() else { return false };
            // A timer that is set for an earlier moment is left alone until then: most deadlines move before they are reached.
            if self.timer.deadline() > deadline {
                self.timer.as_mut().reset(deadline);
                self.timer_waker = None;
            }
            // A timer that wakes this task already is not polled again: that is 2 % of a check's time.
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

    /// Reads at most this many bytes and at most one head, from the surplus before the socket.
    fn read(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
        most: usize,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        if self.surplus.is_empty() {
            self.stream.set_limit(most as u64);
            ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
            let (_, read) = buffer.filled().split_at(before);
            let (head, surplus) = read.split_at(end_of_head(read).unwrap_or(read.len()));
            let filled = before + head.len();
            self.surplus.extend_from_slice(surplus);
            buffer.set_filled(filled);
        } else {
            let end = end_of_head(&self.surplus).unwrap_or(self.surplus.len()).min(most);
            self.surplus.drain(..end).for_each(|byte| buffer.put_slice(&[byte]));
        }
        self.count(buffer.filled().len() - before);
        if !self.surplus.is_empty() {
            self.turn = 0;
        }
        Poll::Ready(Ok(()))
    }

    /// Counts bytes that were read.
    fn count(&mut self, bytes: usize) {
        self.turn = self.turn.saturating_sub(bytes);
        if let Some(left) = self.exchange.discard.get() {
            self.exchange.discard.set(Some(left.saturating_sub(bytes)));
        }
    }

    /// After a try to write: a turn ends with one.
    fn wrote<T>(
        &mut self,
        cx: &mut Context<'_>,
        tried: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        self.turn = READ_BYTES_PER_TURN;
        if tried.is_ready() {
            if self.write_blocked_since.take().is_some() {
                self.exchange.wake();
            }
            return tried;
        }
        self.write_blocked_since.get_or_insert_with(Instant::now);
        if self.is_overdue(cx) { Poll::Ready(Err(io::ErrorKind::TimedOut.into())) } else { tried }
    }
}

/// Where the first head ends in these bytes: behind an empty line, of which the CR may be missing (RFC 9112, section 2.2). A body may hold
/// an empty line too; it is then read in two turns.
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
            if this.write_blocked_since.is_some() { 0 } else { this.exchange.readable() };
        let most = readable.min(this.turn).min(buffer.remaining());
        if most == 0 {
            if readable == 0 {
                this.exchange.reader.replace(Some(cx.waker().clone()));
            } else {
                cx.waker().wake_by_ref();
            }
        } else {
            let read = this.read(cx, buffer, most);
            if read.is_ready() {
                return read;
            }
        }
        // To actix the client has closed its side: it ends the connection once all is answered.
        if this.is_overdue(cx) { Poll::Ready(Ok(())) } else { Poll::Pending }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let tried = Pin::new(self.stream.get_mut()).poll_write(cx, bytes);
        self.wrote(cx, tried)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let tried = Pin::new(self.stream.get_mut()).poll_flush(cx);
        self.wrote(cx, tried)
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

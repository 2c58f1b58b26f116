//! Connection limit, and the idle timeout of a connection.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::stream::{self, Stream};
use parlance_core::connections::{ConnectionLimit, ConnectionPermit};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Sleep, sleep};
use tonic::transport::server::{Connected, TcpConnectInfo};

/// Time limit for the first bytes of a connection: the preface of HTTP/2, or the beginning of a TLS handshake.
pub(crate) const PREFACE_TIMEOUT: Duration = Duration::from_secs(10);
/// Length of the preface, in bytes.
const PREFACE_BYTES: usize = 24;
/// Idle timeout: the longest time without a byte from the client. A living client answers pings, which are sent more often.
pub(crate) const IDLE_TIMEOUT: Duration = Duration::from_secs(60);
/// Pause after a failed accept: every descriptor may be in use.
const ACCEPT_RETRY_DELAY: Duration = Duration::from_millis(100);

/// The incoming connections that the limit admits; any other ends at once. An error of the listener ends none, and does not spin.
pub(crate) fn incoming(
    listener: TcpListener,
    limit: Arc<ConnectionLimit>,
) -> impl Stream<Item = io::Result<Connection<TcpStream>>> {
    stream::unfold((listener, limit), |(listener, limit)| async move {
        let (stream, permit) = loop {
            match listener.accept().await {
                Ok((stream, peer)) => {
                    if let Some(permit) = limit.try_acquire(peer.ip()) {
                        break (stream, permit);
                    }
                }
                Err(_) => sleep(ACCEPT_RETRY_DELAY).await,
            }
        };
        let _slower = stream.set_nodelay(true);
        Some((Ok(Connection::new(stream, Some(permit))), (listener, limit)))
    })
}

/// A connection that ends when no byte has arrived for too long.
#[derive(Debug)]
pub(crate) struct Connection<T> {
    stream: T,
    idle_timer: Pin<Box<Sleep>>,
    /// Bytes of the preface that have not arrived yet.
    preface_bytes_left: usize,
    _permit: Option<ConnectionPermit>,
}

impl<T> Connection<T> {
    pub(crate) fn new(stream: T, permit: Option<ConnectionPermit>) -> Self {
        let idle_timer = Box::pin(sleep(PREFACE_TIMEOUT));
        Self { stream, idle_timer, preface_bytes_left: PREFACE_BYTES, _permit: permit }
    }
}

impl Connected for Connection<TcpStream> {
    type ConnectInfo = TcpConnectInfo;

    fn connect_info(&self) -> TcpConnectInfo {
        self.stream.connect_info()
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Connection<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        match Pin::new(&mut self.stream).poll_read(cx, buf) {
            Poll::Ready(read) => {
                self.preface_bytes_left =
                    self.preface_bytes_left.saturating_sub(buf.filled().len() - before);
                if self.preface_bytes_left == 0 {
                    self.idle_timer.set(sleep(IDLE_TIMEOUT));
                }
                Poll::Ready(read)
            }
            Poll::Pending => {
                self.idle_timer.as_mut().poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into()))
            }
        }
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Connection<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

//! Connections: how many there may be, and how long one may be silent.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::stream::{self, Stream};
use parlance_core::connections::{ConnectionLimit, ConnectionPlace};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Sleep, sleep};
use tonic::transport::server::{Connected, TcpConnectInfo};

/// How long a connection may take to its first bytes: the preface of HTTP/2, or the beginning of a TLS handshake.
pub(crate) const PREFACE_TIMEOUT: Duration = Duration::from_secs(10);
/// How many bytes the preface has.
const PREFACE_BYTES: usize = 24;
/// How long nothing may come over a connection. A living client answers pings, which are sent more often.
pub(crate) const SILENCE: Duration = Duration::from_secs(60);
/// How long to wait where no connection can be taken: every descriptor may be in use.
const AGAIN: Duration = Duration::from_millis(100);

/// The connections that come and that the limit admits; any other ends at once. An error ends none of them, and does not spin.
pub(crate) fn incoming(
    listener: TcpListener,
    limit: Arc<ConnectionLimit>,
) -> impl Stream<Item = io::Result<Connection<TcpStream>>> {
    stream::unfold((listener, limit), |(listener, limit)| async move {
        let (stream, place) = loop {
            match listener.accept().await {
                Ok((stream, peer)) => {
                    if let Some(place) = limit.enter(peer.ip()) {
                        break (stream, place);
                    }
                }
                Err(_) => sleep(AGAIN).await,
            }
        };
        let _slower = stream.set_nodelay(true);
        Some((Ok(Connection::new(stream, Some(place))), (listener, limit)))
    })
}

/// A connection that ends when nothing has come over it for too long.
#[derive(Debug)]
pub(crate) struct Connection<T> {
    stream: T,
    silence: Pin<Box<Sleep>>,
    /// How much of the preface has not come yet.
    preface: usize,
    _place: Option<ConnectionPlace>,
}

impl<T> Connection<T> {
    pub(crate) fn new(stream: T, place: Option<ConnectionPlace>) -> Self {
        let silence = Box::pin(sleep(PREFACE_TIMEOUT));
        Self { stream, silence, preface: PREFACE_BYTES, _place: place }
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
                self.preface = self.preface.saturating_sub(buf.filled().len() - before);
                if self.preface == 0 {
                    self.silence.set(sleep(SILENCE));
                }
                Poll::Ready(read)
            }
            Poll::Pending => {
                self.silence.as_mut().poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into()))
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

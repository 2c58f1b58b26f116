//! Connections: how many there may be, and how long one may be silent.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::stream::{self, Stream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Sleep, sleep};
use tonic::transport::server::{Connected, TcpConnectInfo};

/// How many connections there may be at once; more wait in the system's queue. Half the descriptors that a process usually may have.
const CONNECTIONS: usize = 512;
/// How long nothing may come over a connection. A living client answers pings, which are sent more often.
pub(crate) const SILENCE: Duration = Duration::from_secs(60);
/// How long to wait where no connection can be taken: every descriptor may be in use.
const AGAIN: Duration = Duration::from_millis(100);

/// The connections that come. An error ends none of them, and does not spin.
pub(crate) fn incoming(
    listener: TcpListener,
) -> impl Stream<Item = io::Result<Connection<TcpStream>>> {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    stream::unfold((listener, places), |(listener, places)| async move {
        let place = Arc::clone(&places).acquire_owned().await.ok()?;
        let stream = loop {
            match listener.accept().await {
                Ok((stream, _)) => break stream,
                Err(_) => sleep(AGAIN).await,
            }
        };
        let _slower = stream.set_nodelay(true);
        Some((Ok(Connection::new(stream, Some(place))), (listener, places)))
    })
}

/// A connection that ends when nothing has come over it for too long.
#[derive(Debug)]
pub(crate) struct Connection<T> {
    stream: T,
    silence: Pin<Box<Sleep>>,
    _place: Option<OwnedSemaphorePermit>,
}

impl<T> Connection<T> {
    pub(crate) fn new(stream: T, place: Option<OwnedSemaphorePermit>) -> Self {
        Self { stream, silence: Box::pin(sleep(SILENCE)), _place: place }
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
        match Pin::new(&mut self.stream).poll_read(cx, buf) {
            Poll::Ready(read) => {
                self.silence.set(sleep(SILENCE));
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

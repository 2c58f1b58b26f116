//! Answers to requests with a body that was not read to its end: they end the connection.
//!
//! actix-http ends a connection after such an answer as long as the body is still held. Once a chunked body is dropped,
//! actix-http reads that body to its end instead, without a limit of time or size. So an answer carries the unread body
//! until the answer is sent.

use std::cell::{Cell, RefCell};
use std::error::Error;
use std::fmt;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use actix_web::body::{BodySize, BoxBody, MessageBody};
use actix_web::dev::Payload;
use actix_web::error::PayloadError;
use actix_web::web::Bytes;
use futures_util::{Stream, StreamExt as _};

/// The body of a request, shared by its reader and by the answer.
#[derive(Clone)]
pub(crate) struct RequestBody(Rc<Shared>);

struct Shared {
    payload: RefCell<Payload>,
    finished: Rc<Cell<bool>>,
}

/// The body of an answer. Ends the connection if the request's own body was not read to its end.
pub struct ResponseBody {
    body: BoxBody,
    unread: Option<RequestBody>,
}

/// Stands in the request in place of the body.
struct BodyReader<W: Fn(bool)> {
    body: RequestBody,
    watch: W,
}

impl RequestBody {
    /// Shares a body: the payload is for the reader. `None` without a body.
    pub(crate) fn share(payload: Payload) -> (Payload, Option<Self>) {
        Self::share_watched(payload, |_| {})
    }

    /// Like [`Self::share`]. `watch` is told whether the reader waits for more: after each poll, and `false` when the
    /// reader is dropped.
    pub(crate) fn share_watched(
        payload: Payload,
        watch: impl Fn(bool) + 'static,
    ) -> (Payload, Option<Self>) {
        if matches!(payload, Payload::None) {
            return (payload, None);
        }
        let shared = Shared { payload: RefCell::new(payload), finished: Rc::default() };
        let body = Self(Rc::new(shared));
        let reader = BodyReader { body: body.clone(), watch };
        (Payload::Stream { payload: Box::pin(reader) }, Some(body))
    }

    /// The body that an answer must carry: `None` if the body has come to its end, or if a reader goes on reading.
    pub(crate) async fn unread_remainder(body: Option<Self>) -> Option<Self> {
        let unread = body?.discard_ready()?;
        // Bytes that came together with the head are decoded once the handler waits.
        tokio::task::yield_now().await;
        unread.discard_ready()
    }

    /// Discards the bytes that are there; `None` at the end of the body, or while a reader holds the body too.
    fn discard_ready(self) -> Option<Self> {
        if Rc::strong_count(&self.0) > 1 {
            return None;
        }
        let mut context = Context::from_waker(Waker::noop());
        loop {
            match self.poll(&mut context) {
                Poll::Ready(Some(Ok(_))) => {}
                Poll::Ready(_) => return None,
                Poll::Pending => return Some(self),
            }
        }
    }

    /// Whether the body has come to its end, or is broken.
    pub(crate) fn finished(&self) -> Rc<Cell<bool>> {
        Rc::clone(&self.0.finished)
    }

    fn poll(&self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, PayloadError>>> {
        if self.0.finished.get() {
            return Poll::Ready(None);
        }
        let polled = self.0.payload.borrow_mut().poll_next_unpin(cx);
        if matches!(polled, Poll::Ready(None | Some(Err(_)))) {
            self.0.finished.set(true);
        }
        polled
    }
}

impl<W: Fn(bool) + 'static> Stream for BodyReader<W> {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let polled = self.body.poll(cx);
        (self.watch)(polled.is_pending());
        polled
    }
}

impl<W: Fn(bool)> Drop for BodyReader<W> {
    fn drop(&mut self) {
        (self.watch)(false);
    }
}

impl ResponseBody {
    pub(crate) fn new(body: impl MessageBody + 'static, unread: Option<RequestBody>) -> Self {
        Self { body: body.boxed(), unread }
    }
}

impl MessageBody for ResponseBody {
    type Error = Box<dyn Error>;

    fn size(&self) -> BodySize {
        match self.body.size() {
            // A body of size `None` would be dropped before the answer is sent, together with the unread body.
            BodySize::None if self.unread.is_some() => BodySize::Sized(0),
            size @ (BodySize::None | BodySize::Sized(_) | BodySize::Stream) => size,
        }
    }

    fn poll_next(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Self::Error>>> {
        self.body.as_pin_mut().poll_next(cx)
    }

    fn try_into_bytes(self) -> Result<Bytes, Self> {
        match self {
            Self { body, unread: None } => {
                body.try_into_bytes().map_err(|body| Self { body, unread: None })
            }
            held => Err(held),
        }
    }
}

impl fmt::Debug for ResponseBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseBody")
            .field("unread", &self.unread.is_some())
            .finish_non_exhaustive()
    }
}

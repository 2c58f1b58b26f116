//! Answers to requests whose body was not read to its end: they end the connection.
//!
//! actix-http ends a connection after such an answer as long as somebody still holds the body. Once a chunked body is dropped, it reads
//! that to its end instead, however long it takes and however much comes. So an answer carries the unread body until it is sent.

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

/// The body of an answer. It ends the connection where the request's own body was not read to its end.
pub struct AnswerBody {
    body: BoxBody,
    unread: Option<RequestBody>,
}

/// What stands in the request in the place of its body.
struct Reader<W: Fn(bool)> {
    body: RequestBody,
    watch: W,
}

impl RequestBody {
    /// Shares a body: the payload is for whoever reads it. `None` where there is no body.
    pub(crate) fn share(payload: Payload) -> (Payload, Option<Self>) {
        Self::share_watched(payload, |_| {})
    }

    /// As [`Self::share`]; `watch` hears whether its reader waits for more, each time it has asked and when it is dropped.
    pub(crate) fn share_watched(
        payload: Payload,
        watch: impl Fn(bool) + 'static,
    ) -> (Payload, Option<Self>) {
        if matches!(payload, Payload::None) {
            return (payload, None);
        }
        let shared = Shared { payload: RefCell::new(payload), finished: Rc::default() };
        let body = Self(Rc::new(shared));
        let reader = Reader { body: body.clone(), watch };
        (Payload::Stream { payload: Box::pin(reader) }, Some(body))
    }

    /// What an answer must carry: nothing where the body has come to its end, or where somebody goes on reading it.
    pub(crate) async fn unread(body: Option<Self>) -> Option<Self> {
        let unread = body?.skip()?;
        // What came together with the head is decoded once its handler waits.
        tokio::task::yield_now().await;
        unread.skip()
    }

    /// Passes over what is there.
    fn skip(self) -> Option<Self> {
        if Rc::strong_count(&self.0) > 1 {
            return None;
        }
        let mut here = Context::from_waker(Waker::noop());
        loop {
            match self.poll(&mut here) {
                Poll::Ready(Some(Ok(_))) => {}
                Poll::Ready(_) => return None,
                Poll::Pending => return Some(self),
            }
        }
    }

    /// Whether it has come to its end, or is broken.
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

impl<W: Fn(bool) + 'static> Stream for Reader<W> {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let polled = self.body.poll(cx);
        (self.watch)(polled.is_pending());
        polled
    }
}

impl<W: Fn(bool)> Drop for Reader<W> {
    fn drop(&mut self) {
        (self.watch)(false);
    }
}

impl AnswerBody {
    pub(crate) fn new(body: impl MessageBody + 'static, unread: Option<RequestBody>) -> Self {
        Self { body: body.boxed(), unread }
    }
}

impl MessageBody for AnswerBody {
    type Error = Box<dyn Error>;

    fn size(&self) -> BodySize {
        match self.body.size() {
            // A body that is none would be dropped before the answer is sent, and what it carries with it.
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

impl fmt::Debug for AnswerBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AnswerBody").field("unread", &self.unread.is_some()).finish_non_exhaustive()
    }
}

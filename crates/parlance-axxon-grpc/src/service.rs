//! The services by their paths, and the one that is ours.

use std::convert::Infallible;
use std::future::ready;
use std::net::IpAddr;
use std::sync::Arc;
use std::task::{Context, Poll};

use parlance_axxon_jsonrpc::{AxxonJsonrpc, Method, SERVICE};
use parlance_core::ports::Clock;
use parlance_core::{Failure, Timestamp};
use parlance_dialect::Desk;
use prost::bytes::{Buf as _, BufMut as _};
use tokio::time::timeout;
use tonic::body::Body;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder, Streaming};
use tonic::codegen::{BoxFuture, Service, http};
use tonic::metadata::MetadataMap;
use tonic::server::{ClientStreamingService, Grpc, NamedService};
use tonic::{Request, Response, Status};

use crate::reply::Reply;
use crate::{Limits, call, reply};

type Answer = BoxFuture<http::Response<Body>, Infallible>;
type Route = Arc<dyn Fn(http::Request<Body>) -> Answer + Send + Sync>;

/// `AuthenticationService` at work.
#[derive(Clone)]
pub(crate) struct Door {
    pub(crate) desk: Arc<Desk<AxxonJsonrpc>>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) limits: Limits,
}

impl NamedService for Door {
    const NAME: &'static str = SERVICE;
}

impl Door {
    /// Answers a request to a path of ours.
    async fn serve(self, request: http::Request<Body>) -> http::Response<Body> {
        let name = request.uri().path().rsplit('/').next();
        let Some(method) = name.and_then(Method::named) else {
            return Status::unimplemented("no such method").into_http();
        };
        let limit = Some(self.limits.message);
        let mut grpc = Grpc::new(Bytes).apply_max_message_size_config(limit, None);
        // On the wire a call with one message is one with a stream of them; so its reading is ours, and the client's mistakes have a
        // status of ours.
        grpc.client_streaming(Called(self, method), request).await
    }

    async fn answer(self, method: Method, request: Request<Streaming<Vec<u8>>>) -> Reply {
        let peer = request.remote_addr().map(|peer| peer.ip());
        let (metadata, _, mut messages) = request.into_parts();
        let message = match timeout(self.limits.message_patience, messages.message()).await {
            Ok(Ok(Some(message))) => message,
            Ok(Ok(None)) => return Err(Status::invalid_argument("there is no message")),
            Ok(Err(why)) => return Err(reply::unread(&why)),
            Err(_) => return Err(Status::deadline_exceeded("the message took too long")),
        };
        self.reply(method, &metadata, &message, peer, self.clock.now()).await
    }

    /// Decodes, asks, encodes.
    pub(crate) async fn reply(
        &self,
        method: Method,
        metadata: &MetadataMap,
        message: &[u8],
        peer: Option<IpAddr>,
        now: Timestamp,
    ) -> Reply {
        let call = call::read(self.desk.dialect(), method, metadata, message)?;
        match timeout(self.limits.answer_patience, self.desk.ask(&call, peer, now)).await {
            Ok(Ok(outcome)) => reply::done(&call, &outcome, now),
            Ok(Err(why)) => reply::refused(&call, why),
            Err(_) => reply::refused(&call, Failure::Unavailable),
        }
    }
}

/// A call of a method, whose message is still to come.
struct Called(Door, Method);

impl ClientStreamingService<Vec<u8>> for Called {
    type Response = Vec<u8>;
    type Future = BoxFuture<Response<Vec<u8>>, Status>;

    fn call(&mut self, request: Request<Streaming<Vec<u8>>>) -> Self::Future {
        let (door, method) = (self.0.clone(), self.1);
        Box::pin(async move { door.answer(method, request).await.map(Response::new) })
    }
}

/// The services by their names. It answers every path.
#[derive(Clone, Default)]
pub(crate) struct Routes(Vec<(&'static str, Route)>);

impl Routes {
    /// Adds a service of a library.
    pub(crate) fn with<S>(mut self, service: S) -> Self
    where
        S: Service<http::Request<Body>, Response = http::Response<Body>, Error = Infallible>
            + NamedService
            + Clone
            + Send
            + Sync
            + 'static,
        S::Future: Send + 'static,
    {
        // None of them is ever unready.
        self.0.push((S::NAME, Arc::new(move |request| Box::pin(service.clone().call(request)))));
        self
    }
}

impl Service<http::Request<Body>> for Routes {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Answer;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Answer {
        let content = request.headers().get(http::header::CONTENT_TYPE);
        if !content.is_some_and(|content| content.as_bytes().starts_with(b"application/grpc")) {
            let mut answer = http::Response::new(Body::empty());
            *answer.status_mut() = http::StatusCode::UNSUPPORTED_MEDIA_TYPE;
            return Box::pin(ready(Ok(answer)));
        }
        let name = request.uri().path().trim_start_matches('/').split('/').next();
        match self.0.iter().find(|(known, _)| Some(*known) == name) {
            Some((_, route)) => route(request),
            None => Box::pin(ready(Ok(Status::unimplemented("no such service").into_http()))),
        }
    }
}

impl Service<http::Request<Body>> for Door {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Answer;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Answer {
        let door = self.clone();
        Box::pin(async move { Ok(door.serve(request).await) })
    }
}

/// Messages as the bytes that they are.
#[derive(Debug, Clone, Copy)]
struct Bytes;

impl Codec for Bytes {
    type Encode = Vec<u8>;
    type Decode = Vec<u8>;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        *self
    }

    fn decoder(&mut self) -> Self {
        *self
    }
}

impl Encoder for Bytes {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, message: Vec<u8>, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        to.put_slice(&message);
        Ok(())
    }
}

impl Decoder for Bytes {
    type Item = Vec<u8>;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Vec<u8>>, Status> {
        Ok(Some(from.copy_to_bytes(from.remaining()).to_vec()))
    }
}

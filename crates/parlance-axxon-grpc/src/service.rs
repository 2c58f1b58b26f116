//! Router of the gRPC services by path, and the authentication service of this crate.

use std::convert::Infallible;
use std::future::ready;
use std::net::IpAddr;
use std::sync::Arc;
use std::task::{Context, Poll};

use parlance_axxon_jsonrpc::{AxxonJsonrpc, Method, SERVICE_NAME};
use parlance_core::ports::Clock;
use parlance_core::{Failure, Timestamp};
use parlance_dialect::DialectService;
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

type ResponseFuture = BoxFuture<http::Response<Body>, Infallible>;
type Route = Arc<dyn Fn(http::Request<Body>) -> ResponseFuture + Send + Sync>;

/// The implementation of `AuthenticationService`.
#[derive(Clone)]
pub(crate) struct AuthService {
    pub(crate) service: Arc<DialectService<AxxonJsonrpc>>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) limits: Limits,
}

impl NamedService for AuthService {
    const NAME: &'static str = SERVICE_NAME;
}

impl AuthService {
    /// Answers a request to a path of this service.
    async fn serve(self, request: http::Request<Body>) -> http::Response<Body> {
        let name = request.uri().path().rsplit('/').next();
        let Some(method) = name.and_then(Method::from_name) else {
            return Status::unimplemented("no such method").into_http();
        };
        let limit = Some(self.limits.max_message_bytes);
        let mut grpc = Grpc::new(RawCodec).apply_max_message_size_config(limit, None);
        // On the wire a call with one message looks like a call with a stream of messages. So this code reads the stream itself, and chooses
        // the status of a client's mistake.
        grpc.client_streaming(MethodHandler(self, method), request).await
    }

    async fn handle_call(self, method: Method, request: Request<Streaming<Vec<u8>>>) -> Reply {
        let peer = request.remote_addr().map(|peer| peer.ip());
        let (metadata, _, mut messages) = request.into_parts();
        let message = match timeout(self.limits.message_timeout, messages.message()).await {
            Ok(Ok(Some(message))) => message,
            Ok(Ok(None)) => return Err(Status::invalid_argument("there is no message")),
            Ok(Err(why)) => return Err(reply::message_error(&why)),
            Err(_) => return Err(Status::deadline_exceeded("the message took too long")),
        };
        self.handle_message(method, &metadata, &message, peer, self.clock.now()).await
    }

    /// Decodes the call, asks the core, and encodes the answer.
    pub(crate) async fn handle_message(
        &self,
        method: Method,
        metadata: &MetadataMap,
        message: &[u8],
        peer: Option<IpAddr>,
        now: Timestamp,
    ) -> Reply {
        let call = call::read(self.service.dialect(), method, metadata, message)?;
        match timeout(self.limits.response_timeout, self.service.execute(&call, peer, now)).await {
            Ok(Ok(outcome)) => reply::encode_outcome(&call, &outcome, now),
            Ok(Err(why)) => reply::encode_failure(&call, why),
            Err(_) => reply::encode_failure(&call, Failure::Unavailable),
        }
    }
}

/// A call of a method, before its message has arrived.
struct MethodHandler(AuthService, Method);

impl ClientStreamingService<Vec<u8>> for MethodHandler {
    type Response = Vec<u8>;
    type Future = BoxFuture<Response<Vec<u8>>, Status>;

    fn call(&mut self, request: Request<Streaming<Vec<u8>>>) -> Self::Future {
        let (service, method) = (self.0.clone(), self.1);
        Box::pin(async move { service.handle_call(method, request).await.map(Response::new) })
    }
}

/// Router: the services by their names. Every path gets an answer.
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
        // `poll_ready` is left out, since each of them is always ready.
        self.0.push((S::NAME, Arc::new(move |request| Box::pin(service.clone().call(request)))));
        self
    }
}

impl Service<http::Request<Body>> for Routes {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = ResponseFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> ResponseFuture {
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

impl Service<http::Request<Body>> for AuthService {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = ResponseFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> ResponseFuture {
        let service = self.clone();
        Box::pin(async move { Ok(service.serve(request).await) })
    }
}

/// A codec that passes messages through as bytes.
#[derive(Debug, Clone, Copy)]
struct RawCodec;

impl Codec for RawCodec {
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

impl Encoder for RawCodec {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, message: Vec<u8>, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        to.put_slice(&message);
        Ok(())
    }
}

impl Decoder for RawCodec {
    type Item = Vec<u8>;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Vec<u8>>, Status> {
        Ok(Some(from.copy_to_bytes(from.remaining()).to_vec()))
    }
}

//! An HTTP server with bounded connections.

use std::any::Any;
use std::fmt;
use std::future::ready;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::thread::available_parallelism;
use std::time::Duration;

use actix_http::error::DispatchError;
use actix_http::{HttpService, Protocol, Request, Response};
use actix_service::{
    IntoServiceFactory, Service, ServiceFactory, ServiceFactoryExt as _, apply_fn_factory,
    fn_service, map_config,
};
use actix_web::body::{BodySize, MessageBody};
use actix_web::dev::{AppConfig, Server};
use actix_web::rt::net::TcpStream;
use actix_web::web::Bytes;
use socket2::SockRef;

use crate::connection::{Answering, Connection, Exchange};
use crate::unread::{AnswerBody, RequestBody};

/// How many connections may wait in the system's queue until they are accepted.
const BACKLOG: i32 = 1024;
/// How many connections a worker may have, if nobody says otherwise: actix's own bound.
const CONNECTIONS_PER_WORKER: usize = 25_600;

/// How long the head of a connection's first request may take.
const FIRST_HEAD_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a connection may take to end.
const DISCONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// Admits a connection, and gives what is dropped when the connection ends; `None` ends it at once.
type Admission = Arc<dyn Fn(&TcpStream) -> Option<Box<dyn Any>> + Send + Sync>;

/// An HTTP/1.1 server without TLS, as `actix_web::HttpServer` is one, that bounds what a client can make a connection hold:
///
/// - Nothing is read while an answer waits to be taken, nor while a request is answered, unless its handler waits for the body. At most
///   4 KiB are read, and decoded, at a time.
/// - A client that takes nothing of an answer for 15 s is cut, and so is one that has not sent the next request in full 10 s after the
///   last answer.
/// - An answer to a request whose body was not read to its end ends the connection within 2 s, however the body is framed.
///
/// How long a handler may take, and how slowly the body that it waits for may come, is the handler's own matter; those of parlance bound
/// both.
pub struct BoundedServer {
    listener: TcpListener,
    admission: Admission,
    connections_per_worker: usize,
    shutdown_seconds: u64,
}

impl BoundedServer {
    /// Listens on an address; port 0 picks a free one.
    ///
    /// # Errors
    /// The system's, if it cannot.
    pub fn bind(address: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(address)?;
        SockRef::from(&listener).listen(BACKLOG)?;
        Ok(Self {
            listener,
            admission: Arc::new(|_| Some(Box::new(()))),
            connections_per_worker: CONNECTIONS_PER_WORKER,
            shutdown_seconds: 30,
        })
    }

    /// Where it listens.
    ///
    /// # Errors
    /// The system's, if it does not say.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Admits connections one by one. What is given for one is dropped when it ends; for `None` it ends at once, without an answer.
    #[must_use]
    pub fn admission(
        self,
        admit: impl Fn(&TcpStream) -> Option<Box<dyn Any>> + Send + Sync + 'static,
    ) -> Self {
        Self { admission: Arc::new(admit), ..self }
    }

    /// How many connections it may have in all; more wait in the system's queue.
    #[must_use]
    pub fn max_connections(self, most: usize) -> Self {
        Self { connections_per_worker: most.div_ceil(workers()).max(1), ..self }
    }

    /// How many seconds requests under way may take once it is told to stop; 30 if nobody says otherwise.
    #[must_use]
    pub fn shutdown_timeout(self, seconds: u64) -> Self {
        Self { shutdown_seconds: seconds, ..self }
    }

    /// Serves an app, with a worker a core, until its handle says to stop. It handles no signals.
    ///
    /// # Errors
    /// The system's, if the listener cannot be used.
    pub fn run<F, I, S, B>(self, app: F) -> io::Result<Server>
    where
        F: Fn() -> I + Send + Clone + 'static,
        I: IntoServiceFactory<S, Request>,
        S: ServiceFactory<Request, Config = AppConfig> + 'static,
        S::Error: Into<actix_web::Error> + 'static,
        S::InitError: fmt::Debug,
        S::Response: Into<Response<B>> + 'static,
        S::Service: 'static,
        <S::Service as Service<Request>>::Future: 'static,
        B: MessageBody + 'static,
    {
        let server = Server::build()
            .workers(workers())
            .max_concurrent_connections(self.connections_per_worker)
            .shutdown_timeout(self.shutdown_seconds)
            .disable_signals();
        let stopping = server.graceful_shutdown_signal();
        let admission = self.admission;
        let server = server.listen("parlance", self.listener, move || {
            let (stopping, admission) = (stopping.clone(), Arc::clone(&admission));
            let app = app().into_factory().map_err(Into::into);
            let app = map_config(app, |()| AppConfig::default());
            let app = apply_fn_factory(app, |request: Request, app: &_| answer(request, app));
            let http = HttpService::build()
                .client_request_timeout(FIRST_HEAD_TIMEOUT)
                .client_disconnect_timeout(DISCONNECT_TIMEOUT)
                .on_connect_ext(|connection: &Connection, data| {
                    data.insert(Rc::clone(connection.exchange()));
                })
                .graceful_shutdown_signal(move || {
                    let stopping = stopping.clone();
                    async move { stopping.notified().await }
                })
                .finish(app);
            fn_service(move |stream: TcpStream| ready(admit(&admission, stream))).and_then(http)
        })?;
        Ok(server.run())
    }
}

fn workers() -> usize {
    available_parallelism().map_or(2, usize::from)
}

fn admit(
    admission: &Admission,
    stream: TcpStream,
) -> Result<(Connection, Protocol, Option<SocketAddr>), DispatchError> {
    let peer = stream.peer_addr().ok();
    match admission(&stream) {
        Some(place) => Ok((Connection::new(stream, place), Protocol::Http1, peer)),
        // Its end is the end of the connection.
        None => Err(DispatchError::Io(io::ErrorKind::ConnectionRefused.into())),
    }
}

/// Has an app answer a request, and its connection know.
fn answer<S, B>(
    mut request: Request,
    app: &S,
) -> impl Future<Output = Result<Response<SentBody>, actix_web::Error>> + use<S, B>
where
    S: Service<Request, Error = actix_web::Error>,
    S::Response: Into<Response<B>>,
    B: MessageBody + 'static,
{
    let exchange = request.conn_data::<Rc<Exchange>>().cloned();
    let mut answering = exchange.clone().map(Exchange::begin);
    let (payload, body) = RequestBody::share_watched(request.take_payload(), move |wanted| {
        if let Some(exchange) = &exchange {
            exchange.want_body(wanted);
        }
    });
    *request.payload() = payload;
    if let Some(answering) = &mut answering {
        answering.body_finished = body.as_ref().map(RequestBody::finished);
    }
    let answer = app.call(request);
    async move {
        let answer = match answer.await {
            Ok(answer) => answer.into().map_into_boxed_body(),
            Err(error) => error.error_response().into(),
        };
        let unread = RequestBody::unread(body).await;
        Ok(answer.map_body(|_, answer| SentBody {
            body: AnswerBody::new(answer, unread),
            _answering: answering,
        }))
    }
}

/// The body of an answer. The request is answered once it is dropped.
struct SentBody {
    body: AnswerBody,
    _answering: Option<Answering>,
}

impl MessageBody for SentBody {
    type Error = <AnswerBody as MessageBody>::Error;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Self::Error>>> {
        Pin::new(&mut self.body).poll_next(cx)
    }
}

impl fmt::Debug for BoundedServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BoundedServer").field("listener", &self.listener).finish_non_exhaustive()
    }
}

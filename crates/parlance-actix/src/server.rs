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

use crate::connection::{Connection, ConnectionState, RequestInFlight};
use crate::unread_body::{RequestBody, ResponseBody};

/// Connections that may wait in the system's queue until they are accepted (listen backlog).
const BACKLOG: i32 = 1024;
/// Default limit of connections per worker: actix's own bound.
const MAX_CONNECTIONS_PER_WORKER: usize = 25_600;

/// Deadline for the head of a connection's first request.
const FIRST_HEAD_TIMEOUT: Duration = Duration::from_secs(5);
/// Deadline for a connection to end.
const DISCONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// Admits a connection, and returns a value to drop when the connection ends. `None` ends the connection at once.
type Admission = Arc<dyn Fn(&TcpStream) -> Option<Box<dyn Any>> + Send + Sync>;

/// An HTTP/1.1 server without TLS, like `actix_web::HttpServer`, with backpressure. Bounds the memory and time that a
/// client can hold on a connection:
///
/// - Nothing is read while an answer waits to be taken, nor while a request is answered, unless its handler waits for
///   the body. At most 4 KiB are read, and decoded, at a time.
/// - A client that takes nothing of an answer for 15 s is cut off, and so is one that has not sent the next request in
///   full 10 s after the last answer.
/// - If the body of a request was not read to its end, the answer ends the connection within 2 s, however the body is
///   framed.
///
/// The duration of a handler, and the speed of a body that the handler waits for, are the handler's own matter. The
/// handlers of parlance bound both.
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
    /// The system's, if listening fails.
    pub fn bind(address: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(address)?;
        SockRef::from(&listener).listen(BACKLOG)?;
        Ok(Self {
            listener,
            admission: Arc::new(|_| Some(Box::new(()))),
            connections_per_worker: MAX_CONNECTIONS_PER_WORKER,
            shutdown_seconds: 30,
        })
    }

    /// The address of the listener.
    ///
    /// # Errors
    /// The system's, if the address is not available.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Calls `admit` for each connection. The returned value is dropped when the connection ends; `None` ends the
    /// connection at once, without an answer.
    #[must_use]
    pub fn admission(
        self,
        admit: impl Fn(&TcpStream) -> Option<Box<dyn Any>> + Send + Sync + 'static,
    ) -> Self {
        Self { admission: Arc::new(admit), ..self }
    }

    /// Limits the connections of the whole server; more wait in the system's queue.
    #[must_use]
    pub fn max_connections(self, limit: usize) -> Self {
        Self { connections_per_worker: limit.div_ceil(worker_count()).max(1), ..self }
    }

    /// Limits the seconds that requests under way may take in a graceful shutdown; 30 by default.
    #[must_use]
    pub fn shutdown_timeout(self, seconds: u64) -> Self {
        Self { shutdown_seconds: seconds, ..self }
    }

    /// Serves an app, with one worker per core, until the server's handle says to stop. Does not handle signals.
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
            .workers(worker_count())
            .max_concurrent_connections(self.connections_per_worker)
            .shutdown_timeout(self.shutdown_seconds)
            .disable_signals();
        let stopping = server.graceful_shutdown_signal();
        let admission = self.admission;
        let server = server.listen("parlance", self.listener, move || {
            let (stopping, admission) = (stopping.clone(), Arc::clone(&admission));
            let app = app().into_factory().map_err(Into::into);
            let app = map_config(app, |()| AppConfig::default());
            let app =
                apply_fn_factory(app, |request: Request, app: &_| handle_request(request, app));
            let http = HttpService::build()
                .client_request_timeout(FIRST_HEAD_TIMEOUT)
                .client_disconnect_timeout(DISCONNECT_TIMEOUT)
                .on_connect_ext(|connection: &Connection, data| {
                    data.insert(Rc::clone(connection.state()));
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

fn worker_count() -> usize {
    available_parallelism().map_or(2, usize::from)
}

fn admit(
    admission: &Admission,
    stream: TcpStream,
) -> Result<(Connection, Protocol, Option<SocketAddr>), DispatchError> {
    let peer = stream.peer_addr().ok();
    match admission(&stream) {
        Some(permit) => Ok((Connection::new(stream, permit), Protocol::Http1, peer)),
        // Dropping the stream ends the connection.
        None => Err(DispatchError::Io(io::ErrorKind::ConnectionRefused.into())),
    }
}

/// Has the app answer a request, and keeps the connection's `ConnectionState` up to date.
fn handle_request<S, B>(
    mut request: Request,
    app: &S,
) -> impl Future<Output = Result<Response<TrackedResponseBody>, actix_web::Error>> + use<S, B>
where
    S: Service<Request, Error = actix_web::Error>,
    S::Response: Into<Response<B>>,
    B: MessageBody + 'static,
{
    let connection_state = request.conn_data::<Rc<ConnectionState>>().cloned();
    let mut in_flight = connection_state.clone().map(ConnectionState::begin_request);
    let (payload, body) = RequestBody::share_watched(request.take_payload(), move |wanted| {
        if let Some(connection_state) = &connection_state {
            connection_state.set_body_wanted(wanted);
        }
    });
    *request.payload() = payload;
    if let Some(in_flight) = &mut in_flight {
        in_flight.body_finished = body.as_ref().map(RequestBody::finished);
    }
    let answer = app.call(request);
    async move {
        let answer = match answer.await {
            Ok(answer) => answer.into().map_into_boxed_body(),
            Err(error) => error.error_response().into(),
        };
        let unread = RequestBody::unread_remainder(body).await;
        Ok(answer.map_body(|_, answer| TrackedResponseBody {
            body: ResponseBody::new(answer, unread),
            _in_flight: in_flight,
        }))
    }
}

/// The body of an answer. The request counts as answered once this body is dropped.
struct TrackedResponseBody {
    body: ResponseBody,
    _in_flight: Option<RequestInFlight>,
}

impl MessageBody for TrackedResponseBody {
    type Error = <ResponseBody as MessageBody>::Error;

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

//! gRPC server: start and graceful shutdown of the listener.
//!
//! The health check of gRPC (`grpc.health.v1`) reports the readiness of the service: `SERVING` from the start, and `NOT_SERVING` from the
//! beginning of the drain.

use std::error::Error;
use std::fmt;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use parlance_axxon_jsonrpc::{AxxonJsonrpc, SERVICE_NAME};
use parlance_core::connections::ConnectionLimit;
use parlance_core::ports::Clock;
use parlance_dialect::DialectService;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tonic::transport::{Identity, Server, ServerTlsConfig};
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

use crate::connection;
use crate::message::DESCRIPTORS;
use crate::service::{AuthService, Routes};

/// Maximum number of concurrent calls on a connection.
const MAX_STREAMS_PER_CONNECTION: u32 = 64;
/// Maximum size of the metadata of a call, in bytes.
const MAX_METADATA_BYTES: u32 = 16 * 1024;
/// Interval of the keep-alive pings to a silent client, and the time limit for the answer to one.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(20);
/// Maximum age of a connection, in use or not. The server then asks the client to open another, and gRPC libraries do so by themselves.
const MAX_CONNECTION_AGE: Duration = Duration::from_secs(10 * 60);
/// Time limit for the calls under way at that age.
const MAX_CONNECTION_AGE_GRACE: Duration = Duration::from_secs(60);

/// Size and time limits of a call.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Maximum size of a message, in bytes.
    pub max_message_bytes: usize,
    /// Time limit for the arrival of a message, and for a TLS handshake.
    pub message_timeout: Duration,
    /// Time limit for an answer, counted from the message.
    pub response_timeout: Duration,
}

/// TLS identity of the server, both parts in PEM. `Debug` does not show the key.
pub struct Tls {
    /// The certificates, the server's own first.
    pub certificate: Vec<u8>,
    /// The private key of the first certificate.
    pub key: Vec<u8>,
}

/// The reason why the server does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The certificate or the key cannot be used.
    #[error(
        "the certificates and the key cannot be used together ({0}): both are PEM, and the key is that of the first certificate"
    )]
    Tls(String),
    /// The listener cannot be used.
    #[error("the listener cannot be used: {0}")]
    Listener(#[from] std::io::Error),
    /// The descriptors for server reflection cannot be read.
    #[error("the descriptors cannot be read: {0}")]
    Descriptors(#[from] tonic_reflection::server::Error),
}

/// A server that is listening.
#[derive(Debug)]
pub struct GrpcServer {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl GrpcServer {
    /// Serves on a listener, in the current tokio runtime. The client's address is that of the socket, and a connection beyond the limit ends
    /// at once.
    ///
    /// # Errors
    /// See [`StartError`]; nothing is served then.
    pub fn start(
        listener: TcpListener,
        service: DialectService<AxxonJsonrpc>,
        clock: Arc<dyn Clock>,
        limits: Limits,
        connections: Arc<ConnectionLimit>,
        tls: Option<Tls>,
    ) -> Result<Self, StartError> {
        let address = listener.local_addr()?;
        listener.set_nonblocking(true)?;
        let incoming =
            connection::incoming(tokio::net::TcpListener::from_std(listener)?, connections);

        let health = HealthReporter::new();
        let auth_service = AuthService { service: Arc::new(service), clock, limits };
        let routes = routes(auth_service, &health)?;
        let mut server = Server::builder()
            .max_concurrent_streams(MAX_STREAMS_PER_CONNECTION)
            .http2_max_header_list_size(MAX_METADATA_BYTES)
            .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
            .http2_keepalive_timeout(Some(KEEPALIVE_INTERVAL))
            .max_connection_age(MAX_CONNECTION_AGE)
            .max_connection_age_grace(MAX_CONNECTION_AGE_GRACE);
        if let Some(Tls { certificate, key }) = tls {
            let tls = ServerTlsConfig::new()
                .identity(Identity::from_pem(certificate, key))
                .timeout(limits.message_timeout);
            server = server.tls_config(tls).map_err(|error| StartError::Tls(root_cause(&error)))?;
        }

        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(async move {
            health.set_service_status(SERVICE_NAME, ServingStatus::Serving).await;
            let stopping = async {
                let _gone = stopped.await;
                announce_shutdown(health).await;
            };
            // The server ends by the stop signal alone: an error of one connection ends that connection only.
            let _ended = server.serve_with_incoming_shutdown(routes, incoming, stopping).await;
        });
        Ok(Self { address, stop, task })
    }

    /// The address of the listener.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Graceful shutdown: takes no more connections and calls, and drains the calls under way, but not for longer than this.
    pub async fn stop(mut self, grace_period: Duration) {
        let _ended = self.stop.send(());
        if timeout(grace_period, &mut self.task).await.is_err() {
            self.task.abort();
        }
    }
}

/// The three services: authentication, health check and reflection. Reflection has both its versions, since clients know one or the other.
fn routes(auth_service: AuthService, health: &HealthReporter) -> Result<Routes, StartError> {
    let limit = auth_service.limits.max_message_bytes;
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let service = tonic_health::server::HealthService::from_health_reporter(health.clone());
    let service = tonic_health::pb::health_server::HealthServer::new(service);
    Ok(Routes::default()
        .with(auth_service)
        .with(service.max_decoding_message_size(limit))
        .with(reflection().build_v1()?.max_decoding_message_size(limit))
        .with(reflection().build_v1alpha()?.max_decoding_message_size(limit)))
}

/// Reports `NOT_SERVING` to the watchers of the health check, and ends their streams, which would otherwise last for ever.
async fn announce_shutdown(mut health: HealthReporter) {
    for service in ["", SERVICE_NAME] {
        health.set_service_status(service, ServingStatus::NotServing).await;
        health.clear_service_status(service).await;
    }
}

/// The innermost cause of an error.
fn root_cause(mut error: &dyn Error) -> String {
    while let Some(cause) = error.source() {
        error = cause;
    }
    error.to_string()
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").finish_non_exhaustive()
    }
}

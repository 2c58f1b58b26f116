//! The listener: set up, started, stopped.

use std::error::Error;
use std::fmt;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use parlance_axxon_jsonrpc::{AxxonJsonrpc, SERVICE};
use parlance_core::connections::ConnectionLimit;
use parlance_core::ports::Clock;
use parlance_dialect::Desk;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tonic::transport::{Identity, Server, ServerTlsConfig};
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

use crate::connection;
use crate::message::DESCRIPTORS;
use crate::service::{Door, Routes};

/// How many calls a connection may have under way.
const STREAMS: u32 = 64;
/// How long the metadata of a call may be, in bytes.
const METADATA: u32 = 16 * 1024;
/// How often a silent client is asked whether it lives, and how long it may take to say so.
const PING: Duration = Duration::from_secs(20);
/// How long a connection lives, used or not. Then the client is told to open another, as its library does by itself.
const MAX_CONNECTION_AGE: Duration = Duration::from_secs(10 * 60);
/// How long calls under way may take then.
const MAX_CONNECTION_AGE_GRACE: Duration = Duration::from_secs(60);

/// What a call may take.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// The longest message that is read, in bytes.
    pub message: usize,
    /// How long a message may take, and a TLS handshake.
    pub message_patience: Duration,
    /// How long an answer may take, counted from the message.
    pub answer_patience: Duration,
}

/// What the server shows to be who it is, both in PEM. Its `Debug` does not show the key.
pub struct Tls {
    /// The certificates, the server's own first.
    pub certificate: Vec<u8>,
    /// The private key of the first.
    pub key: Vec<u8>,
}

/// Why it does not serve.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The certificate or the key cannot be used.
    #[error(
        "the certificates and the key cannot be used together ({0}): both are PEM, and the key is that of the first certificate"
    )]
    Tls(String),
    /// The listener cannot be.
    #[error("the listener cannot be used: {0}")]
    Listener(#[from] std::io::Error),
    /// What reflection would tell cannot be read.
    #[error("the descriptors cannot be read: {0}")]
    Descriptors(#[from] tonic_reflection::server::Error),
}

/// A server that is listening.
#[derive(Debug)]
pub struct Listening {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Listening {
    /// Serves on a listener, in the tokio runtime that this is called in. The client's address is the socket's, and a connection that the limit
    /// does not admit ends at once.
    ///
    /// # Errors
    /// See [`StartError`]; nothing is served then.
    pub fn start(
        listener: TcpListener,
        desk: Desk<AxxonJsonrpc>,
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
        let door = Door { desk: Arc::new(desk), clock, limits };
        let routes = routes(door, &health)?;
        let mut server = Server::builder()
            .max_concurrent_streams(STREAMS)
            .http2_max_header_list_size(METADATA)
            .http2_keepalive_interval(Some(PING))
            .http2_keepalive_timeout(Some(PING))
            .max_connection_age(MAX_CONNECTION_AGE)
            .max_connection_age_grace(MAX_CONNECTION_AGE_GRACE);
        if let Some(Tls { certificate, key }) = tls {
            let tls = ServerTlsConfig::new()
                .identity(Identity::from_pem(certificate, key))
                .timeout(limits.message_patience);
            server = server.tls_config(tls).map_err(|error| StartError::Tls(root(&error)))?;
        }

        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(async move {
            health.set_service_status(SERVICE, ServingStatus::Serving).await;
            let stopping = async {
                let _gone = stopped.await;
                say_goodbye(health).await;
            };
            // It ends when it is told to: what goes wrong with one connection ends that alone.
            let _ended = server.serve_with_incoming_shutdown(routes, incoming, stopping).await;
        });
        Ok(Self { address, stop, task })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Takes no more connections and calls, and lets those under way finish, but not for longer than this.
    pub async fn stop(mut self, patience: Duration) {
        let _ended = self.stop.send(());
        if timeout(patience, &mut self.task).await.is_err() {
            self.task.abort();
        }
    }
}

/// The three services; reflection in both its versions, since clients know one or the other.
fn routes(door: Door, health: &HealthReporter) -> Result<Routes, StartError> {
    let limit = door.limits.message;
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let service = tonic_health::server::HealthService::from_health_reporter(health.clone());
    let service = tonic_health::pb::health_server::HealthServer::new(service);
    Ok(Routes::default()
        .with(door)
        .with(service.max_decoding_message_size(limit))
        .with(reflection().build_v1()?.max_decoding_message_size(limit))
        .with(reflection().build_v1alpha()?.max_decoding_message_size(limit)))
}

/// Tells those who watch that it ends, and ends their watching, which would last for ever.
async fn say_goodbye(mut health: HealthReporter) {
    for service in ["", SERVICE] {
        health.set_service_status(service, ServingStatus::NotServing).await;
        health.clear_service_status(service).await;
    }
}

/// What an error comes down to.
fn root(mut error: &dyn Error) -> String {
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

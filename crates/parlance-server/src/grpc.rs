//! The gRPC of axxon-jsonrpc, on its own listener.

use std::sync::Arc;
use std::time::Duration;

use parlance::core::connections::ConnectionLimit;
use parlance::core::ports::Clock;
use parlance::table::Dependencies;

use crate::cli::CommandError;
use crate::config::Config;

/// The gRPC listener.
pub(crate) struct GrpcListener {
    /// `http://` or `https://` and the address.
    pub(crate) url: String,
    /// Whether the configuration sets the address.
    pub(crate) is_explicit: bool,
    #[cfg(feature = "axxon-grpc")]
    listening: parlance::axxon_grpc::GrpcServer,
}

/// Listens, if gRPC and its dialect are enabled. Where the default port is taken, most likely by another server, the
/// program runs without gRPC.
#[cfg(feature = "axxon-grpc")]
pub(crate) fn open(
    config: &Config,
    dependencies: &Dependencies,
    clock: &Arc<dyn Clock>,
    limit: Arc<ConnectionLimit>,
) -> Result<Option<GrpcListener>, CommandError> {
    use std::net::TcpListener;

    use parlance::actix::{BODY_TIMEOUT, MAX_BODY_BYTES, RESPONSE_TIMEOUT};
    use parlance::axxon_grpc::{GrpcServer, Limits};
    use tracing::warn;

    let dialect = config.enabled().find(|dialect| dialect.entry.name == "axxon-jsonrpc");
    let Some(grpc) = &config.axxon_grpc else { return Ok(None) };
    let Some(dialect) = dialect else {
        if grpc.is_explicit {
            warn!(
                "axxon-grpc.listen is set, but the dialect axxon-jsonrpc is not enabled: gRPC is not served"
            );
        }
        return Ok(None);
    };
    let tls = grpc.tls.as_ref().map(|(certificate, key)| tls(certificate, key)).transpose()?;
    let (secure, is_explicit) = (tls.is_some(), grpc.is_explicit);
    let listener = match TcpListener::bind(grpc.listen) {
        Ok(listener) => listener,
        Err(error) if is_explicit => {
            return Err(crate::serve::listen_error(grpc.listen, "--axxon-grpc-listen", &error));
        }
        Err(error) => {
            warn!(
                address = %grpc.listen,
                %error,
                "axxon-jsonrpc is not served by gRPC, because the default port is not available: set axxon-grpc.listen"
            );
            return Ok(None);
        }
    };
    let service = dependencies.axxon_service(&dialect.values).map_err(CommandError::refused)?;
    let limits = Limits {
        max_message_bytes: MAX_BODY_BYTES,
        message_timeout: BODY_TIMEOUT,
        response_timeout: RESPONSE_TIMEOUT,
    };
    let listening = GrpcServer::start(listener, service, Arc::clone(clock), limits, limit, tls);
    let listening = listening.map_err(|error| {
        let files = grpc.tls.as_ref().map(|(certificate, key)| {
            format!(" with {} and {}", certificate.display(), key.display())
        });
        CommandError::refused(format!(
            "axxon-grpc does not start{}: {error}",
            files.unwrap_or_default()
        ))
    })?;
    let address = listening.address();
    if !secure && !address.ip().is_loopback() {
        warn!(%address, what = "grpc", "listens beyond this machine without TLS: set axxon-grpc.certificate");
    }
    let scheme = if secure { "https" } else { "http" };
    Ok(Some(GrpcListener { url: format!("{scheme}://{address}"), is_explicit, listening }))
}

#[cfg(feature = "axxon-grpc")]
fn tls(
    certificate: &std::path::Path,
    key: &std::path::Path,
) -> Result<parlance::axxon_grpc::Tls, CommandError> {
    warn_if_others_can_read(key);
    let read = |key: &str, file: &std::path::Path| {
        std::fs::read(file).map_err(|error| {
            CommandError::refused(format!(
                "axxon-grpc.{key}: {} cannot be read: {error}",
                file.display()
            ))
        })
    };
    Ok(parlance::axxon_grpc::Tls {
        certificate: read("certificate", certificate)?,
        key: read("certificate_key", key)?,
    })
}

/// Warns if users other than the owner and the group can access the key.
#[cfg(feature = "axxon-grpc")]
fn warn_if_others_can_read(key: &std::path::Path) {
    use std::os::unix::fs::PermissionsExt as _;

    /// Read and write for others, write for the group.
    const TOO_OPEN: u32 = 0o026;
    // A missing file is reported where the key is read.
    let Ok(metadata) = std::fs::metadata(key) else { return };
    let mode = metadata.permissions().mode() & 0o777;
    if mode & TOO_OPEN != 0 {
        tracing::warn!(
            file = %key.display(),
            mode = format!("{mode:04o}"),
            "axxon-grpc.certificate_key can be read or changed by other users of this machine: set its mode to 0640 or 0600 (`chmod`)"
        );
    }
}

/// Graceful shutdown: lets calls under way finish within `timeout`.
pub(crate) async fn close(listener: Option<GrpcListener>, timeout: Duration) {
    #[cfg(feature = "axxon-grpc")]
    if let Some(listener) = listener {
        listener.listening.stop(timeout).await;
    }
    #[cfg(not(feature = "axxon-grpc"))]
    let _none = (listener, timeout);
}

#[cfg(not(feature = "axxon-grpc"))]
#[expect(clippy::unnecessary_wraps, reason = "its twin may fail")]
pub(crate) fn open(
    _: &Config,
    _: &Dependencies,
    _: &Arc<dyn Clock>,
    _: Arc<ConnectionLimit>,
) -> Result<Option<GrpcListener>, CommandError> {
    Ok(None)
}

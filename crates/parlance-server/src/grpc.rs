//! The gRPC of axxon-jsonrpc, on a listener of its own.

use std::sync::Arc;
use std::time::Duration;

use parlance::core::connections::ConnectionLimit;
use parlance::core::ports::Clock;
use parlance::table::Parts;

use crate::cli::Failed;
use crate::config::Config;

/// It, listening.
pub(crate) struct Door {
    /// `http://` or `https://` and its address.
    pub(crate) url: String,
    /// Whether anybody chose the address.
    pub(crate) asked: bool,
    #[cfg(feature = "axxon-grpc")]
    listening: parlance::axxon_grpc::Listening,
}

/// Listens, if it is enabled and its dialect is. Where nobody chose the port and it is taken, by another server most likely, there is
/// none.
#[cfg(feature = "axxon-grpc")]
pub(crate) fn open(
    config: &Config,
    parts: &Parts,
    clock: &Arc<dyn Clock>,
    limit: Arc<ConnectionLimit>,
) -> Result<Option<Door>, Failed> {
    use std::net::TcpListener;

    use parlance::actix::{ANSWER_PATIENCE, BODY_LIMIT, BODY_PATIENCE};
    use parlance::axxon_grpc::{Limits, Listening};
    use tracing::warn;

    let dialect = config.enabled().find(|dialect| dialect.entry.name == "axxon-jsonrpc");
    let Some(grpc) = &config.axxon_grpc else { return Ok(None) };
    let Some(dialect) = dialect else {
        if grpc.asked {
            warn!(
                "axxon-grpc.listen is set, but its dialect is not enabled: nothing is served by gRPC"
            );
        }
        return Ok(None);
    };
    let tls = grpc.tls.as_ref().map(|(certificate, key)| tls(certificate, key)).transpose()?;
    let (secure, asked) = (tls.is_some(), grpc.asked);
    let listener = match TcpListener::bind(grpc.listen) {
        Ok(listener) => listener,
        Err(error) if asked => {
            return Err(crate::serve::cannot_listen(grpc.listen, "--axxon-grpc-listen", &error));
        }
        Err(error) => {
            warn!(
                address = %grpc.listen,
                %error,
                "axxon-jsonrpc is not served by gRPC, as its usual port cannot be had: set axxon-grpc.listen"
            );
            return Ok(None);
        }
    };
    let desk = parts.axxon(&dialect.values).map_err(Failed::refused)?;
    let limits = Limits {
        message: BODY_LIMIT,
        message_patience: BODY_PATIENCE,
        answer_patience: ANSWER_PATIENCE,
    };
    let listening = Listening::start(listener, desk, Arc::clone(clock), limits, limit, tls);
    let listening = listening.map_err(|error| {
        let files = grpc.tls.as_ref().map(|(certificate, key)| {
            format!(" with {} and {}", certificate.display(), key.display())
        });
        Failed::refused(format!("axxon-grpc does not start{}: {error}", files.unwrap_or_default()))
    })?;
    let address = listening.address();
    if !secure && !address.ip().is_loopback() {
        warn!(%address, what = "grpc", "listens beyond this machine without TLS: set axxon-grpc.certificate");
    }
    let scheme = if secure { "https" } else { "http" };
    Ok(Some(Door { url: format!("{scheme}://{address}"), asked, listening }))
}

#[cfg(feature = "axxon-grpc")]
fn tls(
    certificate: &std::path::Path,
    key: &std::path::Path,
) -> Result<parlance::axxon_grpc::Tls, Failed> {
    warn_of_readers(key);
    let read = |key: &str, file: &std::path::Path| {
        std::fs::read(file).map_err(|error| {
            Failed::refused(format!("axxon-grpc.{key}: {} cannot be read: {error}", file.display()))
        })
    };
    Ok(parlance::axxon_grpc::Tls {
        certificate: read("certificate", certificate)?,
        key: read("certificate_key", key)?,
    })
}

/// Says so if others than the owner and the group may have the key.
#[cfg(feature = "axxon-grpc")]
fn warn_of_readers(key: &std::path::Path) {
    use std::os::unix::fs::PermissionsExt as _;

    /// Read and write for others, write for the group.
    const TOO_OPEN: u32 = 0o026;
    // One that is not there is told of where it is read.
    let Ok(metadata) = std::fs::metadata(key) else { return };
    let mode = metadata.permissions().mode() & 0o777;
    if mode & TOO_OPEN != 0 {
        tracing::warn!(
            file = %key.display(),
            mode = format!("{mode:04o}"),
            "axxon-grpc.certificate_key can be read or changed by other users of this machine: `chmod 0640` it, or 0600"
        );
    }
}

/// Lets calls under way finish, but not for longer than this.
pub(crate) async fn close(door: Option<Door>, patience: Duration) {
    #[cfg(feature = "axxon-grpc")]
    if let Some(door) = door {
        door.listening.stop(patience).await;
    }
    #[cfg(not(feature = "axxon-grpc"))]
    let _none = (door, patience);
}

#[cfg(not(feature = "axxon-grpc"))]
#[expect(clippy::unnecessary_wraps, reason = "its twin may fail")]
pub(crate) fn open(
    _: &Config,
    _: &Parts,
    _: &Arc<dyn Clock>,
    _: Arc<ConnectionLimit>,
) -> Result<Option<Door>, Failed> {
    Ok(None)
}

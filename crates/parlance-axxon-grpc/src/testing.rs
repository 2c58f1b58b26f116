//! Entry point without a network, for fuzz targets and other tests.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use parlance_axxon_jsonrpc::{AxxonJsonrpc, Method, TOKEN_NAME};
use parlance_core::Timestamp;
use parlance_core::ports::Clock;
use parlance_dialect::DialectService;
use tokio::runtime::{Builder, Runtime};
use tonic::metadata::{AsciiMetadataValue, MetadataMap};

use crate::Limits;
use crate::service::AuthService;

/// Calls the service as a connection would.
pub struct InProcessClient {
    service: AuthService,
    runtime: Runtime,
}

/// A clock that no call reads: each call passes the time to the service.
struct UnusedClock;

impl Clock for UnusedClock {
    fn now(&self) -> Timestamp {
        Timestamp::MIN
    }
}

impl InProcessClient {
    /// A caller for a dialect together with its authority.
    ///
    /// # Panics
    /// The system gives no runtime.
    #[must_use]
    pub fn new(service: Arc<DialectService<AxxonJsonrpc>>) -> Self {
        let timeout = Duration::from_secs(10);
        let limits = Limits {
            max_message_bytes: 16 * 1024,
            message_timeout: timeout,
            response_timeout: timeout,
        };
        #[expect(clippy::expect_used, reason = "for tests, which are to stop here")]
        let runtime = Builder::new_current_thread().enable_time().build().expect("a runtime");
        Self { service: AuthService { service, clock: Arc::new(UnusedClock), limits }, runtime }
    }

    /// The status code of a call with this value of `auth_token` and this message. An empty value, or one that no metadata can hold, is left
    /// out.
    #[must_use]
    pub fn call(
        &self,
        method: &str,
        token: &[u8],
        message: &[u8],
        peer: IpAddr,
        now: Timestamp,
    ) -> i32 {
        let Some(method) = Method::from_name(method) else {
            return tonic::Code::Unimplemented as i32;
        };
        let mut metadata = MetadataMap::new();
        if let Some(token) =
            AsciiMetadataValue::try_from(token).ok().filter(|token| !token.is_empty())
        {
            metadata.insert(TOKEN_NAME, token);
        }
        let reply = self.service.handle_message(method, &metadata, message, Some(peer), now);
        match self.runtime.block_on(reply) {
            Ok(_) => tonic::Code::Ok as i32,
            Err(status) => status.code() as i32,
        }
    }
}

impl fmt::Debug for InProcessClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InProcessClient").finish_non_exhaustive()
    }
}

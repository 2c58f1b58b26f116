//! The door without a network, for whoever throws bytes at it.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use parlance_axxon_jsonrpc::{AxxonJsonrpc, Method, TOKEN_NAME};
use parlance_core::Timestamp;
use parlance_core::ports::Clock;
use parlance_dialect::Desk;
use tokio::runtime::{Builder, Runtime};
use tonic::metadata::{AsciiMetadataValue, MetadataMap};

use crate::Limits;
use crate::service::Door;

/// Calls the service as a connection would.
pub struct Caller {
    door: Door,
    runtime: Runtime,
}

/// The door is told the time with each call, and asks no clock.
struct Unasked;

impl Clock for Unasked {
    fn now(&self) -> Timestamp {
        Timestamp::MIN
    }
}

impl Caller {
    /// For a dialect at work.
    ///
    /// # Panics
    /// The system gives no runtime.
    #[must_use]
    pub fn new(desk: Arc<Desk<AxxonJsonrpc>>) -> Self {
        let patience = Duration::from_secs(10);
        let limits =
            Limits { message: 16 * 1024, message_patience: patience, answer_patience: patience };
        #[expect(clippy::expect_used, reason = "for tests, which are to stop here")]
        let runtime = Builder::new_current_thread().enable_time().build().expect("a runtime");
        Self { door: Door { desk, clock: Arc::new(Unasked), limits }, runtime }
    }

    /// The status code of a call with this value of `auth_token` (none where it is empty, or can be no metadata) and this message.
    #[must_use]
    pub fn call(
        &self,
        method: &str,
        token: &[u8],
        message: &[u8],
        peer: IpAddr,
        now: Timestamp,
    ) -> i32 {
        let Some(method) = Method::named(method) else { return tonic::Code::Unimplemented as i32 };
        let mut metadata = MetadataMap::new();
        if let Some(token) =
            AsciiMetadataValue::try_from(token).ok().filter(|token| !token.is_empty())
        {
            metadata.insert(TOKEN_NAME, token);
        }
        let reply = self.door.reply(method, &metadata, message, Some(peer), now);
        match self.runtime.block_on(reply) {
            Ok(_) => tonic::Code::Ok as i32,
            Err(status) => status.code() as i32,
        }
    }
}

impl fmt::Debug for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Caller").finish_non_exhaustive()
    }
}

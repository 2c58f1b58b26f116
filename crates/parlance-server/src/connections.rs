//! The connections that a listener admits.

use std::any::Any;
use std::sync::Arc;

use parlance::actix::TrustedProxies;
use parlance::core::connections::{ConnectionLimit, ConnectionPolicy};

use crate::logging::{self, Refusal};
use crate::metrics::Metrics;

/// How many connections may be on their way to being refused.
const REFUSED_AT_ONCE: u32 = 16;

/// What bounds the connections of a listener: so many in all and from each address, but for proxies, whose connections are those of many clients.
pub(crate) fn limit(
    policy: ConnectionPolicy,
    proxies: Arc<TrustedProxies>,
    metrics: Metrics,
) -> Arc<ConnectionLimit> {
    let limit = ConnectionLimit::new(policy).with_exempt(move |peer| proxies.trusts(peer));
    Arc::new(limit.with_observer(move |address| {
        metrics.connection_refused();
        logging::refused(Refusal::Connection, Some(address));
    }))
}

/// How many connections are taken at once: some more than may stay, so that those beyond end instead of waiting.
pub(crate) fn at_once(limit: &ConnectionLimit) -> usize {
    limit.total().saturating_add(REFUSED_AT_ONCE) as usize
}

/// The place of a connection of actix's; `None` if it may not stay. One that is gone already finds that out by itself.
pub(crate) fn admit(
    limit: &ConnectionLimit,
    stream: &actix_web::rt::net::TcpStream,
) -> Option<Box<dyn Any>> {
    let place = limit.enter(stream.peer_addr().ok()?.ip())?;
    Some(Box::new(place))
}

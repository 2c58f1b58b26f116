//! The connection limits of the listeners (load shedding).

use std::any::Any;
use std::sync::Arc;

use parlance::actix::TrustedProxies;
use parlance::core::connections::{ConnectionLimit, ConnectionPolicy};

use crate::logging::{self, CountedRefusal};
use crate::metrics::Metrics;

/// Connections beyond the limit that may be open at once while they are refused.
const REFUSAL_HEADROOM: u32 = 16;

/// The limits on a listener's connections: in all and from each address. Trusted proxies are exempt from the limit of
/// an address, because their connections carry many clients.
pub(crate) fn connection_limit(
    policy: ConnectionPolicy,
    proxies: Arc<TrustedProxies>,
    metrics: Metrics,
) -> Arc<ConnectionLimit> {
    let limit = ConnectionLimit::new(policy).with_exempt(move |peer| proxies.trusts(peer));
    Arc::new(limit.with_observer(move |address| {
        metrics.count_refused_connection();
        logging::record_refusal(CountedRefusal::Connection, Some(address));
    }))
}

/// Connections accepted at once: some more than the limit, so that those beyond are closed instead of waiting.
pub(crate) fn max_accepted(limit: &ConnectionLimit) -> usize {
    limit.total().saturating_add(REFUSAL_HEADROOM) as usize
}

/// Admits a connection of actix; `None` if the limit is reached. A connection that has already gone away is noticed
/// later anyway.
pub(crate) fn admit(
    limit: &ConnectionLimit,
    stream: &actix_web::rt::net::TcpStream,
) -> Option<Box<dyn Any>> {
    let place = limit.try_acquire(stream.peer_addr().ok()?.ip())?;
    Some(Box::new(place))
}

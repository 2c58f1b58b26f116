//! The limit on file descriptors of the process, and the share of each listener's connections.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tracing::warn;

/// Descriptors reserved for everything but connections: the database, the log, the listeners, connections that are
/// refused.
const RESERVED_DESCRIPTORS: u64 = 128;
/// Further descriptors reserved for each core: some ten that its workers wait on, and its reader of the database.
const RESERVED_DESCRIPTORS_PER_CORE: u64 = 16;
/// The most connections of a listener: beyond that memory is the limit, not descriptors.
const MAX_CONNECTIONS: u64 = 65_536;
/// The most gRPC connections, all of which one thread serves.
const MAX_GRPC_CONNECTIONS: u64 = 512;
/// Fewer descriptors than this get a warning.
const FEW_DESCRIPTORS: u64 = 4096;

/// The most connections of each listener. No listener uses another's share, so the health check gets in under any
/// number of clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ListenerShares {
    pub(crate) dialects: u32,
    pub(crate) admin: u32,
    pub(crate) grpc: u32,
}

/// Raises the limit on descriptors, and divides the descriptors among the listeners.
pub(crate) fn allocate() -> ListenerShares {
    let limit = raise_limit();
    let cores = std::thread::available_parallelism().map_or(1, usize::from) as u64;
    let shares =
        ListenerShares::of(limit, RESERVED_DESCRIPTORS + RESERVED_DESCRIPTORS_PER_CORE * cores);
    if limit < FEW_DESCRIPTORS {
        let ListenerShares { dialects, admin, grpc } = shares;
        warn!(
            descriptors = limit,
            dialects,
            admin,
            grpc,
            "there are few file descriptors for connections: raise the hard limit (LimitNOFILE of systemd, ulimit -Hn)"
        );
    }
    shares
}

/// Raises the soft limit to the hard one, and returns the limit then.
fn raise_limit() -> u64 {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    // `None` is no limit.
    if current == maximum {
        return current.unwrap_or(u64::MAX);
    }
    match setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        Ok(()) => maximum.unwrap_or(u64::MAX),
        Err(error) => {
            warn!(%error, "the limit on file descriptors cannot be raised");
            current.unwrap_or(u64::MAX)
        }
    }
}

impl ListenerShares {
    fn of(limit: u64, reserved: u64) -> Self {
        let left = limit - reserved.min(limit / 2);
        let share = |part: u64, most: u64| u32::try_from(part.clamp(1, most)).unwrap_or(u32::MAX);
        Self {
            dialects: share(left / 4 * 3, MAX_CONNECTIONS),
            admin: share(left / 8, MAX_CONNECTIONS),
            grpc: share(left / 8, MAX_GRPC_CONNECTIONS),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(limit: u64, dialects: u32, admin: u32, grpc: u32) {
        let shares = ListenerShares::of(limit, RESERVED_DESCRIPTORS);
        assert_eq!(shares, ListenerShares { dialects, admin, grpc }, "{limit}");
        let all = [shares.dialects, shares.admin, shares.grpc].map(u64::from).iter().sum::<u64>();
        assert!(limit < 8 || all + RESERVED_DESCRIPTORS.min(limit / 2) <= limit, "{limit}");
    }

    #[test]
    fn connection_limits_leave_descriptors_for_everything_else() {
        check(0, 1, 1, 1);
        check(64, 24, 4, 4);
        check(256, 96, 16, 16);
        check(1024, 672, 112, 112);
        check(20_000, 14_904, 2484, 512);
        check(1_048_576, 65_536, 65_536, 512);
        check(u64::MAX, 65_536, 65_536, 512);
    }
}

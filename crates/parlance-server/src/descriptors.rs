//! How many descriptors the process may have, and how many of them are for connections.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tracing::warn;

/// How many descriptors are kept for everything but connections: the database, the log, the listeners, connections that are refused.
const RESERVED: u64 = 128;
/// How many more for each core: some ten that its workers wait on, and its reader of the database.
const RESERVED_PER_CORE: u64 = 16;
/// The most connections of a listener: more than that is memory, not descriptors.
const MAX_CONNECTIONS: u64 = 65_536;
/// The most gRPC connections, all of which one thread serves.
const MAX_GRPC_CONNECTIONS: u64 = 512;
/// How many descriptors are few, for a service.
const FEW: u64 = 4096;

/// How many connections each listener may hold. None takes another's, so that the health check gets in however many clients there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shares {
    pub(crate) dialects: u32,
    pub(crate) admin: u32,
    pub(crate) grpc: u32,
}

/// Takes all descriptors that the process may have, and shares them out.
pub(crate) fn share() -> Shares {
    let limit = raise();
    let cores = std::thread::available_parallelism().map_or(1, usize::from) as u64;
    let shares = Shares::of(limit, RESERVED + RESERVED_PER_CORE * cores);
    if limit < FEW {
        let Shares { dialects, admin, grpc } = shares;
        warn!(
            descriptors = limit,
            dialects,
            admin,
            grpc,
            "there are few descriptors for connections: raise the hard limit (LimitNOFILE of systemd, ulimit -Hn)"
        );
    }
    shares
}

/// Raises the soft limit to the hard one, and says what it is then.
fn raise() -> u64 {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    // None is no limit.
    if current == maximum {
        return current.unwrap_or(u64::MAX);
    }
    match setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        Ok(()) => maximum.unwrap_or(u64::MAX),
        Err(error) => {
            warn!(%error, "the limit of descriptors stays as it is");
            current.unwrap_or(u64::MAX)
        }
    }
}

impl Shares {
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
        let shares = Shares::of(limit, RESERVED);
        assert_eq!(shares, Shares { dialects, admin, grpc }, "{limit}");
        let all = [shares.dialects, shares.admin, shares.grpc].map(u64::from).iter().sum::<u64>();
        assert!(limit < 8 || all + RESERVED.min(limit / 2) <= limit, "{limit}");
    }

    #[test]
    fn connections_leave_room_for_everything_else() {
        check(0, 1, 1, 1);
        check(64, 24, 4, 4);
        check(256, 96, 16, 16);
        check(1024, 672, 112, 112);
        check(20_000, 14_904, 2484, 512);
        check(1_048_576, 65_536, 65_536, 512);
        check(u64::MAX, 65_536, 65_536, 512);
    }
}

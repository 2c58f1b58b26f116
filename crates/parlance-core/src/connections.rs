//! Connection limit of a listener, in all and per address.
//!
//! Each connection costs a file descriptor and some memory, and no time limit bounds the number of connections. Without
//! a limit, a single client could take every descriptor that a process may have.

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::lockout::client_prefix;

/// Limits of open connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionPolicy {
    /// In all.
    pub total: u32,
    /// From one address (IPv6: from one /64). At most half of [`Self::total`] takes effect, so that one address leaves
    /// room for others.
    pub per_address: u32,
}

type Exempt = Box<dyn Fn(IpAddr) -> bool + Send + Sync>;
type RefusalObserver = Box<dyn Fn(IpAddr) + Send + Sync>;

/// Counts the connections of a listener while they are open.
pub struct ConnectionLimit {
    total: u32,
    per_address: AtomicU32,
    exempt: Exempt,
    observer: RefusalObserver,
    open: Arc<Mutex<OpenConnections>>,
}

#[derive(Debug, Default)]
struct OpenConnections {
    total: u32,
    by_address: HashMap<IpAddr, u32>,
}

/// The permit of a counted connection. Dropping the permit frees its place.
#[derive(Debug)]
pub struct ConnectionPermit {
    open: Arc<Mutex<OpenConnections>>,
    /// The address under which the connection counts, if under any.
    address: Option<IpAddr>,
}

impl ConnectionLimit {
    /// A connection limit under a policy.
    #[must_use]
    pub fn new(policy: ConnectionPolicy) -> Self {
        Self {
            total: policy.total,
            per_address: AtomicU32::new(policy.per_address),
            exempt: Box::new(|_| false),
            observer: Box::new(|_| {}),
            open: Arc::default(),
        }
    }

    /// Exempts addresses from the limit per address: they count in the total alone. For proxies: their connections are
    /// those of many clients.
    #[must_use]
    pub fn with_exempt(self, exempt: impl Fn(IpAddr) -> bool + Send + Sync + 'static) -> Self {
        Self { exempt: Box::new(exempt), ..self }
    }

    /// Reports each refused connection: the address, or the network that the address counts as.
    #[must_use]
    pub fn with_observer(self, observer: impl Fn(IpAddr) + Send + Sync + 'static) -> Self {
        Self { observer: Box::new(observer), ..self }
    }

    /// The limit in all.
    #[must_use]
    pub fn total(&self) -> u32 {
        self.total
    }

    /// Changes the limit per address from now on. Open connections stay open.
    pub fn set_per_address(&self, most: u32) {
        self.per_address.store(most, Ordering::Relaxed);
    }

    /// Acquires a permit for a connection from this address; `None` if a limit is reached.
    pub fn try_acquire(&self, peer: IpAddr) -> Option<ConnectionPermit> {
        let source = client_prefix(peer.to_canonical());
        let address = (!(self.exempt)(peer)).then_some(source);
        if !self.count(address) {
            (self.observer)(source);
            return None;
        }
        Some(ConnectionPermit { open: Arc::clone(&self.open), address })
    }

    /// Counts a connection, if the limits leave room.
    fn count(&self, address: Option<IpAddr>) -> bool {
        let mut open = lock(&self.open);
        if open.total >= self.total {
            return false;
        }
        if let Some(address) = address {
            let most = self.per_address.load(Ordering::Relaxed).min(self.total.div_ceil(2));
            if open.by_address.get(&address).is_some_and(|held| *held >= most) {
                return false;
            }
            *open.by_address.entry(address).or_default() += 1;
        }
        open.total += 1;
        true
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        let mut open = lock(&self.open);
        open.total -= 1;
        let Some(address) = self.address else { return };
        if let Some(held) = open.by_address.get_mut(&address) {
            *held -= 1;
            if *held == 0 {
                open.by_address.remove(&address);
            }
        }
    }
}

fn lock(open: &Mutex<OpenConnections>) -> MutexGuard<'_, OpenConnections> {
    open.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for ConnectionLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectionLimit")
            .field("total", &self.total)
            .field("per_address", &self.per_address)
            .finish_non_exhaustive()
    }
}

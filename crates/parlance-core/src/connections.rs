//! How many connections a listener may hold, in all and from one address.
//!
//! Each costs a descriptor and some memory, and none of the time limits bounds how many there are: a single client could take every one
//! that a process may have.

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::lockout::home;

/// How many there may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionPolicy {
    /// In all.
    pub total: u32,
    /// From one address, of IPv6 from one /64. Never more than half of [`Self::total`] counts, so that one address leaves room for others.
    pub per_address: u32,
}

type Exempt = Box<dyn Fn(IpAddr) -> bool + Send + Sync>;
type Observer = Box<dyn Fn(IpAddr) + Send + Sync>;

/// Counts the connections of a listener while they are open.
pub struct ConnectionLimit {
    total: u32,
    per_address: AtomicU32,
    exempt: Exempt,
    observer: Observer,
    open: Arc<Mutex<Open>>,
}

#[derive(Debug, Default)]
struct Open {
    total: u32,
    by_address: HashMap<IpAddr, u32>,
}

/// A connection that is counted until this is dropped.
#[derive(Debug)]
pub struct ConnectionPlace {
    open: Arc<Mutex<Open>>,
    /// Under which address, if under any.
    address: Option<IpAddr>,
}

impl ConnectionLimit {
    /// Under a policy.
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

    /// That counts some addresses in the total alone: those of proxies, whose connections are those of many clients.
    #[must_use]
    pub fn with_exempt(self, exempt: impl Fn(IpAddr) -> bool + Send + Sync + 'static) -> Self {
        Self { exempt: Box::new(exempt), ..self }
    }

    /// That tells of each connection it refuses: the address, or the network that it counts as.
    #[must_use]
    pub fn with_observer(self, observer: impl Fn(IpAddr) + Send + Sync + 'static) -> Self {
        Self { observer: Box::new(observer), ..self }
    }

    /// How many there may be in all.
    #[must_use]
    pub fn total(&self) -> u32 {
        self.total
    }

    /// From now on at most so many from each address. No connection that is open ends.
    pub fn set_per_address(&self, most: u32) {
        self.per_address.store(most, Ordering::Relaxed);
    }

    /// A place for a connection from this address; `None` if it may not stay.
    pub fn enter(&self, peer: IpAddr) -> Option<ConnectionPlace> {
        let source = home(peer.to_canonical());
        let address = (!(self.exempt)(peer)).then_some(source);
        if !self.count(address) {
            (self.observer)(source);
            return None;
        }
        Some(ConnectionPlace { open: Arc::clone(&self.open), address })
    }

    /// Counts a connection, if there is room for it.
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

impl Drop for ConnectionPlace {
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

fn lock(open: &Mutex<Open>) -> MutexGuard<'_, Open> {
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

//! How many connections one address may hold.
//!
//! Each costs a descriptor and some memory, and none of the time limits bounds how many there are: a single client could take every one
//! that a process may have.

use std::any::Any;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use actix_web::rt::net::TcpStream;
use parlance::actix::TrustedProxies;
use parlance::core::lockout::home;

use crate::logging::{self, Refusal};
use crate::metrics::Metrics;

/// The connections that are open, by the addresses they came from (of IPv6 the networks, as [`home`] has them).
#[derive(Debug, Clone)]
pub(crate) struct Connections {
    most: Arc<AtomicU32>,
    proxies: Arc<TrustedProxies>,
    metrics: Metrics,
    open: Open,
}

type Open = Arc<Mutex<HashMap<IpAddr, u32>>>;

/// A connection that is counted until this is dropped.
#[derive(Debug)]
struct Place {
    open: Open,
    address: IpAddr,
}

impl Connections {
    /// At most so many for each address, but for proxies, whose connections are those of many clients.
    pub(crate) fn new(most: u32, proxies: Arc<TrustedProxies>, metrics: Metrics) -> Self {
        Self { most: Arc::new(AtomicU32::new(most)), proxies, metrics, open: Arc::default() }
    }

    /// From now on at most so many for each address, here and in every clone of this. No connection that is open ends.
    pub(crate) fn set_most(&self, most: u32) {
        self.most.store(most, Ordering::Relaxed);
    }

    /// A place for a connection, which is counted until that is dropped; `None` if it may not stay.
    pub(crate) fn admit(&self, stream: &TcpStream) -> Option<Box<dyn Any>> {
        // One that is gone already will find that out by itself.
        let peer = stream.peer_addr().ok().filter(|peer| !self.proxies.trusts(peer.ip()));
        let Some(peer) = peer else { return Some(Box::new(())) };
        let address = home(peer.ip().to_canonical());
        let place = self.enter(address);
        if place.is_none() {
            self.metrics.connection_refused();
            logging::refused(Refusal::Connection, Some(address));
        }
        place.map(|place| Box::new(place) as Box<dyn Any>)
    }

    fn enter(&self, address: IpAddr) -> Option<Place> {
        let mut open = lock(&self.open);
        let held = open.entry(address).or_default();
        if *held >= self.most.load(Ordering::Relaxed) {
            return None;
        }
        *held += 1;
        drop(open);
        Some(Place { open: Arc::clone(&self.open), address })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = lock(&self.open);
        if let Some(held) = open.get_mut(&self.address) {
            *held -= 1;
            if *held == 0 {
                open.remove(&self.address);
            }
        }
    }
}

fn lock(open: &Open) -> MutexGuard<'_, HashMap<IpAddr, u32>> {
    open.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of connections from these addresses, one after the other, these many are let in.
    #[track_caller]
    fn check(from: &[&str], let_in: usize) {
        let connections = Connections::new(2, Arc::default(), Metrics::new());
        let enter = |address: &&str| connections.enter(home(address.parse().unwrap()));
        let places: Vec<_> = from.iter().filter_map(enter).collect();
        assert_eq!(places.len(), let_in, "{from:?}");
        drop(places);
        assert!(lock(&connections.open).is_empty(), "{from:?}");
    }

    #[test]
    fn each_address_has_its_own_places_and_an_ipv6_network_counts_as_one() {
        check(&["192.0.2.1"; 3], 2);
        check(&["192.0.2.1", "192.0.2.2", "192.0.2.1", "192.0.2.2"], 4);
        check(&["2001:db8::1", "2001:db8::2", "2001:db8::3", "2001:db8:0:1::1"], 3);
    }
}

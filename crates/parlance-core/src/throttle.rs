//! How failed logins from one address, or one network, are slowed down: in memory, a node by itself.

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::Timestamp;

/// How many sources each of the two generations remembers: some 10 MiB in all.
const SOURCES: usize = 1 << 16;

/// How many failed logins are borne.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ThrottlePolicy {
    /// From one address (of IPv6: from a /64, in which a machine changes its address as it likes) in [`Self::window`]. 100.
    pub per_address: u32,
    /// From one network (/24, of IPv6: /48) in [`Self::window`]. 400.
    pub per_network: u32,
    /// How long it takes until as many again are borne; each failure is forgiven by itself, evenly. 15 minutes.
    pub window: Duration,
}

impl Default for ThrottlePolicy {
    fn default() -> Self {
        Self { per_address: 100, per_network: 400, window: Duration::from_secs(15 * 60) }
    }
}

type Exempt = Box<dyn Fn(IpAddr) -> bool + Send + Sync>;

/// Slows down addresses whose logins fail. Addresses of the machine itself are let alone: behind a proxy that nobody trusts they stand for
/// every client there is.
pub struct Throttle {
    policy: ThrottlePolicy,
    exempt: Exempt,
    debts: Mutex<Debts>,
}

/// An address or a network.
type Source = (IpAddr, u8);

/// When each source has been forgiven everything. A generation that is full becomes the old one, and what was old is forgotten: what fails
/// again in time stays, and strangers cannot make it grow.
#[derive(Default)]
struct Debts {
    young: HashMap<Source, Timestamp>,
    old: HashMap<Source, Timestamp>,
}

impl Debts {
    fn of(&self, source: &Source) -> Option<Timestamp> {
        self.young.get(source).or_else(|| self.old.get(source)).copied()
    }

    fn set(&mut self, source: Source, until: Timestamp) {
        if self.young.len() >= SOURCES && !self.young.contains_key(&source) {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(source, until);
    }
}

impl Throttle {
    /// Under a policy.
    #[must_use]
    pub fn new(policy: ThrottlePolicy) -> Self {
        Self { policy, exempt: Box::new(|_| false), debts: Mutex::default() }
    }

    /// That lets more addresses alone: those of proxies, which stand for all their clients when they do not say whom they ask for.
    #[must_use]
    pub fn with_exempt(self, exempt: impl Fn(IpAddr) -> bool + Send + Sync + 'static) -> Self {
        Self { exempt: Box::new(exempt), ..self }
    }

    /// The sources that an address is, and how many failures each bears.
    fn sources(&self, peer: Option<IpAddr>) -> impl Iterator<Item = (Source, u32)> + use<> {
        let peer = peer.filter(|peer| !peer.is_loopback() && !(self.exempt)(*peer));
        let (address, network) = peer.map(sources).unzip();
        let ThrottlePolicy { per_address, per_network, .. } = self.policy;
        address.map(|it| (it, per_address)).into_iter().chain(network.map(|it| (it, per_network)))
    }

    /// Whether a login from there is refused now.
    pub(crate) fn refuses(&self, peer: Option<IpAddr>, now: Timestamp) -> bool {
        let debts = self.debts.lock().unwrap_or_else(PoisonError::into_inner);
        self.sources(peer).any(|(source, limit)| {
            // One more than can be forgiven in the window.
            let room = self.policy.window.saturating_sub(self.each(limit));
            debts.of(&source).is_some_and(|until| until > now.plus(room))
        })
    }

    /// Counts a failure.
    pub(crate) fn failed(&self, peer: Option<IpAddr>, now: Timestamp) {
        let mut debts = self.debts.lock().unwrap_or_else(PoisonError::into_inner);
        for (source, limit) in self.sources(peer) {
            let until = debts.of(&source).map_or(now, |until| until.max(now));
            debts.set(source, until.plus(self.each(limit)));
        }
    }

    /// How many sources are remembered.
    #[cfg(test)]
    pub(crate) fn sources_remembered(&self) -> usize {
        let debts = self.debts.lock().unwrap_or_else(PoisonError::into_inner);
        debts.young.len() + debts.old.len()
    }

    /// How long one failure takes to be forgiven.
    fn each(&self, limit: u32) -> Duration {
        self.policy.window / limit.max(1)
    }
}

fn sources(peer: IpAddr) -> (Source, Source) {
    match peer {
        IpAddr::V4(v4) => {
            let network = Ipv4Addr::from_bits(v4.to_bits() & (u32::MAX << 8));
            ((peer, 32), (network.into(), 24))
        }
        IpAddr::V6(v6) => {
            let cut = |bits: u32| Ipv6Addr::from_bits(v6.to_bits() & (u128::MAX << (128 - bits)));
            ((cut(64).into(), 64), (cut(48).into(), 48))
        }
    }
}

impl fmt::Debug for Throttle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Throttle").field("policy", &self.policy).finish_non_exhaustive()
    }
}

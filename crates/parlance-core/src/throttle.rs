//! How failed logins from one address, or one network, are slowed down: in memory, a node by itself.

use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use crate::lockout::home;
use crate::{Digest, Timestamp};

/// How many entries each of the two generations of a count remembers: at most some 10 MiB for each count of sources, and 20 MiB for that of
/// sources by account.
const ENTRIES_PER_GENERATION: usize = 1 << 16;
/// How many logins on accounts that wait weigh as much as one failure. They have a budget of their own, so that a device with an old password
/// does not hold up its office, and a flood of them ends before a hash is spent on each.
pub(crate) const WAITING_TRIES_PER_FAILURE: u32 = 10;
/// The window of what one network takes of one account.
const ACCOUNT_WINDOW: Duration = Duration::from_secs(24 * 60 * 60);

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
    policy: RwLock<ThrottlePolicy>,
    exempt: Exempt,
    /// Passwords that were found wrong.
    failures: Mutex<Debts<Source>>,
    /// Logins on accounts that had to wait.
    waiting: Mutex<Debts<Source>>,
    /// Passwords that were found wrong on one account, from one network.
    accounts: Mutex<Debts<(Source, Digest)>>,
}

/// An address or a network.
type Source = (IpAddr, u8);

/// So many in a window (GCRA); each is forgiven by itself, evenly.
#[derive(Clone, Copy)]
struct Budget {
    limit: u32,
    window: Duration,
}

impl Budget {
    /// How long one takes to be forgiven.
    fn each(self) -> Duration {
        self.window / self.limit.max(1)
    }
}

/// When everything is forgiven to each key. A generation that is full becomes the old one, and what was old is forgotten: what fails
/// again in time stays, and strangers cannot make it grow.
struct Debts<K> {
    young: HashMap<K, Timestamp>,
    old: HashMap<K, Timestamp>,
}

impl<K> Default for Debts<K> {
    fn default() -> Self {
        Self { young: HashMap::new(), old: HashMap::new() }
    }
}

impl<K: Eq + Hash> Debts<K> {
    fn of(&self, key: &K) -> Option<Timestamp> {
        self.young.get(key).or_else(|| self.old.get(key)).copied()
    }

    /// Whether there is room for no more.
    fn is_spent(&self, key: &K, budget: Budget, now: Timestamp) -> bool {
        // One more than can be forgiven in the window.
        let room = budget.window.saturating_sub(budget.each());
        self.of(key).is_some_and(|until| until > now.plus(room))
    }

    fn add(&mut self, key: K, budget: Budget, now: Timestamp) {
        let until = self.of(&key).map_or(now, |until| until.max(now));
        if self.young.len() >= ENTRIES_PER_GENERATION && !self.young.contains_key(&key) {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key, until.plus(budget.each()));
    }

    fn forgive(&mut self, key: &K) {
        self.young.remove(key);
        self.old.remove(key);
    }
}

impl Throttle {
    /// Under a policy.
    #[must_use]
    pub fn new(policy: ThrottlePolicy) -> Self {
        Self {
            policy: RwLock::new(policy),
            exempt: Box::new(|_| false),
            failures: Mutex::default(),
            waiting: Mutex::default(),
            accounts: Mutex::default(),
        }
    }

    /// That lets more addresses alone: those of proxies, which stand for all their clients when they do not say whom they ask for.
    #[must_use]
    pub fn with_exempt(self, exempt: impl Fn(IpAddr) -> bool + Send + Sync + 'static) -> Self {
        Self { exempt: Box::new(exempt), ..self }
    }

    /// From now on under this policy. What was counted still counts.
    pub(crate) fn set_policy(&self, policy: ThrottlePolicy) {
        *self.policy.write().unwrap_or_else(PoisonError::into_inner) = policy;
    }

    fn policy(&self) -> ThrottlePolicy {
        *self.policy.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// An address that stands for one client, as [`home`] has it; `None` for one that is let alone.
    pub(crate) fn client(&self, peer: Option<IpAddr>) -> Option<IpAddr> {
        peer.filter(|peer| !peer.is_loopback() && !(self.exempt)(*peer)).map(home)
    }

    /// The sources that an address is, and how many failures each bears.
    fn sources(&self, peer: Option<IpAddr>) -> impl Iterator<Item = (Source, Budget)> + use<> {
        let (address, network) = self.client(peer).map(sources).unzip();
        let ThrottlePolicy { per_address, per_network, window } = self.policy();
        let bears = |limit| move |source| (source, Budget { limit, window });
        address.map(bears(per_address)).into_iter().chain(network.map(bears(per_network)))
    }

    /// Whether a login from there is refused now.
    pub(crate) fn refuses(&self, peer: Option<IpAddr>, now: Timestamp) -> bool {
        let (failures, waiting) = (lock(&self.failures), lock(&self.waiting));
        self.sources(peer).any(|(source, budget)| {
            failures.is_spent(&source, budget, now)
                || waiting.is_spent(&source, of_waiting(budget), now)
        })
    }

    /// Counts a password that was found wrong.
    pub(crate) fn failed(&self, peer: Option<IpAddr>, now: Timestamp) {
        let mut failures = lock(&self.failures);
        self.sources(peer).for_each(|(source, budget)| failures.add(source, budget, now));
    }

    /// Counts a login on an account that has to wait.
    pub(crate) fn waited(&self, peer: Option<IpAddr>, now: Timestamp) {
        let mut waiting = lock(&self.waiting);
        self.sources(peer)
            .for_each(|(source, budget)| waiting.add(source, of_waiting(budget), now));
    }

    /// Counts a password that was found wrong on an account of which one network may take so many.
    pub(crate) fn failed_on(
        &self,
        account: Digest,
        share: u32,
        peer: Option<IpAddr>,
        now: Timestamp,
    ) {
        if let Some(network) = self.network(peer) {
            let budget = Budget { limit: share, window: ACCOUNT_WINDOW };
            lock(&self.accounts).add((network, account), budget, now);
        }
    }

    /// Whether the network has taken its share of an account.
    pub(crate) fn has_taken_its_share(
        &self,
        account: Digest,
        share: u32,
        peer: Option<IpAddr>,
        now: Timestamp,
    ) -> bool {
        let budget = Budget { limit: share, window: ACCOUNT_WINDOW };
        self.network(peer)
            .is_some_and(|network| lock(&self.accounts).is_spent(&(network, account), budget, now))
    }

    /// Forgives a network what it took of an account whose password it knows.
    pub(crate) fn succeeded_on(&self, account: Digest, peer: Option<IpAddr>) {
        if let Some(network) = self.network(peer) {
            lock(&self.accounts).forgive(&(network, account));
        }
    }

    fn network(&self, peer: Option<IpAddr>) -> Option<Source> {
        self.client(peer).map(|client| sources(client).1)
    }

    /// How many sources are remembered, and how many by account.
    #[cfg(test)]
    pub(crate) fn remembered(&self) -> [usize; 3] {
        let (failures, waiting) = (lock(&self.failures), lock(&self.waiting));
        let accounts = lock(&self.accounts);
        [
            failures.young.len() + failures.old.len(),
            waiting.young.len() + waiting.old.len(),
            accounts.young.len() + accounts.old.len(),
        ]
    }
}

fn lock<K>(debts: &Mutex<Debts<K>>) -> MutexGuard<'_, Debts<K>> {
    debts.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The larger budget of logins on accounts that wait.
fn of_waiting(budget: Budget) -> Budget {
    Budget { limit: budget.limit.saturating_mul(WAITING_TRIES_PER_FAILURE), ..budget }
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
        f.debug_struct("Throttle").field("policy", &self.policy()).finish_non_exhaustive()
    }
}

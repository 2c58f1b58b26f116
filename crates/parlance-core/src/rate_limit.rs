//! Rate limit (GCRA) of failed logins from one address, or one network: in memory, for each node by itself.

use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use crate::lockout::client_prefix;
use crate::{Digest, Timestamp};

/// How many entries each of the two generations of a rate-limit state remembers: at most some 10 MiB for each state of
/// sources, and 20 MiB for that of sources by account.
const ENTRIES_PER_GENERATION: usize = 1 << 16;
/// How many logins on locked accounts weigh as much as one failure. They have a budget of their own, so that a device
/// with an old password does not hold up its office (one try every ten seconds takes a tenth of the budget), and a
/// flood of them ends before each costs a hash.
pub(crate) const LOCKED_LOGINS_PER_FAILURE: u32 = 10;
/// The window for the failures of one network on one account.
const ACCOUNT_WINDOW: Duration = Duration::from_secs(24 * 60 * 60);

/// The limits of failed logins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimitPolicy {
    /// From one address (IPv6: from a /64, in which a machine changes its address at will) in [`Self::window`]. 100.
    pub per_address: u32,
    /// From one network (/24, of IPv6: /48) in [`Self::window`]. 400.
    pub per_network: u32,
    /// The time to replenish the whole limit; each failure is replenished by itself, evenly. 15 minutes.
    pub window: Duration,
}

impl Default for RateLimitPolicy {
    fn default() -> Self {
        Self { per_address: 100, per_network: 400, window: Duration::from_secs(15 * 60) }
    }
}

type Exempt = Box<dyn Fn(IpAddr) -> bool + Send + Sync>;

/// The rate limiter for addresses with failed logins. Loopback addresses are exempt: behind an untrusted proxy they
/// stand for every client there is.
pub struct RateLimiter {
    policy: RwLock<RateLimitPolicy>,
    exempt: Exempt,
    /// Passwords found wrong.
    failures: Mutex<GcraState<Source>>,
    /// Logins on locked accounts.
    locked_logins: Mutex<GcraState<Source>>,
    /// Passwords found wrong on one account, from one network.
    account_failures: Mutex<GcraState<(Source, Digest)>>,
}

/// An address or a network.
type Source = (IpAddr, u8);

/// A limit in a window (GCRA); each failure is replenished by itself, evenly.
#[derive(Clone, Copy)]
struct Budget {
    limit: u32,
    window: Duration,
}

impl Budget {
    /// The time that replenishes one failure.
    fn emission_interval(self) -> Duration {
        self.window / self.limit.max(1)
    }
}

/// GCRA state: the moment at which each key is fully replenished. A full generation becomes the old one, and the
/// entries that were old are forgotten. Keys that fail again in time stay, and strangers cannot make the state grow.
struct GcraState<K> {
    current: HashMap<K, Timestamp>,
    previous: HashMap<K, Timestamp>,
}

impl<K> Default for GcraState<K> {
    fn default() -> Self {
        Self { current: HashMap::new(), previous: HashMap::new() }
    }
}

impl<K: Eq + Hash> GcraState<K> {
    fn theoretical_arrival(&self, key: &K) -> Option<Timestamp> {
        self.current.get(key).or_else(|| self.previous.get(key)).copied()
    }

    /// Whether there is room for no more.
    fn is_exhausted(&self, key: &K, budget: Budget, now: Timestamp) -> bool {
        // With one more, the window could not replenish all.
        let room = budget.window.saturating_sub(budget.emission_interval());
        self.theoretical_arrival(key).is_some_and(|until| until > now.plus(room))
    }

    fn record(&mut self, key: K, budget: Budget, now: Timestamp) {
        let until = self.theoretical_arrival(&key).map_or(now, |until| until.max(now));
        if self.current.len() >= ENTRIES_PER_GENERATION && !self.current.contains_key(&key) {
            self.previous = std::mem::take(&mut self.current);
        }
        self.current.insert(key, until.plus(budget.emission_interval()));
    }

    fn clear(&mut self, key: &K) {
        self.current.remove(key);
        self.previous.remove(key);
    }
}

impl RateLimiter {
    /// A rate limiter under a policy.
    #[must_use]
    pub fn new(policy: RateLimitPolicy) -> Self {
        Self {
            policy: RwLock::new(policy),
            exempt: Box::new(|_| false),
            failures: Mutex::default(),
            locked_logins: Mutex::default(),
            account_failures: Mutex::default(),
        }
    }

    /// Exempts more addresses: those of proxies, which stand for all their clients if they do not name the client.
    #[must_use]
    pub fn with_exempt(self, exempt: impl Fn(IpAddr) -> bool + Send + Sync + 'static) -> Self {
        Self { exempt: Box::new(exempt), ..self }
    }

    /// Changes the policy from now on. Earlier failures still count.
    pub(crate) fn set_policy(&self, policy: RateLimitPolicy) {
        *self.policy.write().unwrap_or_else(PoisonError::into_inner) = policy;
    }

    fn policy(&self) -> RateLimitPolicy {
        *self.policy.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The address of a client, reduced by [`client_prefix`]; `None` for an exempt address.
    pub(crate) fn client_key(&self, peer: Option<IpAddr>) -> Option<IpAddr> {
        peer.filter(|peer| !peer.is_loopback() && !(self.exempt)(*peer)).map(client_prefix)
    }

    /// The sources of an address, each with its budget.
    fn sources(&self, peer: Option<IpAddr>) -> impl Iterator<Item = (Source, Budget)> + use<> {
        let (address, network) = self.client_key(peer).map(sources).unzip();
        let RateLimitPolicy { per_address, per_network, window } = self.policy();
        let bears = |limit| move |source| (source, Budget { limit, window });
        address.map(bears(per_address)).into_iter().chain(network.map(bears(per_network)))
    }

    /// Whether a login from this address is refused now.
    pub(crate) fn is_limited(&self, peer: Option<IpAddr>, now: Timestamp) -> bool {
        let (failures, waiting) = (lock(&self.failures), lock(&self.locked_logins));
        self.sources(peer).any(|(source, budget)| {
            failures.is_exhausted(&source, budget, now)
                || waiting.is_exhausted(&source, locked_login_budget(budget), now)
        })
    }

    /// Counts a wrong password.
    pub(crate) fn record_failure(&self, peer: Option<IpAddr>, now: Timestamp) {
        let mut failures = lock(&self.failures);
        self.sources(peer).for_each(|(source, budget)| failures.record(source, budget, now));
    }

    /// Counts a login on a locked account.
    pub(crate) fn record_locked_login(&self, peer: Option<IpAddr>, now: Timestamp) {
        let mut waiting = lock(&self.locked_logins);
        self.sources(peer)
            .for_each(|(source, budget)| waiting.record(source, locked_login_budget(budget), now));
    }

    /// Counts a wrong password on an account, against the share that one network may take of the account.
    pub(crate) fn record_account_failure(
        &self,
        account: Digest,
        share: u32,
        peer: Option<IpAddr>,
        now: Timestamp,
    ) {
        if let Some(network) = self.network(peer) {
            let budget = Budget { limit: share, window: ACCOUNT_WINDOW };
            lock(&self.account_failures).record((network, account), budget, now);
        }
    }

    /// Whether the network has taken its share of an account.
    pub(crate) fn is_network_limited(
        &self,
        account: Digest,
        share: u32,
        peer: Option<IpAddr>,
        now: Timestamp,
    ) -> bool {
        let budget = Budget { limit: share, window: ACCOUNT_WINDOW };
        self.network(peer).is_some_and(|network| {
            lock(&self.account_failures).is_exhausted(&(network, account), budget, now)
        })
    }

    /// Clears the failures of a network on an account after a right password.
    pub(crate) fn clear_account_failures(&self, account: Digest, peer: Option<IpAddr>) {
        if let Some(network) = self.network(peer) {
            lock(&self.account_failures).clear(&(network, account));
        }
    }

    fn network(&self, peer: Option<IpAddr>) -> Option<Source> {
        self.client_key(peer).map(|client| sources(client).1)
    }

    /// How many sources the states remember, and how many by account.
    #[cfg(test)]
    pub(crate) fn entry_counts(&self) -> [usize; 3] {
        let (failures, waiting) = (lock(&self.failures), lock(&self.locked_logins));
        let accounts = lock(&self.account_failures);
        [
            failures.current.len() + failures.previous.len(),
            waiting.current.len() + waiting.previous.len(),
            accounts.current.len() + accounts.previous.len(),
        ]
    }
}

fn lock<K>(debts: &Mutex<GcraState<K>>) -> MutexGuard<'_, GcraState<K>> {
    debts.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The larger budget of logins on locked accounts.
fn locked_login_budget(budget: Budget) -> Budget {
    Budget { limit: budget.limit.saturating_mul(LOCKED_LOGINS_PER_FAILURE), ..budget }
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

impl fmt::Debug for RateLimiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RateLimiter").field("policy", &self.policy()).finish_non_exhaustive()
    }
}

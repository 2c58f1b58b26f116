//! The configuration read again on `SIGHUP`, and what of it changes while the server runs.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arc_swap::ArcSwap;
use parlance::actix::TrustedProxies;
use parlance::core::Authority;
use parlance::core::connections::ConnectionLimit;
use tracing::{error, info, warn};

use crate::cli::Failed;
use crate::config::{Config, ForwardAuth};
use crate::logging;

/// Reads the configuration anew, from where it was read at the start.
pub(crate) type Load = Box<dyn Fn() -> Result<Config, Failed>>;

/// What works by settings that can change while it does.
pub(crate) struct Live {
    pub(crate) authority: Arc<Authority>,
    pub(crate) proxies: TrustedProxies,
    pub(crate) forward_auth: Arc<ArcSwap<ForwardAuth>>,
    pub(crate) connections: [Arc<ConnectionLimit>; 3],
}

/// Brings a changed configuration to a server at work.
pub(crate) struct Reload {
    load: Load,
    live: Live,
    /// The values that count, by their keys.
    values: BTreeMap<String, String>,
}

impl Reload {
    /// For a server that works by this configuration.
    pub(crate) fn new(load: Load, live: Live, config: &Config) -> Self {
        Self { load, live, values: config.texts.clone() }
    }

    /// Reads the configuration and applies what can change. One that cannot be read changes nothing. The log says which it was.
    pub(crate) fn run(&mut self) {
        let config = match (self.load)() {
            Ok(config) => config,
            Err(why) => {
                error!(%why, "the configuration was not reloaded, and everything stays as it was");
                return;
            }
        };
        for name in &config.unknown_variables {
            warn!(variable = name.as_str(), "variable is not known and was ignored");
        }
        self.live.apply(&config);
        let (changed, kept) = self.take(&config.texts);
        match (changed.is_empty(), kept.is_empty()) {
            (true, true) => info!("the configuration was reloaded: nothing has changed"),
            // What has changed waits for the next start, as the warning says.
            (true, false) => info!("the configuration was reloaded"),
            (false, _) => info!(changed, "the configuration was reloaded"),
        }
        if !kept.is_empty() {
            warn!(
                keys = kept,
                "these settings change when the server starts again, and keep their old values until then"
            );
        }
    }

    /// Notes the new values of what can change. The names of what has changed, and of what would have.
    fn take(&mut self, new: &BTreeMap<String, String>) -> (String, String) {
        let keys: BTreeSet<String> = self.values.keys().chain(new.keys()).cloned().collect();
        let mut changed = BTreeSet::new();
        let mut kept = BTreeSet::new();
        for key in keys {
            if self.values.get(&key) == new.get(&key) {
                continue;
            }
            if !changes_at_work(&key) {
                kept.insert(name(&key).to_owned());
                continue;
            }
            changed.insert(name(&key).to_owned());
            match new.get(&key) {
                Some(value) => self.values.insert(key, value.clone()),
                None => self.values.remove(&key),
            };
        }
        let list = |keys: BTreeSet<String>| keys.into_iter().collect::<Vec<_>>().join(", ");
        (list(changed), list(kept))
    }
}

impl Live {
    fn apply(&self, config: &Config) {
        logging::set_level(&config.log_level);
        self.proxies.replace(&config.proxies);
        for limit in &self.connections {
            limit.set_per_address(config.max_connections_per_address);
        }
        self.authority.set_max_sessions_per_user(config.max_sessions_per_user);
        self.authority.set_lockout(config.guesses.lockout);
        if let Some(policy) = config.guesses.throttle {
            self.authority.set_throttle_policy(policy);
        }
        self.forward_auth.store(Arc::new(config.forward_auth.clone()));
    }
}

/// Whether a key counts from a reload on. `throttle.enabled` does not: what counts failures is made at the start, or not at all.
fn changes_at_work(key: &str) -> bool {
    matches!(
        key,
        "log_level"
            | "trusted_proxies"
            | "max_connections_per_address"
            | "max_sessions_per_user"
            | "throttle.failures_per_address"
            | "throttle.failures_per_network"
            | "throttle.window"
    ) || key.starts_with("lockout.")
        || key.starts_with("forward_auth.")
}

/// A key as it is named to an operator: of the routes, all of them.
fn name(key: &str) -> &str {
    if key.starts_with(crate::config::ROUTES) { crate::config::ROUTES } else { key }
}

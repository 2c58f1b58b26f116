//! Reload of the configuration on `SIGHUP`: the settings that change while the server runs.
//!
//! Operators change limits, proxies and routes in a hurry. The configuration is read as at the start (file, variables,
//! flags), and a configuration with a mistake changes nothing. Values that are read anew at each use change: the log
//! level, trusted proxies, connections of an address, sessions of a user, the lock-out, the numbers of the rate limit,
//! forward auth. Listeners, the database, dialects, keys and hashing are made at the start; their keys are compared as
//! texts and named in the log.
//!
//! The check path pays an atomic load: the trusted proxies and forward auth's configuration are each behind an
//! [`ArcSwap`] (MIT or Apache-2.0, no dependencies to speak of), where a lock would have all workers write to one place
//! at each request. Limits that only logins and new connections read are atomics or behind a lock. Clones of the
//! trusted proxies share their networks, so every holder sees a change. A request is judged by one configuration of
//! forward auth from beginning to end; between two settings of one reload a request may see the new value of one and
//! the old value of the other.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arc_swap::ArcSwap;
use parlance::actix::TrustedProxies;
use parlance::core::Authority;
use parlance::core::connections::ConnectionLimit;
use tracing::{error, info, warn};

use crate::cli::CommandError;
use crate::config::{Config, ForwardAuthConfig};
use crate::logging;

/// Reads the configuration again, from the same sources as at the start.
pub(crate) type LoadConfig = Box<dyn Fn() -> Result<Config, CommandError>>;

/// The parts of a running server that take new settings.
pub(crate) struct ReloadTargets {
    pub(crate) authority: Arc<Authority>,
    pub(crate) proxies: TrustedProxies,
    pub(crate) forward_auth: Arc<ArcSwap<ForwardAuthConfig>>,
    pub(crate) connections: [Arc<ConnectionLimit>; 3],
}

/// Applies a changed configuration to a running server.
pub(crate) struct Reloader {
    load: LoadConfig,
    targets: ReloadTargets,
    /// The values in effect, by their keys.
    values: BTreeMap<String, String>,
}

impl Reloader {
    /// For a server that runs with this configuration.
    pub(crate) fn new(load: LoadConfig, targets: ReloadTargets, config: &Config) -> Self {
        Self { load, targets, values: config.texts.clone() }
    }

    /// Reads the configuration and applies the reloadable settings. An invalid configuration changes nothing. The log
    /// says the outcome.
    pub(crate) fn run(&mut self) {
        let config = match (self.load)() {
            Ok(config) => config,
            Err(why) => {
                error!(%why, "the configuration was not reloaded: all settings keep their values");
                return;
            }
        };
        for name in &config.unknown_variables {
            warn!(variable = name.as_str(), "variable is not known and was ignored");
        }
        for warning in &config.former_names {
            warn!("{warning}");
        }
        self.targets.apply(&config);
        let (changed, kept) = self.record_values(&config.texts);
        match (changed.is_empty(), kept.is_empty()) {
            (true, true) => info!("the configuration was reloaded: nothing has changed"),
            // Other changes wait for the next start, as the warning says.
            (true, false) => info!("the configuration was reloaded"),
            (false, _) => info!(changed, "the configuration was reloaded"),
        }
        if !kept.is_empty() {
            warn!(
                keys = kept,
                "these settings take effect at the next start of the server, and keep their old values until then"
            );
        }
    }

    /// Stores the new values of reloadable settings. Returns the names of changed settings, and of changed settings
    /// that need a restart.
    fn record_values(&mut self, new: &BTreeMap<String, String>) -> (String, String) {
        let keys: BTreeSet<String> = self.values.keys().chain(new.keys()).cloned().collect();
        let mut changed = BTreeSet::new();
        let mut kept = BTreeSet::new();
        for key in keys {
            if self.values.get(&key) == new.get(&key) {
                continue;
            }
            if !is_reloadable(&key) {
                kept.insert(display_key(&key).to_owned());
                continue;
            }
            changed.insert(display_key(&key).to_owned());
            match new.get(&key) {
                Some(value) => self.values.insert(key, value.clone()),
                None => self.values.remove(&key),
            };
        }
        let list = |keys: BTreeSet<String>| keys.into_iter().collect::<Vec<_>>().join(", ");
        (list(changed), list(kept))
    }
}

impl ReloadTargets {
    fn apply(&self, config: &Config) {
        logging::set_level(&config.log_level);
        self.proxies.replace(&config.proxies);
        for limit in &self.connections {
            limit.set_per_address(config.max_connections_per_address);
        }
        self.authority.set_session_limit(config.max_sessions_per_user);
        self.authority.set_lockout(config.brute_force.lockout);
        if let Some(policy) = config.brute_force.throttle {
            self.authority.set_rate_limit_policy(policy);
        }
        self.forward_auth.store(Arc::new(config.forward_auth.clone()));
    }
}

/// Whether a key takes effect at a reload. `throttle.enabled` does not: the rate limiter is made at the start, or not
/// at all.
fn is_reloadable(key: &str) -> bool {
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

/// The name of a key for operators; one name for the keys of all routes.
fn display_key(key: &str) -> &str {
    if key.starts_with(crate::config::ROUTES) { crate::config::ROUTES } else { key }
}

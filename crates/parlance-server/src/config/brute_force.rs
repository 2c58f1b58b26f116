//! Protection against brute force: `[lockout]` (account lock-out) and `[throttle]` (rate limit).

use parlance::core::{LockoutPolicy, RateLimitPolicy};
use parlance::dialect::SettingValue;

use super::kinds::ConfigValue;
use super::layers::Layers;
use super::{ConfigError, wrong_kind};

/// Protection against brute force; `None` is switched off.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BruteForceProtection {
    /// The account lock-out, which counts wrong passwords of one account.
    pub(crate) lockout: Option<LockoutPolicy>,
    /// The rate limit on failed logins from one address.
    pub(crate) throttle: Option<RateLimitPolicy>,
}

impl BruteForceProtection {
    pub(super) fn read(layers: &Layers) -> Result<Self, ConfigError> {
        let switch = |path: &str| {
            let ConfigValue::Switch(switch) = layers.get(path)? else {
                return Err(wrong_kind(path));
            };
            Ok(switch)
        };
        let number = |path: &str| {
            let ConfigValue::Number(number) = layers.get(path)? else {
                return Err(wrong_kind(path));
            };
            Ok(number)
        };
        let (failures, window) = ("lockout.failures_per_day", "throttle.window");
        let lockout = LockoutPolicy::new(number(failures)?).ok_or_else(|| {
            let (least, most) =
                (LockoutPolicy::MIN_FAILURES_PER_DAY, LockoutPolicy::MAX_FAILURES_PER_DAY);
            layers.invalid_value(failures, &format!("between {least} and {most}"))
        })?;
        let ConfigValue::Dialect(SettingValue::Duration(window)) = layers.get(window)? else {
            return Err(wrong_kind(window));
        };
        let throttle = RateLimitPolicy {
            per_address: number("throttle.failures_per_address")?,
            per_network: number("throttle.failures_per_network")?,
            window,
        };
        Ok(Self {
            lockout: switch("lockout.enabled")?.then_some(lockout),
            throttle: switch("throttle.enabled")?.then_some(throttle),
        })
    }
}

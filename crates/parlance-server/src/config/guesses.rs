//! What bounds guesses: `[lockout]` and `[throttle]`.

use parlance::core::{LockoutPolicy, ThrottlePolicy};
use parlance::dialect::Value;

use super::kinds::Typed;
use super::layers::Layers;
use super::{ConfigError, wrong_kind};

/// What bounds guesses; what is left out is switched off.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Guesses {
    /// At one account.
    pub(crate) lockout: Option<LockoutPolicy>,
    /// From one address.
    pub(crate) throttle: Option<ThrottlePolicy>,
}

impl Guesses {
    pub(super) fn read(layers: &Layers) -> Result<Self, ConfigError> {
        let switch = |path: &str| {
            let Typed::Switch(switch) = layers.get(path)? else { return Err(wrong_kind(path)) };
            Ok(switch)
        };
        let number = |path: &str| {
            let Typed::Number(number) = layers.get(path)? else { return Err(wrong_kind(path)) };
            Ok(number)
        };
        let (failures, window) = ("lockout.failures_per_day", "throttle.window");
        let lockout = LockoutPolicy::new(number(failures)?).ok_or_else(|| {
            let (least, most) = (LockoutPolicy::LEAST, LockoutPolicy::MOST);
            layers.wrong(failures, &format!("between {least} and {most}"))
        })?;
        let Typed::Dialect(Value::Duration(window)) = layers.get(window)? else {
            return Err(wrong_kind(window));
        };
        let throttle = ThrottlePolicy {
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

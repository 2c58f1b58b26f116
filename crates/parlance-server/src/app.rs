//! The composition: a store, an authority over it, dialects before it.

use std::sync::Arc;
use std::time::Duration;

use parlance::actix::{Mount, soon};
use parlance::assertion::Assertions;
use parlance::clock::SharedClock;
use parlance::core::ports::{Clock, Observer, Store, Unobserved};
use parlance::core::{Authority, HashThreads, Throttle};
use parlance::keys::Keychain;
#[cfg(feature = "axxon-jsonrpc")]
use parlance::keys::{self, Issuer, Purpose};
use parlance::store;
use parlance::system::{SystemClock, SystemEntropy};
use parlance::table::Parts;

#[cfg(feature = "axxon-jsonrpc")]
use tracing::warn;

use crate::cli::Failed;
use crate::config::{CONFIG_VARIABLE, Config};
use crate::logging;
use crate::output::tell;

/// Opens the store and puts an authority over it.
pub(crate) fn authority(
    config: &Config,
    observer: Arc<dyn Observer>,
) -> Result<Arc<Authority>, Failed> {
    let options = store::Options {
        soon: Some(soon),
        touch_every: touch_every(config),
        file_replaced: Some(logging::file_replaced),
        ..store::Options::default()
    };
    let store: Arc<dyn Store> =
        Arc::new(store::open(&config.database, options).map_err(Failed::refused)?);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = HashThreads::start(cores, Arc::new(SystemClock));
    if threads.missing() > 0 {
        return Err(no_threads(&format!("{} of those that hash", threads.missing())));
    }
    let (policy, entropy) = (config.policy.clone(), Arc::new(SystemEntropy));
    let proxies = config.proxies.clone();
    // A proxy's own address stands for all clients of whom it does not tell.
    let throttle = |policy| Throttle::new(policy).with_exempt(move |peer| proxies.trusts(peer));
    Ok(Arc::new(
        Authority::new(store, threads, policy, entropy, observer)
            .with_lockout(config.guesses.lockout)
            .with_throttle(config.guesses.throttle.map(throttle))
            .with_max_sessions_per_user(config.max_sessions_per_user),
    ))
}

/// Makes the database of a command that may come before the first `serve`. One that has tables is left as it is.
///
/// # Errors
/// It cannot be made; or it is not there, and only the default says where it would be: a folder that a command happened to be given in is no place
/// for it.
pub(crate) fn make_database(config: &Config) -> Result<(), Failed> {
    if !config.names_database && !store::is_there(&config.database).map_err(Failed::refused)? {
        return Err(Failed::refused(format!(
            "there is no database at {} here, and no configuration says where it is: name a configuration with --config or {CONFIG_VARIABLE}, \
             or the database with --database or PARLANCE_DATABASE",
            config.database
        )));
    }
    if !store::make(&config.database).map_err(Failed::refused)?.is_empty() {
        tell("parlance: note: the database was not there yet, or empty, and is made");
    }
    Ok(())
}

/// The authority of a command that runs beside the server, and ends when it is done.
pub(crate) fn operator(config: &Config) -> Result<Arc<Authority>, Failed> {
    authority(config, Arc::new(Unobserved))
}

/// Why a program cannot work that is given too few threads.
pub(crate) fn no_threads(which: &str) -> Failed {
    Failed::refused(format!(
        "the system does not give the threads that are needed ({which}): raise its limit (`ulimit -u`; `TasksMax` in systemd; `pids` of a container)"
    ))
}

/// The clock that counts: the database's, where it has one.
pub(crate) fn clock(authority: &Authority) -> Result<Arc<dyn Clock>, Failed> {
    Ok(Arc::new(SharedClock::start(authority.store()).map_err(Failed::refused)?))
}

/// The dialects that the configuration enables, and what signs, at work.
pub(crate) struct AtWork {
    pub(crate) mounts: Vec<Mount>,
    pub(crate) parts: Parts,
    pub(crate) keychain: Keychain,
    pub(crate) assertions: Option<Assertions>,
}

/// Puts them to work.
pub(crate) async fn at_work(
    config: &Config,
    authority: &Arc<Authority>,
    clock: &Arc<dyn Clock>,
) -> Result<AtWork, Failed> {
    let mut keychain = Keychain::new(
        Arc::clone(authority.store()),
        config.key_file.clone(),
        Arc::clone(clock),
        Arc::new(SystemEntropy),
        config.key_schedule,
    );
    let parts = parts(config, authority, &mut keychain).await?;
    let mount = |dialect: &crate::config::DialectConfig| {
        let service = dialect.entry.install(&dialect.values, &parts).map_err(Failed::refused)?;
        Ok(Mount { prefix: dialect.prefix.clone(), service })
    };
    let mounts = config.enabled().map(mount).collect::<Result<_, Failed>>()?;
    let assertions = match &config.assertion_issuer {
        Some(issuer) => Some(keychain.assertions(issuer).await.map_err(Failed::refused)?),
        None => None,
    };
    Ok(AtWork { mounts, parts, keychain, assertions })
}

/// What the dialects are put together with.
#[cfg(feature = "axxon-jsonrpc")]
async fn parts(
    config: &Config,
    authority: &Arc<Authority>,
    keychain: &mut Keychain,
) -> Result<Parts, Failed> {
    let parts = Parts::new(Arc::clone(authority));
    let Some(axxon) = config.enabled().find(|dialect| dialect.entry.name == "axxon-jsonrpc") else {
        return Ok(parts);
    };
    let life = axxon.values.duration("lifetime").unwrap_or(Duration::MAX);
    let keys = keychain.axxon(life).await.map_err(Failed::refused)?;
    let configured = Some(axxon.values.text("issuer")).filter(|issuer| !issuer.is_empty());
    let (store, host) = (&**authority.store(), host_name());
    let issuer = keys::issuer(store, Purpose::AxxonJsonrpc, configured, &host).await;
    let Issuer { name, before } = issuer.map_err(Failed::refused)?;
    if let Some(before) = before {
        warn!(
            issuer = name,
            before,
            "the issuer of axxon-jsonrpc has changed: tokens that are out were signed for the one before, and are refused"
        );
    }
    Ok(parts.with_keys(keys).with_issuer(name))
}

/// The name of this host: of a container it lasts no longer than the container.
#[cfg(feature = "axxon-jsonrpc")]
fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = name.trim();
    if name.is_empty() { "parlance".to_owned() } else { name.to_owned() }
}

#[cfg(not(feature = "axxon-jsonrpc"))]
#[expect(clippy::unused_async, reason = "its twin reads signing keys from the store")]
async fn parts(_: &Config, authority: &Arc<Authority>, _: &mut Keychain) -> Result<Parts, Failed> {
    Ok(Parts::new(Arc::clone(authority)))
}

/// How often uses are written behind: once a second, and more often where a session may live for only a few.
fn touch_every(config: &Config) -> Duration {
    let spans = config.enabled().flat_map(|dialect| {
        dialect.entry.settings.iter().map(|setting| dialect.values.duration(setting.key))
    });
    let shortest = spans.flatten().min().unwrap_or(Duration::MAX);
    Duration::from_secs(1).min(shortest / 4)
}

//! The composition: a store, an authority over the store, dialects before the authority.

use std::sync::Arc;
use std::time::Duration;

use parlance::actix::{Mount, defer};
use parlance::assertion::AssertionSigner;
use parlance::clock::SharedClock;
use parlance::core::ports::{Clock, NoopObserver, Observer, Store};
use parlance::core::{Authority, HashQueue, RateLimiter};
use parlance::keys::KeyManager;
#[cfg(feature = "axxon-jsonrpc")]
use parlance::keys::{self, Issuer, Purpose};
use parlance::store;
use parlance::system::{SystemClock, SystemEntropy};
use parlance::table::Dependencies;

#[cfg(feature = "axxon-jsonrpc")]
use tracing::warn;

use crate::cli::CommandError;
use crate::config::{CONFIG_VARIABLE, Config};
use crate::logging;
use crate::output::write_stderr;

/// Opens the store and puts an authority over the store.
pub(crate) fn open_authority(
    config: &Config,
    observer: Arc<dyn Observer>,
) -> Result<Arc<Authority>, CommandError> {
    let options = store::Options {
        defer: Some(defer),
        flush_interval: touch_interval(config),
        on_file_replaced: Some(logging::file_replaced),
        ..store::Options::default()
    };
    let store: Arc<dyn Store> =
        Arc::new(store::open(&config.database, options).map_err(CommandError::refused)?);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = HashQueue::start(cores, Arc::new(SystemClock));
    if threads.missing_threads() > 0 {
        return Err(too_few_threads(&format!(
            "{} threads of the password hashing pool",
            threads.missing_threads()
        )));
    }
    let (policy, entropy) = (config.policy.clone(), Arc::new(SystemEntropy));
    let proxies = config.proxies.clone();
    // The rate limit exempts a trusted proxy's own address, which stands for all clients that the proxy does not name.
    let throttle = |policy| RateLimiter::new(policy).with_exempt(move |peer| proxies.trusts(peer));
    Ok(Arc::new(
        Authority::new(store, threads, policy, entropy, observer)
            .with_lockout(config.brute_force.lockout)
            .with_rate_limiter(config.brute_force.throttle.map(throttle))
            .with_session_limit(config.max_sessions_per_user),
    ))
}

/// Creates the database for a command that may come before the first `serve`. A database that has tables is left
/// unchanged.
///
/// # Errors
/// The database cannot be created; or there is none, and only the default names its place: the folder in which a
/// command happens to run is no place for a database.
pub(crate) fn create_database(config: &Config) -> Result<(), CommandError> {
    if !config.names_database
        && !store::database_exists(&config.database).map_err(CommandError::refused)?
    {
        return Err(CommandError::refused(format!(
            "there is no database at {} here, and no setting names another: name a configuration file with --config or {CONFIG_VARIABLE}, \
             or the database with --database or PARLANCE_DATABASE",
            config.database
        )));
    }
    if !store::migrate_if_empty(&config.database).map_err(CommandError::refused)?.is_empty() {
        write_stderr("parlance: note: the database did not exist or was empty, and was created");
    }
    Ok(())
}

/// The authority of a command that runs beside the server, and ends with the command.
pub(crate) fn command_authority(config: &Config) -> Result<Arc<Authority>, CommandError> {
    open_authority(config, Arc::new(NoopObserver))
}

/// The error of a program that gets too few threads.
pub(crate) fn too_few_threads(which: &str) -> CommandError {
    CommandError::refused(format!(
        "the system does not give the program enough threads ({which}): raise the limit on threads (`ulimit -u`; `TasksMax` in systemd; `pids` of a container)"
    ))
}

/// The clock that counts: the database's, where the database has one.
pub(crate) fn shared_clock(authority: &Authority) -> Result<Arc<dyn Clock>, CommandError> {
    Ok(Arc::new(SharedClock::start(authority.store()).map_err(CommandError::refused)?))
}

/// The installed dialects of the configuration, and the signing keys.
pub(crate) struct RunningDialects {
    pub(crate) mounts: Vec<Mount>,
    pub(crate) dependencies: Dependencies,
    pub(crate) key_manager: KeyManager,
    pub(crate) assertions: Option<AssertionSigner>,
}

/// Installs the enabled dialects and loads the signing keys.
pub(crate) async fn start_dialects(
    config: &Config,
    authority: &Arc<Authority>,
    clock: &Arc<dyn Clock>,
) -> Result<RunningDialects, CommandError> {
    let mut key_manager = KeyManager::new(
        Arc::clone(authority.store()),
        config.key_file.clone(),
        Arc::clone(clock),
        Arc::new(SystemEntropy),
        config.key_schedule,
    );
    let dependencies = build_dependencies(config, authority, &mut key_manager).await?;
    let mount = |dialect: &crate::config::DialectConfig| {
        let service =
            dialect.entry.install(&dialect.values, &dependencies).map_err(CommandError::refused)?;
        Ok(Mount { prefix: dialect.prefix.clone(), dialect: service })
    };
    let mounts = config.enabled().map(mount).collect::<Result<_, CommandError>>()?;
    let assertions = match &config.assertion_issuer {
        Some(issuer) => {
            Some(key_manager.assertion_signer(issuer).await.map_err(CommandError::refused)?)
        }
        None => None,
    };
    Ok(RunningDialects { mounts, dependencies, key_manager, assertions })
}

/// The dependencies with which the dialects are installed.
#[cfg(feature = "axxon-jsonrpc")]
async fn build_dependencies(
    config: &Config,
    authority: &Arc<Authority>,
    key_manager: &mut KeyManager,
) -> Result<Dependencies, CommandError> {
    let dependencies = Dependencies::new(Arc::clone(authority));
    let Some(axxon) = config.enabled().find(|dialect| dialect.entry.name == "axxon-jsonrpc") else {
        return Ok(dependencies);
    };
    let life = axxon.values.duration("lifetime").unwrap_or(Duration::MAX);
    let keys = key_manager.axxon_key_set(life).await.map_err(CommandError::refused)?;
    let configured = Some(axxon.values.text("issuer")).filter(|issuer| !issuer.is_empty());
    let (store, host) = (&**authority.store(), host_name());
    let issuer = keys::issuer(store, Purpose::AxxonJsonrpc, configured, &host).await;
    let Issuer { name, previous: before } = issuer.map_err(CommandError::refused)?;
    if let Some(before) = before {
        warn!(
            issuer = name,
            before,
            "the issuer of axxon-jsonrpc has changed: tokens signed for the previous issuer are refused"
        );
    }
    Ok(dependencies.with_keys(keys).with_issuer(name))
}

/// The host name. Inside a container the name lasts no longer than the container.
#[cfg(feature = "axxon-jsonrpc")]
fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = name.trim();
    if name.is_empty() { "parlance".to_owned() } else { name.to_owned() }
}

#[cfg(not(feature = "axxon-jsonrpc"))]
#[expect(clippy::unused_async, reason = "its twin reads signing keys from the store")]
async fn build_dependencies(
    _: &Config,
    authority: &Arc<Authority>,
    _: &mut KeyManager,
) -> Result<Dependencies, CommandError> {
    Ok(Dependencies::new(Arc::clone(authority)))
}

/// The interval of the write-behind: one second, and shorter where a session may live for only a few seconds.
fn touch_interval(config: &Config) -> Duration {
    let spans = config.enabled().flat_map(|dialect| {
        dialect.entry.settings.iter().map(|setting| dialect.values.duration(setting.key))
    });
    let shortest = spans.flatten().min().unwrap_or(Duration::MAX);
    Duration::from_secs(1).min(shortest / 4)
}

//! The usual parts put together, for an app without other wishes.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
#[cfg(feature = "axxon-jsonrpc")]
use std::time::Duration;

use parlance_actix::{AppContext, DialectSet, Mount, TrustedProxies};
use parlance_core::ports::{Clock, NoopObserver, Store};
use parlance_core::{Authority, HashQueue, NewUser, OperatorError, PasswordPolicy, Secret};
use tokio::runtime::Handle;

#[cfg(any(feature = "sqlite", feature = "postgres"))]
use crate::clock::SharedClock;
#[cfg(feature = "axxon-jsonrpc")]
use crate::keys::{self, KeyManager, Purpose, Schedule};
use crate::maintenance;
use crate::system::{SystemClock, SystemEntropy};
use crate::table::{Dependencies, InstallError, find};

/// An authority over a store, and the dependencies that dialects are mounted with: a clock and the system's entropy,
/// passwords hashed on as many threads as there are cores, no observer for metrics, no trusted proxy, dialects at their
/// default settings. To change one of these, put the parts together yourself: this file shows how.
#[derive(Clone)]
pub struct Builder {
    /// The session authority: its methods make users, disable them and end sessions.
    pub authority: Arc<Authority>,
    /// Read once per request. The system's clock, or after [`Self::open`] the database's: see
    /// [`crate::clock::SharedClock`].
    pub clock: Arc<dyn Clock>,
    /// The trusted proxies, which may state the client's address: `parlance::actix::TrustedProxies`. None by default.
    pub proxies: TrustedProxies,
    /// Encrypts the keys that axxon-jsonrpc signs with; made if there are none yet. `parlance.key` by default.
    pub key_file: PathBuf,
    /// Whether dead rows are being dropped already. Need not be set; public so that
    /// `Builder { key_file, ..Builder::with_authority(authority) }` works.
    #[doc(hidden)]
    pub purge_started: Arc<AtomicBool>,
}

/// Reason why there is no site. Each text states the remedy.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// A dialect is not compiled in.
    #[error(transparent)]
    Install(#[from] InstallError),
    /// The keys that axxon-jsonrpc signs with.
    #[cfg(feature = "axxon-jsonrpc")]
    #[error(transparent)]
    Keys(#[from] keys::KeyError),
    /// A prefix that no request could carry.
    #[error(
        "{prefix:?} is no prefix for {dialect}: name a path such as \"/legacy\", of letters, digits, `-`, `.`, `_`, `~` and slashes"
    )]
    InvalidPrefix {
        /// The prefix.
        prefix: String,
        /// The dialect that the prefix was for.
        dialect: &'static str,
    },
    /// No dialect was named.
    #[error("no dialect was named, so no session could pass: name a dialect that is compiled in")]
    NoDialect,
}

/// Opens the store on the database of this URL. Makes the schema, or brings an older one up to date (migration).
///
/// # Errors
/// The database does not open.
#[cfg(any(feature = "sqlite", feature = "postgres"))]
pub fn store(database: &str) -> Result<parlance_store::Database, parlance_store::OpenError> {
    parlance_store::migrate(database)?;
    let options = parlance_store::Options {
        defer: Some(parlance_actix::defer),
        ..parlance_store::Options::default()
    };
    parlance_store::open(database, options)
}

/// An authority over a store, which may be one of your own.
#[must_use]
pub fn authority(store: Arc<dyn Store>) -> Authority {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let hash_queue = HashQueue::start(cores, Arc::new(SystemClock));
    let (policy, entropy) = (PasswordPolicy::default(), Arc::new(SystemEntropy));
    Authority::new(store, hash_queue, policy, entropy, Arc::new(NoopObserver))
}

impl Builder {
    /// On the database of this URL (`sqlite:PATH` or `postgres://USER:PASSWORD@HOST/NAME`). Makes the schema, or brings
    /// an older one up to date (migration).
    ///
    /// # Errors
    /// The database does not open.
    #[cfg(any(feature = "sqlite", feature = "postgres"))]
    pub fn open(database: &str) -> Result<Self, parlance_store::OpenError> {
        let store: Arc<dyn Store> = Arc::new(store(database)?);
        let clock = SharedClock::start(&store)
            .map_err(|error| parlance_store::OpenError::Unreachable(error.to_string()))?;
        Ok(Self { clock: Arc::new(clock), ..Self::with_authority(authority(store)) })
    }

    /// With an authority of your own.
    #[must_use]
    pub fn with_authority(authority: Authority) -> Self {
        Self {
            authority: Arc::new(authority),
            clock: Arc::new(SystemClock),
            proxies: TrustedProxies::default(),
            key_file: PathBuf::from("parlance.key"),
            purge_started: Arc::default(),
        }
    }

    /// Makes a user, unless there is one of that name already.
    ///
    /// # Errors
    /// The name or the password is not valid, or the store does not answer.
    pub async fn ensure_user(&self, name: &str, password: &str) -> Result<(), OperatorError> {
        let new = NewUser {
            name: name.to_owned(),
            password: Secret::new(password.to_owned()),
            roles: Vec::new(),
            unrestricted: false,
        };
        match self.authority.add_user(new, self.clock.now()).await {
            Ok(_) | Err(OperatorError::NameTaken) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Puts dialects to work at their default settings, each under a prefix: `""`, or such as `"/legacy"`. Also spawns
    /// the tasks of [`crate::maintenance`] on the current runtime, until the authority is gone. Call this in the
    /// runtime that serves: outside of a runtime no task is spawned, and dead rows are dropped only from the first call
    /// inside one on.
    ///
    /// axxon-jsonrpc signs as the issuer that the store keeps, so that its tokens count for every app and `serve` on
    /// one store. If no issuer is kept yet, the store keeps `parlance` from then on.
    ///
    /// # Errors
    /// A dialect is not compiled in, none is named, a prefix is no path, or axxon-jsonrpc has no keys to sign with.
    pub async fn build(
        &self,
        dialects: impl IntoIterator<Item = (&str, &str)>,
    ) -> Result<DialectSet, BuildError> {
        let mut dependencies = Dependencies::new(Arc::clone(&self.authority));
        let mut mounts = Vec::new();
        for (name, prefix) in dialects {
            let entry = find(name)?;
            if !Mount::is_prefix(prefix) {
                return Err(BuildError::InvalidPrefix {
                    prefix: prefix.to_owned(),
                    dialect: entry.name,
                });
            }
            dependencies = self.add_signing_keys(name, dependencies).await?;
            let dialect = entry.install(&entry.defaults(), &dependencies)?;
            mounts.push(Mount { prefix: prefix.to_owned(), dialect });
        }
        self.start_purging();
        let proxies = Arc::new(self.proxies.clone());
        let context = AppContext { clock: Arc::clone(&self.clock), proxies };
        DialectSet::new(context, mounts).ok_or(BuildError::NoDialect)
    }

    /// Has dead rows dropped from now on, once for any number of dialect sets. Outside of a runtime no task can drop
    /// them: the first dialect set inside a runtime starts the purge.
    fn start_purging(&self) {
        let Ok(runtime) = Handle::try_current() else { return };
        if !self.purge_started.swap(true, Ordering::Relaxed) {
            let authority = Arc::downgrade(&self.authority);
            drop(runtime.spawn(maintenance::purge_dead_rows(authority, Arc::clone(&self.clock))));
        }
    }

    /// Adds keys and an issuer to the dependencies, for the one dialect that signs.
    #[cfg(feature = "axxon-jsonrpc")]
    async fn add_signing_keys(
        &self,
        name: &str,
        dependencies: Dependencies,
    ) -> Result<Dependencies, BuildError> {
        if name != "axxon-jsonrpc" {
            return Ok(dependencies);
        }
        let schedule = Schedule::default();
        let mut key_manager = KeyManager::new(
            Arc::clone(self.authority.store()),
            self.key_file.clone(),
            Arc::clone(&self.clock),
            Arc::new(SystemEntropy),
            schedule,
        );
        let token_lifetime = find(name)?.defaults().duration("lifetime").unwrap_or(Duration::MAX);
        let keys = key_manager.axxon_key_set(token_lifetime).await?;
        let store = &**self.authority.store();
        let issuer = keys::issuer(store, Purpose::AxxonJsonrpc, None, "parlance").await?;
        let authority = Arc::downgrade(&self.authority);
        spawn(maintenance::refresh_keys(authority, Arc::new(key_manager), schedule.poll_interval));
        Ok(dependencies.with_keys(keys).with_issuer(issuer.name))
    }

    #[cfg(not(feature = "axxon-jsonrpc"))]
    #[expect(clippy::unused_async, reason = "its twin reads signing keys from the store")]
    async fn add_signing_keys(
        &self,
        _: &str,
        dependencies: Dependencies,
    ) -> Result<Dependencies, BuildError> {
        Ok(dependencies)
    }
}

/// Starts a task on the runtime that serves. Outside of a runtime nothing is started.
#[cfg(feature = "axxon-jsonrpc")]
fn spawn(task: impl Future<Output = ()> + Send + 'static) {
    if let Ok(runtime) = Handle::try_current() {
        drop(runtime.spawn(task));
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("authority", &self.authority)
            .field("proxies", &self.proxies)
            .field("key_file", &self.key_file)
            .finish_non_exhaustive()
    }
}

/// The text: `main` prints an error by its `Debug`.
impl fmt::Debug for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

//! The usual parts put together: for an app that has no other wishes.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
#[cfg(feature = "axxon-jsonrpc")]
use std::time::Duration;

use parlance_actix::{Mount, Shell, Site, TrustedProxies};
use parlance_core::ports::{Clock, Store, Unobserved};
use parlance_core::{Authority, HashThreads, NewUser, OperatorError, PasswordPolicy, Secret};
use tokio::runtime::Handle;

#[cfg(any(feature = "sqlite", feature = "postgres"))]
use crate::clock::SharedClock;
#[cfg(feature = "axxon-jsonrpc")]
use crate::keys::{self, Keychain, Purpose, Schedule};
use crate::maintenance;
use crate::system::{SystemClock, SystemEntropy};
use crate::table::{InstallError, Parts, find};

/// An authority over a store, and what dialects are mounted with: a clock and the system's entropy, passwords hashed on as many threads as
/// there are cores, nobody who counts, no trusted proxy, dialects at their default settings. Whoever wants one of these otherwise puts the
/// parts together himself: this file shows how.
#[derive(Clone)]
pub struct Setup {
    /// Who decides: its methods make users, disable them and end sessions.
    pub authority: Arc<Authority>,
    /// Read once a request. The system's, unless [`Self::open`] has made it the database's: see [`crate::clock::SharedClock`].
    pub clock: Arc<dyn Clock>,
    /// Whose word counts for the client's address: `parlance::actix::TrustedProxies`. Nobody's.
    pub proxies: TrustedProxies,
    /// Encrypts the keys that axxon-jsonrpc signs with; made where there are none yet. `parlance.key`.
    pub key_file: PathBuf,
    /// Whether dead rows are being dropped already. Nobody need set it; it is open so that `Setup { key_file, ..Setup::over(authority) }` works.
    #[doc(hidden)]
    pub purging: Arc<AtomicBool>,
}

/// Why there is no site. Each text says what to do.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum SetupError {
    /// A dialect is not compiled in.
    #[error(transparent)]
    Install(#[from] InstallError),
    /// The keys that axxon-jsonrpc signs with.
    #[cfg(feature = "axxon-jsonrpc")]
    #[error(transparent)]
    Keys(#[from] keys::KeyError),
    /// No request could bring a prefix.
    #[error(
        "{prefix:?} is no prefix for {dialect}: name a path such as \"/legacy\", of letters, digits, `-`, `.`, `_`, `~` and slashes"
    )]
    Prefix {
        /// The prefix.
        prefix: String,
        /// Whose it was to be.
        dialect: &'static str,
    },
    /// No dialect was named.
    #[error("no dialect was named, so there is nobody to let pass: name one that is compiled in")]
    NoDialect,
}

/// The store on the database of this URL, whose schema is made or brought up to date.
///
/// # Errors
/// The database does not open.
#[cfg(any(feature = "sqlite", feature = "postgres"))]
pub fn store(database: &str) -> Result<parlance_store::Database, parlance_store::OpenError> {
    parlance_store::migrate(database)?;
    let options = parlance_store::Options {
        soon: Some(parlance_actix::soon),
        ..parlance_store::Options::default()
    };
    parlance_store::open(database, options)
}

/// An authority over a store, which may be one of your own.
#[must_use]
pub fn authority(store: Arc<dyn Store>) -> Authority {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = HashThreads::start(cores, Arc::new(SystemClock));
    let (policy, entropy) = (PasswordPolicy::default(), Arc::new(SystemEntropy));
    Authority::new(store, threads, policy, entropy, Arc::new(Unobserved))
}

impl Setup {
    /// On the database of this URL (`sqlite:PATH` or `postgres://USER:PASSWORD@HOST/NAME`), whose schema is made or brought up to date.
    ///
    /// # Errors
    /// The database does not open.
    #[cfg(any(feature = "sqlite", feature = "postgres"))]
    pub fn open(database: &str) -> Result<Self, parlance_store::OpenError> {
        let store: Arc<dyn Store> = Arc::new(store(database)?);
        let clock = SharedClock::start(&store)
            .map_err(|error| parlance_store::OpenError::Unreachable(error.to_string()))?;
        Ok(Self { clock: Arc::new(clock), ..Self::over(authority(store)) })
    }

    /// With an authority of your own.
    #[must_use]
    pub fn over(authority: Authority) -> Self {
        Self {
            authority: Arc::new(authority),
            clock: Arc::new(SystemClock),
            proxies: TrustedProxies::default(),
            key_file: PathBuf::from("parlance.key"),
            purging: Arc::default(),
        }
    }

    /// Makes a user, unless there is one of that name already.
    ///
    /// # Errors
    /// The name or the password cannot be one, or the store does not answer.
    pub async fn ensure_user(&self, name: &str, password: &str) -> Result<(), OperatorError> {
        let new = NewUser {
            name: name.to_owned(),
            password: Secret::new(password.to_owned()),
            roles: Vec::new(),
            unrestricted: false,
        };
        match self.authority.add_user(new, self.clock.now()).await {
            Ok(_) | Err(OperatorError::Taken) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Puts dialects to work at their default settings, each under a prefix: `""`, or such as `"/legacy"`. On the runtime that it is called in
    /// it also spawns what [`crate::maintenance`] does, until the authority is gone. Call it in the runtime that serves: outside of a runtime
    /// none of that is spawned, and dead rows are dropped from the first call inside one on.
    ///
    /// axxon-jsonrpc signs as the issuer that the store keeps, so that its tokens count for every app and `serve` on one store. Where none is
    /// kept yet, it is `parlance` from then on.
    ///
    /// # Errors
    /// A dialect is not compiled in, none is named, a prefix is no path, or axxon-jsonrpc has no keys to sign with.
    pub async fn site(
        &self,
        dialects: impl IntoIterator<Item = (&str, &str)>,
    ) -> Result<Site, SetupError> {
        let mut parts = Parts::new(Arc::clone(&self.authority));
        let mut mounts = Vec::new();
        for (name, prefix) in dialects {
            let entry = find(name)?;
            if !Mount::is_prefix(prefix) {
                return Err(SetupError::Prefix { prefix: prefix.to_owned(), dialect: entry.name });
            }
            parts = self.ready(name, parts).await?;
            let service = entry.install(&entry.defaults(), &parts)?;
            mounts.push(Mount { prefix: prefix.to_owned(), service });
        }
        self.start_purging();
        let proxies = Arc::new(self.proxies.clone());
        let shell = Shell { clock: Arc::clone(&self.clock), proxies };
        Site::new(shell, mounts).ok_or(SetupError::NoDialect)
    }

    /// Has dead rows dropped from now on, once however many sites there are. Outside of a runtime nothing would drop them, so that it is left
    /// to the first site inside one.
    fn start_purging(&self) {
        let Ok(runtime) = Handle::try_current() else { return };
        if !self.purging.swap(true, Ordering::Relaxed) {
            let authority = Arc::downgrade(&self.authority);
            drop(runtime.spawn(maintenance::purge_dead_rows(authority, Arc::clone(&self.clock))));
        }
    }

    /// The parts, with keys and an issuer for the one dialect that signs.
    #[cfg(feature = "axxon-jsonrpc")]
    async fn ready(&self, name: &str, parts: Parts) -> Result<Parts, SetupError> {
        if name != "axxon-jsonrpc" {
            return Ok(parts);
        }
        let schedule = Schedule::default();
        let mut keychain = Keychain::new(
            Arc::clone(self.authority.store()),
            self.key_file.clone(),
            Arc::clone(&self.clock),
            Arc::new(SystemEntropy),
            schedule,
        );
        let life = find(name)?.defaults().duration("lifetime").unwrap_or(Duration::MAX);
        let keys = keychain.axxon(life).await?;
        let store = &**self.authority.store();
        let issuer = keys::issuer(store, Purpose::AxxonJsonrpc, None, "parlance").await?;
        let authority = Arc::downgrade(&self.authority);
        spawn(maintenance::refresh_keys(authority, Arc::new(keychain), schedule.poll));
        Ok(parts.with_keys(keys).with_issuer(issuer.name))
    }

    #[cfg(not(feature = "axxon-jsonrpc"))]
    #[expect(clippy::unused_async, reason = "its twin reads signing keys from the store")]
    async fn ready(&self, _: &str, parts: Parts) -> Result<Parts, SetupError> {
        Ok(parts)
    }
}

/// Starts a task beside those that serve. Outside of a runtime there are none, and nothing is started.
#[cfg(feature = "axxon-jsonrpc")]
fn spawn(task: impl Future<Output = ()> + Send + 'static) {
    if let Ok(runtime) = Handle::try_current() {
        drop(runtime.spawn(task));
    }
}

impl fmt::Debug for Setup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Setup")
            .field("authority", &self.authority)
            .field("proxies", &self.proxies)
            .field("key_file", &self.key_file)
            .finish_non_exhaustive()
    }
}

/// The text: `main` prints an error by its `Debug`.
impl fmt::Debug for SetupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

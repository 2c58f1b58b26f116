//! Test support for an app of your own: everything in memory, under a clock that moves on command alone.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use parlance_actix::{AppContext, DialectSet, Mount, TrustedProxies};
use parlance_core::ports::Clock as _;
use parlance_core::{Authority, OperatorError, PasswordCredentials, Secret, Timestamp};
use parlance_dialect::DialectHandler;
pub use parlance_dialect::RequestCredential;
use parlance_dialect::testing::{TestClock, TestWorld};

use crate::table::{Dependencies, TABLE};

/// The password of every user that a [`TestAuthority`] logs in.
pub const PASSWORD: &str = "correct horse battery";

/// An authority in memory, and every dialect that is compiled in, at its default settings.
///
/// The clock shows 2022-05-01T12:00:00Z until moved, randomness comes from a seed, and hashing costs next to nothing: a
/// test is fast, and the same every time. Nothing here is fit for production.
#[derive(Debug)]
pub struct TestAuthority {
    world: TestWorld,
    start: Timestamp,
    dialects: Vec<Arc<dyn DialectHandler>>,
}

impl Default for TestAuthority {
    fn default() -> Self {
        Self::new()
    }
}

impl TestAuthority {
    /// Without users or sessions.
    ///
    /// # Panics
    /// A dialect cannot be put to work: a defect.
    #[must_use]
    pub fn new() -> Self {
        let world = TestWorld::default();
        let dependencies = Dependencies::new(Arc::clone(&world.authority));
        #[cfg(feature = "axxon-jsonrpc")]
        let dependencies = dependencies.with_keys(parlance_axxon_jsonrpc::testing::keys());
        let install =
            |entry: &crate::table::DialectEntry| entry.install(&entry.defaults(), &dependencies);
        let dialects: Result<_, _> = TABLE.iter().map(install).collect();
        #[expect(clippy::expect_used, reason = "for tests, which are to stop here")]
        let dialects = dialects.expect("every dialect that is compiled in can be put to work");
        Self { start: world.clock.now(), world, dialects }
    }

    /// Logs a user in without HTTP, and returns the credential that a client would then put on a guarded request. Adds
    /// the user, with the password [`PASSWORD`], unless there is one of that name.
    ///
    /// A session of cluster-api counts from the address of its login only. This login has no address, as actix's
    /// `TestRequest` has none. See [`Self::login_from`].
    ///
    /// # Panics
    /// There is no such dialect, the name is not valid, or the user may not log in.
    #[must_use]
    #[track_caller]
    pub fn login(&self, user: &str, dialect: &str) -> RequestCredential {
        self.login_from(user, dialect, None)
    }

    /// As [`Self::login`], from this address: `127.0.0.1` for requests over a socket.
    ///
    /// # Panics
    /// As [`Self::login`].
    #[must_use]
    #[track_caller]
    pub fn login_from(&self, user: &str, dialect: &str, peer: Option<IpAddr>) -> RequestCredential {
        let made = self.world.block_on(self.authority().add_user(
            parlance_core::NewUser {
                name: user.to_owned(),
                password: Secret::new(PASSWORD.to_owned()),
                roles: Vec::new(),
                unrestricted: false,
            },
            self.now(),
        ));
        assert!(matches!(made, Ok(_) | Err(OperatorError::NameTaken)), "{user:?}: {made:?}");
        let handler = self.dialects.iter().find(|service| service.name() == dialect);
        let login = PasswordCredentials {
            user: user.to_owned(),
            password: Secret::new(PASSWORD.to_owned()),
        };
        let opened =
            handler.map(|service| self.world.block_on(service.log_in(login, peer, self.now())));
        match opened {
            Some(Ok(shown)) => shown,
            #[expect(clippy::panic, reason = "for tests, which are to stop here")]
            Some(Err(why)) => panic!("{user:?} may not log in: {why}"),
            #[expect(clippy::panic, reason = "for tests, which are to stop here")]
            None => panic!("no dialect {dialect:?} is compiled in"),
        }
    }

    /// Every dialect on its own paths, and the guard that takes the credential of any.
    ///
    /// # Panics
    /// No dialect is compiled in.
    #[must_use]
    pub fn dialect_set(&self) -> DialectSet {
        let mount = |dialect| Mount { prefix: String::new(), dialect };
        let clock = Arc::<TestClock>::clone(&self.world.clock);
        let context = AppContext { clock, proxies: Arc::new(TrustedProxies::default()) };
        let dialect_set = DialectSet::new(context, self.dialects.iter().cloned().map(mount));
        #[expect(clippy::expect_used, reason = "for tests, which are to stop here")]
        dialect_set.expect("a dialect is compiled in")
    }

    /// The session authority: its methods make users, disable them and end sessions.
    #[must_use]
    pub fn authority(&self) -> &Arc<Authority> {
        &self.world.authority
    }

    /// The time of the clock.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.world.clock.now()
    }

    /// Moves the clock forward: past an expiry, say.
    pub fn advance(&self, span: Duration) {
        self.world.clock.advance(span);
    }

    /// Makes the store unavailable, or available again. While the store is unavailable, every dialect answers 503.
    pub fn set_store_unavailable(&self, unavailable: bool) {
        self.world.store.set_unavailable(unavailable);
    }

    /// Forgets all users and sessions, and sets the clock back. Apps that are running on this authority become as new
    /// as the authority.
    pub fn reset(&self) {
        self.world.store.reset();
        self.world.clock.set(self.start);
    }
}

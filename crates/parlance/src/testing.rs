//! For the tests of an app of your own: everything in memory, under a clock that stands until it is moved.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use parlance_actix::{Mount, Shell, Site, TrustedProxies};
use parlance_core::ports::Clock as _;
use parlance_core::{Authority, Login, OperatorError, Secret, Timestamp};
use parlance_dialect::Service;
pub use parlance_dialect::Shown;
use parlance_dialect::testing::{TestClock, World};

use crate::table::{Parts, TABLE};

/// The password of everybody whom a [`TestAuthority`] logs in.
pub const PASSWORD: &str = "correct horse battery";

/// An authority in memory, and every dialect that is compiled in, at its default settings.
///
/// The clock shows 2022-05-01T12:00:00Z until it is moved, randomness comes from a seed, and hashing costs next to nothing: a test is fast,
/// and the same every time. Nothing here is fit for production.
#[derive(Debug)]
pub struct TestAuthority {
    world: World,
    start: Timestamp,
    services: Vec<Arc<dyn Service>>,
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
        let world = World::default();
        let parts = Parts::new(Arc::clone(&world.authority));
        #[cfg(feature = "axxon-jsonrpc")]
        let parts = parts.with_keys(parlance_axxon_jsonrpc::testing::keys());
        let install = |entry: &crate::table::Entry| entry.install(&entry.defaults(), &parts);
        let services: Result<_, _> = TABLE.iter().map(install).collect();
        #[expect(clippy::expect_used, reason = "for tests, which are to stop here")]
        let services = services.expect("every dialect that is compiled in can be put to work");
        Self { start: world.clock.now(), world, services }
    }

    /// Logs a user in without HTTP, and gives what a client would then put on a guarded request. There is such a user from then on, with the
    /// password [`PASSWORD`].
    ///
    /// A session of cluster-api counts from the address of its login only: this one from none, as actix's `TestRequest` has it. See
    /// [`Self::login_from`].
    ///
    /// # Panics
    /// There is no such dialect, nobody can have that name, or he may not log in.
    #[must_use]
    #[track_caller]
    pub fn login(&self, user: &str, dialect: &str) -> Shown {
        self.login_from(user, dialect, None)
    }

    /// As [`Self::login`], from this address: `127.0.0.1` for requests over a socket.
    ///
    /// # Panics
    /// As [`Self::login`].
    #[must_use]
    #[track_caller]
    pub fn login_from(&self, user: &str, dialect: &str, peer: Option<IpAddr>) -> Shown {
        let made = self.world.run(self.authority().add_user(
            parlance_core::NewUser {
                name: user.to_owned(),
                password: Secret::new(PASSWORD.to_owned()),
                roles: Vec::new(),
                unrestricted: false,
            },
            self.now(),
        ));
        assert!(matches!(made, Ok(_) | Err(OperatorError::Taken)), "{user:?}: {made:?}");
        let service = self.services.iter().find(|service| service.name() == dialect);
        let login = Login { user: user.to_owned(), password: Secret::new(PASSWORD.to_owned()) };
        let opened = service.map(|service| self.world.run(service.log_in(login, peer, self.now())));
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
    pub fn site(&self) -> Site {
        let mount = |service| Mount { prefix: String::new(), service };
        let clock = Arc::<TestClock>::clone(&self.world.clock);
        let shell = Shell { clock, proxies: Arc::new(TrustedProxies::default()) };
        let site = Site::new(shell, self.services.iter().cloned().map(mount));
        #[expect(clippy::expect_used, reason = "for tests, which are to stop here")]
        site.expect("a dialect is compiled in")
    }

    /// Who decides: its methods make users, disable them and end sessions.
    #[must_use]
    pub fn authority(&self) -> &Arc<Authority> {
        &self.world.authority
    }

    /// What the clock shows.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.world.clock.now()
    }

    /// Moves the clock forward: past an expiry, say.
    pub fn advance(&self, span: Duration) {
        self.world.clock.advance(span);
    }

    /// Takes the store away, or brings it back: while it is away every dialect answers 503.
    pub fn set_away(&self, away: bool) {
        self.world.store.set_away(away);
    }

    /// Forgets all users and sessions, and sets the clock back. Apps that are running on it are as new as it is.
    pub fn reset(&self) {
        self.world.store.reset();
        self.world.clock.set(self.start);
    }
}

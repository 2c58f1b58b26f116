//! A dialect at work over a store in memory, with one session that is always active.

use std::net::IpAddr;
use std::sync::Arc;

use futures_executor::block_on;
use parlance::core::ports::{Change, Clock as _, SessionQuery, Store as _};
use parlance::core::{
    CanonicalName, ConcurrentSessions, PasswordCredentials, Secret, Session, User,
};
use parlance::dialect::testing::TestWorld;
use parlance::dialect::{DialectHandler, DialectService, RequestCredential};
use parlance::table::{Dependencies, find};
use parlance_axxon_jsonrpc::AxxonJsonrpc;

/// The address of the dialect's client.
pub(crate) const PEER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 7));
/// The name of the session's user.
pub(crate) const USER: &str = "csmith";
/// The user's password, which stands in no seed.
pub(crate) const PASSWORD: &str = "not in any seed";

const AXXON: &str = "axxon-jsonrpc";

/// A dialect at work.
pub(crate) struct FuzzTarget {
    pub(crate) world: TestWorld,
    pub(crate) service: Arc<dyn DialectHandler>,
    /// The credential of the session, in the form that the client sends.
    pub(crate) shown: RequestCredential,
    user: User,
    session: Session,
}

impl FuzzTarget {
    pub(crate) fn new(dialect: &str) -> Self {
        let world = TestWorld::default();
        world.add_user(USER, PASSWORD);
        let parts = Dependencies::new(Arc::clone(&world.authority));
        let parts = parts.with_keys(parlance_axxon_jsonrpc::testing::keys());
        let entry = expect_ok(find(dialect));
        let service = expect_ok(entry.install(&entry.defaults(), &parts));
        let login = PasswordCredentials {
            user: USER.to_owned(),
            password: Secret::new(PASSWORD.to_owned()),
        };
        let shown = expect_ok(block_on(service.log_in(login, Some(PEER), world.clock.now())));
        let name = CanonicalName::from_stored(USER.to_owned());
        let user = expect_ok(block_on(world.store.user(name)));
        let sessions =
            expect_ok(block_on(world.store.sessions(SessionQuery::live(world.clock.now()))));
        let (Some(user), Some((session, _))) = (user, sessions.into_iter().next()) else {
            unreachable!("both were made just now")
        };
        Self { world, service, shown, user, session }
    }

    /// Asserts that no login succeeded: no seed holds the password. Restores the session if a request ended the
    /// session.
    #[track_caller]
    pub(crate) fn check_no_login(&self) {
        let now = self.world.clock.now();
        let living = expect_ok(block_on(self.world.store.sessions(SessionQuery::live(now)))).len();
        assert!(living <= 1, "{living} sessions, where one was opened");
        if living == 0 {
            self.restore();
        }
    }

    /// The token that a client of axxon-jsonrpc sends.
    pub(crate) fn token(&self) -> String {
        let value = self.shown.headers.iter().map(|(_, value)| value.as_str()).next();
        value.and_then(|value| value.strip_prefix("Bearer ")).unwrap_or_default().to_owned()
    }

    fn restore(&self) {
        self.world.store.reset();
        let user = Box::new(self.user.clone());
        expect_ok(block_on(self.world.store.apply(Change::AddUser(user))));
        let session = Box::new(self.session.clone());
        let open = Change::OpenSession {
            session,
            concurrent_sessions: ConcurrentSessions::Allow,
            rehash: None,
            session_limit: None,
            reservation: None,
        };
        expect_ok(block_on(self.world.store.apply(open)));
    }
}

/// axxon-jsonrpc at work, for the fuzz target of its gRPC messages, which no [`DialectHandler`] answers.
pub(crate) struct AxxonTarget {
    pub(crate) fuzz_target: FuzzTarget,
    pub(crate) dialect_service: Arc<DialectService<AxxonJsonrpc>>,
}

impl AxxonTarget {
    pub(crate) fn new() -> Self {
        let fuzz_target = FuzzTarget::new(AXXON);
        let parts = Dependencies::new(Arc::clone(&fuzz_target.world.authority));
        let parts = parts.with_keys(parlance_axxon_jsonrpc::testing::keys());
        let desk = expect_ok(parts.axxon_service(&expect_ok(find(AXXON)).defaults()));
        Self { fuzz_target, dialect_service: Arc::new(desk) }
    }
}

/// Unwraps a result that cannot fail here.
#[track_caller]
pub(crate) fn expect_ok<T, E: std::fmt::Debug>(result: Result<T, E>) -> T {
    match result {
        Ok(value) => value,
        Err(error) => unreachable!("{error:?}"),
    }
}

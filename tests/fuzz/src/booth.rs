//! A dialect at work over a store in memory, with one session that is always there.

use std::net::IpAddr;
use std::sync::Arc;

use futures_executor::block_on;
use parlance::core::ports::{Change, Clock as _, SessionQuery, Store as _};
use parlance::core::{CanonicalName, Login, Rivals, Secret, Session, User};
use parlance::dialect::testing::World;
use parlance::dialect::{Desk, Service, Shown};
use parlance::table::{Parts, find};
use parlance_axxon_jsonrpc::AxxonJsonrpc;

/// Where its client is.
pub(crate) const PEER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 7));
/// Its user.
pub(crate) const USER: &str = "csmith";
/// His password, which stands in no seed.
pub(crate) const PASSWORD: &str = "not in any seed";

const AXXON: &str = "axxon-jsonrpc";

/// A dialect at work.
pub(crate) struct Booth {
    pub(crate) world: World,
    pub(crate) service: Arc<dyn Service>,
    /// What the client of the session shows.
    pub(crate) shown: Shown,
    user: User,
    session: Session,
}

impl Booth {
    pub(crate) fn new(dialect: &str) -> Self {
        let world = World::default();
        world.add_user(USER, PASSWORD);
        let parts = Parts::new(Arc::clone(&world.authority));
        let parts = parts.with_keys(parlance_axxon_jsonrpc::testing::keys());
        let entry = known(find(dialect));
        let service = known(entry.install(&entry.defaults(), &parts));
        let login = Login { user: USER.to_owned(), password: Secret::new(PASSWORD.to_owned()) };
        let shown = known(block_on(service.log_in(login, Some(PEER), world.clock.now())));
        let name = CanonicalName::stored(USER.to_owned());
        let user = known(block_on(world.store.user(name)));
        let sessions = known(block_on(world.store.sessions(SessionQuery::live(world.clock.now()))));
        let (Some(user), Some((session, _))) = (user, sessions.into_iter().next()) else {
            unreachable!("both were made just now")
        };
        Self { world, service, shown, user, session }
    }

    /// Asserts that nobody has logged in, since nobody knows the password. If the session was ended, it is there again.
    #[track_caller]
    pub(crate) fn check(&self) {
        let now = self.world.clock.now();
        let living = known(block_on(self.world.store.sessions(SessionQuery::live(now)))).len();
        assert!(living <= 1, "{living} sessions, where one was opened");
        if living == 0 {
            self.restore();
        }
    }

    /// The token that a client of axxon-jsonrpc shows.
    pub(crate) fn token(&self) -> String {
        let value = self.shown.headers.iter().map(|(_, value)| value.as_str()).next();
        value.and_then(|value| value.strip_prefix("Bearer ")).unwrap_or_default().to_owned()
    }

    fn restore(&self) {
        self.world.store.reset();
        let user = Box::new(self.user.clone());
        known(block_on(self.world.store.apply(Change::AddUser(user))));
        let session = Box::new(self.session.clone());
        let open = Change::Open {
            session,
            rivals: Rivals::Allow,
            rehash: None,
            max_sessions: None,
            slot: None,
        };
        known(block_on(self.world.store.apply(open)));
    }
}

/// axxon-jsonrpc at work, for what is no [`Service`].
pub(crate) struct Axxon {
    pub(crate) booth: Booth,
    pub(crate) desk: Arc<Desk<AxxonJsonrpc>>,
}

impl Axxon {
    pub(crate) fn new() -> Self {
        let booth = Booth::new(AXXON);
        let parts = Parts::new(Arc::clone(&booth.world.authority));
        let parts = parts.with_keys(parlance_axxon_jsonrpc::testing::keys());
        let desk = known(parts.axxon(&known(find(AXXON)).defaults()));
        Self { booth, desk: Arc::new(desk) }
    }
}

/// What cannot fail here.
#[track_caller]
pub(crate) fn known<T, E: std::fmt::Debug>(result: Result<T, E>) -> T {
    match result {
        Ok(value) => value,
        Err(error) => unreachable!("{error:?}"),
    }
}

//! Users and sessions: made once, put into each database.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use futures_executor::block_on;
use futures_util::future::try_join_all;
use parlance::core::ports::{Applied, Change, Clock as _, Store, Unobserved};
use parlance::core::{
    Authority, Grant, HashThreads, Mint as _, NewUser, PasswordPolicy, Rivals, Secret, Session,
    SessionId, User, UserId, UserName, uuid_v4,
};
use parlance::store::{Options, migrate, open};
use parlance::system::{SystemClock, SystemEntropy};
use parlance_polish_longtoken::PolishLongtoken;

/// How many users the sessions are spread over.
const USERS: usize = 1000;
/// How many users log in.
const PEOPLE: usize = 16;
/// How many changes wait for the store at once: fewer than its queue holds, in which it puts jobs of its own as well.
const AT_ONCE: usize = 4000;
/// Longer than any run.
const LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);

/// What every database is given.
#[derive(Debug)]
pub(crate) struct Seed {
    /// The token of each session, all different, minted as the wire mints them.
    pub(crate) tokens: Vec<String>,
    users: Vec<User>,
    sessions: Vec<Session>,
}

impl Seed {
    /// Mints so many sessions.
    pub(crate) fn new(count: usize) -> Result<Self> {
        let users = (0..USERS).map(user).collect::<Result<Vec<_>>>()?;
        let (mut tokens, mut sessions) = (Vec::new(), Vec::new());
        for user in users.iter().cycle().take(count) {
            let (token, session) = session(user)?;
            tokens.push(token);
            sessions.push(session);
        }
        Ok(Self { tokens, users, sessions })
    }

    /// Puts users and sessions into a database that is empty yet.
    pub(crate) fn sow(&self, url: &str) -> Result<()> {
        migrate(url)?;
        let store: Arc<dyn Store> = Arc::new(open(url, Options::default())?);
        let users = self.users.iter().map(|user| Change::AddUser(Box::new(user.clone())));
        make(&*store, users)?;
        let sessions = self.sessions.iter().map(|session| Change::Open {
            session: Box::new(session.clone()),
            rivals: Rivals::Allow,
            rehash: None,
            max_sessions: None,
        });
        make(&*store, sessions)?;
        let threads = HashThreads::start(1, Arc::new(SystemClock));
        let policy = PasswordPolicy::default();
        let entropy = Arc::new(SystemEntropy);
        let authority = Authority::new(store, threads, policy, entropy, Arc::new(Unobserved));
        for number in 0..PEOPLE {
            let (name, password) = person(number);
            let password = Secret::new(password);
            let user = NewUser { name, password, roles: Vec::new(), unrestricted: false };
            block_on(authority.add_user(user, SystemClock.now()))?;
        }
        Ok(())
    }

    /// The forms with which these users log in.
    pub(crate) fn forms() -> Vec<String> {
        let form = |(name, password)| format!("login={name}&pass={password}");
        (0..PEOPLE).map(person).map(form).collect()
    }
}

/// Makes changes, all of which must be done.
fn make(store: &dyn Store, changes: impl Iterator<Item = Change>) -> Result<()> {
    let mut changes = changes.peekable();
    while changes.peek().is_some() {
        let batch: Vec<_> =
            changes.by_ref().take(AT_ONCE).map(|change| store.apply(change)).collect();
        for applied in block_on(try_join_all(batch))? {
            match applied {
                Applied::Done | Applied::Rows(_) | Applied::Opened(_) => {}
                Applied::Refused | Applied::Taken => bail!("the store refused what was to be sown"),
            }
        }
    }
    Ok(())
}

/// A user who has no password, only sessions.
fn user(number: usize) -> Result<User> {
    let name = UserName::new(&format!("user-{number}"))?;
    Ok(User {
        id: UserId(uuid_v4(&SystemEntropy)?),
        name: name.as_str().to_owned(),
        canonical: name.canonical(),
        password: None,
        enabled: true,
        password_expired: false,
        unrestricted: false,
        roles: Vec::new(),
        created: SystemClock.now(),
        last_login: None,
        epoch: 0,
        version: 0,
    })
}

fn person(number: usize) -> (String, String) {
    (format!("person-{number}"), format!("correct-horse-battery-{number}"))
}

/// A session as a login over the wire opens it, and its token.
fn session(user: &User) -> Result<(String, Session)> {
    let wire = PolishLongtoken::default();
    let now = SystemClock.now();
    let expires = Some(now.plus(LIFETIME));
    let minted = wire.mint(&Grant { user, now, expires }, &SystemEntropy).context("no token")?;
    let session = Session {
        id: SessionId(uuid_v4(&SystemEntropy)?),
        dialect: wire.dialect().to_owned(),
        user: user.id,
        epoch: user.epoch,
        digest: minted.digest,
        sid: minted.sid,
        created: now,
        last_used: None,
        expires,
        hard_end: None,
        address: Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        note: None,
        enabled: true,
        version: 0,
        revoked: None,
    };
    Ok((minted.secret.expose().to_owned(), session))
}

//! The store itself: three lanes and a ticker behind the core's port.

use std::fmt;
use std::sync::Arc;
use std::thread::JoinHandle;
#[cfg(feature = "sqlite")]
use std::time::Duration;

use parlance_core::lockout::Rung;
use parlance_core::ports::{
    Applied, Change, Pending, SealedKey, SessionQuery, Store, Touch, UserPage, UserQuery,
};
use parlance_core::{CanonicalName, Client, Digest, Session, Timestamp, User};
use uuid::Uuid;

use crate::checks::{Check, Checks};
use crate::connection::{Held, OpenFile, Setup, pool};
#[cfg(feature = "postgres")]
use crate::connection::{connect_first, set_up};
#[cfg(feature = "sqlite")]
use crate::file::{DatabaseFile, examine};
use crate::gather::Gather;
use crate::lane::{Ticker, start};
use crate::migrations;
use crate::options::{OpenError, Options};
use crate::queue::{Queue, ask};
#[cfg(feature = "sqlite")]
use crate::readers::Readers;
use crate::reports::{Report, Reports};
use crate::touches::Touches;
use crate::url::Target;
use crate::writer::{Write, Writer};

/// An open store. Dropping it does what is queued, writes the touches that are still in memory, and waits for that.
pub struct Database {
    name: String,
    gather: Arc<Gather>,
    checks: Arc<Queue<Check>>,
    writes: Arc<Queue<Write>>,
    reports: Arc<Queue<Report>>,
    touches: Arc<Touches>,
    ticker: Arc<Ticker>,
    threads: Vec<JoinHandle<()>>,
}

/// Opens a migrated database: `sqlite:PATH`, `postgres://USER:PASSWORD@HOST/NAME`, or the same with `postgresql://`. Makes nothing.
///
/// # Errors
/// The URL names no database that this program can open, the database does not answer or is unfit, or its tables are not those of this
/// program. Once it is open, a database that goes away comes back by itself.
pub fn open(url: &str, options: Options) -> Result<Database, OpenError> {
    open_with(url, options, Setup::default())
}

pub(crate) fn open_with(
    url: &str,
    options: Options,
    mut setup: Setup,
) -> Result<Database, OpenError> {
    let target = Target::parse(url)?;
    if options.demand_tls
        && let Some(exposed) = exposed(&target)
    {
        return Err(OpenError::Exposed(exposed));
    }
    // The first connection is made here and not by the pool, whose errors are only texts.
    let file = try_out(&target, &options).map_err(|error| error.of(&target))?;
    setup.file = file.clone();

    let checkers = match &target {
        // Its readers wait for nobody, and one thread of them has the processor's full attention.
        #[cfg(feature = "sqlite")]
        Target::Sqlite(_) => 1,
        // While one waits for the server the other one gathers.
        #[cfg(feature = "postgres")]
        Target::Postgres(_) => 2,
    };
    let name = format!("{target:?}");
    let (checks, touches) = (Arc::new(Queue::new(options.queue)), Arc::<Touches>::default());
    let gather = Gather::new(options.soon, Arc::clone(&checks));
    #[cfg(feature = "sqlite")]
    let gather = match &target {
        Target::Sqlite(_) if options.soon.is_some() => {
            gather.with_readers(readers(&target, &setup, &touches)?)
        }
        Target::Sqlite(_) => gather,
        #[cfg(feature = "postgres")]
        Target::Postgres(_) => gather,
    };
    let within = options.connect_within;
    let reporting = pool(target.clone(), setup.clone().reporting(), 1, within)?;
    let pool = pool(target, setup, checkers + 1, within)?;
    let mut database = Database {
        name,
        gather: Arc::new(gather),
        checks,
        writes: Arc::new(Queue::new(options.queue)),
        reports: Arc::new(Queue::new(options.queue)),
        touches,
        ticker: Arc::default(),
        threads: Vec::new(),
    };
    let held = || Held::new(pool.clone(), file.clone());
    let threads = &mut database.threads;
    let mut spawn = || {
        for _ in 0..checkers {
            threads.push(start(
                "store-checks",
                Arc::clone(&database.checks),
                held(),
                Checks::new(Arc::clone(&database.touches)),
            )?);
        }
        threads.push(start(
            "store-changes",
            Arc::clone(&database.writes),
            held(),
            Writer::new(Arc::clone(&database.touches)),
        )?);
        threads.push(start(
            "store-reports",
            Arc::clone(&database.reports),
            Held::new(reporting.clone(), file.clone()),
            Reports,
        )?);
        threads.push(database.ticker.start(options.touch_every, Arc::clone(&database.writes))?);
        Ok(())
    };
    spawn().map_err(OpenError::Threads)?;
    Ok(database)
}

/// Connects once, and looks whether this program can work on what is there.
#[cfg_attr(not(feature = "sqlite"), expect(unused_variables, reason = "no database has a file"))]
fn try_out(target: &Target, options: &Options) -> Result<OpenFile, OpenError> {
    match target {
        #[cfg(feature = "sqlite")]
        Target::Sqlite(path) => {
            let file = DatabaseFile::open(path, options.file_replaced, migrations::check)?;
            Ok(Some(Arc::new(file)))
        }
        #[cfg(feature = "postgres")]
        Target::Postgres(_) => {
            let mut any = connect_first(target)?;
            set_up(&mut any)?;
            migrations::check(&mut any)?;
            Ok(OpenFile::default())
        }
    }
}

/// A reader for each thread that may look up something at the same time.
#[cfg(feature = "sqlite")]
fn readers(target: &Target, setup: &Setup, touches: &Arc<Touches>) -> Result<Readers, OpenError> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let cores = u32::try_from(cores).unwrap_or(u32::MAX);
    // It never waits for a connection: the time is that of attempts in the background.
    let attempts = Duration::from_secs(1);
    let pool = pool(target.clone(), setup.clone().reading(), cores, attempts)?;
    Ok(Readers::new(pool, Checks::new(Arc::clone(touches)), setup.file.clone()))
}

/// What an operator should be told about a database, if anything: that what goes to its server is not protected, or that others may read
/// its file.
///
/// # Errors
/// The URL names no database that this program can open.
pub fn advice(url: &str) -> Result<Option<String>, OpenError> {
    let target = Target::parse(url)?;
    Ok(match &target {
        #[cfg(feature = "sqlite")]
        Target::Sqlite(path) => examine::advice(path),
        #[cfg(feature = "postgres")]
        Target::Postgres(_) => exposed(&target),
    })
}

fn exposed(target: &Target) -> Option<String> {
    match target {
        #[cfg(feature = "sqlite")]
        Target::Sqlite(_) => None,
        #[cfg(feature = "postgres")]
        Target::Postgres(server) => server.exposed.as_ref().map(|host| {
            format!(
                "the database server {host} need not prove who it is: add sslmode=verify-full (and sslrootcert=FILE, if its \
                 authority is your own) to the database's URL"
            )
        }),
    }
}

impl Store for Database {
    fn session(&self, digest: Digest) -> Pending<Option<(Session, User)>> {
        self.gather.ask(|reply| Check::Session(digest, reply))
    }

    fn user(&self, name: CanonicalName) -> Pending<Option<User>> {
        self.gather.ask(|reply| Check::User(name, reply))
    }

    fn queue_depths(&self) -> Vec<(&'static str, usize)> {
        vec![
            ("checks", self.checks.len()),
            ("changes", self.writes.len()),
            ("reports", self.reports.len()),
        ]
    }

    fn users(&self, offset: u64, limit: u32) -> Pending<UserPage> {
        ask(&self.reports, |reply| Report::Users { offset, limit, reply })
    }

    fn find_users(&self, query: UserQuery) -> Pending<Vec<User>> {
        ask(&self.reports, |reply| Report::FindUsers { query, reply })
    }

    fn sessions(&self, query: SessionQuery) -> Pending<Vec<(Session, User)>> {
        ask(&self.reports, |reply| Report::Sessions { query: Box::new(query), reply })
    }

    fn live(&self, now: Timestamp) -> Pending<Vec<(String, u64)>> {
        ask(&self.reports, |reply| Report::Live { now, reply })
    }

    fn keys(&self) -> Pending<Vec<SealedKey>> {
        ask(&self.reports, Report::Keys)
    }

    fn issuer(&self, purpose: String) -> Pending<Option<String>> {
        ask(&self.reports, |reply| Report::Issuer(purpose, reply))
    }

    fn client(&self, id: Uuid) -> Pending<Option<Client>> {
        self.gather.ask(|reply| Check::Client(id, reply))
    }

    fn clients(&self) -> Pending<Vec<Client>> {
        ask(&self.reports, Report::Clients)
    }

    fn rung(&self, account: Digest) -> Pending<Option<Rung>> {
        ask(&self.reports, |reply| Report::Rung(account, reply))
    }

    fn ping(&self) -> Pending<()> {
        ask(&self.checks, Check::Ping)
    }

    fn time(&self) -> Pending<Option<Timestamp>> {
        ask(&self.checks, Check::Time)
    }

    fn apply(&self, change: Change) -> Pending<Applied> {
        ask(&self.writes, |reply| Write::Change(change, reply))
    }

    fn touch(&self, touch: Touch) {
        self.touches.note(touch);
    }

    fn flush(&self) -> Pending<()> {
        ask(&self.writes, Write::Flush)
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        self.ticker.stop();
        self.checks.close();
        self.reports.close();
        self.writes.close();
        for thread in self.threads.drain(..) {
            // A thread that panicked has nothing more to say.
            drop(thread.join());
        }
    }
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Database").field("at", &self.name).finish_non_exhaustive()
    }
}

//! The store itself: three workers and a ticker behind the core's port.

use std::fmt;
use std::sync::Arc;
use std::thread::JoinHandle;
#[cfg(feature = "sqlite")]
use std::time::Duration;

use parlance_core::lockout::AttemptState;
use parlance_core::ports::{
    Applied, Change, SealedKey, SessionQuery, Store, StoreFuture, Touch, UserPage, UserQuery,
};
use parlance_core::{CanonicalName, Client, Digest, Session, Timestamp, User};
use uuid::Uuid;

use crate::coalesce::Coalescer;
use crate::connection::{ConnectionSetup, ConnectionSlot, OpenFile, build_pool};
#[cfg(feature = "postgres")]
use crate::connection::{connect_first, set_up};
#[cfg(feature = "sqlite")]
use crate::file::{DatabaseFile, examine};
use crate::lookups::{Lookup, LookupWorker};
use crate::migrations;
use crate::options::{OpenError, Options};
use crate::queue::{Queue, submit};
#[cfg(feature = "sqlite")]
use crate::readers::Readers;
use crate::reports::{Report, ReportWorker};
use crate::touches::Touches;
use crate::url::Target;
use crate::worker::{Ticker, spawn_worker};
use crate::writes::{Write, WriteWorker};

/// An open store. Dropping the store runs the queued jobs, flushes the touches that are still in memory, and waits for
/// both (graceful shutdown).
pub struct Database {
    name: String,
    coalescer: Arc<Coalescer>,
    lookups: Arc<Queue<Lookup>>,
    writes: Arc<Queue<Write>>,
    reports: Arc<Queue<Report>>,
    touches: Arc<Touches>,
    ticker: Arc<Ticker>,
    threads: Vec<JoinHandle<()>>,
}

/// Opens a migrated database: `sqlite:PATH`, `postgres://USER:PASSWORD@HOST/NAME`, or the same with `postgresql://`.
/// Creates neither a file nor tables.
///
/// # Errors
/// The URL names no database that this program can open, the database does not answer or is unfit, or its tables are
/// not those of this program. After opening, the store reconnects by itself to a database that was away.
pub fn open(url: &str, options: Options) -> Result<Database, OpenError> {
    open_with(url, options, ConnectionSetup::default())
}

pub(crate) fn open_with(
    url: &str,
    options: Options,
    mut setup: ConnectionSetup,
) -> Result<Database, OpenError> {
    let target = Target::parse(url)?;
    if options.require_verified_tls
        && let Some(warning) = tls_warning(&target)
    {
        return Err(OpenError::UnverifiedTls(warning));
    }
    // The first connection is made here and not in the pool, which reports errors only as texts.
    let file = check_database(&target, &options).map_err(|error| error.with_path(&target))?;
    setup.file = file.clone();

    let lookup_threads = match &target {
        // The readers never wait for a lock, and a single thread of them has the processor's full attention.
        #[cfg(feature = "sqlite")]
        Target::Sqlite(_) => 1,
        // While one thread waits for the server, the other gathers the next batch.
        #[cfg(feature = "postgres")]
        Target::Postgres(_) => 2,
    };
    let name = format!("{target:?}");
    let (lookups, touches) =
        (Arc::new(Queue::new(options.queue_capacity)), Arc::<Touches>::default());
    let coalescer = Coalescer::new(options.defer, Arc::clone(&lookups));
    #[cfg(feature = "sqlite")]
    let coalescer = match &target {
        Target::Sqlite(_) if options.defer.is_some() => {
            coalescer.with_readers(open_readers(&target, &setup, &touches)?)
        }
        Target::Sqlite(_) => coalescer,
        #[cfg(feature = "postgres")]
        Target::Postgres(_) => coalescer,
    };
    let connection_timeout = options.connection_timeout;
    let report_pool =
        build_pool(target.clone(), setup.clone().for_reports(), 1, connection_timeout)?;
    let pool = build_pool(target, setup, lookup_threads + 1, connection_timeout)?;
    let mut database = Database {
        name,
        coalescer: Arc::new(coalescer),
        lookups,
        writes: Arc::new(Queue::new(options.queue_capacity)),
        reports: Arc::new(Queue::new(options.queue_capacity)),
        touches,
        ticker: Arc::default(),
        threads: Vec::new(),
    };
    let new_slot = || ConnectionSlot::new(pool.clone(), file.clone());
    let threads = &mut database.threads;
    let mut spawn = || {
        for _ in 0..lookup_threads {
            threads.push(spawn_worker(
                "store-checks",
                Arc::clone(&database.lookups),
                new_slot(),
                LookupWorker::new(Arc::clone(&database.touches)),
            )?);
        }
        threads.push(spawn_worker(
            "store-changes",
            Arc::clone(&database.writes),
            new_slot(),
            WriteWorker::new(Arc::clone(&database.touches)),
        )?);
        threads.push(spawn_worker(
            "store-reports",
            Arc::clone(&database.reports),
            ConnectionSlot::new(report_pool.clone(), file.clone()),
            ReportWorker,
        )?);
        threads.push(database.ticker.start(options.flush_interval, Arc::clone(&database.writes))?);
        Ok(())
    };
    spawn().map_err(OpenError::Threads)?;
    Ok(database)
}

/// Connects once, and checks whether this program can work on the database.
#[cfg_attr(not(feature = "sqlite"), expect(unused_variables, reason = "no database has a file"))]
fn check_database(target: &Target, options: &Options) -> Result<OpenFile, OpenError> {
    match target {
        #[cfg(feature = "sqlite")]
        Target::Sqlite(path) => {
            let file =
                DatabaseFile::open(path, options.on_file_replaced, migrations::check_schema)?;
            Ok(Some(Arc::new(file)))
        }
        #[cfg(feature = "postgres")]
        Target::Postgres(_) => {
            let mut conn = connect_first(target)?;
            set_up(&mut conn)?;
            migrations::check_schema(&mut conn)?;
            Ok(OpenFile::default())
        }
    }
}

/// A reader for each thread that may run look-ups at the same time.
#[cfg(feature = "sqlite")]
fn open_readers(
    target: &Target,
    setup: &ConnectionSetup,
    touches: &Arc<Touches>,
) -> Result<Readers, OpenError> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let cores = u32::try_from(cores).unwrap_or(u32::MAX);
    // A reader never waits for a connection: this is the timeout of attempts in the background.
    let connection_timeout = Duration::from_secs(1);
    let pool = build_pool(target.clone(), setup.clone().read_only(), cores, connection_timeout)?;
    Ok(Readers::new(pool, LookupWorker::new(Arc::clone(touches)), setup.file.clone()))
}

/// Advice for the operator about a database, if any: traffic to its server is not protected, or others may read its
/// file.
///
/// # Errors
/// The URL names no database that this program can open.
pub fn security_warning(url: &str) -> Result<Option<String>, OpenError> {
    let target = Target::parse(url)?;
    Ok(match &target {
        #[cfg(feature = "sqlite")]
        Target::Sqlite(path) => examine::readable_by_others_warning(path),
        #[cfg(feature = "postgres")]
        Target::Postgres(_) => tls_warning(&target),
    })
}

fn tls_warning(target: &Target) -> Option<String> {
    match target {
        #[cfg(feature = "sqlite")]
        Target::Sqlite(_) => None,
        #[cfg(feature = "postgres")]
        Target::Postgres(server) => server.unverified_host.as_ref().map(|host| {
            format!(
                "the database server {host} does not have to prove its identity: add sslmode=verify-full (and sslrootcert=FILE, if its certificate \
                 authority is your own) to the database's URL"
            )
        }),
    }
}

impl Store for Database {
    fn session(&self, digest: Digest) -> StoreFuture<Option<(Session, User)>> {
        self.coalescer.submit(|reply| Lookup::Session(digest, reply))
    }

    fn user(&self, name: CanonicalName) -> StoreFuture<Option<User>> {
        self.coalescer.submit(|reply| Lookup::User(name, reply))
    }

    fn queue_depths(&self) -> Vec<(&'static str, usize)> {
        vec![
            ("checks", self.lookups.len()),
            ("changes", self.writes.len()),
            ("reports", self.reports.len()),
        ]
    }

    fn users(&self, offset: u64, limit: u32) -> StoreFuture<UserPage> {
        submit(&self.reports, |reply| Report::Users { offset, limit, reply })
    }

    fn find_users(&self, query: UserQuery) -> StoreFuture<Vec<User>> {
        submit(&self.reports, |reply| Report::FindUsers { query, reply })
    }

    fn sessions(&self, query: SessionQuery) -> StoreFuture<Vec<(Session, User)>> {
        submit(&self.reports, |reply| Report::Sessions { query: Box::new(query), reply })
    }

    fn count_live_sessions(&self, now: Timestamp) -> StoreFuture<Vec<(String, u64)>> {
        submit(&self.reports, |reply| Report::LiveSessions { now, reply })
    }

    fn keys(&self) -> StoreFuture<Vec<SealedKey>> {
        submit(&self.reports, Report::Keys)
    }

    fn issuer(&self, purpose: String) -> StoreFuture<Option<String>> {
        submit(&self.reports, |reply| Report::Issuer(purpose, reply))
    }

    fn client(&self, id: Uuid) -> StoreFuture<Option<Client>> {
        self.coalescer.submit(|reply| Lookup::Client(id, reply))
    }

    fn clients(&self) -> StoreFuture<Vec<Client>> {
        submit(&self.reports, Report::Clients)
    }

    fn attempt_state(&self, account: Digest) -> StoreFuture<Option<AttemptState>> {
        submit(&self.reports, |reply| Report::AttemptState(account, reply))
    }

    fn ping(&self) -> StoreFuture<()> {
        submit(&self.lookups, Lookup::Ping)
    }

    fn time(&self) -> StoreFuture<Option<Timestamp>> {
        submit(&self.lookups, Lookup::Time)
    }

    fn apply(&self, change: Change) -> StoreFuture<Applied> {
        submit(&self.writes, |reply| Write::Change(change, reply))
    }

    fn touch(&self, touch: Touch) {
        self.touches.record(touch);
    }

    fn flush(&self) -> StoreFuture<()> {
        submit(&self.writes, Write::Flush)
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        self.ticker.stop();
        self.lookups.close();
        self.reports.close();
        self.writes.close();
        for thread in self.threads.drain(..) {
            // A panicked thread has nothing to report.
            drop(thread.join());
        }
    }
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Database").field("at", &self.name).finish_non_exhaustive()
    }
}

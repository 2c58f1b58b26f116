//! Checks of each dialect, by the guard of an app that takes all dialects.

use std::sync::Arc;

use anyhow::Result;
use futures_executor::block_on;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use parlance::core::ports::{Clock as _, NoopObserver, Store};
use parlance::core::{Authority, HashQueue, NewUser, PasswordCredentials, PasswordPolicy, Secret};
use parlance::dialect::{DialectHandler, RequestCredential};
use parlance::store::{Options, open};
use parlance::system::{SystemClock, SystemEntropy};
use parlance::table::TABLE;
use parlance::{Builder, core};

use crate::checks::{EMPTY_HANDLER, baseline_entry};
use crate::load::{Load, Request};
use crate::report::{Aimed, Section};
use crate::rounds::{self, Entry};
use crate::server::Server;
use crate::{BenchContext, CONNECTIONS};

/// Checked sessions of each dialect, beside the many of one dialect: each session of axxon-jsonrpc costs a signature.
const SESSIONS_PER_DIALECT: usize = 5000;
/// Sessions of one user.
const SESSIONS_PER_USER: usize = 50;
/// Concurrent logins.
const CONCURRENT_LOGINS: usize = 32;
/// The path of the guarded requests.
const GUARDED_PATH: &str = "/guarded";
const ENTRY_NAMES: [(&str, &str, &str); 5] = [
    ("1010-cookie", "1010-cookie on SQLite", "1010-cookie on PostgreSQL"),
    ("axxon-jsonrpc", "axxon-jsonrpc on SQLite", "axxon-jsonrpc on PostgreSQL"),
    ("cluster-api", "cluster-api on SQLite", "cluster-api on PostgreSQL"),
    ("flask-usertoken", "flask-usertoken on SQLite", "flask-usertoken on PostgreSQL"),
    ("polish-longtoken", "polish-longtoken on SQLite", "polish-longtoken on PostgreSQL"),
];

pub(crate) fn dialects(bench: &mut BenchContext) -> Result<Section> {
    let databases = bench.databases(bench.sessions)?.clone();
    let home = &bench.home;
    let empty = Server::empty(home)?;
    let mut loads = Vec::new();
    let mut servers = Vec::new();
    for (database, url) in [("sqlite", &databases.sqlite), ("postgres", &databases.postgres)] {
        let folder = home.join(format!("dialects-{database}"));
        let mut shown = log_in_all(url, &bench.key_file())?;
        servers.push(Server::guarded(&folder, url, &bench.key_file())?);
        for (dialect, on_sqlite, on_postgres) in ENTRY_NAMES {
            let name = if database == "sqlite" { on_sqlite } else { on_postgres };
            let at = shown.iter().position(|(other, _)| *other == dialect);
            let requests = at.map(|at| shown.swap_remove(at).1).unwrap_or_default();
            let requests =
                requests.iter().map(|shown| Request::with_credential(GUARDED_PATH, shown));
            let file = format!("dialects-{database}-{dialect}");
            loads.push((name, Load::new(home, &file, requests, CONNECTIONS)?, servers.len() - 1));
        }
    }
    let mut entries: Vec<_> =
        loads.first().map(|(_, load, _)| baseline_entry(load, &empty)).into_iter().collect();
    // The empty handler answers GET alone, the method of most dialects' requests.
    entries.extend(loads.iter().filter_map(|(name, load, server)| {
        let at = servers.get(*server)?.address;
        Some(Entry { name, load, at, counted: None })
    }));
    let all = rounds::checks(bench.plan, &entries)?;
    let aim = |on_sqlite: bool| if on_sqlite { 0.60 } else { 0.55 };
    let aimed = ENTRY_NAMES.into_iter().flat_map(|(_, on_sqlite, on_postgres)| {
        [(on_sqlite, aim(true)), (on_postgres, aim(false))]
            .map(|(name, aim)| Aimed::fraction(&all, name, EMPTY_HANDLER, aim))
    });
    let note = format!(
        "The guard of an app that takes all five dialects; {SESSIONS_PER_DIALECT} sessions of each beside {} others; {CONNECTIONS} connections.",
        databases.sessions
    );
    Ok(Section::new(aimed).note(note).candidates(&all))
}

/// Logs in with every dialect, with passwords that are cheap to verify, and returns the credentials.
fn log_in_all(
    url: &str,
    key_file: &std::path::Path,
) -> Result<Vec<(&'static str, Vec<RequestCredential>)>> {
    let store: Arc<dyn Store> = Arc::new(open(url, Options::default())?);
    let threads = HashQueue::start(crate::machine::cores(), Arc::new(SystemClock));
    let policy = PasswordPolicy::new(8, 1, 1)?;
    let authority =
        Authority::new(store, threads, policy, Arc::new(SystemEntropy), Arc::new(NoopObserver));
    let builder = Builder { key_file: key_file.to_owned(), ..Builder::with_authority(authority) };
    block_on(async {
        let users = SESSIONS_PER_DIALECT / SESSIONS_PER_USER;
        for number in 0..users {
            let (name, password) = credentials_of(number);
            let password = Secret::new(password);
            let user = NewUser { name, password, roles: Vec::new(), unrestricted: false };
            builder.authority.add_user(user, SystemClock.now()).await?;
        }
        let dialect_set = builder.build(TABLE.iter().map(|entry| (entry.name, ""))).await?;
        let mut all = Vec::new();
        for mount in dialect_set.mounts() {
            let service = &*mount.dialect;
            let logins = (0..SESSIONS_PER_DIALECT).map(|number| log_in(service, number % users));
            let shown =
                stream::iter(logins).buffer_unordered(CONCURRENT_LOGINS).try_collect().await?;
            all.push((service.name(), shown));
        }
        Ok(all)
    })
}

async fn log_in(
    service: &dyn DialectHandler,
    number: usize,
) -> Result<RequestCredential, core::Failure> {
    let (user, password) = credentials_of(number);
    let login = PasswordCredentials { user, password: Secret::new(password) };
    let peer = Some(std::net::Ipv4Addr::LOCALHOST.into());
    service.log_in(login, peer, SystemClock.now()).await
}

fn credentials_of(number: usize) -> (String, String) {
    (format!("holder-{number}"), format!("correct-horse-battery-{number}"))
}

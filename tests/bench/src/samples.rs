//! Checks of each dialect, by the guard of an app that takes them all.

use std::sync::Arc;

use anyhow::Result;
use futures_executor::block_on;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use parlance::core::ports::{Clock as _, Store, Unobserved};
use parlance::core::{Authority, HashThreads, Login, NewUser, PasswordPolicy, Secret};
use parlance::dialect::{Service, Shown};
use parlance::store::{Options, open};
use parlance::system::{SystemClock, SystemEntropy};
use parlance::table::TABLE;
use parlance::{Setup, core};

use crate::checks::{EMPTY, plain};
use crate::load::{Load, Request};
use crate::report::{Aimed, Section};
use crate::rounds::{self, Entry};
use crate::server::Server;
use crate::{Bench, CONNECTIONS};

/// How many sessions of each dialect are checked, among the many of one that lie beside them: of axxon-jsonrpc each costs a signature.
const EACH: usize = 5000;
/// How many of them a user has.
const A_USER: usize = 50;
/// How many log in at once.
const AT_ONCE: usize = 32;
/// What a guarded request asks for.
const PATH: &str = "/guarded";
const NAMES: [(&str, &str, &str); 5] = [
    ("1010-cookie", "1010-cookie on SQLite", "1010-cookie on PostgreSQL"),
    ("axxon-jsonrpc", "axxon-jsonrpc on SQLite", "axxon-jsonrpc on PostgreSQL"),
    ("cluster-api", "cluster-api on SQLite", "cluster-api on PostgreSQL"),
    ("flask-usertoken", "flask-usertoken on SQLite", "flask-usertoken on PostgreSQL"),
    ("polish-longtoken", "polish-longtoken on SQLite", "polish-longtoken on PostgreSQL"),
];

pub(crate) fn dialects(bench: &mut Bench) -> Result<Section> {
    let world = bench.world(bench.sessions)?.clone();
    let home = &bench.home;
    let empty = Server::empty(home)?;
    let mut loads = Vec::new();
    let mut servers = Vec::new();
    for (database, url) in [("sqlite", &world.sqlite), ("postgres", &world.postgres)] {
        let folder = home.join(format!("dialects-{database}"));
        let mut shown = logged_in(url, &bench.key_file())?;
        servers.push(Server::guarded(&folder, url, &bench.key_file())?);
        for (dialect, on_sqlite, on_postgres) in NAMES {
            let name = if database == "sqlite" { on_sqlite } else { on_postgres };
            let at = shown.iter().position(|(other, _)| *other == dialect);
            let requests = at.map(|at| shown.swap_remove(at).1).unwrap_or_default();
            let requests = requests.iter().map(|shown| Request::showing(PATH, shown));
            let file = format!("dialects-{database}-{dialect}");
            loads.push((name, Load::new(home, &file, requests, CONNECTIONS)?, servers.len() - 1));
        }
    }
    let mut entries: Vec<_> =
        loads.first().map(|(_, load, _)| plain(load, &empty)).into_iter().collect();
    // The empty handler answers GET alone, which is what most dialects' requests are.
    entries.extend(loads.iter().filter_map(|(name, load, server)| {
        let at = servers.get(*server)?.address;
        Some(Entry { name, load, at, counted: None })
    }));
    let all = rounds::checks(bench.plan, &entries)?;
    let aim = |on_sqlite: bool| if on_sqlite { 0.60 } else { 0.55 };
    let aimed = NAMES.into_iter().flat_map(|(_, on_sqlite, on_postgres)| {
        [(on_sqlite, aim(true)), (on_postgres, aim(false))]
            .map(|(name, aim)| Aimed::fraction(&all, name, EMPTY, aim))
    });
    let note = format!(
        "The guard of an app that takes all five dialects; {EACH} sessions of each beside {} others; {CONNECTIONS} connections.",
        world.sessions
    );
    Ok(Section::new(aimed).note(note).contestants(&all))
}

/// Logs in with every dialect, with passwords that are cheap to verify: what each session's client then shows.
fn logged_in(url: &str, key_file: &std::path::Path) -> Result<Vec<(&'static str, Vec<Shown>)>> {
    let store: Arc<dyn Store> = Arc::new(open(url, Options::default())?);
    let threads = HashThreads::start(crate::machine::cores(), Arc::new(SystemClock));
    let policy = PasswordPolicy::new(8, 1, 1)?;
    let authority =
        Authority::new(store, threads, policy, Arc::new(SystemEntropy), Arc::new(Unobserved));
    let setup = Setup { key_file: key_file.to_owned(), ..Setup::over(authority) };
    block_on(async {
        let users = EACH / A_USER;
        for number in 0..users {
            let (name, password) = holder(number);
            let password = Secret::new(password);
            let user = NewUser { name, password, roles: Vec::new(), unrestricted: false };
            setup.authority.add_user(user, SystemClock.now()).await?;
        }
        let site = setup.site(TABLE.iter().map(|entry| (entry.name, ""))).await?;
        let mut all = Vec::new();
        for mount in site.mounts() {
            let service = &*mount.service;
            let logins = (0..EACH).map(|number| log_in(service, number % users));
            let shown = stream::iter(logins).buffer_unordered(AT_ONCE).try_collect().await?;
            all.push((service.name(), shown));
        }
        Ok(all)
    })
}

async fn log_in(service: &dyn Service, number: usize) -> Result<Shown, core::Failure> {
    let (user, password) = holder(number);
    let login = Login { user, password: Secret::new(password) };
    let peer = Some(std::net::Ipv4Addr::LOCALHOST.into());
    service.log_in(login, peer, SystemClock.now()).await
}

fn holder(number: usize) -> (String, String) {
    (format!("holder-{number}"), format!("correct-horse-battery-{number}"))
}

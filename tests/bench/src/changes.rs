//! Renewals, logouts and revocations, each committed to the disk before the answer, beside one transaction a request.

use std::sync::Arc;

use anyhow::{Context as _, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_executor::block_on;
use parlance::core::Client;
use parlance::core::ports::{Change, Clock as _, Store};
use parlance::store::{Options, open};
use parlance::system::{SystemClock, SystemEntropy};
use parlance_polish_longtoken::PolishLongtoken;

use crate::load::{Load, Request};
use crate::report::{Aimed, Section};
use crate::rounds::{self, Candidate, Entry};
use crate::server::Server;
use crate::{BenchContext, CONNECTIONS};

/// Sessions that one run may end: more than any run ends.
const SESSIONS_PER_RUN: usize = 60_000;
/// Timeout for an answer, in seconds: among many requests that each wait for a transaction of their own, the last one
/// waits long.
const ANSWER_TIMEOUT_SECONDS: u32 = 60;

pub(crate) fn changes(bench: &mut BenchContext) -> Result<Section> {
    // Two of the four kinds, logouts and revocations, end a session with each request, and need sessions of their own
    // in every round.
    let runs = bench.plan.rounds as usize;
    let databases =
        bench.seed_databases(&PolishLongtoken::default(), 2 * runs * SESSIONS_PER_RUN)?;
    let (mut aimed, mut tables) = (Vec::new(), String::new());
    for (name, url) in [("SQLite", &databases.sqlite), ("PostgreSQL", &databases.postgres)] {
        let client = create_client(url)?;
        let server = bench.serve(&format!("changes-{name}"), url, &[])?;
        let naive = Server::naive(&bench.home.join(format!("naive-{name}")), url)?;
        let mut ended = databases.secrets.chunks(SESSIONS_PER_RUN);
        let mut all =
            ["one transaction a request", "renewals", "logouts", "revocations"].map(Candidate::new);
        for round in 1..=bench.plan.rounds {
            let renew = |token: &String| {
                let body = format!("{{\"token\":\"{token}\"}}");
                Request::with_body("PUT", "/login", &[("Content-Type", "application/json")], &body)
            };
            let log_out =
                |token: &String| Request::new("DELETE", "/login", &[("X-Auth-Bearer", token)]);
            let revoke = |token: &String| {
                let headers = [("Authorization", client.as_str())];
                Request::form("/revoke", &headers, &format!("token={token}"))
            };
            let load = |kind: &str, tokens: &[String], request: &dyn Fn(&String) -> Request| {
                let name = format!("{kind}-{name}-{round}");
                Load::new(&bench.home, &name, tokens.iter().map(request), CONNECTIONS)
                    .map(|load| load.with_timeout(ANSWER_TIMEOUT_SECONDS))
            };
            // The sessions of the last round are still active.
            let living =
                databases.secrets.rchunks(SESSIONS_PER_RUN).next().context("no sessions")?;
            let mut next = || ended.next().context("too few sessions");
            let renewals = load("renewals", living, &renew)?;
            let logouts = load("logouts", next()?, &log_out)?.once();
            let revocations = load("revocations", next()?, &revoke)?.once();
            let admin = server.admin.context("no admin listener")?;
            for (contestant, load, at, what) in [
                (0, &renewals, naive.address, None),
                (1, &renewals, server.address, Some("renewals")),
                (2, &logouts, server.address, Some("ends")),
                (3, &revocations, admin, None),
            ] {
                let counted = what.map(|_| (&server, "polish-longtoken"));
                let Some(contestant) = all.get_mut(contestant) else { continue };
                let entry = Entry { name: contestant.name, load, at, counted };
                let run = rounds::measure(entry, what.unwrap_or_default(), bench.plan.checks)?;
                contestant.record(round, run);
            }
        }
        let [naive, ..] = &all;
        let whole = naive.rates();
        for one in all.iter().skip(1) {
            let what = format!("{} on {name}, of one transaction a request", one.name);
            aimed.push(Aimed::at_least(what, 5.0, one.rates().relative_to(&whole)));
        }
        tables += &format!("\n{name}:\n\n{}", Section::table(&all));
    }
    let note = format!("{} sessions, {CONNECTIONS} connections.", databases.sessions);
    Ok(Section::new(aimed).note(note).more(&tables))
}

/// Creates a service client and returns its `Authorization`.
fn create_client(url: &str) -> Result<String> {
    let store: Arc<dyn Store> = Arc::new(open(url, Options::default())?);
    let (client, secret) = Client::new("bench".to_owned(), SystemClock.now(), &SystemEntropy)?;
    let basic = STANDARD.encode(format!("{}:{}", client.id, secret.expose()));
    block_on(store.apply(Change::AddClient(Box::new(client))))?;
    Ok(format!("Basic {basic}"))
}

//! Renewals, logouts and revocations, each on the disk before it is answered, beside one transaction a request.

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
use crate::rounds::{self, Contestant, Entry};
use crate::server::Server;
use crate::{Bench, CONNECTIONS};

/// How many sessions one run can end: more than it does.
const A_RUN: usize = 60_000;
/// How many seconds an answer may take: of many who each wait for a transaction of their own the last one waits long.
const PATIENCE: u32 = 60;

pub(crate) fn changes(bench: &mut Bench) -> Result<Section> {
    // Three kinds end nothing or end a session each; those that end have their own in every round.
    let runs = bench.plan.rounds as usize;
    let world = bench.fresh(&PolishLongtoken::default(), 2 * runs * A_RUN)?;
    let (mut aimed, mut tables) = (Vec::new(), String::new());
    for (name, url) in [("SQLite", &world.sqlite), ("PostgreSQL", &world.postgres)] {
        let client = client(url)?;
        let server = bench.serve(&format!("changes-{name}"), url, &[])?;
        let naive = Server::naive(&bench.home.join(format!("naive-{name}")), url)?;
        let mut ended = world.secrets.chunks(A_RUN);
        let mut all = ["one transaction a request", "renewals", "logouts", "revocations"]
            .map(Contestant::new);
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
                    .map(|load| load.patient(PATIENCE))
            };
            // The last round's sessions live still.
            let living = world.secrets.rchunks(A_RUN).next().context("no sessions")?;
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
                contestant.note(round, run);
            }
        }
        let [naive, ..] = &all;
        let whole = naive.rates();
        for one in all.iter().skip(1) {
            let what = format!("{} on {name}, of one transaction a request", one.name);
            aimed.push(Aimed::at_least(what, 5.0, one.rates().of(&whole)));
        }
        tables += &format!("\n{name}:\n\n{}", Section::table(&all));
    }
    let note = format!("{} sessions, {CONNECTIONS} connections.", world.sessions);
    Ok(Section::new(aimed).note(note).more(&tables))
}

/// Makes a service client: how it authenticates.
fn client(url: &str) -> Result<String> {
    let store: Arc<dyn Store> = Arc::new(open(url, Options::default())?);
    let (client, secret) = Client::new("bench".to_owned(), SystemClock.now(), &SystemEntropy)?;
    let basic = STANDARD.encode(format!("{}:{}", client.id, secret.expose()));
    block_on(store.apply(Change::AddClient(Box::new(client))))?;
    Ok(format!("Basic {basic}"))
}

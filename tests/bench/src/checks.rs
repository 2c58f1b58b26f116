//! Checks: the rate, as a fraction of the rate of an empty handler.

use std::path::Path;

use anyhow::Result;

use crate::figures::Figures;
use crate::load::{Load, Request};
use crate::report::{Aimed, Section};
use crate::rounds::{self, Candidate, Entry};
use crate::seed::{SeededDatabases, warm_page_cache};
use crate::server::Server;
use crate::{BenchContext, CONNECTIONS, counted_entry, plot};

pub(crate) const EMPTY_HANDLER: &str = "an empty handler";
pub(crate) const SQLITE: &str = "parlance on SQLite";
pub(crate) const POSTGRES: &str = "parlance on PostgreSQL";

/// The aims, as fractions of the rate of an empty handler.
const AIMS: [(&str, f64); 2] = [(SQLITE, 0.60), (POSTGRES, 0.55)];

/// Checks of polish-longtoken, each with another of these tokens.
pub(crate) fn load(home: &Path, databases: &SeededDatabases, path: &str) -> Result<Load> {
    let request = |token: &String| {
        let more = [("X-Forwarded-Method", "GET"), ("X-Forwarded-Uri", "/")];
        let headers = [("X-Auth-Bearer", token.as_str()), more[0], more[1]];
        let forwarded = path == "/forward-auth";
        Request::new("GET", path, if forwarded { &headers } else { &headers[..1] })
    };
    let name = format!("checks-{}-{}", databases.sessions, path.trim_start_matches('/'));
    Load::new(home, &name, databases.secrets.iter().map(request), CONNECTIONS)
}

pub(crate) fn baseline_entry<'e>(load: &'e Load, empty: &Server) -> Entry<'e> {
    Entry { name: EMPTY_HANDLER, load, at: empty.address, counted: None }
}

pub(crate) fn checks(bench: &mut BenchContext) -> Result<Section> {
    let databases = bench.databases(bench.sessions)?.clone();
    let load = load(&bench.home, &databases, "/login")?;
    let empty = Server::empty(&bench.home)?;
    let on_sqlite = bench.serve("sqlite", &databases.sqlite, &[])?;
    let on_postgres = bench.serve("postgres", &databases.postgres, &[])?;
    let entries = [
        baseline_entry(&load, &empty),
        counted_entry(SQLITE, &load, &on_sqlite),
        counted_entry(POSTGRES, &load, &on_postgres),
    ];
    let all = rounds::checks(bench.plan, &entries)?;
    let aimed = AIMS.map(|(name, aim)| Aimed::fraction(&all, name, EMPTY_HANDLER, aim));
    let note = format!("{} sessions, {CONNECTIONS} connections.", databases.sessions);
    Ok(Section::new(aimed).note(note).candidates(&all))
}

pub(crate) fn scale(bench: &mut BenchContext) -> Result<Section> {
    const SIZES: [(usize, &str, &str); 3] = [
        (10_000, "SQLite, 10k sessions", "PostgreSQL, 10k sessions"),
        (1_000_000, "SQLite, 1M sessions", "PostgreSQL, 1M sessions"),
        (10_000_000, "SQLite, 10M sessions", "PostgreSQL, 10M sessions"),
    ];
    let mut parts = Vec::new();
    for (sessions, sqlite, postgres) in SIZES {
        let databases = bench.databases(sessions)?.clone();
        let load = load(&bench.home, &databases, "/login")?;
        let name = |database: &str| format!("scale-{database}-{sessions}");
        let on_sqlite = bench.serve(&name("sqlite"), &databases.sqlite, &[])?;
        let on_postgres = bench.serve(&name("postgres"), &databases.postgres, &[])?;
        parts.push((load, [(sqlite, on_sqlite), (postgres, on_postgres)]));
    }
    let empty = Server::empty(&bench.home)?;
    let mut entries = Vec::new();
    for (load, servers) in &parts {
        if entries.is_empty() {
            entries.push(baseline_entry(load, &empty));
        }
        entries.extend(servers.iter().map(|(name, server)| counted_entry(name, load, server)));
    }
    warm_page_cache(&bench.home, &bench.cluster)?;
    let all = rounds::checks(bench.plan, &entries)?;
    let [(_, small, small_pg), _, (_, large, large_pg)] = SIZES;
    let aimed = [(large, small), (large_pg, small_pg)]
        .map(|(large, small)| Aimed::fraction(&all, large, small, 0.85));
    let fractions = |which: fn(&(usize, &'static str, &'static str)) -> &'static str| {
        SIZES
            .iter()
            .map(|size| {
                (
                    size.0 as f64,
                    Candidate::rates_of(&all, which(size))
                        .relative_to(&Candidate::rates_of(&all, EMPTY_HANDLER)),
                )
            })
            .collect()
    };
    let series = [("SQLite", fractions(|size| size.1)), ("PostgreSQL", fractions(|size| size.2))];
    let plot = plot::lines("Checks, of an empty handler", "sessions", &series);
    let note = format!("{CONNECTIONS} connections.");
    Ok(Section::new(aimed).note(note).candidates(&all).plot(plot))
}

/// The fractions of a database by number of connections, and half of its rate.
struct Series<'s> {
    name: &'static str,
    server: &'s Server,
    points: Vec<(f64, Figures)>,
    half_rate: f64,
}

pub(crate) fn connections(bench: &mut BenchContext) -> Result<Section> {
    const CONNECTION_COUNTS: [usize; 4] = [1, 32, 128, 1000];
    /// The average pause at half load, in milliseconds.
    const PAUSE_MS: u32 = 10;
    let databases = bench.databases(bench.sessions)?.clone();
    let load = load(&bench.home, &databases, "/login")?;
    let empty = Server::empty(&bench.home)?;
    let on_sqlite = bench.serve("sqlite", &databases.sqlite, &[])?;
    let on_postgres = bench.serve("postgres", &databases.postgres, &[])?;
    let mut tables = String::new();
    let mut lines = [(SQLITE, &on_sqlite), (POSTGRES, &on_postgres)].map(|(name, server)| Series {
        name,
        server,
        points: Vec::new(),
        half_rate: 0.0,
    });
    for connections in CONNECTION_COUNTS {
        let load = load.with_connections(connections);
        let served = lines.iter().map(|line| counted_entry(line.name, &load, line.server));
        let entries: Vec<_> =
            std::iter::once(baseline_entry(&load, &empty)).chain(served).collect();
        let all = rounds::checks(bench.plan, &entries)?;
        for line in &mut lines {
            let rates = Candidate::rates_of(&all, line.name);
            if connections == CONNECTIONS {
                line.half_rate = rates.median() / 2.0;
            }
            line.points.push((
                connections as f64,
                rates.relative_to(&Candidate::rates_of(&all, EMPTY_HANDLER)),
            ));
        }
        tables += &format!("\n{connections} connections:\n\n{}", Section::table(&all));
    }
    let mut aimed = Vec::new();
    for Series { name, server, half_rate: half, .. } in &lines {
        // The number of connections that together send at that rate, each after a pause.
        let connections = (half * f64::from(PAUSE_MS) / 1000.0).ceil() as usize;
        let load = load.with_connections(connections).with_pause(PAUSE_MS);
        let entries = [counted_entry(name, &load, server), baseline_entry(&load, &empty)];
        let all = rounds::checks(bench.plan, &entries)?;
        let rate = Candidate::rates_of(&all, name).median();
        let [p99, least] =
            [name, EMPTY_HANDLER].map(|name| Candidate::figures_of(&all, name, |run| run.p99));
        let what = format!(
            "{name}: p99 at half load, {rate:.0} checks a second (of {EMPTY_HANDLER} then: {least}), ms"
        );
        aimed.push(Aimed::at_most(what, 5.0, p99));
    }
    let series = lines.map(|line| (line.name, line.points));
    let plot = plot::lines("Checks, of an empty handler", "connections", &series);
    let note = format!("{} sessions.", databases.sessions);
    Ok(Section::new(aimed).note(note).more(&tables).plot(plot))
}

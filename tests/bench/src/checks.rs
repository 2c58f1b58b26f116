//! Checks: how many a second, of what an empty handler answers.

use std::path::Path;

use anyhow::Result;

use crate::figures::Figures;
use crate::load::{Load, Request};
use crate::report::{Aimed, Section};
use crate::rounds::{self, Contestant, Entry};
use crate::seed::{World, read_through};
use crate::server::Server;
use crate::{Bench, CONNECTIONS, counted, plot};

pub(crate) const EMPTY: &str = "an empty handler";
pub(crate) const SQLITE: &str = "parlance on SQLite";
pub(crate) const POSTGRES: &str = "parlance on PostgreSQL";

/// What is asked of an empty handler, and of a check.
const AIMS: [(&str, f64); 2] = [(SQLITE, 0.60), (POSTGRES, 0.55)];

/// Checks of polish-longtoken, each with another of these tokens.
pub(crate) fn load(home: &Path, world: &World, path: &str) -> Result<Load> {
    let request = |token: &String| {
        let more = [("X-Forwarded-Method", "GET"), ("X-Forwarded-Uri", "/")];
        let headers = [("X-Auth-Bearer", token.as_str()), more[0], more[1]];
        let forwarded = path == "/forward-auth";
        Request::new("GET", path, if forwarded { &headers } else { &headers[..1] })
    };
    let name = format!("checks-{}-{}", world.sessions, path.trim_start_matches('/'));
    Load::new(home, &name, world.secrets.iter().map(request), CONNECTIONS)
}

pub(crate) fn plain<'e>(load: &'e Load, empty: &Server) -> Entry<'e> {
    Entry { name: EMPTY, load, at: empty.address, counted: None }
}

pub(crate) fn checks(bench: &mut Bench) -> Result<Section> {
    let world = bench.world(bench.sessions)?.clone();
    let load = load(&bench.home, &world, "/login")?;
    let empty = Server::empty(&bench.home)?;
    let on_sqlite = bench.serve("sqlite", &world.sqlite, &[])?;
    let on_postgres = bench.serve("postgres", &world.postgres, &[])?;
    let entries = [
        plain(&load, &empty),
        counted(SQLITE, &load, &on_sqlite),
        counted(POSTGRES, &load, &on_postgres),
    ];
    let all = rounds::checks(bench.plan, &entries)?;
    let aimed = AIMS.map(|(name, aim)| Aimed::fraction(&all, name, EMPTY, aim));
    let note = format!("{} sessions, {CONNECTIONS} connections.", world.sessions);
    Ok(Section::new(aimed).note(note).contestants(&all))
}

pub(crate) fn scale(bench: &mut Bench) -> Result<Section> {
    const SIZES: [(usize, &str, &str); 3] = [
        (10_000, "SQLite, 10k sessions", "PostgreSQL, 10k sessions"),
        (1_000_000, "SQLite, 1M sessions", "PostgreSQL, 1M sessions"),
        (10_000_000, "SQLite, 10M sessions", "PostgreSQL, 10M sessions"),
    ];
    let mut parts = Vec::new();
    for (sessions, sqlite, postgres) in SIZES {
        let world = bench.world(sessions)?.clone();
        let load = load(&bench.home, &world, "/login")?;
        let name = |database: &str| format!("scale-{database}-{sessions}");
        let on_sqlite = bench.serve(&name("sqlite"), &world.sqlite, &[])?;
        let on_postgres = bench.serve(&name("postgres"), &world.postgres, &[])?;
        parts.push((load, [(sqlite, on_sqlite), (postgres, on_postgres)]));
    }
    let empty = Server::empty(&bench.home)?;
    let mut entries = Vec::new();
    for (load, servers) in &parts {
        if entries.is_empty() {
            entries.push(plain(load, &empty));
        }
        entries.extend(servers.iter().map(|(name, server)| counted(name, load, server)));
    }
    read_through(&bench.home, &bench.cluster)?;
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
                    Contestant::rates_of(&all, which(size)).of(&Contestant::rates_of(&all, EMPTY)),
                )
            })
            .collect()
    };
    let series = [("SQLite", fractions(|size| size.1)), ("PostgreSQL", fractions(|size| size.2))];
    let plot = plot::lines("Checks, of an empty handler", "sessions", &series);
    let note = format!("{CONNECTIONS} connections.");
    Ok(Section::new(aimed).note(note).contestants(&all).plot(plot))
}

/// A database's fractions by connections, and half of its rate.
struct Line<'s> {
    name: &'static str,
    server: &'s Server,
    points: Vec<(f64, Figures)>,
    half: f64,
}

pub(crate) fn connections(bench: &mut Bench) -> Result<Section> {
    const MANY: [usize; 4] = [1, 32, 128, 1000];
    /// Of the pauses at half load, in milliseconds, on average.
    const PAUSE: u32 = 10;
    let world = bench.world(bench.sessions)?.clone();
    let load = load(&bench.home, &world, "/login")?;
    let empty = Server::empty(&bench.home)?;
    let on_sqlite = bench.serve("sqlite", &world.sqlite, &[])?;
    let on_postgres = bench.serve("postgres", &world.postgres, &[])?;
    let mut tables = String::new();
    let mut lines = [(SQLITE, &on_sqlite), (POSTGRES, &on_postgres)].map(|(name, server)| Line {
        name,
        server,
        points: Vec::new(),
        half: 0.0,
    });
    for connections in MANY {
        let load = load.over(connections);
        let served = lines.iter().map(|line| counted(line.name, &load, line.server));
        let entries: Vec<_> = std::iter::once(plain(&load, &empty)).chain(served).collect();
        let all = rounds::checks(bench.plan, &entries)?;
        for line in &mut lines {
            let rates = Contestant::rates_of(&all, line.name);
            if connections == CONNECTIONS {
                line.half = rates.median() / 2.0;
            }
            line.points.push((connections as f64, rates.of(&Contestant::rates_of(&all, EMPTY))));
        }
        tables += &format!("\n{connections} connections:\n\n{}", Section::table(&all));
    }
    let mut aimed = Vec::new();
    for Line { name, server, half, .. } in &lines {
        // So many connections as ask at that rate, each after a pause.
        let connections = (half * f64::from(PAUSE) / 1000.0).ceil() as usize;
        let load = load.over(connections).pausing(PAUSE);
        let entries = [counted(name, &load, server), plain(&load, &empty)];
        let all = rounds::checks(bench.plan, &entries)?;
        let rate = Contestant::rates_of(&all, name).median();
        let [p99, least] =
            [name, EMPTY].map(|name| Contestant::figures_of(&all, name, |run| run.p99));
        let what = format!(
            "{name}: p99 at half load, {rate:.0} checks a second (of {EMPTY} then: {least}), ms"
        );
        aimed.push(Aimed::at_most(what, 5.0, p99));
    }
    let series = lines.map(|line| (line.name, line.points));
    let plot = plot::lines("Checks, of an empty handler", "connections", &series);
    let note = format!("{} sessions.", world.sessions);
    Ok(Section::new(aimed).note(note).more(&tables).plot(plot))
}

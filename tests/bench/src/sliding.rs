//! A dialect with a sliding lifetime beside one with a fixed lifetime: the same checks, and the rows that they write.

use std::process::Command;

use anyhow::{Context as _, Result};
use parlance_cluster_api::ClusterApi;

use crate::checks::load;
use crate::figures::Figures;
use crate::load::{Load, Request};
use crate::report::{Aimed, Section};
use crate::rounds::{self, Entry, measure};
use crate::{BenchContext, CONNECTIONS, counted_entry};

const FIXED: [&str; 2] = ["fixed, on SQLite", "fixed, on PostgreSQL"];
const SLIDING: [&str; 2] = ["sliding, on SQLite", "sliding, on PostgreSQL"];
/// The most sessions. A sliding session lives for ten minutes, so seeding and use of all of them must fit into that
/// time.
const MAX_SESSIONS: usize = 100_000;
/// Sessions in use: few enough that each is used many times a second.
const HOT_SESSIONS: usize = 1000;

pub(crate) fn sliding(bench: &mut BenchContext) -> Result<Section> {
    let sessions = bench.sessions.min(MAX_SESSIONS);
    let fixed = bench.databases(sessions)?.clone();
    let sliding = bench.seed_databases(&ClusterApi::default(), sessions)?;
    let fixed_load = load(&bench.home, &fixed, "/login")?;
    let request =
        |token: &String| Request::form("/api/login", &[], &format!("access_token={token}"));
    let sliding_load =
        Load::new(&bench.home, "sliding", sliding.secrets.iter().map(request), CONNECTIONS)?;
    let hot = sliding.secrets.iter().take(HOT_SESSIONS).map(request);
    let hot = Load::new(&bench.home, "sliding-hot", hot, CONNECTIONS)?;
    let on = |name: &str, url| bench.serve(&format!("sliding-{name}"), url, &[]);
    let servers = [
        (on("a", &fixed.sqlite)?, on("b", &sliding.sqlite)?),
        (on("c", &fixed.postgres)?, on("d", &sliding.postgres)?),
    ];
    let mut entries = Vec::new();
    for (((on_fixed, on_sliding), fixed), sliding) in servers.iter().zip(FIXED).zip(SLIDING) {
        entries.push(counted_entry(fixed, &fixed_load, on_fixed));
        let (load, at) = (&sliding_load, on_sliding.address);
        entries.push(Entry { name: sliding, load, at, counted: Some((on_sliding, "cluster-api")) });
    }
    let all = rounds::checks(bench.plan, &entries)?;
    let mut aimed: Vec<_> = FIXED
        .into_iter()
        .zip(SLIDING)
        .map(|(fixed, sliding)| Aimed::fraction(&all, sliding, fixed, 0.90))
        .collect();

    // PostgreSQL counts the written rows.
    let [_, (on_fixed, on_sliding)] = &servers;
    let (mut of_fixed, mut of_sliding, mut a_second) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..bench.plan.rounds {
        let rows = |url: &str, entry: Entry<'_>| {
            let before = rows_written(url)?;
            let run = measure(entry, "checks", bench.plan.checks)?;
            anyhow::Ok((rows_written(url)? - before, run))
        };
        let (rows_fixed, run) = rows(&fixed.postgres, counted_entry("", &fixed_load, on_fixed))?;
        of_fixed.push(1000.0 * rows_fixed / run.answers as f64);
        let at = on_sliding.address;
        let counted = Some((on_sliding, "cluster-api"));
        let (rows_sliding, run) =
            rows(&sliding.postgres, Entry { name: "", load: &hot, at, counted })?;
        of_sliding.push(1000.0 * rows_sliding / run.answers as f64);
        let seconds = run.answers as f64 / run.rate;
        a_second.push(rows_sliding / (HOT_SESSIONS as f64 * (seconds + 1.0)));
    }
    let figures = Figures::from_iter;
    aimed.push(Aimed::at_most("rows written per 1000 checks, fixed", 0.0, figures(of_fixed)));
    let what = format!("rows written per 1000 checks, sliding, {HOT_SESSIONS} sessions in use");
    aimed.push(Aimed::open(what, figures(of_sliding)));
    let what = "rows written per session in use and second, sliding";
    aimed.push(Aimed::at_most(what, 1.0, figures(a_second)));
    let note = format!("{sessions} sessions, {CONNECTIONS} connections.");
    Ok(Section::new(aimed).note(note).more(&Section::table(&all)))
}

/// Number of rows of sessions that PostgreSQL has written so far. Waits for the touches of the last second and for
/// PostgreSQL's own delay of its counters.
fn rows_written(url: &str) -> Result<f64> {
    let query = "SELECT n_tup_ins + n_tup_upd + n_tup_del FROM pg_stat_user_tables WHERE relname = 'sessions'";
    let output = Command::new("psql")
        .args(["-X", "-At", "-c", "DO $$BEGIN PERFORM pg_sleep(3); END$$", "-c", query, url])
        .output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines().last().unwrap_or_default().parse().with_context(|| format!("psql said {text}"))
}

//! Memory, and the time from start to ready.

use anyhow::Result;

use crate::checks::{POSTGRES, SQLITE, load};
use crate::figures::Figures;
use crate::report::{Aimed, Section};
use crate::{BenchContext, CONNECTIONS, counted_entry, rounds};

pub(crate) fn footprint(bench: &mut BenchContext) -> Result<Section> {
    let databases = bench.databases(bench.sessions)?.clone();
    let load = load(&bench.home, &databases, "/login")?;
    let mut aimed = Vec::new();
    for (name, url) in [(SQLITE, &databases.sqlite), (POSTGRES, &databases.postgres)] {
        let folder = format!("footprint-{}", url.split(':').next().unwrap_or_default());
        // The first start makes the signing keys.
        drop(bench.serve(&folder, url, &[])?);
        let (mut ready, mut start) = (Vec::new(), Vec::new());
        let (mut under_load, mut mapped) = (Vec::new(), Vec::new());
        for round in 1..=bench.plan.rounds {
            let server = bench.serve(&folder, url, &[])?;
            ready.push(server.startup_time.as_secs_f64() * 1000.0);
            start.push(server.memory("VmRSS")?);
            let run =
                rounds::measure(counted_entry(name, &load, &server), "checks", bench.plan.checks)?;
            // The peak counts pages of the file that SQLite maps, once for each of its connections; the system has them anyway.
            let pages = server.memory("RssFile")?;
            under_load.push(server.memory("VmHWM")? - pages);
            mapped.push(pages);
            rounds::print_round(round, name, format_args!("{:>9.0}/s", run.rate));
        }
        let figures = Figures::from_iter;
        let what = |what: &str| format!("{name}: {what}");
        aimed.push(Aimed::at_most(what("from start to ready, ms"), 150.0, figures(ready)));
        aimed.push(Aimed::at_most(what("memory at start, MiB"), 40.0, figures(start)));
        let most = what("most memory under load, without mapped files, MiB");
        aimed.push(Aimed::at_most(most, 100.0, figures(under_load)));
        aimed.push(Aimed::open(what("pages of mapped files then, MiB"), figures(mapped)));
    }
    let note = format!("{} sessions, {CONNECTIONS} connections.", databases.sessions);
    Ok(Section::new(aimed).note(note))
}

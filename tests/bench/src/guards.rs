//! The ways to guard an app by sessions: an integrator's app, forward auth, and nginx before either.

use std::net::SocketAddr;

use anyhow::{Context as _, Result};

use crate::checks::{SQLITE, load};
use crate::report::{Aimed, Section};
use crate::rounds::{self, Entry};
use crate::server::Server;
use crate::{BenchContext, CONNECTIONS, counted_entry};

const GUARD: &str = "an app's guard";
const FORWARD: &str = "forward auth";
const ASSERTED: &str = "forward auth, asserted";
const NGINX: &str = "nginx and forward auth";
const NGINX_EMPTY: &str = "nginx and an empty handler";

/// The aims: contestant, baseline, least fraction of the baseline's rate.
const AIMS: [(&str, &str, f64); 4] = [
    (GUARD, SQLITE, 0.90),
    (FORWARD, SQLITE, 0.90),
    (ASSERTED, SQLITE, 0.60),
    (NGINX, NGINX_EMPTY, 0.80),
];

/// Measures all of them on SQLite, beside the plain check.
pub(crate) fn guards(bench: &mut BenchContext) -> Result<Section> {
    let databases = bench.databases(bench.sessions)?.clone();
    let home = &bench.home;
    let check = load(home, &databases, "/login")?;
    let at_guard = load(home, &databases, "/guarded")?;
    let at_forward = load(home, &databases, "/forward-auth")?;
    let file = home.join("asserted.toml");
    std::fs::write(
        &file,
        "assertion_issuer = \"https://login.example\"\n[forward_auth]\naudience = \"app\"\n",
    )?;
    let on_sqlite = bench.serve("sqlite", &databases.sqlite, &[])?;
    let plain = bench.serve("forward", &databases.sqlite, &[])?;
    let with = ["--config", &file.display().to_string()];
    let asserted = bench.serve("asserted", &databases.sqlite, &with)?;
    let app = Server::guarded(&home.join("guarded"), &databases.sqlite, &bench.key_file())?;
    // The empty handler that nginx asks is a process of its own, as parlance is.
    let (empty, asked) = (Server::empty(home)?, Server::empty(&home.join("asked"))?);
    let admin = |server: &Server| server.admin.context("no admin listener");
    let ask = |at: SocketAddr| format!("{at}/forward-auth");
    let nginx = Server::nginx(&home.join("nginx"), &ask(admin(&plain)?), empty.address)?;
    let nginx_empty = Server::nginx(&home.join("nginx-empty"), &ask(asked.address), empty.address)?;
    let entry = |name, load, at, counted: Option<_>| Entry { name, load, at, counted };
    let count = |server| Some((server, "polish-longtoken"));
    let entries = [
        counted_entry(SQLITE, &check, &on_sqlite),
        entry(GUARD, &at_guard, app.address, None),
        entry(FORWARD, &at_forward, admin(&plain)?, count(&plain)),
        entry(ASSERTED, &at_forward, admin(&asserted)?, count(&asserted)),
        entry(NGINX, &at_guard, nginx.address, count(&plain)),
        entry(NGINX_EMPTY, &at_guard, nginx_empty.address, None),
    ];
    let all = rounds::checks(bench.plan, &entries)?;
    let aimed = AIMS.map(|(name, whole, aim)| Aimed::fraction(&all, name, whole, aim));
    let note = format!("{} sessions, {CONNECTIONS} connections.", databases.sessions);
    Ok(Section::new(aimed).note(note).candidates(&all))
}

//! What guards by sessions: an integrator's app, forward auth, and nginx before either.

use std::net::SocketAddr;

use anyhow::{Context as _, Result};

use crate::checks::{SQLITE, load};
use crate::report::{Aimed, Section};
use crate::rounds::{self, Entry};
use crate::server::Server;
use crate::{Bench, CONNECTIONS, counted};

const GUARD: &str = "an app's guard";
const FORWARD: &str = "forward auth";
const ASSERTED: &str = "forward auth, asserted";
const NGINX: &str = "nginx and forward auth";
const NGINX_EMPTY: &str = "nginx and an empty handler";

/// Who is to reach how much of whom.
const AIMS: [(&str, &str, f64); 4] = [
    (GUARD, SQLITE, 0.90),
    (FORWARD, SQLITE, 0.90),
    (ASSERTED, SQLITE, 0.60),
    (NGINX, NGINX_EMPTY, 0.80),
];

/// All of it at work on SQLite, beside the plain check.
pub(crate) fn guards(bench: &mut Bench) -> Result<Section> {
    let world = bench.world(bench.sessions)?.clone();
    let home = &bench.home;
    let check = load(home, &world, "/login")?;
    let at_guard = load(home, &world, "/guarded")?;
    let at_forward = load(home, &world, "/forward-auth")?;
    let file = home.join("asserted.toml");
    std::fs::write(
        &file,
        "assertion_issuer = \"https://login.example\"\n[forward_auth]\naudience = \"app\"\n",
    )?;
    let on_sqlite = bench.serve("sqlite", &world.sqlite, &[])?;
    let plain = bench.serve("forward", &world.sqlite, &[])?;
    let with = ["--config", &file.display().to_string()];
    let asserted = bench.serve("asserted", &world.sqlite, &with)?;
    let app = Server::guarded(&home.join("guarded"), &world.sqlite, &bench.key_file())?;
    // Who is asked is a process of his own, as parlance is.
    let (empty, asked) = (Server::empty(home)?, Server::empty(&home.join("asked"))?);
    let admin = |server: &Server| server.admin.context("no admin listener");
    let ask = |at: SocketAddr| format!("{at}/forward-auth");
    let nginx = Server::nginx(&home.join("nginx"), &ask(admin(&plain)?), empty.address)?;
    let nginx_empty = Server::nginx(&home.join("nginx-empty"), &ask(asked.address), empty.address)?;
    let entry = |name, load, at, counted: Option<_>| Entry { name, load, at, counted };
    let count = |server| Some((server, "polish-longtoken"));
    let entries = [
        counted(SQLITE, &check, &on_sqlite),
        entry(GUARD, &at_guard, app.address, None),
        entry(FORWARD, &at_forward, admin(&plain)?, count(&plain)),
        entry(ASSERTED, &at_forward, admin(&asserted)?, count(&asserted)),
        entry(NGINX, &at_guard, nginx.address, count(&plain)),
        entry(NGINX_EMPTY, &at_guard, nginx_empty.address, None),
    ];
    let all = rounds::checks(bench.plan, &entries)?;
    let aimed = AIMS.map(|(name, whole, aim)| Aimed::fraction(&all, name, whole, aim));
    let note = format!("{} sessions, {CONNECTIONS} connections.", world.sessions);
    Ok(Section::new(aimed).note(note).contestants(&all))
}

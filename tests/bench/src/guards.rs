//! What guards by sessions: an integrator's app, forward auth, and nginx before either.

use std::net::SocketAddr;
use std::path::Path;

use anyhow::{Context as _, Result};

use crate::load::Load;
use crate::rounds::Entry;
use crate::server::Server;

const GUARD: &str = "an app's guard";
const FORWARD: &str = "forward auth";
const ASSERTED: &str = "forward auth, asserted";
const NGINX: &str = "nginx and forward auth";
const NGINX_EMPTY: &str = "nginx and an empty handler";
const CHECK: &str = "parlance on SQLite";

/// Who is to reach how much of whom.
pub(crate) const AIMS: &[(&str, &str, f64)] = &[
    (GUARD, CHECK, 0.90),
    (FORWARD, CHECK, 0.90),
    (ASSERTED, CHECK, 0.60),
    (NGINX, NGINX_EMPTY, 0.80),
];

/// All of it at work, on the SQLite database of the plain checks.
pub(crate) struct Guards {
    app: Server,
    plain: Server,
    asserted: Server,
    nginx: Server,
    nginx_empty: Server,
    at_guard: Load,
    at_forward: Load,
}

impl Guards {
    pub(crate) fn start(
        home: &Path,
        database: &str,
        empty: &Server,
        load: &Load,
        start: &impl Fn(&str, &str, &[&str]) -> Result<Server>,
    ) -> Result<Self> {
        let file = home.join("asserted.toml");
        std::fs::write(
            &file,
            "assertion_issuer = \"https://login.example\"\n[forward_auth]\naudience = \"app\"\n",
        )?;
        // One key file for all that share the database.
        let key = home.join("sqlite/parlance.key").display().to_string();
        let with_key = |name: &str, more: &[&str]| {
            std::fs::create_dir_all(home.join(name))?;
            std::fs::copy(&key, home.join(name).join("parlance.key"))?;
            start(name, database, more)
        };
        let plain = with_key("forward", &[])?;
        let asserted = with_key("asserted", &["--config", &file.display().to_string()])?;
        let ask = |admin: SocketAddr| format!("{admin}/forward-auth");
        let admin = plain.admin.context("no admin listener")?;
        Ok(Self {
            app: Server::guarded(home, database)?,
            nginx: Server::nginx(&home.join("nginx"), &ask(admin), empty.address)?,
            nginx_empty: Server::nginx(
                &home.join("nginx-empty"),
                &ask(empty.address),
                empty.address,
            )?,
            plain,
            asserted,
            at_guard: load.at("/guarded"),
            at_forward: load.at("/forward-auth"),
        })
    }

    pub(crate) fn entries(&self) -> impl Iterator<Item = Entry<'_>> {
        let admin = |server: &Server| server.admin.unwrap_or(server.address);
        let entry = |name, load, at, counted| Entry { name, load, at, counted };
        [
            entry(GUARD, &self.at_guard, self.app.address, None),
            entry(FORWARD, &self.at_forward, admin(&self.plain), Some(&self.plain)),
            entry(ASSERTED, &self.at_forward, admin(&self.asserted), Some(&self.asserted)),
            entry(NGINX, &self.at_guard, self.nginx.address, Some(&self.plain)),
            entry(NGINX_EMPTY, &self.at_guard, self.nginx_empty.address, None),
        ]
        .into_iter()
    }
}

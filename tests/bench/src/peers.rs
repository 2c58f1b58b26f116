//! Peers: what others who keep sessions answer, each as its users run it, in the same rounds as parlance.

mod install;

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use self::install::Installed;
use crate::checks::{SQLITE, load};
use crate::load::{Load, Request};
use crate::report::{Aimed, Section};
use crate::rounds::{self, Entry};
use crate::server::Server;
use crate::{Bench, CONNECTIONS, counted};

/// How many sessions everybody has at most: what the slowest fills in some seconds.
const SESSIONS: usize = 100_000;

/// How many seconds an answer may take: some do a few hundred a second for all connections.
const PATIENCE: u32 = 10;

/// Somebody to be measured beside. Its program opens a session for each user `user-N`, writes line by line into `credentials` what they
/// show, into `unknown` what nobody has been given, and says where it listens.
struct Peer {
    name: &'static str,
    /// How many times as much parlance is to do.
    aim: f64,
    /// The question whose session this is.
    ask: fn(&str) -> Request,
    start: fn(&Installed, &Path, usize) -> Result<Vec<Server>>,
}

const PEERS: [Peer; 4] = [
    Peer {
        name: "django-rest-knox",
        aim: 8.0,
        ask: |shown| Request::new("GET", "/me", &[("Authorization", shown)]),
        start: |installed, folder, sessions| {
            Ok(vec![Server::start(with(installed.knox(), sessions), folder)?])
        },
    },
    Peer {
        name: "Better Auth",
        aim: 8.0,
        ask: |shown| Request::new("GET", "/api/auth/get-session", &[("Cookie", shown)]),
        start: |installed, folder, sessions| {
            Ok(vec![Server::start(with(installed.node("better-auth.js"), sessions), folder)?])
        },
    },
    Peer {
        name: "oidc-provider",
        aim: 8.0,
        ask: |shown| {
            let client = format!("Basic {}", STANDARD.encode("bench:bench-secret"));
            let headers = [("Authorization", client.as_str())];
            Request::form("/token/introspection", &headers, &format!("token={shown}"))
        },
        start: |installed, folder, sessions| {
            Ok(vec![Server::start(with(installed.node("oidc-provider.js"), sessions), folder)?])
        },
    },
    Peer {
        name: "actix-session with Redis",
        aim: 1.0,
        ask: |shown| Request::new("GET", "/me", &[("Cookie", shown)]),
        start: |installed, folder, sessions| {
            let redis = Server::redis(&folder.join("redis"))?;
            let mut command = with(installed.actix_session(), sessions);
            command.env("REDIS", format!("redis://{}", redis.address));
            // In the order in which they are to end.
            Ok(vec![Server::start(command, folder)?, redis])
        },
    },
];

fn with(mut command: std::process::Command, sessions: usize) -> std::process::Command {
    command.env("SESSIONS", sessions.to_string());
    command
}

/// A peer that runs, the first of its processes being asked.
struct Running {
    peer: &'static Peer,
    servers: Vec<Server>,
    load: Load,
}

impl Running {
    fn start(
        bench: &Bench,
        installed: &Installed,
        peer: &'static Peer,
        sessions: usize,
    ) -> Result<Self> {
        println!("starting {} with {sessions} sessions", peer.name);
        let name = peer.name.replace(' ', "-").to_lowercase();
        let folder = bench.home.join(&name);
        let servers = (peer.start)(installed, &folder, sessions)?;
        let shown = fs::read_to_string(folder.join("credentials"))?;
        let load = Load::new(&bench.home, &name, shown.lines().map(peer.ask), CONNECTIONS)?;
        let load = load.patient(PATIENCE);
        let running = Self { peer, servers, load };
        running.look(&shown, &fs::read_to_string(folder.join("unknown"))?)?;
        Ok(running)
    }

    fn front(&self) -> Result<&Server> {
        self.servers.first().context("nobody listens")
    }

    /// Whether it knows who asks, so that nothing is measured but checks.
    fn look(&self, shown: &str, unknown: &str) -> Result<()> {
        let name = self.peer.name;
        let answer = |shown| (self.peer.ask)(shown).answer(self.front()?.address);
        for (number, shown) in shown.lines().enumerate().step_by(997) {
            let said = answer(shown)?;
            let knows =
                said.starts_with("HTTP/1.1 200 ") && said.contains(&format!("\"user-{number}\""));
            ensure!(knows, "{name} does not know user-{number}: {said}");
        }
        let said = answer(unknown.trim_end())?;
        let refuses =
            ["HTTP/1.1 200 ", "HTTP/1.1 401 "].iter().any(|start| said.starts_with(start))
                && !said.contains("user-");
        ensure!(refuses, "{name} does not refuse what nobody has been given: {said}");
        Ok(())
    }

    fn entry(&self) -> Result<Entry<'_>> {
        Ok(Entry {
            name: self.peer.name,
            load: &self.load,
            at: self.front()?.address,
            counted: None,
        })
    }
}

/// All of them, and parlance as it comes.
pub(crate) fn peers(bench: &mut Bench) -> Result<Section> {
    let sessions = bench.sessions.min(SESSIONS);
    let installed = Installed::below_target()?;
    let world = bench.world(sessions)?.clone();
    let check = load(&bench.home, &world, "/login")?;
    let on_sqlite = bench.serve("sqlite", &world.sqlite, &[])?;
    let running: Vec<_> = PEERS
        .iter()
        .map(|peer| Running::start(bench, &installed, peer, sessions))
        .collect::<Result<_>>()?;
    let mut entries = vec![counted(SQLITE, &check, &on_sqlite)];
    for one in &running {
        entries.push(one.entry()?);
    }
    let all = rounds::checks(bench.plan, &entries)?;
    let aimed = PEERS.iter().map(|peer| Aimed::fraction(&all, SQLITE, peer.name, peer.aim));
    let note = format!(
        "{sessions} sessions, {CONNECTIONS} connections. Beside it: {}.",
        installed.versions()
    );
    Ok(Section::new(aimed).note(note).contestants(&all))
}

//! Peers: other software that keeps sessions, each run as its users run it, in the same rounds as parlance.
//!
//! A comparison is worth as much as its settings. Therefore no peer loses by a setting of ours, and none wins without a
//! look-up:
//!
//! - Each peer has the processes that its documentation advises for the machine's cores, kept connections to its
//!   database, one session a user, and no rate limit.
//! - None has a cache that would outlive a revocation, since parlance has none.
//! - The sessions are made by the peer's own code or in its own format, so that a check does all its work: signatures,
//!   digests, expiry.
//! - Before the rounds, the peer must name the caller and refuse an invented credential. A status alone proves nothing:
//!   Better Auth answers 200 to a session that does not exist. The rounds do not read the answers.
//!
//! The dependencies of a peer are pinned by the lock files in `tests/bench/peers` and lie below `target`. They are not
//! dependencies of parlance, and are not checked as such.

mod install;

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use self::install::InstalledPeers;
use crate::checks::{SQLITE, load};
use crate::load::{Load, Request};
use crate::report::{Aimed, Section};
use crate::rounds::{self, Entry};
use crate::server::Server;
use crate::{BenchContext, CONNECTIONS, counted_entry};

/// The most sessions of each contestant: as many as the slowest peer creates in some seconds.
const MAX_SESSIONS: usize = 100_000;

/// Timeout for an answer, in seconds: some peers answer a few hundred requests a second over all connections.
const ANSWER_TIMEOUT_SECONDS: u32 = 10;

/// A peer. Its program opens a session for each user `user-N`, writes the credentials into `credentials`, one a line,
/// writes a credential without a session into `unknown`, and announces its address.
struct Peer {
    name: &'static str,
    /// The aim: the rate of parlance as a multiple of the peer's rate.
    aim: f64,
    /// The request that asks for the owner of this session.
    request: fn(&str) -> Request,
    start: fn(&InstalledPeers, &Path, usize) -> Result<Vec<Server>>,
}

const PEERS: [Peer; 4] = [
    Peer {
        name: "django-rest-knox",
        aim: 8.0,
        request: |shown| Request::new("GET", "/me", &[("Authorization", shown)]),
        start: |installed, folder, sessions| {
            Ok(vec![Server::start(with_sessions(installed.knox(), sessions), folder)?])
        },
    },
    Peer {
        name: "Better Auth",
        aim: 8.0,
        request: |shown| Request::new("GET", "/api/auth/get-session", &[("Cookie", shown)]),
        start: |installed, folder, sessions| {
            Ok(vec![Server::start(
                with_sessions(installed.node("better-auth.js"), sessions),
                folder,
            )?])
        },
    },
    Peer {
        name: "oidc-provider",
        aim: 8.0,
        request: |shown| {
            let client = format!("Basic {}", STANDARD.encode("bench:bench-secret"));
            let headers = [("Authorization", client.as_str())];
            Request::form("/token/introspection", &headers, &format!("token={shown}"))
        },
        start: |installed, folder, sessions| {
            Ok(vec![Server::start(
                with_sessions(installed.node("oidc-provider.js"), sessions),
                folder,
            )?])
        },
    },
    Peer {
        name: "actix-session with Redis",
        aim: 1.0,
        request: |shown| Request::new("GET", "/me", &[("Cookie", shown)]),
        start: |installed, folder, sessions| {
            let redis = Server::redis(&folder.join("redis"))?;
            let mut command = with_sessions(installed.actix_session(), sessions);
            command.env("REDIS", format!("redis://{}", redis.address));
            // In the order in which they are to end.
            Ok(vec![Server::start(command, folder)?, redis])
        },
    },
];

fn with_sessions(mut command: std::process::Command, sessions: usize) -> std::process::Command {
    command.env("SESSIONS", sessions.to_string());
    command
}

/// A running peer; its first process answers the requests.
struct RunningPeer {
    peer: &'static Peer,
    servers: Vec<Server>,
    load: Load,
}

impl RunningPeer {
    fn start(
        bench: &BenchContext,
        installed: &InstalledPeers,
        peer: &'static Peer,
        sessions: usize,
    ) -> Result<Self> {
        println!("starting {} with {sessions} sessions", peer.name);
        let name = peer.name.replace(' ', "-").to_lowercase();
        let folder = bench.home.join(&name);
        let servers = (peer.start)(installed, &folder, sessions)?;
        let shown = fs::read_to_string(folder.join("credentials"))?;
        let load = Load::new(&bench.home, &name, shown.lines().map(peer.request), CONNECTIONS)?;
        let load = load.with_timeout(ANSWER_TIMEOUT_SECONDS);
        let running = Self { peer, servers, load };
        running.verify(&shown, &fs::read_to_string(folder.join("unknown"))?)?;
        Ok(running)
    }

    fn front(&self) -> Result<&Server> {
        self.servers.first().context("no server listens")
    }

    /// Checks that the peer knows its sessions and refuses an unknown one, so that the rounds measure checks and
    /// nothing else.
    fn verify(&self, shown: &str, unknown: &str) -> Result<()> {
        let name = self.peer.name;
        let answer = |shown| (self.peer.request)(shown).send(self.front()?.address);
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
        ensure!(refuses, "{name} does not refuse a credential that was never issued: {said}");
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

/// Measures all peers, and parlance with its defaults.
pub(crate) fn peers(bench: &mut BenchContext) -> Result<Section> {
    let sessions = bench.sessions.min(MAX_SESSIONS);
    let installed = InstalledPeers::install()?;
    let databases = bench.databases(sessions)?.clone();
    let check = load(&bench.home, &databases, "/login")?;
    let on_sqlite = bench.serve("sqlite", &databases.sqlite, &[])?;
    let running: Vec<_> = PEERS
        .iter()
        .map(|peer| RunningPeer::start(bench, &installed, peer, sessions))
        .collect::<Result<_>>()?;
    let mut entries = vec![counted_entry(SQLITE, &check, &on_sqlite)];
    for one in &running {
        entries.push(one.entry()?);
    }
    let all = rounds::checks(bench.plan, &entries)?;
    let aimed = PEERS.iter().map(|peer| Aimed::fraction(&all, SQLITE, peer.name, peer.aim));
    let note = format!(
        "{sessions} sessions, {CONNECTIONS} connections. Beside it: {}.",
        installed.versions()
    );
    Ok(Section::new(aimed).note(note).candidates(&all))
}

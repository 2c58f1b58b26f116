//! An app of an integrator's: a program that takes an address and says where it listens.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::log::Lines;
use super::{Held, Request, Response, Wire, http};

/// The user that every such app makes.
pub(crate) const ALICE: (&str, &str) = ("alice", "correct horse");

/// A running app; killed when it is dropped.
pub(crate) struct App {
    address: SocketAddr,
    prefix: &'static str,
    pub(crate) out: Lines,
    child: Child,
}

impl App {
    /// Starts a program in this folder, on any free port, and waits until it says where it listens. Its dialects stand under the prefix.
    #[track_caller]
    pub(crate) fn start(program: &Path, folder: &Path, prefix: &'static str) -> Self {
        Self::start_with(program, folder, prefix, Vec::new())
    }

    /// As [`Self::start`], with variables of the environment.
    #[track_caller]
    pub(crate) fn start_with(
        program: &Path,
        folder: &Path,
        prefix: &'static str,
        variables: Vec<(String, String)>,
    ) -> Self {
        let mut command = Command::new(program);
        command.arg("127.0.0.1:0").current_dir(folder).envs(variables);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let out = Lines::of(child.stdout.take().unwrap());
        let log = Lines::of(child.stderr.take().unwrap());
        let address = out.line_with("listening on ").and_then(|line| {
            line.trim_end().strip_prefix("listening on [")?.strip_suffix(']')?.parse().ok()
        });
        let Some(address) = address else {
            let _killed = child.kill().and_then(|()| child.wait());
            panic!("{command:?} did not listen: {}\n{}", out.text(), log.whole());
        };
        Self { address, prefix, out, child }
    }

    #[track_caller]
    pub(crate) fn send(&self, request: &Request) -> Response {
        http::send(self.address, request)
    }

    /// Sends a request of a dialect's own, to where its paths stand.
    #[track_caller]
    fn dialect(&self, request: Request) -> Response {
        self.send(&Request { target: format!("{}{}", self.prefix, request.target), ..request })
    }

    /// Logs in, is let pass, logs out, is refused; and so is whoever never logged in.
    #[track_caller]
    pub(crate) fn drive(&self, wire: Wire) {
        let answer = self.dialect(wire.login(ALICE.0, ALICE.1));
        let held = wire.opened(ALICE.0, &answer).unwrap_or_else(|odd| panic!("{wire:?}: {odd:?}"));
        let passed = self.whoami(&held);
        assert_eq!(passed.text(), format!("alice by {}\n", wire.name()), "{wire:?}");
        let stranger = self.send(&Request::post("/private/whoami"));
        assert!(!stranger.text().contains("alice") && stranger.status < 500, "{stranger:?}");
        let wrong = self.dialect(wire.login(ALICE.0, "wrong"));
        assert!(wire.opened(ALICE.0, &wrong).is_err(), "{wire:?}: {wrong:?}");
        let left = self.dialect(held.logout());
        assert_eq!(held.left(&left), super::Verdict::Yes, "{wire:?}");
        let refused = self.whoami(&held);
        let status = if wire == Wire::Cluster { 200 } else { 401 };
        assert_eq!(refused.status, status, "{wire:?}: {refused:?}");
        assert!(!refused.text().contains("alice"), "{wire:?}: {refused:?}");
    }

    /// A guarded handler of the app's own, asked with what a client holds.
    #[track_caller]
    pub(crate) fn whoami(&self, held: &Held) -> Response {
        self.send(&held.shown(Request::post("/private/whoami")))
    }
}

impl Drop for App {
    fn drop(&mut self) {
        let _killed = self.child.kill().and_then(|()| self.child.wait());
    }
}

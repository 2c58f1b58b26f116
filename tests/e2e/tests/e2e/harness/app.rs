//! An integrator's app: a program that takes an address and prints the address of its listener.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::log::Lines;
use super::{HeldSession, Request, Response, Wire, http};

/// The user that every such app creates.
pub(crate) const ALICE: (&str, &str) = ("alice", "correct horse");

/// A running app, killed on drop.
pub(crate) struct App {
    address: SocketAddr,
    prefix: &'static str,
    pub(crate) out: Lines,
    child: Child,
}

impl App {
    /// Starts a program in this folder, on any free port, and waits for the line with its address. The dialects are
    /// mounted under the prefix.
    #[track_caller]
    pub(crate) fn start(program: &Path, folder: &Path, prefix: &'static str) -> Self {
        Self::start_with(program, folder, prefix, Vec::new())
    }

    /// As [`Self::start`], with these environment variables.
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
        let out = Lines::read(child.stdout.take().unwrap());
        let log = Lines::read(child.stderr.take().unwrap());
        let address = out.wait_for_line("listening on ").and_then(|line| {
            line.trim_end().strip_prefix("listening on [")?.strip_suffix(']')?.parse().ok()
        });
        let Some(address) = address else {
            let _killed = child.kill().and_then(|()| child.wait());
            panic!("{command:?} did not listen: {}\n{}", out.text(), log.wait_for_end());
        };
        Self { address, prefix, out, child }
    }

    #[track_caller]
    pub(crate) fn send(&self, request: &Request) -> Response {
        http::send(self.address, request)
    }

    /// Sends a dialect's request under the prefix.
    #[track_caller]
    fn send_to_dialect(&self, request: Request) -> Response {
        self.send(&Request { target: format!("{}{}", self.prefix, request.target), ..request })
    }

    /// Logs in, passes the guard, logs out, and is refused. A request without a login and a login with a wrong password
    /// are refused too.
    #[track_caller]
    pub(crate) fn run_session(&self, wire: Wire) {
        let answer = self.send_to_dialect(wire.login_request(ALICE.0, ALICE.1));
        let held =
            wire.parse_login(ALICE.0, &answer).unwrap_or_else(|odd| panic!("{wire:?}: {odd:?}"));
        let passed = self.whoami(&held);
        assert_eq!(passed.text(), format!("alice by {}\n", wire.name()), "{wire:?}");
        let stranger = self.send(&Request::post("/private/whoami"));
        assert!(!stranger.text().contains("alice") && stranger.status < 500, "{stranger:?}");
        let wrong = self.send_to_dialect(wire.login_request(ALICE.0, "wrong"));
        assert!(wire.parse_login(ALICE.0, &wrong).is_err(), "{wire:?}: {wrong:?}");
        let left = self.send_to_dialect(held.logout_request());
        assert_eq!(held.logout_verdict(&left), super::Verdict::Accepted, "{wire:?}");
        let refused = self.whoami(&held);
        let status = if wire == Wire::Cluster { 200 } else { 401 };
        assert_eq!(refused.status, status, "{wire:?}: {refused:?}");
        assert!(!refused.text().contains("alice"), "{wire:?}: {refused:?}");
    }

    /// Calls a guarded handler of the app with this credential.
    #[track_caller]
    pub(crate) fn whoami(&self, held: &HeldSession) -> Response {
        self.send(&held.attach_to(Request::post("/private/whoami")))
    }
}

impl Drop for App {
    fn drop(&mut self) {
        let _killed = self.child.kill().and_then(|()| self.child.wait());
    }
}

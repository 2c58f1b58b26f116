//! Requests worth breaking: what the conformance vectors send, and what shows a session that lives.

use std::cell::RefCell;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use parlance::core::Timestamp;
use parlance::core::ports::Clock as _;
use parlance::dialect::Request;
use parlance::dialect::testing::World;
use parlance::table::{Parts, TABLE};
use parlance_conformance::process::{Handler as _, Hands, InProcess, Mounted};
use parlance_conformance::{Operation, Received, Sent, Users, embedded, run_file};

use crate::booth::{Booth, PEER, known};

/// A request as a text, taken apart: the request line and header lines, an empty line, the body. What does not fit is left out, since any
/// bytes must do.
pub(crate) struct Raw<'d> {
    pub(crate) method: &'d str,
    pub(crate) path: &'d str,
    pub(crate) query: Option<&'d str>,
    pub(crate) headers: Vec<(&'d str, &'d [u8])>,
    pub(crate) body: &'d [u8],
}

impl<'d> Raw<'d> {
    pub(crate) fn parse(data: &'d [u8]) -> Self {
        let (head, body) = split(data, b"\n\n").unwrap_or((data, b""));
        let mut lines = head.split(|byte| *byte == b'\n');
        let line = lines.next().and_then(|line| std::str::from_utf8(line).ok()).unwrap_or("");
        let (method, target) = line.split_once(' ').unwrap_or((line, "/"));
        let (path, query) =
            target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
        let header = |line: &'d [u8]| {
            let (name, value) = split(line, b": ")?;
            Some((std::str::from_utf8(name).ok()?, value))
        };
        Self { method, path, query, headers: lines.filter_map(header).collect(), body }
    }
}

impl Raw<'_> {
    /// As the client of a booth sends it.
    pub(crate) fn request(&self, booth: &Booth) -> Request<'_> {
        Request {
            method: self.method,
            path: self.path,
            query: self.query,
            headers: &self.headers,
            body: self.body,
            peer: Some(PEER),
            secure: false,
            now: booth.world.clock.now(),
        }
    }
}

/// What stands before and after the first of these bytes.
pub(crate) fn split<'d>(data: &'d [u8], at: &[u8]) -> Option<(&'d [u8], &'d [u8])> {
    let start = data.windows(at.len()).position(|window| window == at)?;
    Some((data.get(..start)?, data.get(start + at.len()..)?))
}

/// The clock of a world, and nobody who operates it.
struct Clockwork(World);

impl Hands for Clockwork {
    fn now(&self) -> Timestamp {
        self.0.clock.now()
    }

    fn advance(&mut self, by: Duration) -> bool {
        self.0.clock.advance(by);
        true
    }

    fn operate(&mut self, _: Operation) -> bool {
        false
    }
}

/// Every request that the vectors of a dialect send, up to where one wants an operator.
pub(crate) fn of_vectors(dialect: &str) -> Vec<Vec<u8>> {
    let users = Users::one("csmith", "XXX").and("jdoe", "YYY");
    let sent = Rc::new(RefCell::new(Vec::new()));
    let folders = known(embedded());
    let vectors = folders.iter().filter(|folder| folder.dialect == dialect);
    for vector in vectors.flat_map(|folder| &folder.vectors) {
        let world = World::with_csmith();
        world.add_user("jdoe", "YYY");
        let parts = Parts::new(Arc::clone(&world.authority));
        let parts = parts.with_keys(parlance_axxon_jsonrpc::testing::keys());
        let install = |entry: &parlance::table::Entry| {
            (String::new(), known(entry.install(&entry.defaults(), &parts)))
        };
        let mut mounted = Mounted(TABLE.iter().map(install).collect());
        let sent = Rc::clone(&sent);
        let recorded = move |request: &Sent, peer: IpAddr, now: Timestamp| -> Received {
            sent.borrow_mut().push(text(request));
            mounted.handle(request, peer, now)
        };
        let mut target = InProcess::new(Clockwork(world), recorded);
        let _report = run_file(vector, &users, &mut target);
    }
    let mut sent = sent.take();
    sent.sort();
    sent.dedup();
    sent
}

fn text(request: &Sent) -> Vec<u8> {
    let mut text = format!("{} {}\n", request.method, request.target);
    for (name, value) in &request.headers {
        text.push_str(&format!("{name}: {value}\n"));
    }
    text.push('\n');
    [text.as_bytes(), &request.body].concat()
}

/// Requests that show the session that lives, to every path of its dialect and to a guarded one.
pub(crate) fn shown(booth: &Booth) -> Vec<Vec<u8>> {
    let calls: &[(&str, &str)] = match booth.service.name() {
        "cluster-api" => &[("POST /api/login", ""), ("POST /api/logout/", "")],
        "polish-longtoken" => {
            &[("GET /login", ""), ("DELETE /login", ""), ("PUT /login", r#"{"longtoken": true}"#)]
        }
        "flask-usertoken" => &[
            ("POST /auth/bump", ""),
            ("POST /auth/logout", ""),
            ("GET /user?page=1&perPage=10", ""),
            ("GET /user/csmith", ""),
        ],
        "1010-cookie" => &[("POST /beta-latest/api/!logout", "")],
        _ => &[
            (
                "POST /grpc",
                r#"{"method": "axxonsoft.bl.auth.AuthenticationService.RenewSession", "data": {}}"#,
            ),
            (
                "POST /grpc",
                r#"{"method": "axxonsoft.bl.auth.AuthenticationService.CloseSession", "data": {}}"#,
            ),
            ("GET /v1/authentication/renew", ""),
        ],
    };
    let guarded = ("POST /elsewhere", "");
    let request = |(line, body): &(&str, &str)| {
        let mut text = format!("{line}\n");
        if body.starts_with('{') {
            text.push_str("content-type: application/json\n");
        }
        for (name, value) in &booth.shown.headers {
            text.push_str(&format!("{name}: {value}\n"));
        }
        format!("{text}\n{body}{}", booth.shown.body).into_bytes()
    };
    calls.iter().chain([&guarded]).map(request).collect()
}

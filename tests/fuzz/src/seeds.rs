//! Seeds for requests: the requests of the conformance vectors, and requests with the credential of an active session.

use std::cell::RefCell;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use parlance::core::Timestamp;
use parlance::core::ports::Clock as _;
use parlance::dialect::Request;
use parlance::dialect::testing::TestWorld;
use parlance::table::{Dependencies, TABLE};
use parlance_conformance::process::{Environment, Handler as _, InProcessTarget, MountedDialects};
use parlance_conformance::{
    Operation, ReceivedResponse, SentRequest, TestUsers, embedded, run_file,
};

use crate::fuzz_target::{FuzzTarget, PEER, expect_ok};

/// A request parsed from a text: the request line and header lines, an empty line, the body. Malformed parts are left
/// out, since any bytes must do.
pub(crate) struct RawRequest<'d> {
    pub(crate) method: &'d str,
    pub(crate) path: &'d str,
    pub(crate) query: Option<&'d str>,
    pub(crate) headers: Vec<(&'d str, &'d [u8])>,
    pub(crate) body: &'d [u8],
}

impl<'d> RawRequest<'d> {
    pub(crate) fn parse(data: &'d [u8]) -> Self {
        let (head, body) = split_at_first(data, b"\n\n").unwrap_or((data, b""));
        let mut lines = head.split(|byte| *byte == b'\n');
        let line = lines.next().and_then(|line| std::str::from_utf8(line).ok()).unwrap_or("");
        let (method, target) = line.split_once(' ').unwrap_or((line, "/"));
        let (path, query) =
            target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
        let header = |line: &'d [u8]| {
            let (name, value) = split_at_first(line, b": ")?;
            Some((std::str::from_utf8(name).ok()?, value))
        };
        Self { method, path, query, headers: lines.filter_map(header).collect(), body }
    }
}

impl RawRequest<'_> {
    /// The request as the client of a fuzz target sends it.
    pub(crate) fn request(&self, fuzz_target: &FuzzTarget) -> Request<'_> {
        Request {
            method: self.method,
            path: self.path,
            query: self.query,
            headers: &self.headers,
            body: self.body,
            peer: Some(PEER),
            secure: false,
            now: fuzz_target.world.clock.now(),
        }
    }
}

/// The bytes before and after the first occurrence of `at`.
pub(crate) fn split_at_first<'d>(data: &'d [u8], at: &[u8]) -> Option<(&'d [u8], &'d [u8])> {
    let start = data.windows(at.len()).position(|window| window == at)?;
    Some((data.get(..start)?, data.get(start + at.len()..)?))
}

/// The clock of a world without an operator.
struct ClockOnly(TestWorld);

impl Environment for ClockOnly {
    fn now(&self) -> Timestamp {
        self.0.clock.now()
    }

    fn advance(&mut self, by: Duration) -> bool {
        self.0.clock.advance(by);
        true
    }

    fn perform(&mut self, _: Operation) -> bool {
        false
    }
}

/// Every request that the vectors of a dialect send; a vector ends before its first step with an operator.
pub(crate) fn from_vectors(dialect: &str) -> Vec<Vec<u8>> {
    let users = TestUsers::single("csmith", "XXX").with_other("jdoe", "YYY");
    let sent = Rc::new(RefCell::new(Vec::new()));
    let folders = expect_ok(embedded());
    let vectors = folders.iter().filter(|folder| folder.dialect == dialect);
    for vector in vectors.flat_map(|folder| &folder.vectors) {
        let world = TestWorld::with_csmith();
        world.add_user("jdoe", "YYY");
        let parts = Dependencies::new(Arc::clone(&world.authority));
        let parts = parts.with_keys(parlance_axxon_jsonrpc::testing::keys());
        let install = |entry: &parlance::table::DialectEntry| {
            (String::new(), expect_ok(entry.install(&entry.defaults(), &parts)))
        };
        let mut mounted = MountedDialects(TABLE.iter().map(install).collect());
        let sent = Rc::clone(&sent);
        let recorded =
            move |request: &SentRequest, peer: IpAddr, now: Timestamp| -> ReceivedResponse {
                sent.borrow_mut().push(request_text(request));
                mounted.handle(request, peer, now)
            };
        let mut target = InProcessTarget::new(ClockOnly(world), recorded);
        let _report = run_file(vector, &users, &mut target);
    }
    let mut sent = sent.take();
    sent.sort();
    sent.dedup();
    sent
}

fn request_text(request: &SentRequest) -> Vec<u8> {
    let mut text = format!("{} {}\n", request.method, request.target);
    for (name, value) in &request.headers {
        text.push_str(&format!("{name}: {value}\n"));
    }
    text.push('\n');
    [text.as_bytes(), &request.body].concat()
}

/// Requests with the credential of the active session, to every path of its dialect and to a guarded path.
pub(crate) fn authenticated_requests(fuzz_target: &FuzzTarget) -> Vec<Vec<u8>> {
    let calls: &[(&str, &str)] = match fuzz_target.service.name() {
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
        for (name, value) in &fuzz_target.shown.headers {
            text.push_str(&format!("{name}: {value}\n"));
        }
        format!("{text}\n{body}{}", fuzz_target.shown.body).into_bytes()
    };
    calls.iter().chain([&guarded]).map(request).collect()
}

